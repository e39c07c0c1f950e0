"""What a kind alone can't tell: whether the values make sense, each and together.

In: `Settings`. Out: one sentence per fault, or per oddity worth a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from proxy.auth.jwks import check_uri
from proxy.auth.keys import UnusableKey, load_keys
from proxy.auth.role_claim import parse_role_claim
from proxy.settings.model import Settings

_SYSTEM_SCHEMAS: Final = ("pg_catalog", "information_schema")
# RFC 3986: a scheme, then reserved and unreserved characters and percent-encoded octets.
_URI: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"
    r"(?:#(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?"
)
_UNFIT: Final = re.compile(r"[^\w.$]")
_DOCS_PATH: Final = re.compile(r"(?!/rpc(?:/|$))(?:/[A-Za-z0-9_-]+)+")
_CUSTOM_NAME: Final = re.compile(r"[^\W\d][\w$]*(?:\.[^\W\d][\w$]*)+")


def find_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """Key and sentence of everything that keeps `settings` from being used."""
    if not settings.db_schemas:
        yield "db-schemas", 'db-schemas: no schema is named; write e.g. db-schemas = "public"'
    for schema in settings.db_schemas:
        if schema in _SYSTEM_SCHEMAS:
            yield (
                "db-schemas",
                f"db-schemas does not allow schema: '{schema}'; expose views of it instead",
            )
    if settings.db_pool_min > settings.db_pool:
        yield (
            "db-pool-min",
            f"db-pool-min: {settings.db_pool_min} is more than db-pool, which is"
            f" {settings.db_pool}; write e.g. db-pool-min = {settings.db_pool}",
        )
    if settings.admin_server_port == settings.server_port:
        yield (
            "admin-server-port",
            "admin-server-port cannot be the same as server-port; write e.g."
            f" admin-server-port = {settings.server_port % 65535 + 1}",
        )
    if (settings.server_tls_cert is None) != (settings.server_tls_key is None):
        given, missing = "server-tls-cert", "server-tls-key"
        if settings.server_tls_cert is None:
            given, missing = missing, given
        yield missing, f"{missing}: {given} is set; set both, or neither"
    proxy_uri = settings.openapi_server_proxy_uri
    if proxy_uri is not None and not _is_proxy_uri(proxy_uri):
        yield (
            "openapi-server-proxy-uri",
            "openapi-server-proxy-uri: it is not an http or https URL without user and query;"
            " write e.g."
            ' openapi-server-proxy-uri = "https://example.com:8443/basePath"',
        )
    docs_path = settings.openapi_docs_path
    if docs_path is not None and not _is_docs_path(docs_path):
        yield (
            "openapi-docs-path",
            f"openapi-docs-path: '{docs_path}' is no path of letters, digits, - and _ that"
            ' begins with a slash, and not with /rpc; write e.g. openapi-docs-path = "/docs"',
        )
    if settings.cache_store is not None and not _is_redis_url(settings.cache_store):
        # It may hold a password, so it is not shown.
        yield (
            "cache-store",
            "cache-store: it is no URL that begins with redis://, rediss:// or unix://, or has"
            " / ? # or @ in a password, to be written as %2F %3F %23 and %40; write e.g."
            ' cache-store = "redis://localhost:6379/0"',
        )
    yield from _find_token_faults(settings)


def _find_token_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    audience = settings.jwt_aud
    if audience is not None and ":" in audience and not _URI.fullmatch(audience):
        yield (
            "jwt-aud",
            f"jwt-aud: '{audience}' has a colon and is no URI; write a name without colon"
            ' or a URI, e.g. jwt-aud = "https://example.com/api"',
        )
    if settings.jwt_jwks_uri is not None:
        try:
            check_uri(settings.jwt_jwks_uri, allow_http=settings.jwt_jwks_allow_http)
        except ValueError as error:
            yield (
                "jwt-jwks-uri",
                # Not what it is: who writes a password there must not find it in a log.
                f"jwt-jwks-uri {error}; write e.g."
                ' jwt-jwks-uri = "https://login.example.com/.well-known/jwks.json"',
            )
    try:
        parse_role_claim(settings.jwt_role_claim_key)
    except ValueError as error:
        yield (
            "jwt-role-claim-key",
            f'jwt-role-claim-key: {error}; write e.g. jwt-role-claim-key = "$.role"',
        )
    try:
        load_keys(settings.jwt_secret, settings.jwt_secret_is_base64)
    except ValueError as error:
        reason = str(error).removeprefix("jwt-secret: ").rstrip(".")
        remedy = (
            "write a secret, its base64 with jwt-secret-is-base64, or a JSON Web Key or a set"
            " of them as their issuer gives it"
            if isinstance(error, UnusableKey)
            else "make one with `openssl rand -base64 48`"
        )
        yield (
            "jwt-secret",
            f'jwt-secret: {reason}; {remedy}, or name a file with jwt-secret = "@file"',
        )


def find_oddities(settings: Settings) -> Iterator[str]:
    """Sentences about what works, but probably not as meant, or not for long."""
    try:
        deprecated = parse_role_claim(settings.jwt_role_claim_key).deprecated
    except ValueError:
        deprecated = False
    if deprecated:
        yield (
            f"jwt-role-claim-key: '{settings.jwt_role_claim_key}' is in the syntax from"
            " before PostgREST 16; write it as JSONPath (RFC 9535), e.g. $.role"
        )
    for name, _ in settings.app_settings:
        if not _CUSTOM_NAME.fullmatch(name):
            plain = _UNFIT.sub("_", name)
            yield (
                f"{name}: PostgreSQL refuses names with other than letters, digits, _ and $;"
                f" write e.g. {plain}"
            )


def _is_docs_path(text: str) -> bool:
    return bool(_DOCS_PATH.fullmatch(text))


def _is_redis_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        at_end = "@" in f"{parts.path}{parts.query}{parts.fragment}"
        return (
            parts.scheme in ("redis", "rediss", "unix")
            and parts.port != 0
            # A password that was not escaped would be taken for the name of the host.
            and not at_end
        )
    except ValueError:
        return False


def _is_proxy_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        bool(_URI.fullmatch(text))
        and parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.username is None
        and not parts.query
        and not parts.fragment
        and (port is None or port > 0)
    )
