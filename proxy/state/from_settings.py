"""What requests depend on, made of the settings: `Settings` → `AppState`. Pure."""

from __future__ import annotations

from proxy.auth.jwks import NO_KEYS, merged_keys
from proxy.auth.keys import KeySet, load_keys
from proxy.auth.model import AuthRules
from proxy.auth.role_claim import parse_role_claim
from proxy.auth.token_cache import Authenticator
from proxy.cache_rules.rules import ResponseCacheRules
from proxy.openapi.swagger import OpenApiOptions
from proxy.plan.planner import PlanRules
from proxy.plan.read import ReadRules
from proxy.prepared.queries import PreparedQueries
from proxy.prepared.rules import QueryRules, TransactionRules
from proxy.request.api_request import RequestRules
from proxy.response.answer import POSTGREST_VERSION
from proxy.schema_cache.load import CacheOptions
from proxy.schema_cache.model import QualifiedName, SchemaCache
from proxy.settings import Settings
from proxy.state.app_state import AppState


def make_authenticator(settings: Settings, published: KeySet = NO_KEYS) -> Authenticator:
    """Who checks tokens as `settings` say, also with the keys that were `published` at
    jwt-jwks-uri; it has not seen any token yet."""
    rules = AuthRules(
        audience=settings.jwt_aud,
        role_claim=parse_role_claim(settings.jwt_role_claim_key),
        anonymous_role=settings.db_anon_role,
    )
    keys = load_keys(settings.jwt_secret, settings.jwt_secret_is_base64)
    if settings.jwt_jwks_uri is not None:
        keys = merged_keys(keys, published)
    return Authenticator(rules, keys, settings.jwt_cache_max_entries)


def authenticates_alike(one: Settings, other: Settings) -> bool:
    """Whether the authenticator of one serves the other, tokens it knows included."""
    return _authentication(one) == _authentication(other)


def _authentication(settings: Settings) -> tuple[object, ...]:
    return (
        settings.jwt_aud,
        settings.jwt_role_claim_key,
        settings.db_anon_role,
        settings.jwt_secret,
        settings.jwt_secret_is_base64,
        settings.jwt_cache_max_entries,
    )


def cache_options(settings: Settings) -> CacheOptions:
    """What of the database the schema cache holds."""
    return CacheOptions(
        schemas=settings.db_schemas,
        extra_search_path=settings.db_extra_search_path,
        hoisted_settings=settings.db_hoisted_tx_settings,
        with_facts=settings.cache_max_bytes > 0,
    )


def app_state(
    settings: Settings, authenticator: Authenticator, schema: SchemaCache | None
) -> AppState:
    """All that requests depend on; without a schema cache they are answered 503."""
    return AppState(
        authenticator=authenticator,
        queries=PreparedQueries(
            schema, query_rules(settings), settings.db_plan_cache_max_entries
        ),
        openapi=OpenApiOptions(
            version=POSTGREST_VERSION,
            host=settings.server_host,
            port=settings.server_port,
            proxy_uri=settings.openapi_server_proxy_uri,
            security_active=settings.openapi_security_active,
            schemas=settings.db_schemas,
            base_path=settings.path_prefix,
        ),
        verbosity=settings.client_error_verbosity,
        server_timing=settings.server_timing_enabled,
        response_cache=ResponseCacheRules(
            rows=settings.cache_policies,
            max_bytes=settings.cache_max_bytes,
            max_entry_bytes=settings.cache_max_entry_bytes,
            pre_request_is_safe=settings.cache_pre_request_is_safe,
            compress_from=settings.server_compress_from,
        ),
        request_timeout=settings.server_request_timeout or None,
    )


def query_rules(settings: Settings) -> QueryRules:
    """How requests are read and planned, and what their transactions are told."""
    return QueryRules(
        request=RequestRules(
            schemas=settings.db_schemas,
            openapi_mode=settings.openapi_mode,
            root_spec=settings.db_root_spec,
            allow_transaction_override=settings.db_tx_end.endswith("-allow-override"),
            schema_prefix=settings.url_schema_prefix,
            base_path=settings.path_prefix,
        ),
        plan=PlanRules(
            read=ReadRules(
                aggregates_enabled=settings.db_aggregates_enabled,
                legacy_target_names=settings.url_use_legacy_target_names,
                max_rows=settings.db_max_rows,
            ),
            plan_enabled=settings.db_plan_enabled,
            plain_csv=settings.csv_plain_backslashes,
        ),
        transaction=TransactionRules(
            extra_search_path=settings.db_extra_search_path,
            app_settings=settings.app_settings,
            pre_request=_function_name(settings.db_pre_request),
            rolls_back=settings.db_tx_end.startswith("rollback"),
            max_rows=settings.db_max_rows,
            legacy_gucs=settings.db_use_legacy_gucs,
            statement_timeout=settings.db_statement_timeout or None,
            finishes_writes=not settings.db_cancel_writes,
        ),
        openapi_mode=settings.openapi_mode,
    )


def _function_name(text: str | None) -> QualifiedName | None:
    """`schema.function` or `function`, as a setting names it."""
    if text is None:
        return None
    schema, dot, name = text.partition(".")
    return QualifiedName(schema, name) if dot else QualifiedName("", schema)


def gives_tokens(settings: Settings) -> bool:
    """Whether answers to writes have a consistency token: a replica, or the cache of another
    server, may not know of them yet."""
    return bool(settings.db_read_uris) or announces_writes(settings)


def announces_writes(settings: Settings) -> bool:
    """Whether other servers may keep answers that a write of this one outdates."""
    return settings.cache_announce or settings.cache_store is not None
