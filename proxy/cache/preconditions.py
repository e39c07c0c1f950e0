"""If-Match and If-None-Match on writes: optimistic locking inside the write's transaction.

In: a write, its transaction and its conditions. Out: the transaction with a guard: the query
of the GET that the write's URL stands for, whose answer is hashed as that GET's would be and
compared before anything is changed.

The transaction is SERIALIZABLE. So whatever the comparison saw is still so when the write is
committed, or PostgreSQL refuses it (SQLSTATE 40001), and it is tried again on what is there
then, which no longer matches. That holds for rows that a filter would newly match, for
views with INSTEAD OF triggers, for PUTs that create, and for roles that may not lock rows:
SELECT … FOR UPDATE needs UPDATE privileges and policies, can't lock a row that isn't there
yet and is refused for views that group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pool.errors import DatabaseError
from pool.model import Outcome, Row, Transaction
from pool.sqlstate import IN_EACH_OTHERS_WAY
from proxy.errors import ApiError, api_error
from proxy.plan.model import FunctionCall, TableRead
from proxy.plan.planner import plan_request
from proxy.prepared.query import BoundQuery
from proxy.prepared.rules import QueryRules
from proxy.request.api_request import read_api_request
from proxy.request.conditions import Conditions, Precondition, judge_write
from proxy.request.model import Headers, HttpRequest
from proxy.request.tags import tag_of
from proxy.response.answer import read_form, read_response
from proxy.response.commit_check import is_explained, violation
from proxy.response.result import read_result
from proxy.sql.statements import main_statement

_TRIES: Final = 5
_KEPT_HEADERS: Final = frozenset((b"accept", b"authorization", b"cookie"))


def refused(details: str | None = None, hint: str | None = None) -> ApiError:
    """The answer to a request whose precondition does not hold."""
    return api_error("EDGE412", details=details, hint=hint)


def mismatch() -> ApiError:
    """The answer when the representation is another one."""
    hint = "A tag is that of a GET of this very URL, select included, with this Accept"
    return refused("What is there now is not what the request asks for", hint)


def guarded(
    transaction: Transaction,
    http: HttpRequest,
    query: BoundQuery,
    conditions: Conditions,
    rules: QueryRules,
) -> Transaction:
    """`transaction`, which writes only if `conditions` hold for what a GET would show.

    Raises `ApiError` when there can be no such GET: EDGE412 for a function call that needs
    a match, and whatever is wrong with the GET otherwise.
    """
    plan = query.prepared.planned.plan
    if isinstance(plan, FunctionCall):
        if conditions.match is not None:
            raise refused("A function call has no representation to match")
        return transaction
    read = replace(http, method="GET", headers=_headers_of_read(http.headers), body=b"")
    request = read_api_request(read, rules.request)
    target = plan_request(request, query.prepared.schema_cache, rules.plan).plan
    assert isinstance(target, TableRead)
    if is_explained(target):
        raise refused("An execution plan is no representation to match")
    form = read_form(target, request)

    def admits(rows: Sequence[Row]) -> bool:
        result = read_result(Outcome(rows, (), kept=True))
        if violation(target, request.preferences, rows) is not None:
            # The GET would fail, as one of no row for a single object does.
            tag = b""
        else:
            shown = read_response(form, request.query.canonical, result)
            tag = tag_of(shown.headers, shown.body)
        return judge_write(conditions, tag, rows=result.page) is Precondition.HOLDS

    return replace(
        transaction,
        isolation="serializable",
        guard=main_statement(target, max_rows=rules.transaction.max_rows),
        admits=admits,
    )


def _headers_of_read(headers: Headers) -> Headers:
    """Those of the GET that shows what a write is about to change: the same media type,
    schema and time zone, and nothing of what is said about the write."""
    kept: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name in _KEPT_HEADERS:
            kept.append((name, value))
        elif name == b"content-profile":
            kept.append((b"accept-profile", value))
        elif name == b"prefer":
            kept += [
                (b"prefer", part.strip())
                for part in value.split(b",")
                if part.strip().startswith(b"timezone=")
            ]
    return tuple(kept)


def may_try_again(error: DatabaseError, attempt: int) -> bool:
    """Whether a guarded transaction that failed for the so-maniest time is run once more.

    Raises `ApiError` EDGE412 when others never let it through.
    """
    if error.sqlstate not in IN_EACH_OTHERS_WAY:
        return False
    if attempt == _TRIES:
        raise refused("Other writes kept changing what was to be matched") from error
    return True
