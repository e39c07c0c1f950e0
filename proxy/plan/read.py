"""The read plan: the tree of tables that `select` asks for, with all that is addressed
to each of them (filters, logic, order, limits) and the joins between them.

In: a request's query and the schema cache. Out: a `ReadPlan`. Raises PGRST108 when a
parameter is addressed to something not embedded, PGRST118, PGRST123, PGRST127, PGRST200
and PGRST201. PostgREST docs: "Resource Embedding", "Aggregate Functions".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from proxy.errors import ApiError, api_error
from proxy.plan.fields import (
    column_field,
    filter_condition,
    order_field,
    output_field,
    with_output_format,
)
from proxy.plan.model import (
    SOURCE,
    Comparison,
    Condition,
    Connective,
    Embed,
    EmbedIsNull,
    EmbedShape,
    FieldRef,
    JoinCondition,
    Order,
    ReadPlan,
    Selected,
)
from proxy.plan.names import Names
from proxy.plan.relationships import find_relationship
from proxy.plan.spreads import lifted_fields, ordered_by_spread, without_aggregates
from proxy.request.model import (
    EmbedPath,
    Filter,
    LogicTree,
    OrderTerm,
    SelectEmbed,
    SelectField,
    SelectItem,
)
from proxy.request.ranges import ALL_ROWS, Range
from proxy.schema_cache.model import (
    AnyRelationship,
    ComputedRelationship,
    QualifiedName,
    Relationship,
    SchemaCache,
)


@dataclass(frozen=True, slots=True)
class ReadRules:
    """The settings that reads depend on."""

    aggregates_enabled: bool = False
    legacy_target_names: bool = True
    max_rows: int | None = None


@dataclass(slots=True)
class _Share:
    conditions: list[tuple[EmbedPath, Filter | LogicTree]] = field(default_factory=list)
    order: list[tuple[EmbedPath, tuple[OrderTerm, ...]]] = field(default_factory=list)
    ranges: dict[EmbedPath, Range] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Addressed:
    """What is addressed to one table of the tree and, by longer paths, to those below."""

    conditions: Sequence[tuple[EmbedPath, Filter | LogicTree]] = ()
    order: Sequence[tuple[EmbedPath, tuple[OrderTerm, ...]]] = ()
    ranges: Mapping[EmbedPath, Range] = field(default_factory=dict)

    def first_steps(self) -> list[str]:
        paths = (
            [path for path, _ in self.conditions]
            + [path for path, _ in self.order]
            + list(self.ranges)
        )
        return list(dict.fromkeys(path[0] for path in paths if path))

    def shared_out(self, children: Sequence[set[str]]) -> list[Addressed]:
        """What is addressed to each child, which answers to the names in its set; no two
        have one in common."""
        shares = [_Share() for _ in children]
        owners = {
            name: share for names, share in zip(children, shares, strict=True) for name in names
        }
        for path, item in self.conditions if owners else ():
            if path:
                owners[path[0]].conditions.append((path[1:], item))
        for path, terms in self.order if owners else ():
            if path:
                owners[path[0]].order.append((path[1:], terms))
        for path, rows in self.ranges.items() if owners else ():
            if path:
                owners[path[0]].ranges[path[1:]] = rows
        return [Addressed(share.conditions, share.order, share.ranges) for share in shares]


@dataclass(frozen=True, slots=True)
class Warned:
    """An embed with an alias that was addressed by its target's name."""

    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class _Context:
    cache: SchemaCache
    rules: ReadRules
    schema: str
    caps_rows: bool
    warnings: list[Warned]
    names: Names


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the tree a node stands: its row source and what encloses it."""

    table: QualifiedName
    source: QualifiedName
    alias: str | None
    depth: int
    origin: str
    under_aggregate: bool = False
    shape: EmbedShape = "array"

    @property
    def reference(self) -> QualifiedName:
        """The name its columns are written with."""
        return self.source if self.alias is None else QualifiedName("", self.alias)


def plan_read(
    cache: SchemaCache,
    rules: ReadRules,
    table: QualifiedName,
    select: Sequence[SelectItem],
    addressed: Addressed,
    *,
    from_cte: bool,
    caps_rows: bool,
) -> tuple[ReadPlan, tuple[Warned, ...]]:
    """The plan to read `table`, or with `from_cte` the rows a write or call left.

    `caps_rows`: db-max-rows applies (reads and calls). The second value names the embeds
    addressed in the deprecated way (url-use-legacy-target-names).
    """
    names = Names()
    names.own(table.name)
    context = _Context(cache, rules, table.schema, caps_rows, [], names)
    source = QualifiedName("", SOURCE) if from_cte else table
    alias = table.name if from_cte else None
    place = _Place(table, source, alias, 0, table.name)
    return _node(context, place, select, addressed), tuple(context.warnings)


def _node(
    context: _Context, place: _Place, items: Sequence[SelectItem], addressed: Addressed
) -> ReadPlan:
    fields = [item for item in items if isinstance(item, SelectField)]
    targets = [item for item in items if isinstance(item, SelectEmbed)]
    steps = _steps_of_targets(context.rules, targets, addressed)
    if not context.rules.aggregates_enabled and any(item.aggregate for item in fields):
        raise api_error("PGRST123")

    aggregates = (
        place.under_aggregate
        or any(item.aggregate for item in fields)
        or place.shape == "spread_many"
    )
    inside = replace(place, under_aggregate=aggregates)
    embeds = tuple(
        _embed(context, inside, target, own_steps, share)
        for target, own_steps, share in zip(
            targets, steps, addressed.shared_out(steps), strict=True
        )
    )
    # Of embeds with the same name the first is meant.
    named = {embed.name: embed for embed in reversed(embeds)}
    aggregates = aggregates or any(item.aggregate for e in embeds for item in e.fields)
    spreads = place.shape in ("spread_one", "spread_many")
    selected = tuple(
        output
        for item in fields
        for output in _selected(context.cache, place.table, item, aggregates, spreads)
    )
    conditions = [item for path, item in addressed.conditions if not path]
    where = tuple(
        _on_embeds(filter_condition(context.cache, place.table, item), named)
        for item in sorted(conditions, key=lambda item: isinstance(item, Filter))
    )
    terms = [term for path, terms in addressed.order if not path for term in terms]
    rows = addressed.ranges.get((), ALL_ROWS)
    return ReadPlan(
        table=place.table,
        source=place.source,
        alias=place.alias,
        select=selected,
        where=where,
        order=tuple(_order(context.cache, place, term, named) for term in terms),
        range=rows.capped(context.rules.max_rows) if context.caps_rows else rows,
        embeds=embeds,
    )


def _steps_of_targets(
    rules: ReadRules, targets: Sequence[SelectEmbed], addressed: Addressed
) -> list[set[str]]:
    """For each embed the names it is addressed by; the first that fits gets the name."""
    steps: list[set[str]] = [set() for _ in targets]
    for step in addressed.first_steps():
        for own_steps, target in zip(steps, targets, strict=True):
            if _answers_to(rules, target, step):
                own_steps.add(step)
                break
        else:
            raise _not_embedded(step, targets)
    return steps


def _answers_to(rules: ReadRules, target: SelectEmbed, step: str) -> bool:
    if target.alias == step:
        return True
    return target.relation == step and (target.alias is None or rules.legacy_target_names)


def _not_embedded(step: str, targets: Sequence[SelectEmbed]) -> ApiError:
    for target in targets:
        if target.relation == step and target.alias is not None:
            return api_error(
                "PGRST108",
                name=step,
                details="Target names are not allowed in filters if they have an alias",
                hint=f"Change '{step}' to '{target.alias}' in filters, orders or limits.",
            )
    return api_error(
        "PGRST108",
        name=step,
        hint=f"Verify that '{step}' is included in the 'select' query parameter.",
    )


# --- columns ------------------------------------------------------------------------------


def _selected(
    cache: SchemaCache,
    table: QualifiedName,
    item: SelectField,
    under_aggregate: bool,
    in_spread: bool,
) -> list[Selected]:
    selected = Selected(
        output_field(cache, table, item.field),
        item.alias,
        item.cast,
        item.aggregate,
        item.aggregate_cast,
    )
    if item.field.name == "*" and not item.field.path:
        if item.aggregate is None:
            return _expanded_star(cache, table, selected, under_aggregate)
        if in_spread:
            selected = replace(selected, field=replace(selected.field, whole_row=True))
    return [_with_alias(selected, in_spread)]


def _expanded_star(
    cache: SchemaCache, table: QualifiedName, star: Selected, under_aggregate: bool
) -> list[Selected]:
    """`*` stays `*` unless columns must be named: to group by them, to lift them out of a
    to-many spread, or to send one through its representation."""
    known = cache.tables.get(table)
    columns = list(known.columns.values()) if known else []
    represented = any((c.nominal_type, "json") in cache.representations for c in columns)
    if not columns or not (under_aggregate or represented):
        return [star]
    return [
        _with_alias(Selected(with_output_format(cache, column_field(column))), False)
        for column in columns
    ]


def _with_alias(selected: Selected, in_spread: bool) -> Selected:
    """The name a field shows under when its expression would not give it one."""
    if selected.alias is not None:
        return selected
    alias: str | None = None
    if selected.aggregate is not None:
        alias = selected.aggregate if in_spread else None
    elif selected.field.path:
        alias = _path_name(selected.field)
    elif selected.field.transform is not None:
        alias = selected.field.name
    return replace(selected, alias=alias)


def _path_name(field: FieldRef) -> str:
    """`data->1->name->>2` shows as `name`, `data->3` as `data`."""
    keys = [step.operand for step in field.path if not step.is_index]
    return keys[-1] if keys else field.name


# --- embeds -------------------------------------------------------------------------------


def _embed(
    context: _Context,
    parent: _Place,
    target: SelectEmbed,
    steps: set[str],
    addressed: Addressed,
) -> Embed:
    """`addressed` is what is addressed to the embed itself, which answers to `steps`."""
    found = find_relationship(
        context.cache, context.schema, parent.origin, target.relation, target.hint
    )
    depth = parent.depth + 1
    name = target.alias if target.alias is not None else target.relation
    shape = _shape(found, target.spread)
    junction = found.junction if isinstance(found, Relationship) else None
    names, child = context.names, found.foreign_table.name
    place = _Place(
        table=found.foreign_table,
        source=found.foreign_table,
        alias=names.own(child) if junction else names.fresh(child, f"_{depth}"),
        depth=depth,
        origin=found.foreign_table.name,
        under_aggregate=parent.under_aggregate,
        shape=shape,
    )
    if target.alias is not None and steps - {target.alias}:
        context.warnings.append(Warned(target.relation, target.alias))
    node = _node(context, place, target.items, addressed)
    junction_alias = names.own(junction.table.name) if junction else None
    if isinstance(found, Relationship):
        joins = _join_conditions(found, parent, place, junction_alias)
        node = replace(node, join_conditions=joins)
    lifted = lifted_fields(node, shape) if target.spread else ()
    shown = {item.alias or item.name for item in lifted}
    lateral = names.fresh(f"{found.table.name}_{name}", f"_{depth}", avoid=shown)
    if shape == "spread_many":
        node = ordered_by_spread(node, lateral, {item.name for item in lifted})
    elif shape == "spread_one":
        node = without_aggregates(node)
    return Embed(
        node=node,
        name=name,
        alias=lateral,
        parent=parent.reference,
        shape=shape,
        relationship=found,
        join=target.join,
        hidden=not target.spread and _is_empty(node),
        fields=lifted,
        junction_alias=junction_alias,
    )


def _shape(found: AnyRelationship, spread: bool) -> EmbedShape:
    if spread:
        return "spread_one" if found.is_to_one else "spread_many"
    return "object" if found.is_to_one else "array"


def _join_conditions(
    found: Relationship, parent: _Place, child: _Place, junction_alias: str | None
) -> tuple[JoinCondition, ...]:
    """In PostgREST's order, which shows in plans."""
    junction = found.junction
    if junction is None:
        return tuple(
            JoinCondition(child.reference, foreign, parent.reference, own)
            for own, foreign in found.columns
        )
    joint = QualifiedName("", junction_alias) if junction_alias else junction.table
    return tuple(
        JoinCondition(joint, joining, side.reference, column)
        for side, columns in (
            (child, junction.target_columns),
            (parent, junction.source_columns),
        )
        for column, joining in columns
    )


def _is_empty(node: ReadPlan) -> bool:
    """`actors()`, or embeds of nothing but such: it filters but shows nothing."""
    return not node.select and all(
        embed.shape in ("object", "array") and embed.hidden for embed in node.embeds
    )


# --- conditions and order -------------------------------------------------------------------


def _on_embeds(condition: Condition, embeds: Mapping[str, Embed]) -> Condition:
    """`actors=is.null` speaks of the embed when there is one of that name."""
    if isinstance(condition, Connective):
        children = tuple(_on_embeds(child, embeds) for child in condition.children)
        return replace(condition, children=children)
    if isinstance(condition, Comparison) and not condition.field.path:
        operation = condition.operation
        if operation.operator == "is" and operation.value == "null":
            embed = embeds.get(condition.field.name)
            if embed is not None:
                return EmbedIsNull(embed.alias, operation.negated, embed.is_array)
    return condition


def _order(
    cache: SchemaCache, place: _Place, term: OrderTerm, embeds: Mapping[str, Embed]
) -> Order:
    if term.relation is None:
        resolved = order_field(cache, place.table, term.field)
        return Order(resolved, None, term.direction, term.nulls)
    embed = embeds.get(term.relation)
    if embed is None:
        raise _not_embedded(term.relation, ())
    if not embed.relationship.is_to_one:
        origin = place.source.name
        raise api_error(
            "PGRST118",
            name=embed.name,
            details=f"'{origin}' and '{embed.name}' do not form a many-to-one or"
            " one-to-one relationship",
        )
    reached = FieldRef(term.field.name, term.field.path)
    return Order(reached, embed.alias, term.direction, term.nulls)


def needed_columns(node: ReadPlan, primary_key: Sequence[str]) -> tuple[str, ...]:
    """The columns a write or call must return for `node` to select, order, join and locate.

    `("*",)` when all are asked for, or when a computed relationship may need any.
    """
    names = {item.field.name for item in node.select}
    names |= {term.field.name for term in node.order if term.relation is None}
    relationships = [embed.relationship for embed in node.embeds]
    if "*" in names or any(isinstance(r, ComputedRelationship) for r in relationships):
        return ("*",)
    for relationship in relationships:
        if isinstance(relationship, Relationship):
            junction = relationship.junction
            pairs = relationship.columns if junction is None else junction.source_columns
            names |= {own for own, _ in pairs}
    return tuple(sorted(names | set(primary_key)))


def filtered_columns(node: ReadPlan) -> frozenset[str]:
    """The columns that the root's and its embeds' filters read."""

    def names(conditions: Sequence[Condition]) -> set[str]:
        found: set[str] = set()
        for condition in conditions:
            if isinstance(condition, Connective):
                found |= names(condition.children)
            elif isinstance(condition, Comparison):
                found.add(condition.field.name)
        return found

    return frozenset(names(node.where))
