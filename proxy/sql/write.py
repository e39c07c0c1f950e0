"""INSERT, UPDATE and DELETE: payloads are read by PostgreSQL out of one JSON parameter."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.plan.model import (
    SOURCE,
    Condition,
    DeletePlan,
    InsertPlan,
    MutatePlan,
    UpdatePlan,
)
from proxy.schema_cache.model import QualifiedName
from proxy.sql.conditions import condition_sql
from proxy.sql.writer import Writer, column, identifier, literal, qualified

_BODY = QualifiedName("", "pgrst_body")
_RECORD = QualifiedName("", "_")
_PAYLOAD = QualifiedName("", "pgrst_payload")


def mutation_sql(writer: Writer, plan: MutatePlan) -> str:
    """The write, with RETURNING for whatever the answer needs."""
    match plan:
        case InsertPlan():
            return _insert_sql(writer, plan)
        case UpdatePlan():
            return _update_sql(writer, plan)
        case DeletePlan(table, where, returning):
            conditions = _where_sql(writer, table, where)
            return f"DELETE FROM {qualified(table)}{conditions}{_returning(table, returning)}"


def keyed_payload_sql(writer: Writer, plan: UpdatePlan) -> str:
    """A CTE with the rows of a by-key update, for the update and for `matching_sql`."""
    return f"{_PAYLOAD.name} AS (SELECT * FROM {_payload(writer, plan)})"


def matching_sql(plan: UpdatePlan) -> str:
    """How a by-key update met its rows: a JSON array of the number of rows in the payload,
    of those without a whole key, of different keys, of updated rows and of their keys."""
    keys = ", ".join(map(identifier, plan.keys))
    without_key = " OR ".join(f"{identifier(key)} IS NULL" for key in plan.keys)
    counted = (
        _PAYLOAD.name,
        f"{_PAYLOAD.name} WHERE {without_key}",
        f"(SELECT DISTINCT {keys} FROM {_PAYLOAD.name}) AS asked",
        SOURCE,
        f"(SELECT DISTINCT {keys} FROM {SOURCE}) AS met",
    )
    counts = ", ".join(f"(SELECT pg_catalog.count(*) FROM {rows})" for rows in counted)
    return f"json_build_array({counts})"


def record_sql(
    writer: Writer,
    fields: Sequence[tuple[str, str, str | None]],
    body: bytes,
    *,
    is_array: bool,
    defaults: Sequence[tuple[str, str]] | None = None,
    limit: bool = False,
) -> str:
    """A FROM item `pgrst_body` with the payload's rows.

    `fields` are (name, type, casting function or None); `defaults`, when given, pairs
    column names with their default expressions, for keys a row leaves out.
    """
    # As text, jsonb too goes to the server as the very bytes that came.
    kind, cast_to = ("json", "json") if defaults is None else ("jsonb", "text::jsonb")
    if not fields and not is_array:
        return "(SELECT) pgrst_body"  # `{}`: one row of nothing but defaults
    payload = f"{writer.bind(body)}::{cast_to}"
    if not fields:
        return f"(SELECT FROM {kind}_array_elements({payload})) pgrst_body"
    columns = ", ".join(
        column(_RECORD, name)
        if cast is None
        else f"{cast}({column(_RECORD, name)}) AS {identifier(name)}"
        for name, _, cast in fields
    )
    record = ", ".join(f"{identifier(name)} {type_}" for name, type_, _ in fields)
    if defaults is None:
        source = f"json_to_record{'set' if is_array else ''}({payload}) AS _({record})"
    else:
        pairs = ", ".join(f"{literal(name)}, {value}" for name, value in defaults)
        given = "elem" if is_array else payload
        source = f"jsonb_to_record(jsonb_build_object({pairs}) || {given}) AS _({record})"
        if is_array:
            source = f"jsonb_array_elements({payload}) AS elem, LATERAL {source}"
    return f"(SELECT {columns} FROM {source}{' LIMIT 1' if limit else ''}) pgrst_body"


def _payload(writer: Writer, plan: InsertPlan | UpdatePlan) -> str:
    # A default can't tell which row is meant.
    keys = plan.keys if isinstance(plan, UpdatePlan) else ()
    defaults = [
        (field.name, field.default)
        for field in plan.columns
        if field.default is not None and field.name not in keys
    ]
    return record_sql(
        writer,
        [(field.name, field.type, field.transform) for field in plan.columns],
        plan.body,
        is_array=plan.body_is_array,
        defaults=defaults if plan.apply_defaults else None,
    )


def _insert_sql(writer: Writer, plan: InsertPlan) -> str:
    names = [field.name for field in plan.columns]
    columns = f"({', '.join(map(identifier, names))}) " if names else ""
    values = ", ".join(column(_BODY, name) for name in names)
    sql = (
        f"INSERT INTO {qualified(plan.table)} {columns}"
        f"SELECT {values} FROM {_payload(writer, plan)}"
    )
    counts_inserts = plan.resolution == "merge-duplicates"
    where = [_count_inserted("+", "0")] if counts_inserts else []
    where += [condition_sql(writer, _BODY, condition) for condition in plan.put_filters]
    if where:
        sql += f" WHERE {' AND '.join(where)}"
    if plan.resolution is not None and plan.on_conflict:
        keys = ", ".join(map(identifier, plan.on_conflict))
        sql += f" ON CONFLICT ({keys}) {_on_conflict(plan, names)}"
    return sql + _returning(plan.table, plan.returning)


def _on_conflict(plan: InsertPlan, names: Sequence[str]) -> str:
    if plan.resolution == "ignore-duplicates" or not names:
        return "DO NOTHING"
    updates = ", ".join(f"{identifier(n)} = EXCLUDED.{identifier(n)}" for n in names)
    return f"DO UPDATE SET {updates} WHERE {_count_inserted('-', '-1')}"


def _count_inserted(sign: str, never: str) -> str:
    """Counts candidate rows up and updated ones down, in a transaction-local setting:
    what is left is how many were inserted (200 or 201). Always true."""
    current = "coalesce(nullif(current_setting('pgrst.inserted', true), '')::int, 0)"
    return f"set_config('pgrst.inserted', ({current} {sign} 1)::text, true) <> '{never}'"


def _update_sql(writer: Writer, plan: UpdatePlan) -> str:
    table = qualified(plan.table)
    if not plan.columns:
        # An empty SET would be no SQL; no rows, but with the columns that select names.
        unqualified = QualifiedName("", plan.table.name)
        names = ", ".join(column(unqualified, name) for name in plan.returning) or "NULL"
        return f"SELECT {names} FROM {table} WHERE false"
    assignments = ", ".join(
        f"{identifier(field.name)} = {column(_BODY, field.name)}"
        for field in plan.columns
        if field.name not in plan.keys
    )
    source = f"{_PAYLOAD.name} AS {_BODY.name}" if plan.keys else _payload(writer, plan)
    matches = [f"{column(plan.table, key)} = {column(_BODY, key)}" for key in plan.keys]
    return (
        f"UPDATE {table} SET {assignments} FROM {source}"
        f"{_where_sql(writer, plan.table, plan.where, matches)}"
        f"{_returning(plan.table, plan.returning)}"
    )


def _where_sql(
    writer: Writer,
    table: QualifiedName,
    conditions: Sequence[Condition],
    matches: Sequence[str] = (),
) -> str:
    tests = [*matches, *(condition_sql(writer, table, c) for c in conditions)]
    return f" WHERE {' AND '.join(tests)}" if tests else ""


def _returning(table: QualifiedName, names: Sequence[str]) -> str:
    columns = ", ".join(column(table, name) for name in names)
    return f" RETURNING {columns or '1'}"
