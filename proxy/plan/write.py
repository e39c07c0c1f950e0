"""Plans of INSERT, UPDATE, upsert and DELETE (PostgREST docs: "Tables and Views")."""

from __future__ import annotations

from proxy.errors import api_error
from proxy.plan.fields import filter_condition, payload_field
from proxy.plan.model import (
    Condition,
    DeletePlan,
    FieldRef,
    InsertPlan,
    MutatePlan,
    ReadPlan,
    UpdatePlan,
)
from proxy.plan.read import needed_columns
from proxy.request.model import ApiRequest, Filter, JsonPayload
from proxy.schema_cache.model import QualifiedName, SchemaCache, Table


def plan_mutation(cache: SchemaCache, request: ApiRequest, read: ReadPlan) -> MutatePlan:
    """The write that `request` asks for; `read` shapes what it returns.

    Raises PGRST204 for an unknown column in the payload, PGRST105 for a PUT whose filters
    are not exactly the primary key, EDGE110 to EDGE113 for a by-key update that names no
    usable keys.
    """
    target = request.action.target
    table = cache.tables[target]
    preferences = request.preferences
    kind = request.action.kind
    wants_rows = preferences.representation in ("representation", "headers-only")
    returning = needed_columns(read, table.primary_key) if wants_rows else ()
    apply_defaults = preferences.missing == "default"
    body, is_array = _json_body(request)
    match kind:
        case "delete":
            return DeletePlan(target, _root_conditions(cache, request, target), returning)
        case "update":
            keys = _update_keys(request, table)
            return UpdatePlan(
                target,
                _columns(cache, table, request),
                body,
                is_array,
                _root_conditions(cache, request, target),
                _with_keys(returning, keys),
                apply_defaults,
                keys,
            )
        case "upsert":
            _check_put_filters(request, table)
            return InsertPlan(
                target,
                _columns(cache, table, request),
                body,
                is_array,
                returning,
                primary_key=(),
                resolution="merge-duplicates",
                on_conflict=table.primary_key,
                put_filters=_root_conditions(cache, request, target),
            )
        case _:
            on_conflict = request.query.on_conflict
            return InsertPlan(
                target,
                _columns(cache, table, request),
                body,
                is_array,
                returning,
                primary_key=table.primary_key,
                resolution=preferences.resolution,
                on_conflict=table.primary_key if on_conflict is None else on_conflict,
                apply_defaults=apply_defaults,
            )


def _update_keys(request: ApiRequest, table: Table) -> tuple[str, ...]:
    """The columns that a by-key update matches its rows on; none for a plain PATCH."""
    preferences = request.preferences
    for text in preferences.invalid:
        # Passing over a misspelt value would make it a PATCH of every row.
        if text.startswith("update="):
            raise api_error("EDGE110", value=text.removeprefix("update="))
    if preferences.update is None or _json_body(request) == (b"[]", True):
        return ()
    keys = request.query.on_conflict or table.primary_key
    if not keys:
        raise api_error("EDGE111", table=table.name)
    for key in keys:
        if key not in request.columns:
            raise api_error("EDGE112", column=key)
    if request.columns <= set(keys):
        raise api_error("EDGE113")
    return tuple(dict.fromkeys(keys))


def _with_keys(returning: tuple[str, ...], keys: tuple[str, ...]) -> tuple[str, ...]:
    """What to return, so that it also tells which keys were matched."""
    return returning if "*" in returning else tuple(dict.fromkeys((*returning, *keys)))


def _json_body(request: ApiRequest) -> tuple[bytes, bool]:
    payload = request.payload
    if isinstance(payload, JsonPayload):
        return payload.raw, payload.is_array
    return b"", False


def _columns(cache: SchemaCache, table: Table, request: ApiRequest) -> tuple[FieldRef, ...]:
    return tuple(payload_field(cache, table, name) for name in sorted(request.columns))


def _root_conditions(
    cache: SchemaCache, request: ApiRequest, target: QualifiedName
) -> tuple[Condition, ...]:
    filters = [item for path, item in request.query.filters if not path]
    trees = [item for path, item in request.query.logic if not path]
    return tuple(filter_condition(cache, target, item) for item in [*filters, *trees])


def _check_put_filters(request: ApiRequest, table: Table) -> None:
    query = request.query
    key = set(table.primary_key)
    if (
        not key
        or query.logic
        or {item.field.name for _, item in query.filters} != key
        or any(path or not _is_plain_equality(item) for path, item in query.filters)
    ):
        raise api_error("PGRST105")


def _is_plain_equality(item: Filter) -> bool:
    operation = item.operation
    bare = not (item.field.path or operation.negated or operation.quantifier)
    return bare and operation.operator == "eq"
