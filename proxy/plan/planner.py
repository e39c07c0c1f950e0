"""The planner: ApiRequest + SchemaCache → Plan. A pure function; no SQL, no I/O.

PostgREST's own order of checks is kept, so that a request wrong in two ways gets the same
error: table, read plan, write or call plan, preferences, media type.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pool.model import AccessMode
from proxy.errors import api_error
from proxy.plan.call import find_function, plan_call
from proxy.plan.model import (
    Answering,
    FunctionCall,
    Info,
    Inspect,
    Plan,
    ReadPlan,
    TableRead,
    TableWrite,
)
from proxy.plan.negotiate import NO_BODY, negotiate, not_acceptable
from proxy.plan.read import Addressed, ReadRules, Warned, plan_read
from proxy.plan.write import plan_mutation
from proxy.request.media_types import OPENAPI, OPENAPI_31
from proxy.request.model import ApiRequest, EmbedPath, Filter, LogicTree
from proxy.request.preferences import Preferences
from proxy.schema_cache.model import Function, QualifiedName, SchemaCache, Table
from proxy.schema_cache.suggestions import table_hint


@dataclass(frozen=True, slots=True)
class PlanRules:
    """The settings that planning depends on."""

    read: ReadRules = field(default_factory=ReadRules)
    plan_enabled: bool = False
    plain_csv: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and the deprecations its request should be warned of."""

    plan: Plan
    warnings: tuple[Warned, ...] = ()


def plan_request(request: ApiRequest, cache: SchemaCache, rules: PlanRules) -> Planned:
    """What `request` means in this database. Raises ApiError."""
    match request.action.kind:
        case "read":
            return _table_read(request, cache, rules)
        case "create" | "update" | "upsert" | "delete":
            return _table_write(request, cache, rules)
        case "call" | "call_read":
            return _function_call(request, cache, rules)
        case "inspect":
            return Planned(_inspect(request))
        case "relation_info":
            return Planned(Info(_allowed_on_table(find_table(cache, request.action.target))))
        case "routine_info":
            return Planned(Info(_allowed_on_function(find_function(cache, request))))
        case "schema_info":
            return Planned(Info("OPTIONS,GET,HEAD"))


def find_table(cache: SchemaCache, name: QualifiedName) -> Table:
    """The table or view of this name. Raises `ApiError` PGRST205."""
    table = cache.tables.get(name)
    if table is None:
        raise api_error(
            "PGRST205", table=f"{name.schema}.{name.name}", hint=table_hint(cache, name)
        )
    return table


def _addressed(request: ApiRequest) -> Addressed:
    """The parameters that shape rows: all of them for reads and calls; a write's own
    filters choose what it touches, only those of its embeds shape what it returns."""
    query = request.query
    conditions: list[tuple[EmbedPath, Filter | LogicTree]] = [*query.filters, *query.logic]
    if request.action.is_mutation:
        conditions = [(path, item) for path, item in conditions if path]
        return Addressed(conditions, query.order, {})
    return Addressed(conditions, query.order, {**query.ranges, (): request.range})


def _read_plan(
    request: ApiRequest, cache: SchemaCache, rules: PlanRules, table: QualifiedName
) -> tuple[ReadPlan, tuple[Warned, ...]]:
    """The rows of the answer: of the table itself, or of what the write or call left."""
    return plan_read(
        cache,
        rules.read,
        table,
        request.query.select,
        _addressed(request),
        from_cte=request.action.kind != "read",
        caps_rows=not request.action.is_mutation,
    )


def _answering(
    request: ApiRequest,
    cache: SchemaCache,
    rules: PlanRules,
    target: QualifiedName,
    default_select: bool,
) -> Answering:
    answering = negotiate(
        cache,
        request.accept,
        target,
        default_select=default_select,
        plan_enabled=rules.plan_enabled,
    )
    returns_rows = request.preferences.representation == "representation"
    if request.action.head or (request.action.is_mutation and not returns_rows):
        return Answering(NO_BODY, answering.media_type)
    return replace(answering, plain_csv=True) if rules.plain_csv else answering


def _check_preferences(preferences: Preferences) -> None:
    if preferences.invalid and preferences.is_strict:
        listed = ", ".join(preferences.invalid)
        raise api_error("PGRST122", details=f"Invalid preferences: {listed}")


def _table_read(request: ApiRequest, cache: SchemaCache, rules: PlanRules) -> Planned:
    target = request.action.target
    find_table(cache, target)
    read, warnings = _read_plan(request, cache, rules, target)
    answering = _answering(request, cache, rules, target, read.has_default_select)
    _check_preferences(request.preferences)
    return Planned(TableRead(read, answering, target, request.action.head), warnings)


def _table_write(request: ApiRequest, cache: SchemaCache, rules: PlanRules) -> Planned:
    target = request.action.target
    find_table(cache, target)
    read, warnings = _read_plan(request, cache, rules, target)
    mutation = plan_mutation(cache, request, read)
    _check_preferences(request.preferences)
    answering = _answering(request, cache, rules, target, read.has_default_select)
    kind = request.action.kind
    assert kind in ("create", "update", "upsert", "delete")
    return Planned(TableWrite(read, mutation, kind, answering, target), warnings)


def _function_call(request: ApiRequest, cache: SchemaCache, rules: PlanRules) -> Planned:
    function = find_function(cache, request)
    row_type = QualifiedName(function.schema, function.table_name or function.name)
    read, warnings = _read_plan(request, cache, rules, row_type)
    call = plan_call(function, request, read)
    answering = _answering(request, cache, rules, row_type, read.has_default_select)
    preferences = request.preferences
    _check_preferences(preferences)
    if (
        preferences.max_affected is not None
        and preferences.is_strict
        and not function.returns_set
    ):
        raise api_error("PGRST128")
    writes = request.action.kind == "call" and function.volatility == "volatile"
    access: AccessMode = "read write" if writes else "read only"
    head = request.action.head
    return Planned(FunctionCall(read, call, answering, access, head), warnings)


def _inspect(request: ApiRequest) -> Inspect:
    for media in request.accept:
        if media.kind in ("openapi", "json", "any"):
            return Inspect(request.schema, request.action.head, OPENAPI)
        if media.kind == "openapi31":
            return Inspect(request.schema, request.action.head, OPENAPI_31)
    raise not_acceptable(request.accept)


def _allowed_on_table(table: Table) -> str:
    methods = ["OPTIONS,GET,HEAD"]
    if table.insertable:
        methods.append("POST")
    if table.insertable and table.updatable and table.primary_key:
        methods.append("PUT")
    if table.updatable:
        methods.append("PATCH")
    if table.deletable:
        methods.append("DELETE")
    return ",".join(methods)


def _allowed_on_function(function: Function) -> str:
    if function.volatility == "volatile":
        return "OPTIONS,POST"
    return "OPTIONS,GET,HEAD,POST"
