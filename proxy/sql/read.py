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
from proxy.sql.writer import Writer, column, columns, identifier, qualified, row, type_name

_STAR = Selected(FieldRef("*"))


def select_sql(
    writer: Writer, plan: ReadPlan, embedded: Embed | None = None, *, grouped: bool = False
) -> str:
    """The plan's rows; `embedded` tells how its parent embeds it, `grouped` whether what
    it spreads is grouped by above it."""
    source = plan.reference
    fields = plan.select if plan.select or plan.embeds else (_STAR,)
    grouped = grouped or plan.is_grouped
    shown = [_selected_sql(writer, source, item) for item in fields]
    shown += [
        _selected_sql(writer, QualifiedName("", at) if at else source, item)
        for at, item in plan.extra_select
    ]
    for embed in plan.embeds:
        shown += _embed_columns(embed, grouped=grouped)
    rows = _from_sql(plan, embedded)
    joins = "".join(_join_sql(writer, embed, grouped=grouped) for embed in plan.embeds)
    where = [condition_sql(writer, source, condition) for condition in plan.where]
    where += [join_sql(join) for join in plan.join_conditions]
    return (
        f"SELECT {', '.join(shown)}{rows}{joins}"
        + (f" WHERE {' AND '.join(where)}" if where else "")
        + _group_sql(plan)
        + order_sql(writer, source, plan.order)
        + _limit_sql(writer, plan.range)
    )


def _from_sql(plan: ReadPlan, embedded: Embed | None) -> str:
    relationship = embedded.relationship if embedded else None
    if embedded and isinstance(relationship, ComputedRelationship):
        # The cast picks the right overload when the rows come from a CTE.
        parent = f"({row(embedded.parent)})::{qualified(relationship.table)}"
        rows = f"{qualified(relationship.function)}({parent})"
        return f" FROM {rows}{_alias_sql(plan.alias)}"
    rows = f" FROM {qualified(plan.source)}{_alias_sql(plan.alias)}"
    if embedded and isinstance(relationship, Relationship) and relationship.junction:
        junction = qualified(relationship.junction.table)
        rows += f", {junction}{_alias_sql(embedded.junction_alias)}"
    return rows


def _alias_sql(alias: str | None) -> str:
    return "" if alias is None else f" AS {identifier(alias)}"


def _selected_sql(writer: Writer, source: QualifiedName, item: Selected) -> str:
    field = item.field
    every = field.name == "*" and not (field.path or field.whole_row)
    value = row(source) if every else field_sql(writer, source, field)
    if field.transform is not None:
        value = f"{field.transform}({value})"
    if item.cast is not None:
        value = f"CAST({value} AS {type_name(item.cast)})"
    value = _aggregated(value, item.aggregate, item.aggregate_cast)
    return value if item.alias is None else f"{value} AS {identifier(item.alias)}"


def _aggregated(value: str, aggregate: Aggregate | None, cast: str | None) -> str:
    if aggregate is None:
        return value
    # The others may be an extension's, for a type of its own.
    function = "pg_catalog.count" if aggregate == "count" else aggregate
    value = f"{function}({value})"
    return value if cast is None else f"CAST({value} AS {type_name(cast)})"


def _embed_columns(embed: Embed, *, grouped: bool) -> list[str]:
    if embed.shape in ("spread_one", "spread_many"):
        return [_spread_column(embed.alias, item) for item in embed.fields]
    if embed.hidden:
        return []
    source = QualifiedName("", embed.alias)
    if embed.shape == "object":
        value = f"pg_catalog.row_to_json({row(source)})"
    else:
        value = f"coalesce({column(source, embed.alias)}, '[]')"
    # json has no equality, so it can't be grouped by; jsonb can.
    cast = "::pg_catalog.jsonb" if grouped else ""
    return [f"{value}{cast} AS {identifier(embed.name)}"]


def _spread_column(alias: str, item: SpreadField) -> str:
    value = columns(QualifiedName("", alias), (item.name,))
    value = _aggregated(value, item.aggregate, item.aggregate_cast)
    return value if item.alias is None else f"{value} AS {identifier(item.alias)}"


def _join_sql(writer: Writer, embed: Embed, *, grouped: bool) -> str:
    kind = "INNER" if embed.join == "inner" else "LEFT"
    alias, source = identifier(embed.alias), QualifiedName("", embed.alias)
    grouped = grouped and embed.shape == "spread_one"
    rows = select_sql(writer, embed.node, embed, grouped=grouped)
    if not embed.is_array:
        return f" {kind} JOIN LATERAL ({rows}) AS {alias} ON TRUE"
    gathered = [f"pg_catalog.json_agg({row(source)}) AS {alias}"]
    if embed.shape == "spread_many":
        gathered += [
            f"coalesce(pg_catalog.json_agg({columns(source, (item.name,))}"
            f"{order_sql(writer, source, embed.node.spread_order)}), '[]')::pg_catalog.jsonb"
            f" AS {identifier(item.alias or item.name)}"
            for item in embed.fields
        ]
    on = f"{column(source, embed.alias)} IS NOT NULL" if embed.join == "inner" else "TRUE"
    return (
        f" {kind} JOIN LATERAL (SELECT {', '.join(gathered)} FROM ({rows}) AS {alias})"
        f" AS {alias} ON {on}"
    )


def _group_sql(plan: ReadPlan) -> str:
    """Groups by what is no aggregate, told by its place in the select list: a name there
    might be that of a column, and an expression with parameters equals no other."""
    if not plan.is_grouped:
        return ""
    grouped = [item.aggregate is None for item in plan.select]
    for embed in plan.embeds:
        if embed.shape in ("spread_one", "spread_many"):
            grouped += [item.aggregate is None for item in embed.fields]
        elif not embed.hidden:
            grouped.append(True)
    places = [str(place) for place, is_grouped in enumerate(grouped, start=1) if is_grouped]
    return f" GROUP BY {', '.join(places)}" if places else ""


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
    source = plan.reference
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
        case EmbedIsNull(alias, negated, _):
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
