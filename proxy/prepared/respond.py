"""Outcome → Response: what PostgreSQL answered, as the request asked for it. Pure."""

from __future__ import annotations

from dataclasses import replace

from pool.model import Outcome, keep_always
from proxy.plan.model import FunctionCall, TableRead, TableWrite
from proxy.prepared.query import BoundQuery
from proxy.request.model import ApiRequest
from proxy.response.answer import call_response, plan_response, read_response, write_response
from proxy.response.commit_check import is_explained, violation
from proxy.response.model import Response
from proxy.response.result import plan_text, planned_rows, read_result


def respond(query: BoundQuery, max_rows: int | None, outcome: Outcome) -> Response:
    """The response to a table read, a write or a call. Raises ApiError."""
    prepared = query.prepared
    request, plan = prepared.request, prepared.planned.plan
    assert isinstance(plan, TableRead | TableWrite | FunctionCall)
    if is_explained(plan):
        return plan_response(plan.answering.media_type, request, plan_text(outcome))
    if prepared.keep is not keep_always:
        failed = violation(plan, request.preferences, outcome.rows)
        if failed is not None:
            raise failed
    result = read_result(outcome)
    match plan:
        case TableRead():
            assert prepared.form is not None
            if request.preferences.count is not None:
                total = _with_planned_count(request, max_rows, result.total, outcome)
                result = replace(result, total=total)
            return read_response(prepared.form, query.canonical, result)
        case TableWrite():
            return write_response(plan, request, result)
        case FunctionCall():
            return call_response(plan, request, result)


def _with_planned_count(
    request: ApiRequest, limit: int | None, total: int | None, outcome: Outcome
) -> int | None:
    """`count=planned` is PostgreSQL's estimate; `estimated` is exact up to db-max-rows."""
    match request.preferences.count:
        case "planned":
            return planned_rows(outcome)
        case "estimated" if total is not None and (limit is None or total > limit):
            return max(total, planned_rows(outcome))
        case _:
            return total
