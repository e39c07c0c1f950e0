"""From a request line to a plan and its SQL, over the sample schema cache."""

from __future__ import annotations

from pool.model import Statement
from proxy.plan.model import FunctionCall, TableRead, TableWrite
from proxy.plan.planner import Planned, PlanRules, plan_request
from proxy.plan.read import ReadRules
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.model import ApiRequest, HttpRequest
from proxy.sql.statements import main_statement
from tests.plan.sample import CACHE, SCHEMA

REQUEST_RULES = RequestRules(schemas=(SCHEMA,))
PLAN_RULES = PlanRules(read=ReadRules(aggregates_enabled=True), plan_enabled=True)


def request(
    target: str | bytes, method: str = "GET", body: bytes = b"", **headers: str
) -> ApiRequest:
    """The ApiRequest of a request line; header names are written with underscores."""
    raw = target if isinstance(target, bytes) else target.encode()
    path, _, query = raw.partition(b"?")
    pairs = tuple(
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    )
    return read_api_request(HttpRequest(method, path, query, pairs, body), REQUEST_RULES)


def planned(
    target: str | bytes,
    method: str = "GET",
    body: bytes = b"",
    rules: PlanRules = PLAN_RULES,
    **headers: str,
) -> Planned:
    """What the planner makes of a request."""
    return plan_request(request(target, method, body, **headers), CACHE, rules)


def statement(
    target: str | bytes, method: str = "GET", body: bytes = b"", **headers: str
) -> Statement:
    """The statement that answers a request."""
    api_request = request(target, method, body, **headers)
    plan = plan_request(api_request, CACHE, PLAN_RULES).plan
    assert isinstance(plan, TableRead | TableWrite | FunctionCall)
    return main_statement(
        plan,
        count=api_request.preferences.count,
        page=api_request.range,
        locates=api_request.preferences.representation == "headers-only",
    )
