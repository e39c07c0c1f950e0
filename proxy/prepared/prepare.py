"""From a request to its query: known by its fingerprint, or read and planned in full.

In: an `HttpRequest` and an app's prepared queries. Out: a `BoundQuery`. What takes long is
worked on beside the event loop.
"""

from __future__ import annotations

from functools import partial

from pool.model import AccessMode, Statement
from proxy.errors import api_error
from proxy.observability.record import Record, Resource
from proxy.plan.model import DatabasePlan, FunctionCall, Info, Inspect, TableRead, TableWrite
from proxy.plan.planner import plan_request
from proxy.prepared.queries import PreparedQueries
from proxy.prepared.query import BoundQuery, PreparedQuery
from proxy.prepared.rules import QueryRules, TransactionRules
from proxy.prepared.worker_threads import LARGE, aside
from proxy.request.api_request import read_api_request
from proxy.request.model import ApiRequest, HttpRequest
from proxy.request.preferences import Preferences
from proxy.request.request_headers import RequestHeaders
from proxy.response.answer import read_form
from proxy.response.commit_check import commit_check, is_explained
from proxy.schema_cache.model import SchemaCache
from proxy.sql.inspect import inspect_statement
from proxy.sql.statements import main_statement, planned_count_statement
from proxy.sql.writer import qualified


async def prepare(
    queries: PreparedQueries,
    http: HttpRequest,
    headers: RequestHeaders,
    record: Record,
    deadline: float | None = None,
) -> BoundQuery:
    """What `http` asks of the database. A large body is read until the `deadline`, in the
    event loop's time. Raises ApiError."""
    schema, rules = queries.schema, queries.rules
    if schema is None:
        raise api_error("PGRST002", headers=((b"retry-after", b"1"),))
    found = queries.fingerprint(http, headers)
    if found is not None:
        query = queries.find(found, http.body)
        if query is not None:
            record.resource = _resource(query.prepared.request)
            record.lap("parse")
            record.lap("plan")
            return query
    if len(http.body) <= LARGE:
        request = read_api_request(http, rules.request)
    else:
        request = await aside(partial(read_api_request, http, rules.request), deadline)
    record.resource = _resource(request)
    record.lap("parse")
    query = planned_query(rules, schema, request)
    record.lap("plan")
    if found is not None:
        read = partial(read_api_request, rules=rules.request)
        queries.learn(found, http, headers, query, read, partial(planned_query, rules, schema))
    return query


def planned_query(rules: QueryRules, schema: SchemaCache, request: ApiRequest) -> BoundQuery:
    """What `request` asks of the database: the plan, the very SQL, the checks. Raises
    ApiError."""
    told, preferences = rules.transaction, request.preferences
    planned = plan_request(request, schema, rules.plan)
    plan = planned.plan
    before = None
    if told.pre_request is not None:
        before = Statement(f"SELECT {qualified(told.pre_request)}()")
    prepared = PreparedQuery(request, planned, schema, before, pre_request=told.pre_request)
    canonical = request.query.canonical
    if isinstance(plan, Info):
        return BoundQuery(prepared, None, None, canonical)
    if isinstance(plan, Inspect):
        statement = inspect_statement(plan.schema, rules.openapi_mode)
        return BoundQuery(prepared, statement, None, canonical)
    prepared.access = _access_mode(plan)
    prepared.keep = commit_check(plan, preferences)
    prepared.rollback = _rolls_back(told, preferences)
    prepared.finish_when_abandoned = told.finishes_writes and prepared.access == "read write"
    if isinstance(plan, FunctionCall):
        prepared.isolation = plan.call.function.isolation
    statement = main_statement(
        plan,
        count=preferences.count,
        max_rows=told.max_rows,
        page=request.range,
        locates=preferences.representation == "headers-only",
    )
    after = None
    if isinstance(plan, TableRead):
        prepared.form = read_form(plan, request)
        counts_by_plan = preferences.count in ("planned", "estimated")
        if counts_by_plan and not is_explained(plan):
            after = planned_count_statement(plan.read)
    return BoundQuery(prepared, statement, after, canonical)


def _resource(request: ApiRequest) -> Resource:
    action = request.action
    if action.is_call:
        return "rpc"
    return "table" if action.target.name else "root"


def _access_mode(plan: DatabasePlan) -> AccessMode:
    match plan:
        case TableRead():
            return "read only"
        case TableWrite():
            return "read write"
        case FunctionCall():
            return plan.access


def _rolls_back(rules: TransactionRules, preferences: Preferences) -> bool:
    if preferences.transaction is not None:
        return preferences.transaction == "rollback"
    return rules.rolls_back
