"""What a transaction is told before its statement: role, claims, request, settings.

Out: (name, value) pairs for set_config(..., true), in PostgREST's order (docs:
"Transactions", "Transaction-Scoped Settings"). They end with the transaction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from proxy.auth.model import Identity
from proxy.request.model import ApiRequest
from proxy.schema_cache.model import Function, SchemaCache
from proxy.sql.writer import quoted_list

Setting = tuple[str, str]

_SETTING_NAME: Final = re.compile(
    r"[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*"
    r"(?:\.[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)*",
    re.ASCII,
)
"""What may follow the first dot of a setting's name (PostgreSQL docs, "Customized
Options")."""
_MOST_LEGACY: Final = 200
"""Of each kind; beyond any honest request, and few enough for one statement."""


def transaction_settings(
    request: ApiRequest,
    identity: Identity,
    cache: SchemaCache,
    *,
    extra_search_path: Iterable[str],
    app_settings: Iterable[Setting],
    function: Function | None,
    legacy: bool = False,
    statement_timeout: float | None = None,
) -> tuple[Setting, ...]:
    """The settings of one request's transaction; `legacy` adds one for each claim, header
    and cookie.

    The role's own settings come before the switch to the role: the connecting user, not
    the role, may be the one allowed to set them. `statement_timeout` (seconds) is for roles
    that have none of their own.
    """
    own = cache.role_settings.get(identity.role, ())
    settings: list[Setting] = [
        ("search_path", quoted_list([request.schema, *extra_search_path])),
        *_timeout_besides(own, statement_timeout),
        *own,
        ("role", identity.role),
        ("request.jwt.claims", identity.claims),
        ("request.method", request.method),
        ("request.path", request.path),
        ("request.headers", _json_object(request.headers)),
        ("request.cookies", _json_object(request.cookies)),
    ]
    if legacy:
        settings += _legacy("request.jwt.claim.", _plain_claims(identity.claims))
        settings += _legacy("request.header.", request.headers)
        settings += _legacy("request.cookie.", request.cookies)
    if request.preferences.timezone is not None:
        settings.append(("timezone", request.preferences.timezone))
    if function is not None:
        settings += function.settings
    settings += app_settings
    return tuple(settings)


def _timeout_besides(own: Iterable[Setting], seconds: float | None) -> tuple[Setting, ...]:
    if seconds is None or any(name == "statement_timeout" for name, _ in own):
        return ()
    return (("statement_timeout", f"{max(round(seconds * 1000), 1)}ms"),)


def trace_settings(traceparent: str) -> tuple[Setting, ...]:
    """The trace that the transaction is part of (W3C), for functions and for pg_tracing."""
    return (
        ("request.traceparent", traceparent),
        ("pg_tracing.trace_context", f"traceparent='{traceparent}'"),
    )


def _json_object(pairs: Iterable[Setting]) -> str:
    return json.dumps(dict(pairs), ensure_ascii=False, separators=(",", ":"))


def _legacy(prefix: str, pairs: Iterable[Setting]) -> list[Setting]:
    """`request.header.accept` and its like, as PostgREST had them up to version 11.

    Names that PostgreSQL would refuse, and values that it can't hold, are left out: they
    are the client's, and the JSON settings have them.
    """
    kept = [
        (prefix + name, value)
        for name, value in pairs
        if _SETTING_NAME.fullmatch(name) and "\0" not in value
    ]
    return kept[:_MOST_LEGACY]


def _plain_claims(claims: str) -> Iterator[Setting]:
    """The claims one by one: strings as they are, other values as JSON."""
    for name, value in json.loads(claims).items():
        plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield name, plain
