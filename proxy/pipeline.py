"""The chain, whole: HttpRequest → ApiRequest → Plan → Statement → Result → Response.

Every step but one is a plain function from values to a value; `run` is the one that
waits, for the database. (Reading a large body and describing the whole API take so long that
they are done in a thread.) What a request may read of its app stands in `AppState`, a value
taken once at the start, so that a reload never changes a request under way.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from pool.errors import PoolError
from pool.model import Outcome, Statement, Transaction, keep_always
from proxy.aside import LARGE, aside
from proxy.auth.model import Identity
from proxy.auth.token_cache import Authenticator
from proxy.cache.rules import CacheRules
from proxy.deadline import deadline_of, run_in_time
from proxy.errors import ApiError, Verbosity, api_error
from proxy.plan.model import (
    AccessMode,
    DatabasePlan,
    FunctionCall,
    Info,
    Inspect,
    TableRead,
    TableWrite,
)
from proxy.plan.planner import PlanRules, plan_request
from proxy.record import Record, Resource
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.media_types import OPENAPI_31
from proxy.request.model import ApiRequest, HttpRequest
from proxy.request.preferences import Preferences
from proxy.response.answer import (
    call_response,
    info_response,
    inspect_response,
    plan_response,
    read_form,
    read_response,
    with_warnings,
    write_response,
)
from proxy.response.commit_check import commit_check, is_explained, violation
from proxy.response.database_errors import is_catalog_race, may_be_outdated, pool_error
from proxy.response.errors import error_response
from proxy.response.model import Response
from proxy.response.openapi import openapi_document
from proxy.response.openapi31 import openapi31_document
from proxy.response.openapi_api import OpenApiOptions
from proxy.response.result import plan_text, planned_rows, read_result
from proxy.schema_cache.model import QualifiedName, SchemaCache
from proxy.shapes.asked import Asked
from proxy.shapes.cache import Shapes
from proxy.shapes.sent import SentHeaders
from proxy.sql.inspect import InspectMode, inspect_statement, read_inspection
from proxy.sql.session import Setting, trace_settings, transaction_settings
from proxy.sql.statements import main_statement, planned_count_statement
from proxy.sql.writer import qualified

Run = Callable[[Transaction], Awaitable[Outcome]]
Renew = Callable[["AppState"], Awaitable["AppState | None"]]
"""Given the state that a request failed with, one with a newer schema cache, if any."""


@dataclass(frozen=True, slots=True)
class TransactionRules:
    """The settings that a request's transaction depends on.

    `rolls_back`: transactions end in ROLLBACK unless the caller asks to commit
    (db-tx-end). `anonymous_role` tells whose denial is 401, not 403. `legacy_gucs` adds
    the settings of PostgREST before version 12 (db-use-legacy-gucs).
    `statement_timeout`: seconds, for roles that have none of their own. `finishes_writes`: a
    write goes on when its caller has gone (db-cancel-writes off).
    """

    extra_search_path: tuple[str, ...] = ("public",)
    app_settings: tuple[Setting, ...] = ()
    pre_request: QualifiedName | None = None
    rolls_back: bool = False
    max_rows: int | None = None
    anonymous_role: str | None = None
    legacy_gucs: bool = False
    statement_timeout: float | None = None
    finishes_writes: bool = False


@dataclass(frozen=True, slots=True)
class AppState:
    """All that answering a request depends on; a reload makes a new one.

    `cache` is None until the schema cache was loaded for the first time. `request_timeout`:
    seconds that a request may take; callers may ask for less.
    """

    authenticator: Authenticator
    cache: SchemaCache | None
    request_rules: RequestRules
    plan_rules: PlanRules
    transaction_rules: TransactionRules
    openapi_mode: InspectMode
    openapi: OpenApiOptions
    verbosity: Verbosity = "verbose"
    server_timing: bool = False
    request_timeout: float | None = None
    cache_rules: CacheRules = field(default_factory=CacheRules)
    shapes: Shapes = field(default_factory=Shapes, compare=False)
    """Of this state's cache and rules alone: a state with others has others."""

    def __post_init__(self) -> None:
        self.shapes.belong_to(
            (
                self.cache,
                self.request_rules,
                self.plan_rules,
                self.transaction_rules,
                self.openapi_mode,
            )
        )


async def answer(
    state: AppState,
    run: Run,
    http: HttpRequest,
    renew: Renew | None = None,
    record: Record | None = None,
) -> Response:
    """The response to `http`; failures become responses too. `record` is filled in.

    One that an outdated schema cache may explain is tried once more with the newer state
    that `renew` gives. Its transaction was rolled back, so nothing is done twice.
    """
    record = record or Record()
    try:
        return await _answer(state, run, http, record)
    except ApiError as error:
        failure = error
    if renew is not None and may_be_outdated(failure):
        newer = await renew(state)
        if newer is not None or is_catalog_race(failure):
            state = newer or state
            try:
                return await _answer(state, run, http, record)
            except ApiError as error:
                failure = error
    record.code = failure.code
    return error_response(failure, state.verbosity)


async def _answer(state: AppState, run: Run, http: HttpRequest, record: Record) -> Response:
    record.start()
    record.deadline = deadline_of(http.headers, state.request_timeout, record.began)
    identity = state.authenticator.identify(http.headers, time.time())
    record.role, record.identity = identity.role, identity
    record.lap("jwt")
    cache = state.cache
    if cache is None:
        raise api_error("PGRST002", headers=((b"retry-after", b"1"),))
    sent = state.shapes.sent(http.headers)
    asked = await _understood(state, cache, http, sent, record)
    plan = asked.planned.plan
    record.plan, record.schema_cache = plan, cache
    if isinstance(plan, Info):
        response = info_response(plan)
    else:
        settings = _settings(state, cache, asked, identity, sent)
        transaction = asked.transaction(settings, cache.role_isolation.get(identity.role))
        try:
            response = await _respond(state, cache, run, asked, plan, transaction, record)
        except PoolError as error:
            authenticated = identity.role != state.transaction_rules.anonymous_role
            raise pool_error(error, authenticated=authenticated) from error
    record.lap("response")
    if asked.planned.warnings:
        response = with_warnings(response, asked.planned.warnings)
    if state.server_timing:
        response = replace(response, headers=(*response.headers, record.server_timing()))
    return response


async def _understood(
    state: AppState, cache: SchemaCache, http: HttpRequest, sent: SentHeaders, record: Record
) -> Asked:
    """What `http` asks: known again by its shape, or read and planned in full."""
    outline = state.shapes.outline(http, sent)
    if outline is not None:
        asked = state.shapes.recognised(outline, http.body)
        if asked is not None:
            record.resource = _resource(asked.request)
            record.lap("parse")
            record.lap("plan")
            return asked
    request = await _read(http, state.request_rules, record.deadline)
    record.resource = _resource(request)
    record.lap("parse")
    asked = asked_of(state, cache, request)
    record.lap("plan")
    if outline is not None:
        read = partial(read_api_request, rules=state.request_rules)
        state.shapes.learn(outline, http, sent, asked, read, partial(asked_of, state, cache))
    return asked


async def _read(http: HttpRequest, rules: RequestRules, deadline: float | None) -> ApiRequest:
    if len(http.body) <= LARGE:
        return read_api_request(http, rules)
    return await aside(partial(read_api_request, http, rules), deadline)


def _resource(request: ApiRequest) -> Resource:
    action = request.action
    if action.is_call:
        return "rpc"
    return "table" if action.target.name else "root"


async def _respond(
    state: AppState,
    cache: SchemaCache,
    run: Run,
    asked: Asked,
    plan: DatabasePlan | Inspect,
    transaction: Transaction,
    record: Record,
) -> Response:
    if record.trace is not None:
        traced = trace_settings(record.trace.traceparent)
        transaction = replace(transaction, settings=(*transaction.settings, *traced))
    if record.deadline is not None:
        transaction = replace(transaction, deadline=record.deadline)
    record.transaction = transaction
    try:
        outcome = await run_in_time(partial(_run_noted, run, record), transaction)
    finally:
        record.lap("transaction")
    if isinstance(plan, Inspect):
        found = read_inspection(outcome.rows)
        describe = openapi31_document if plan.media_type == OPENAPI_31 else openapi_document
        options = replace(state.openapi, path_prefix=asked.request.path_prefix)
        document = await aside(
            lambda _: describe(cache, plan.schema, found, state.openapi_mode, options),
            record.deadline,
        )
        return inspect_response(plan.media_type, asked.request, document, head=plan.head)
    return _answer_to(state, asked, plan, transaction, outcome)


async def _run_noted(run: Run, record: Record, transaction: Transaction) -> Outcome:
    try:
        outcome = await run(transaction)
    except PoolError as error:
        record.waited = error.waited
        raise
    record.waited = outcome.waited
    return outcome


def asked_of(state: AppState, cache: SchemaCache, request: ApiRequest) -> Asked:
    """What `request` asks of the database: the plan, the very SQL, the checks. Raises
    ApiError."""
    rules = state.transaction_rules
    planned = plan_request(request, cache, state.plan_rules)
    plan = planned.plan
    statement = after = form = None
    preferences = request.preferences
    rest: dict[str, object] = {
        "before": None
        if rules.pre_request is None
        else Statement(f"SELECT {qualified(rules.pre_request)}()"),
    }
    if isinstance(plan, Inspect):
        statement = inspect_statement(plan.schema, state.openapi_mode)
    elif not isinstance(plan, Info):
        statement = main_statement(
            plan,
            count=preferences.count,
            max_rows=rules.max_rows,
            page=request.range,
            locates=preferences.representation == "headers-only",
        )
        counts_by_plan = preferences.count in ("planned", "estimated")
        if isinstance(plan, TableRead):
            form = read_form(plan, request)
            if counts_by_plan and not is_explained(plan):
                after = planned_count_statement(plan.read)
        access = _access_mode(plan)
        rest |= {
            "access": access,
            "finish_when_abandoned": rules.finishes_writes and access == "read write",
            "keep": commit_check(plan, preferences),
            "rollback": _rolls_back(rules, preferences),
        }
    function = plan.call.function if isinstance(plan, FunctionCall) else None
    return Asked(
        request=request,
        planned=planned,
        statement=statement,
        after=after,
        isolation=function.isolation if function else None,
        rest=rest,
        canonical=request.query.canonical,
        form=form,
    )


def _settings(
    state: AppState, cache: SchemaCache, asked: Asked, identity: Identity, sent: SentHeaders
) -> tuple[Setting, ...]:
    """What the transaction is told first; kept for requests of a shape."""
    if asked.shape is not None:
        known = sent.settings(asked.shape, identity)
        if known is not None:
            return known
    plan, rules = asked.planned.plan, state.transaction_rules
    settings = transaction_settings(
        replace(asked.request, headers=sent.pairs, cookies=sent.cookies),
        identity,
        cache,
        extra_search_path=rules.extra_search_path,
        app_settings=rules.app_settings,
        function=plan.call.function if isinstance(plan, FunctionCall) else None,
        legacy=rules.legacy_gucs,
        statement_timeout=rules.statement_timeout,
    )
    if asked.shape is not None:
        sent.keep_settings(asked.shape, identity, settings)
    return settings


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


def _answer_to(
    state: AppState,
    asked: Asked,
    plan: DatabasePlan,
    transaction: Transaction,
    outcome: Outcome,
) -> Response:
    request = asked.request
    if is_explained(plan):
        return plan_response(plan.answering.media_type, request, plan_text(outcome))
    if transaction.keep is not keep_always:
        failed = violation(plan, request.preferences, outcome.rows)
        if failed is not None:
            raise failed
    result = read_result(outcome)
    match plan:
        case TableRead():
            assert asked.form is not None
            if request.preferences.count is not None:
                counted = _with_planned_count(state, request, result.total, outcome)
                result = replace(result, total=counted)
            return read_response(asked.form, asked.canonical, result)
        case TableWrite():
            return write_response(plan, request, result)
        case FunctionCall():
            return call_response(plan, request, result)


def _with_planned_count(
    state: AppState, request: ApiRequest, total: int | None, outcome: Outcome
) -> int | None:
    """`count=planned` is PostgreSQL's estimate; `estimated` is exact up to db-max-rows."""
    limit = state.transaction_rules.max_rows
    match request.preferences.count:
        case "planned":
            return planned_rows(outcome)
        case "estimated" if total is not None and (limit is None or total > limit):
            return max(total, planned_rows(outcome))
        case _:
            return total
