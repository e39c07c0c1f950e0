"""An app: one database with everything that belongs to it, and nothing global.

`App` owns the pool, the listener, the schema cache, the keys and the token cache of the
settings it was made from, and keeps them up to date while it serves. It is started and
closed by the server; `admit` and `answer` are what the data plane calls. What requests depend
on is one value, `state`: a reload makes a new one aside and swaps it whole.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from pool import ConnectionFailed, ConnectionLost, Outcome, Pool, PoolError
from pool.budget import Budget
from pool.dsn import Dsn
from pool.listener import Listener
from pool.model import Statement, Transaction
from pool.pace import Pace
from pool.replicas import Backends
from proxy.app.reloads import BOTH, Part, Reloads, parts_of
from proxy.auth.jwks import NO_KEYS
from proxy.auth.keys import KeySet
from proxy.auth.model import Identity
from proxy.cache.purge import read_purge
from proxy.cache.response_cache import ResponseCache
from proxy.cache.rights import Rights, Rows
from proxy.cache.setup import make_invalidation, shared_namespace
from proxy.cache.versions import Slots, Versions
from proxy.endpoints.admission import admit
from proxy.endpoints.table import endpoints_of
from proxy.errors import ApiError, api_error
from proxy.http.data_plane import Answer
from proxy.observability.cache_counts import CacheCounts
from proxy.observability.record import Record
from proxy.pipeline import answer
from proxy.request.model import HttpRequest
from proxy.request.request_headers import RequestHeaders
from proxy.response.database_errors import is_catalog_race, may_be_outdated
from proxy.response.model import Response
from proxy.schema_cache.fingerprint import fingerprint_statement
from proxy.schema_cache.load import (
    CacheOptions,
    SchemaLoads,
    load_schema_cache,
    reload_role_settings,
)
from proxy.schema_cache.model import SchemaCache
from proxy.schema_cache.queries import SETTINGS
from proxy.schema_cache.rechecks import Rechecks
from proxy.settings import Loaded, Settings, SettingsError
from proxy.settings.database import read_database_settings
from proxy.settings.database_uri import newest_uri, uri_source
from proxy.settings.reload import reloaded_settings
from proxy.state.app_state import AppState
from proxy.state.from_settings import (
    app_state,
    authenticates_alike,
    cache_options,
    make_authenticator,
)
from proxy.steps.call import Call

if TYPE_CHECKING:
    from proxy.auth.key_source import KeySource

logger = logging.getLogger(__name__)

_NOT_LET_IN: Final = "28P01"
"""The SQLSTATE of a refusal that nobody's work on the database is likely to mend."""

Follower = Callable[[Settings], None]


class App:
    """One app of the server.

    `reread` gives what the configuration file and the environment say now; without it a
    reload reads the database's settings only. Until the schema cache is loaded every request
    is answered 503 PGRST002; a reload that fails leaves the old state serving. `on_loss` is
    called once when the database is lost and `db-pool-automatic-recovery` is off, which
    means nothing without it. `budget` is what its connections are part of, `pace` the event
    loop's, which apps share; `slots` is where the workers of a server have the versions of
    what they cache, `name` the app's in all of them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reread: Callable[[], Loaded] | None = None,
        on_loss: Callable[[], None] | None = None,
        budget: Budget | None = None,
        pace: Pace | None = None,
        slots: Slots | None = None,
        name: str = "",
    ) -> None:
        self._written = settings
        self._on_loss = on_loss
        self._gave_up = False
        self._settings = settings
        self._reread = reread
        self._budget = budget
        self._pace = pace or Pace()
        self._state = app_state(settings, make_authenticator(settings), None)
        self._endpoints = endpoints_of(settings)
        self._dsn = newest_uri(settings)
        # Without automatic recovery, fail immediately.
        grace = settings.db_pool_outage_grace if settings.db_pool_automatic_recovery else 0.0
        self._pool = self._make_pool(self._dsn, grace, settings.db_pool_min)
        self._backends = Backends(
            self._pool,
            self._dsn,
            # What a replica can't answer now the primary can.
            lambda dsn: self._make_pool(dsn, 0.0, 0),
            dsn_of=uri_source,
            read_uris=settings.db_read_uris,
            max_lag=settings.db_read_max_lag,
        )
        self._changes_of_rights = Rechecks(self._follow_rights)
        versions = Versions(slots, self._pool.database, name)
        self._invalidation = make_invalidation(settings, versions, lambda: self._state.schema)
        self._rights = Rights(
            self._ask_aside,
            versions,
            self._changes_of_rights.begin,
            settings.cache_rights_interval,
        )
        self._cache = ResponseCache(
            self._invalidation, self._rights, lambda: self._pool.away, lambda: self._state
        )
        self._listener: Listener | None = None
        self._reloading = asyncio.Lock()
        self._reloads = Reloads(self._try_to_reload)
        self._rechecks = Rechecks(self._recheck)
        self._fingerprint: str | None = None
        self._schema_loads = SchemaLoads()
        self._followers: list[Follower] = []
        self._told: set[str] = set()
        self._key_source = self._make_key_source()

    def _make_pool(self, dsn: Dsn, outage_grace: float, min_size: int) -> Pool:
        settings = self._settings
        return Pool(
            dsn,
            size=settings.db_pool,
            acquire_timeout=settings.db_pool_acquisition_timeout,
            max_idle_time=settings.db_pool_max_idletime,
            max_lifetime=settings.db_pool_max_lifetime,
            prepared_statements=settings.db_prepared_statements,
            min_size=min_size,
            max_waiting=settings.db_pool_max_waiting,
            budget=self._budget,
            pace=self._pace,
            weight=settings.db_pool_weight,
            outage_grace=outage_grace,
            check_delay=settings.db_pool_check_delay,
        )

    @property
    def settings(self) -> Settings:
        """The settings in use, those of the database included once it was asked."""
        return self._settings

    @property
    def ready(self) -> bool:
        """Whether requests can be answered from the database.

        While the listener is cut off the database is, too, or the schema may be out of date;
        and the listener may well be in while nobody else is let in.
        """
        listening = self._listener is None or self._listener.listening
        return self._state.schema is not None and listening and self._pool.look()

    @property
    def state(self) -> AppState:
        """What requests that start now depend on."""
        return self._state

    @property
    def pool(self) -> Pool:
        """The app's connections, to the primary if there are several servers."""
        return self._pool

    @property
    def backends(self) -> Backends:
        """The app's servers: the primary and its read replicas."""
        return self._backends

    @property
    def cache_counts(self) -> CacheCounts:
        """What the response cache did so far."""
        return self._cache.counts

    @property
    def schema_loads(self) -> SchemaLoads:
        """What loading the schema cache came to so far."""
        return self._schema_loads

    @property
    def gave_up(self) -> bool:
        """Whether the database was lost and the settings say not to wait for it."""
        return self._gave_up

    def follow(self, follower: Follower) -> None:
        """Call `follower` with the settings in use, now and whenever they change."""
        self._followers.append(follower)
        follower(self._settings)

    @property
    def cache(self) -> ResponseCache:
        """The answers it keeps."""
        return self._cache

    async def admit(self, head: HttpRequest, record: Record) -> Answer:
        """What answers a request once its body is there; `head` is all but that.

        Raises `ApiError` for what is to be refused without it.
        """
        endpoint = self._endpoints.find(head.path)
        if endpoint is not None:
            begun = await endpoint.admit(self, head, record)
            return partial(endpoint.answer, self, call=begun)
        return partial(self.answer, call=await admit(self, head, record))

    async def answer(
        self, request: HttpRequest, record: Record, call: Call | None = None
    ) -> Response:
        """The response to one request. Never raises for what the client sent."""
        if self._endpoints.rows and call is None:
            endpoint = self._endpoints.find(request.path)
            if endpoint is not None:
                return await endpoint.answer(self, request, record)
        return await answer(self, request, record, call)

    async def identify(self, headers: RequestHeaders) -> Identity:
        """Who is asking. A key that is not known yet is looked for.

        Raises ApiError; EDGE503 until keys were fetched for the first time, for nobody can
        say before that a token is bad.
        """
        authenticator, source = self._state.authenticator, self._key_source
        try:
            return authenticator.identify(headers.headers, time.time())
        except ApiError as error:
            lacks_key = error.code == "PGRST301" and authenticator.lacks_key_of(headers.headers)
            if source is None or not lacks_key:
                raise
            if authenticator is self._state.authenticator:
                await source.look_for_more()
            if authenticator is not self._state.authenticator:
                return self._state.authenticator.identify(headers.headers, time.time())
            if source.keys is None:
                raise api_error("EDGE503", headers=((b"retry-after", b"1"),)) from error
            raise

    async def run(self, transaction: Transaction) -> Outcome:
        """Run it on the database. Raises PoolError."""
        try:
            return await self._backends.run(transaction)
        except (ConnectionFailed, ConnectionLost) as error:
            self._note_loss(error)
            raise

    async def newer(self, state: AppState, error: ApiError) -> AppState | None:
        """What to try a request with once more that failed under `state`, if anything."""
        if not may_be_outdated(error):
            return None
        interval = self._settings.db_reload_on_miss_interval
        if self._state.schema is state.schema and interval > 0:
            await self._rechecks.look(interval)
        if self._state.schema is not state.schema:
            return self._state
        return state if is_catalog_race(error) else None

    def _note_loss(self, error: PoolError) -> None:
        if self._settings.db_pool_automatic_recovery or self._gave_up or not self._on_loss:
            return
        self._gave_up = True
        logger.critical("The database is lost, and automatic recovery is off: %s", error)
        self._on_loss()

    # --- life ---------------------------------------------------------------------------

    async def start(self, *, patient: bool = False) -> None:
        """Opens the pool, begins to listen, reads settings and schema.

        A database that is away is tried again in the background, with back-off, while
        the server already answers 503; so is one that does not exist yet, or has no such
        role: in a stack of containers whoever makes them may come later. Raises
        ConnectionFailed for a wrong password, and SettingsError when the database's settings
        make no sense; `patient`, both are tried again as well.
        """
        if self._key_source is not None:
            self._key_source.start()
        listener = self._listen()
        self._backends.start()
        try:
            await self._pool.open()
            if listener is not None:
                # What is announced while the schema is read must not be missed.
                await listener.first_attempt()
            await self.reload(BOTH)
        except ConnectionFailed as error:
            recovers = self._settings.db_pool_automatic_recovery
            hopeless = not recovers or error.sqlstate == _NOT_LET_IN
            if hopeless and not patient:
                raise
            logger.warning("%s", error)
            self._reloads.ask(BOTH)
        except PoolError as error:
            logger.warning("The schema cache could not be loaded: %s", error)
            self._reloads.ask(BOTH)
        except SettingsError as error:
            if not patient:
                raise
            for problem in error.problems:
                logger.error("The database's settings make no sense: %s", problem)
            self._reloads.ask(BOTH)
        # What is kept from now on must not miss a write.
        await self._invalidation.announcements.first_attempt()
        self._reloads.start()

    async def close(self) -> None:
        """Closes the pool, waiting for what runs on it."""
        if self._key_source is not None:
            await self._key_source.close()
        await self._reloads.close()
        await self._rechecks.close()
        await self._rights.close()
        await self._changes_of_rights.close()
        await self._cache.close()
        await self._invalidation.close()
        if self._listener is not None:
            await self._listener.close()
        await self._backends.close()
        await self._pool.close()

    def _listen(self) -> Listener | None:
        if self._settings.db_channel_enabled:
            self._listener = Listener(
                self._dsn,
                self._settings.db_channel,
                on_message=lambda payload: self._reloads.ask(parts_of(payload)),
                on_return=lambda: self._reloads.ask(BOTH),
                on_loss=self._pool.doubt,
            )
            self._listener.start()
        return self._listener

    async def _listen_anew(self) -> None:
        former, self._listener = self._listener, None
        if former is not None:
            await former.close()
        listener = self._listen()
        if listener is not None:
            # What was announced there before is as good as missed.
            await listener.first_attempt()
            self._reloads.ask(BOTH)

    def _prepare_cache(self) -> None:
        invalidation, settings = self._invalidation, self._settings
        if invalidation.shared is not None:
            invalidation.shared.use(self._namespace())
            # A reload is also asked for when a policy has changed, which nothing there shows.
            invalidation.shared.touch_soon(None)
        keeps = bool(self._cache.use(self._state).policies)
        if keeps and settings.cache_channel_enabled and not invalidation.announcements.begun:
            invalidation.announcements.listen(self._dsn)

    def _namespace(self) -> str:
        return shared_namespace(
            self._state, self._fingerprint, self._rights.in_use, self._settings
        )

    async def purge(self, body: bytes) -> None:
        """Forget kept answers as `body` says (see `proxy.cache.purge`).

        Raises PurgeError, and PoolError when only this server has.
        """
        cache = self._state.schema
        tags = read_purge(body, None if cache is None else cache.facts)
        await self._invalidation.purge(self._pool.run, tags)

    # --- reloads ------------------------------------------------------------------------

    def rewrite(self, settings: Settings) -> None:
        """Take `settings` for what is written outside the database, with the next reload.

        They differ from the former in what a reload can change.
        """
        self._written = settings

    def ask_reload(self, parts: frozenset[Part]) -> None:
        """Reload `parts` soon; returns at once."""
        self._reloads.ask(parts)

    async def reload(self, parts: frozenset[Part]) -> None:
        """Reads `parts` anew and swaps them in; the database's settings go with the schema.

        Raises PoolError, keeping what could not be read as it was. Settings that make no
        sense are kept as they were with a warning, or raise SettingsError when there is
        nothing to keep yet.
        """
        async with self._reloading:
            before = self._settings
            settings = before
            if "config" in parts or before.db_config:
                settings = await self._newest_settings()
            await self._take(settings, read_schema="schema" in parts)
        heard = (settings.db_channel, settings.db_channel_enabled)
        if heard != (before.db_channel, before.db_channel_enabled):
            await self._listen_anew()

    async def _try_to_reload(self, parts: frozenset[Part]) -> bool:
        try:
            await self.reload(parts)
        except (PoolError, SettingsError) as error:
            state = "the old state serves" if self._state.schema else "not serving yet"
            logger.warning("The reload failed, %s: %s", state, error)
            if isinstance(error, ConnectionFailed | ConnectionLost):
                self._note_loss(error)
            return False
        return True

    async def _newest_settings(self) -> Settings:
        starting = self._state.schema is None
        try:
            found, need_restart = await self._find_settings()
        except SettingsError as error:
            if starting:
                raise
            for problem in error.problems:
                logger.warning("The settings stay as they were: %s", problem)
            return self._settings
        if not starting:
            reloaded = reloaded_settings(self._settings, found)
            found, need_restart = reloaded.settings, need_restart | {*reloaded.need_restart}
        self._tell({f"{key} has changed; a restart applies it" for key in need_restart})
        return found

    async def _find_settings(self) -> tuple[Settings, set[str]]:
        """What file and database say, and which keys of the file need a restart."""
        need_restart: set[str] = set()
        if self._reread is not None and self._state.schema is not None:
            # Files may be slow, or pipes.
            loaded = await asyncio.to_thread(self._reread)
            reloaded = reloaded_settings(self._written, loaded.settings)
            self._written = reloaded.settings
            need_restart.update(reloaded.need_restart)
        written = self._written
        found = await read_database_settings(self._pool, written)
        if found.db_pre_config != written.db_pre_config:
            # The role's settings may name the function that sets the others.
            again = replace(written, db_pre_config=found.db_pre_config)
            found = await read_database_settings(self._pool, again)
        return found, need_restart

    def _tell(self, warnings: set[str]) -> None:
        """Warn of what was not warned of the last time."""
        for warning in sorted(warnings - self._told):
            logger.warning("%s", warning)
        self._told = warnings

    async def _take(self, settings: Settings, *, read_schema: bool) -> None:
        cache, options = self._state.schema, cache_options(settings)
        if cache is None or options != cache_options(self._settings):
            self._apply(settings, await self._read_schema(options))
            return
        # A schema that can't be read now must not hold up, say, a new secret.
        self._apply(settings, cache)
        if read_schema:
            self._apply(settings, await self._read_schema(options))
        else:
            self._apply(settings, await reload_role_settings(self._pool, cache))

    def _apply(self, settings: Settings, cache: SchemaCache) -> None:
        before, authenticator = self._settings, self._state.authenticator
        if not authenticates_alike(before, settings):
            authenticator = make_authenticator(settings, self._published_keys)
        self._settings = settings
        self._rights.interval = settings.cache_rights_interval
        self._state = app_state(settings, authenticator, cache)
        self._endpoints = endpoints_of(settings)
        self._prepare_cache()
        if settings != before:
            logger.info("Settings reloaded")
            self._backends.use_prepared_statements(settings.db_prepared_statements)
            self._backends.use(settings.db_read_uris, settings.db_read_max_lag)
            for follower in self._followers:
                follower(settings)

    async def _read_schema(self, options: CacheOptions) -> SchemaCache:
        began, loads = time.monotonic(), self._schema_loads
        try:
            # First: what changes in between is read now, and again when it is missed.
            fingerprint = await self._read_fingerprint(options)
            rights = await self._rights.read() if options.with_facts else None
            cache = await load_schema_cache(self._pool, options)
        except PoolError:
            self._schema_loads = replace(loads, failed=loads.failed + 1)
            raise
        self._backends.forget_statements()
        took = time.monotonic() - began
        self._schema_loads = SchemaLoads(loads.succeeded + 1, loads.failed, took)
        self._fingerprint = fingerprint
        self._rights.use(rights)
        self._rechecks.put_off()
        logger.info(
            "Schema cache loaded: %d relations, %d functions",
            len(cache.tables),
            len(cache.functions),
        )
        return cache

    # --- keys that are published elsewhere ---------------------------------------------------

    def _make_key_source(self) -> KeySource | None:
        uri = self._settings.jwt_jwks_uri
        if uri is None:
            return None
        # Loaded by those who use it only.
        from proxy.auth.key_source import KeySource

        return KeySource(uri, self._take_keys, max_age=self._settings.jwt_jwks_max_age)

    @property
    def _published_keys(self) -> KeySet:
        return (self._key_source and self._key_source.keys) or NO_KEYS

    def _take_keys(self, keys: KeySet) -> None:
        authenticator = make_authenticator(self._settings, keys)
        self._state = replace(self._state, authenticator=authenticator)

    # --- requests that fail for an old schema cache -----------------------------------------

    async def _recheck(self) -> None:
        try:
            async with self._reloading:
                options = cache_options(self._settings)
                if await self._read_fingerprint(options) != self._fingerprint:
                    self._apply(self._settings, await self._read_schema(options))
        except PoolError as error:
            logger.warning("Whether the schema has changed could not be found out: %s", error)

    # --- rights that have changed ------------------------------------------------------------

    async def _ask_aside(self, statement: Statement) -> Rows:
        """Ask what requests should not have to wait for, nor it for them."""
        rows = await self._invalidation.announcements.fetch(statement)
        if rows is None:
            rows = (await self._pool.run(Transaction(statement, settings=SETTINGS))).rows
        return rows

    async def _follow_rights(self) -> None:
        try:
            async with self._reloading:
                if await self._rights.read() != self._rights.in_use:
                    options = cache_options(self._settings)
                    self._apply(self._settings, await self._read_schema(options))
        except PoolError as error:
            logger.warning("What changed rights allow could not be found out: %s", error)

    async def _read_fingerprint(self, options: CacheOptions) -> str:
        statement = fingerprint_statement(options)
        outcome = await self._pool.run(Transaction(statement, settings=SETTINGS))
        return bytes(outcome.rows[0][0]).decode()
