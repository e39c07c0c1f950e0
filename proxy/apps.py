"""An app: one database with everything that belongs to it, and nothing global.

`App` owns the pool, the schema cache, the keys and the token cache of the settings it was
made from. It is started and closed by the server; `answer` is what the data plane calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Final

from pool import ConnectionFailed, Pool, PoolError
from proxy.auth.keys import load_keys
from proxy.auth.model import AuthRules
from proxy.auth.role_claim import parse_role_claim
from proxy.auth.token_cache import Authenticator
from proxy.pipeline import AppState, TransactionRules, answer
from proxy.plan.planner import PlanRules
from proxy.plan.read import ReadRules
from proxy.request.api_request import RequestRules
from proxy.request.model import HttpRequest
from proxy.response.answer import POSTGREST_VERSION
from proxy.response.model import Response
from proxy.response.openapi import OpenApiOptions
from proxy.schema_cache.load import CacheOptions, load_schema_cache
from proxy.schema_cache.model import QualifiedName
from proxy.settings import Settings

logger = logging.getLogger(__name__)

_MAX_WAIT: Final = 32.0
"""Seconds at most between two attempts to load the schema cache."""
_REFUSALS: Final = ("28", "3D")
"""SQLSTATE classes of a database that answers, but never will let this user in."""


class App:
    """One app of the server.

    Until the schema cache is loaded every request is answered 503 PGRST002; a reload that
    fails leaves the old cache serving.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings: Final = settings
        self._state = app_state(settings)
        self._pool = Pool(
            settings.db_uri,
            size=settings.db_pool,
            acquire_timeout=settings.db_pool_acquisition_timeout,
            max_idle_time=settings.db_pool_max_idletime,
            max_lifetime=settings.db_pool_max_lifetime,
            prepared_statements=settings.db_prepared_statements,
        )
        self._loading: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether requests can be answered from the database."""
        return self._state.cache is not None

    @property
    def state(self) -> AppState:
        """What requests that start now depend on."""
        return self._state

    @property
    def pool(self) -> Pool:
        """The app's connections."""
        return self._pool

    async def start(self) -> None:
        """Opens the pool and loads the schema cache.

        A database that is away is tried again in the background, with back-off, while
        the server already answers 503. Raises ConnectionFailed when trying again would
        not help (the database refuses the user or does not exist).
        """
        try:
            await self._pool.open()
            await self.reload_schema_cache()
        except ConnectionFailed as error:
            if (error.sqlstate or "").startswith(_REFUSALS):
                raise
            logger.warning("%s", error)
            self._loading = asyncio.create_task(self._load_until_done())
        except PoolError as error:
            logger.warning("The schema cache could not be loaded: %s", error)
            self._loading = asyncio.create_task(self._load_until_done())

    async def reload_schema_cache(self) -> None:
        """Builds a new schema cache and swaps it in. Raises PoolError, keeping the old."""
        settings = self.settings
        options = CacheOptions(
            schemas=settings.db_schemas,
            extra_search_path=settings.db_extra_search_path,
            hoisted_settings=settings.db_hoisted_tx_settings,
        )
        cache = await load_schema_cache(self._pool, options)
        self._state = replace(self._state, cache=cache)
        logger.info(
            "Schema cache loaded: %d relations, %d functions",
            len(cache.tables),
            len(cache.functions),
        )

    async def _load_until_done(self) -> None:
        wait = 1.0
        while not self.ready:
            await asyncio.sleep(wait)
            try:
                await self.reload_schema_cache()
            except PoolError as error:
                wait = min(wait * 2, _MAX_WAIT)
                logger.warning("The schema cache could not be loaded: %s", error)

    async def answer(self, request: HttpRequest) -> Response:
        """The response to one request. Never raises for what the client sent."""
        return await answer(self._state, self._pool.run, request)

    async def close(self) -> None:
        """Closes the pool, waiting for what runs on it."""
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        await self._pool.close()


def app_state(settings: Settings) -> AppState:
    """The part of the settings that requests depend on, with no schema cache yet."""
    rules = AuthRules(
        audience=settings.jwt_aud,
        role_claim=parse_role_claim(settings.jwt_role_claim_key),
        anonymous_role=settings.db_anon_role,
    )
    keys = load_keys(settings.jwt_secret, settings.jwt_secret_is_base64)
    return AppState(
        authenticator=Authenticator(rules, keys, settings.jwt_cache_max_entries),
        cache=None,
        request_rules=RequestRules(
            schemas=settings.db_schemas,
            openapi_mode=settings.openapi_mode,
            root_spec=settings.db_root_spec,
            allow_transaction_override=settings.db_tx_end.endswith("-allow-override"),
        ),
        plan_rules=PlanRules(
            read=ReadRules(
                aggregates_enabled=settings.db_aggregates_enabled,
                legacy_target_names=settings.url_use_legacy_target_names,
                max_rows=settings.db_max_rows,
            ),
            plan_enabled=settings.db_plan_enabled,
        ),
        transaction_rules=TransactionRules(
            extra_search_path=settings.db_extra_search_path,
            app_settings=settings.app_settings,
            pre_request=_function_name(settings.db_pre_request),
            rolls_back=settings.db_tx_end.startswith("rollback"),
            max_rows=settings.db_max_rows,
            anonymous_role=settings.db_anon_role,
        ),
        openapi_mode=settings.openapi_mode,
        openapi=OpenApiOptions(
            version=POSTGREST_VERSION,
            host=settings.server_host,
            port=settings.server_port,
            proxy_uri=settings.openapi_server_proxy_uri,
            security_active=settings.openapi_security_active,
        ),
        verbosity=settings.client_error_verbosity,
        server_timing=settings.server_timing_enabled,
    )


def _function_name(text: str | None) -> QualifiedName | None:
    """`schema.function` or `function`, as a setting names it."""
    if text is None:
        return None
    schema, dot, name = text.partition(".")
    return QualifiedName(schema, name) if dot else QualifiedName("", schema)
