"""Whether a request's body is worth reading: who asks, and for what.

In: the head of a request, and the app's state. Out: `Admitted`, which goes for the whole
request, or the `ApiError` that it is answered with before its body is read. Errors come in
PostgREST's order as far as the head can tell: token, schema cache, path, schema, method, query
string, ranges, media type, table or function. What is wrong with a body itself comes after
these, which is the one difference to PostgREST (docs/migrate-postgrest.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from proxy.auth.model import Identity
from proxy.deadline import allowed_seconds
from proxy.errors import ApiError, api_error
from proxy.pipeline import AppState
from proxy.plan.planner import find_table
from proxy.record import Record
from proxy.request.api_request import RequestRules, Target, header, read_query, read_target
from proxy.request.model import HttpRequest
from proxy.request.payload import content_type_problem
from proxy.request.query_method import QUERY, check_announced, with_query_of_body
from proxy.schema_cache.model import SchemaCache
from proxy.schema_cache.suggestions import function_hint

WORDED: Final = 16 * 1024
"""Bytes of an announced body that is read although there is no function of that name: what
PostgREST says about it lists the arguments."""

_OF_ROOT: Final = frozenset(("inspect", "schema_info"))


@dataclass(frozen=True, slots=True)
class Admitted:
    """What is settled before a body is read: what the request depends on, whatever is reloaded
    meanwhile, and who asks."""

    state: AppState
    identity: Identity


def admit(state: AppState, head: HttpRequest, record: Record) -> Admitted:
    """Raises `ApiError` when the request is to be refused, whatever its body."""
    record.start()
    allowed_seconds(head.headers, state.request_timeout)
    identity = state.authenticator.identify(head.headers, time.time())
    record.role, record.identity = identity.role, identity
    record.lap("jwt")
    record.identified_in = record.laps["jwt"]
    if state.cache is None:
        raise api_error("PGRST002", headers=((b"retry-after", b"1"),))
    _check_target(head, state.request_rules, state.cache)
    return Admitted(state, identity)


def _check_target(head: HttpRequest, rules: RequestRules, cache: SchemaCache) -> None:
    length = _announced(head)
    request = with_query_of_body(head)
    if request.method == QUERY:
        check_announced(head, length or 0)
    target = read_target(request, rules)
    try:
        problem = content_type_problem(target.content_type, target.action)
        if problem is not None:
            raise problem
        _check_exists(target, cache, length)
    except ApiError:
        # What is wrong with the query string comes first.
        read_query(request, target.action)
        raise


def _announced(head: HttpRequest) -> int | None:
    length = header(head.headers, b"content-length")
    return None if length is None else int(length)


def _check_exists(target: Target, cache: SchemaCache, length: int | None) -> None:
    action, name = target.action, target.action.target
    if action.kind in _OF_ROOT:
        return
    if not action.is_call:
        find_table(cache, name)
    elif name not in cache.functions and (length is None or length > WORDED):
        raise api_error(
            "PGRST202",
            function=f"{name.schema}.{name.name}",
            details=f"There is no function {name.schema}.{name.name}, whatever its arguments.",
            hint=function_hint(cache, name, ()),
        )
