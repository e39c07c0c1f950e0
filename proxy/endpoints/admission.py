"""Whether a request's body is worth reading: who asks, and for what.

In: the head of a request, and its app. Out: the `Call` that it makes, or the `ApiError` that
it is answered with before its body is read. Errors come in PostgREST's order as far as the
head can tell: token, schema cache, path, schema, method, query string, ranges, media type,
table or function. What is wrong with a body itself comes after these, which is the one
difference to PostgREST (docs/migrate-postgrest.md).
"""

from __future__ import annotations

from typing import Final

from proxy.errors import ApiError, api_error
from proxy.observability.record import Record
from proxy.pipeline import begin
from proxy.plan.planner import find_table
from proxy.request.api_request import Target, read_query, read_target
from proxy.request.headers import header_values
from proxy.request.model import HttpRequest
from proxy.request.payload import content_type_problem
from proxy.request.query_method import QUERY, check_announced, with_query_of_body
from proxy.schema_cache.model import SchemaCache
from proxy.schema_cache.suggestions import function_hint
from proxy.state.app_state import AppState
from proxy.steps.call import App, Call

WORDED: Final = 16 * 1024
"""Bytes of an announced body that is read although there is no function of that name: what
PostgREST says about it lists the arguments."""

_OF_ROOT: Final = frozenset(("inspect", "schema_info"))


async def admit(app: App, head: HttpRequest, record: Record) -> Call:
    """The call that a request makes whose body is worth reading: whatever is reloaded
    meanwhile, it stays with its state. Raises `ApiError` when the request is to be refused,
    whatever its body."""
    call = await begin(app, head, record)
    try:
        _check_target(head, call.state)
    except ApiError as error:
        newer = await app.newer(call.state, error)
        if newer is None:
            raise
        call.state = newer
        _check_target(head, newer)
    return call


def _check_target(head: HttpRequest, state: AppState) -> None:
    schema = state.schema
    if schema is None:
        raise api_error("PGRST002", headers=((b"retry-after", b"1"),))
    length = _announced(head)
    request = with_query_of_body(head)
    if request.method == QUERY:
        check_announced(head, length or 0)
    target = read_target(request, state.rules.request)
    try:
        problem = content_type_problem(target.content_type, target.action)
        if problem is not None:
            raise problem
        _check_exists(target, schema, length)
    except ApiError:
        # What is wrong with the query string comes first.
        read_query(request, target)
        raise


def _announced(head: HttpRequest) -> int | None:
    length = header_values(head.headers, (b"content-length",)).get(b"content-length")
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
