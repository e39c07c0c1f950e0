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
from proxy.sql.writer import Writer, column, columns, identifier, known_type, literal, qualified

_BODY = QualifiedName("", "pgrst_body")
_RECORD = QualifiedName("", "_")
_PAYLOAD = QualifiedName("", "pgrst_payload")
_TARGET = QualifiedName("", "pgrst_target")
_BESIDE_TARGET = ("excluded", _BODY.name)
"""What else goes by a name in a write, where its table is to be named."""


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


def _target(table: QualifiedName) -> tuple[str, QualifiedName]:
    """The table to write as SQL, and how its columns are qualified."""
    if table.name in _BESIDE_TARGET:
        return f"{qualified(table)} AS {qualified(_TARGET)}", _TARGET
    return qualified(table), table


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
    return f"pg_catalog.json_build_array({counts})"


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
    kind = "json" if defaults is None else "jsonb"
    cast_to = "pg_catalog.json" if defaults is None else "pg_catalog.text::pg_catalog.jsonb"
    if not fields and not is_array:
        return "(SELECT) pgrst_body"  # `{}`: one row of nothing but defaults
    payload = f"{writer.bind(body)}::{cast_to}"
    if not fields:
        return f"(SELECT FROM pg_catalog.{kind}_array_elements({payload})) pgrst_body"
    shown = ", ".join(
        column(_RECORD, name)
        if cast is None
        else f"{cast}({column(_RECORD, name)}) AS {identifier(name)}"
        for name, _, cast in fields
    )
    record = ", ".join(f"{identifier(name)} {known_type(type_)}" for name, type_, _ in fields)
    if defaults is None:
        source = (
            f"pg_catalog.json_to_record{'set' if is_array else ''}({payload}) AS _({record})"
        )
    else:
        pairs = ", ".join(f"{literal(name)}, {value}" for name, value in defaults)
        given = "elem.value" if is_array else payload
        source = (
            f"pg_catalog.jsonb_to_record(pg_catalog.jsonb_build_object({pairs})"
            f" OPERATOR(pg_catalog.||) {given}) AS _({record})"
        )
        if is_array:
            elements = f"pg_catalog.jsonb_array_elements({payload}) AS elem(value)"
            source = f"{elements}, LATERAL {source}"
    return f"(SELECT {shown} FROM {source}{' LIMIT 1' if limit else ''}) pgrst_body"


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
    listed = f"({', '.join(map(identifier, names))}) " if names else ""
    values = ", ".join(column(_BODY, name) for name in names)
    target, reference = _target(plan.table)
    sql = f"INSERT INTO {target} {listed}SELECT {values} FROM {_payload(writer, plan)}"
    counts_inserts = plan.resolution == "merge-duplicates"
    where = [_count_inserted("+", "0")] if counts_inserts else []
    where += [condition_sql(writer, _BODY, condition) for condition in plan.put_filters]
    if where:
        sql += f" WHERE {' AND '.join(where)}"
    if plan.resolution is not None and plan.on_conflict:
        keys = ", ".join(map(identifier, plan.on_conflict))
        sql += f" ON CONFLICT ({keys}) {_on_conflict(plan, names)}"
    return sql + _returning(reference, plan.returning)


def _on_conflict(plan: InsertPlan, names: Sequence[str]) -> str:
    if plan.resolution == "ignore-duplicates" or not names:
        return "DO NOTHING"
    updates = ", ".join(f"{identifier(n)} = EXCLUDED.{identifier(n)}" for n in names)
    return f"DO UPDATE SET {updates} WHERE {_count_inserted('-', '-1')}"


def _count_inserted(sign: str, never: str) -> str:
    """Counts candidate rows up and updated ones down, in a transaction-local setting:
    what is left is how many were inserted (200 or 201). Always true."""
    current = "pg_catalog.current_setting('pgrst.inserted', true)"
    # Empty when an earlier transaction has set it.
    count = f"('0' OPERATOR(pg_catalog.||) coalesce({current}, ''))::int"
    changed = f"({count} OPERATOR(pg_catalog.{sign}) 1)::pg_catalog.text"
    return (
        f"pg_catalog.set_config('pgrst.inserted', {changed}, true)"
        f" OPERATOR(pg_catalog.<>) '{never}'"
    )


def _update_sql(writer: Writer, plan: UpdatePlan) -> str:
    target, reference = _target(plan.table)
    if not plan.columns:
        # An empty SET would be no SQL; no rows, but with the columns that select names.
        names = columns(reference, plan.returning) or "NULL"
        return f"SELECT {names} FROM {target} WHERE false"
    assignments = ", ".join(
        f"{identifier(field.name)} = {column(_BODY, field.name)}"
        for field in plan.columns
        if field.name not in plan.keys
    )
    source = f"{_PAYLOAD.name} AS {_BODY.name}" if plan.keys else _payload(writer, plan)
    matches = [f"{column(reference, key)} = {column(_BODY, key)}" for key in plan.keys]
    return (
        f"UPDATE {target} SET {assignments} FROM {source}"
        f"{_where_sql(writer, reference, plan.where, matches)}"
        f"{_returning(reference, plan.returning)}"
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
    return f" RETURNING {columns(table, names) or '1'}"
