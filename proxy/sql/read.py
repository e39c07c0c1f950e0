"""A read plan as a SELECT: embeds become lateral joins, one statement whatever the depth.

`select_sql` gives the rows, `count_sql` a query with as many rows as match without limits.
"""

from __future__ import annotations

from proxy.plan.model import (
    Comparison,
    Condition,
    Connective,
    Embed,
    EmbedIsNull,
    FieldRef,
    ReadPlan,
    Selected,
    SpreadField,
)
from proxy.request.model import Aggregate
from proxy.request.ranges import ALL_ROWS, Range
from proxy.schema_cache.model import (
    ComputedRelationship,
    QualifiedName,
    Relationship,
)
from proxy.sql.conditions import condition_sql, field_sql, join_sql, order_sql
from proxy.sql.writer import Writer, column, identifier, qualified, type_name

_STAR = Selected(FieldRef("*"))


def select_sql(writer: Writer, plan: ReadPlan, embedded: Embed | None = None) -> str:
    """The plan's rows; `embedded` tells how its parent embeds it."""
    source = _reference(plan, embedded)
    fields = plan.select if plan.select or plan.embeds else (_STAR,)
    columns = [_selected_sql(writer, source, item) for item in fields]
    columns += [
        _selected_sql(writer, QualifiedName("", at) if at else source, item)
        for at, item in plan.extra_select
    ]
    for embed in plan.embeds:
        columns += _embed_columns(embed, grouped=plan.is_grouped)
    rows = _from_sql(plan, embedded)
    joins = "".join(_join_sql(writer, embed) for embed in plan.embeds)
    where = [condition_sql(writer, source, condition) for condition in plan.where]
    where += [join_sql(join) for join in plan.join_conditions]
    return (
        f"SELECT {', '.join(columns)}{rows}{joins}"
        + (f" WHERE {' AND '.join(where)}" if where else "")
        + _group_sql(writer, source, plan)
        + order_sql(writer, source, plan.order)
        + _limit_sql(writer, plan.range)
    )


def _reference(plan: ReadPlan, embedded: Embed | None) -> QualifiedName:
    """How the plan's columns are qualified."""
    if plan.alias is not None:
        return QualifiedName("", plan.alias)
    if embedded and isinstance(embedded.relationship, ComputedRelationship):
        return QualifiedName("", embedded.relationship.function.name)
    return plan.source


def _from_sql(plan: ReadPlan, embedded: Embed | None) -> str:
    alias = "" if plan.alias is None else f" AS {identifier(plan.alias)}"
    relationship = embedded.relationship if embedded else None
    if embedded and isinstance(relationship, ComputedRelationship):
        # The cast picks the right overload when the rows come from a CTE.
        parent = f"{identifier(embedded.parent)}::{qualified(relationship.table)}"
        return f" FROM {qualified(relationship.function)}({parent}){alias}"
    rows = f" FROM {qualified(plan.source)}{alias}"
    if isinstance(relationship, Relationship) and relationship.junction is not None:
        rows += f", {qualified(relationship.junction.table)}"
    return rows


def _selected_sql(writer: Writer, source: QualifiedName, item: Selected) -> str:
    value = field_sql(writer, source, item.field)
    if item.field.transform is not None:
        value = f"{item.field.transform}({value})"
    if item.cast is not None:
        value = f"CAST({value} AS {type_name(item.cast)})"
    value = _aggregated(value, item.aggregate, item.aggregate_cast)
    return value if item.alias is None else f"{value} AS {identifier(item.alias)}"


def _aggregated(value: str, aggregate: Aggregate | None, cast: str | None) -> str:
    if aggregate is None:
        return value
    value = f"{aggregate}({value})"
    return value if cast is None else f"CAST({value} AS {type_name(cast)})"


def _embed_columns(embed: Embed, *, grouped: bool) -> list[str]:
    alias, name = identifier(embed.alias), identifier(embed.name)
    # json has no equality, so it can't be grouped by; jsonb can.
    cast = "::jsonb" if grouped else ""
    if embed.shape == "object":
        return [] if embed.hidden else [f"row_to_json({alias}.*){cast} AS {name}"]
    if embed.shape == "array":
        array = f"coalesce({alias}.{alias}, '[]'){cast}"
        return [] if embed.hidden else [f"{array} AS {name}"]
    return [_spread_column(embed.alias, item) for item in embed.fields]


def _spread_column(alias: str, item: SpreadField) -> str:
    value = column(QualifiedName("", alias), item.name)
    value = _aggregated(value, item.aggregate, item.aggregate_cast)
    return value if item.alias is None else f"{value} AS {identifier(item.alias)}"


def _join_sql(writer: Writer, embed: Embed) -> str:
    kind = "INNER" if embed.join == "inner" else "LEFT"
    alias = identifier(embed.alias)
    rows = select_sql(writer, embed.node, embed)
    if embed.shape in ("object", "spread_one"):
        return f" {kind} JOIN LATERAL ({rows}) AS {alias} ON TRUE"
    gathered = [f"json_agg({alias}) AS {alias}"]
    if embed.shape == "spread_many":
        source = QualifiedName("", embed.alias)
        gathered += [
            f"coalesce(json_agg({column(source, item.name)}"
            f"{order_sql(writer, source, embed.node.spread_order)}), '[]')::jsonb"
            f" AS {identifier(item.alias or item.name)}"
            for item in embed.fields
        ]
    on = f"{alias}.{alias} IS NOT NULL" if embed.join == "inner" else "TRUE"
    return (
        f" {kind} JOIN LATERAL (SELECT {', '.join(gathered)} FROM ({rows}) AS {alias})"
        f" AS {alias} ON {on}"
    )


def _group_sql(writer: Writer, source: QualifiedName, plan: ReadPlan) -> str:
    if not plan.is_grouped:
        return ""
    terms = [
        identifier(item.alias)
        if item.alias is not None
        else field_sql(writer, source, item.field)
        for item in plan.select
        if item.aggregate is None
    ]
    for embed in plan.embeds:
        if embed.shape in ("object", "array"):
            terms += [] if embed.hidden else [identifier(embed.name)]
        else:
            alias = QualifiedName("", embed.alias)
            terms += [
                column(alias, item.name) for item in embed.fields if item.aggregate is None
            ]
    return f" GROUP BY {', '.join(terms)}" if terms else ""


def _limit_sql(writer: Writer, rows: Range) -> str:
    if rows == ALL_ROWS:
        return ""
    limit = "" if rows.limit is None else f" LIMIT {writer.bind(str(rows.limit))}"
    return limit + (f" OFFSET {writer.bind(str(rows.offset))}" if rows.offset else "")


# --- counting -------------------------------------------------------------------------------


def count_sql(writer: Writer, plan: ReadPlan, embedded: Embed | None = None) -> str:
    """One row for each row that matches: filters and inner joins count, limits don't.

    Embeds are only looked at where they decide (`!inner`, null filters): as EXISTS, where
    a limit only matters when it can leave nothing.
    """
    source = _reference(plan, embedded)
    rows = _from_sql(plan, embedded)
    where = [_counted(writer, source, plan, condition) for condition in plan.where]
    where += [join_sql(join) for join in plan.join_conditions]
    where += [
        f"EXISTS ({count_sql(writer, embed.node, embed)})"
        for embed in plan.embeds
        if embed.join == "inner"
    ]
    can_be_empty = embedded is not None and (plan.range.offset > 0 or plan.range.limit == 0)
    return (
        f"SELECT 1{rows}"
        + (f" WHERE {' AND '.join(where)}" if where else "")
        + (_limit_sql(writer, plan.range) if can_be_empty else "")
    )


def _counted(
    writer: Writer, source: QualifiedName, plan: ReadPlan, condition: Condition
) -> str:
    match condition:
        case EmbedIsNull(alias, negated):
            embed = next(embed for embed in plan.embeds if embed.alias == alias)
            found = f"EXISTS ({count_sql(writer, embed.node, embed)})"
            return found if negated else f"NOT {found}"
        case Connective(connective, children, negated):
            joined = f" {connective.upper()} ".join(
                _counted(writer, source, plan, child) for child in children
            )
            return f"{'NOT ' if negated else ''}({joined})"
        case Comparison():
            return condition_sql(writer, source, condition)
