"""What a transaction is told before its statement: role, claims, request, settings.

Out: (name, value) pairs for set_config(..., true), in PostgREST's order (docs:
"Transactions", "Transaction-Scoped Settings"). They end with the transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from proxy.auth.model import Identity
from proxy.request.model import ApiRequest
from proxy.schema_cache.model import Function, SchemaCache
from proxy.sql.writer import quoted_list

Setting = tuple[str, str]


def transaction_settings(
    request: ApiRequest,
    identity: Identity,
    cache: SchemaCache,
    *,
    extra_search_path: Iterable[str],
    app_settings: Iterable[Setting],
    function: Function | None,
) -> tuple[Setting, ...]:
    """The settings of one request's transaction.

    The role's own settings come before the switch to the role: the connecting user, not
    the role, may be the one allowed to set them.
    """
    settings: list[Setting] = [
        ("search_path", quoted_list([request.schema, *extra_search_path])),
        *cache.role_settings.get(identity.role, ()),
        ("role", identity.role),
        ("request.jwt.claims", identity.claims),
        ("request.method", request.method),
        ("request.path", request.path),
        ("request.headers", _json_object(request.headers)),
        ("request.cookies", _json_object(request.cookies)),
    ]
    if request.preferences.timezone is not None:
        settings.append(("timezone", request.preferences.timezone))
    if function is not None:
        settings += function.settings
    settings += app_settings
    return tuple(settings)


def _json_object(pairs: Iterable[Setting]) -> str:
    return json.dumps(dict(pairs), ensure_ascii=False, separators=(",", ":"))
