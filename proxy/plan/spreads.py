"""What a spread embed lifts into the rows of its parent (PostgREST docs: "Spread embedded
resource")."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from proxy.errors import api_error
from proxy.plan.model import EmbedShape, FieldRef, Order, ReadPlan, Selected, SpreadField
from proxy.plan.names import Names
from proxy.request.ranges import ALL_ROWS


def _exports(node: ReadPlan) -> tuple[SpreadField, ...]:
    """The columns a spread node offers its parent, with the aggregates to apply there."""
    own = tuple(
        SpreadField(item.output_name, item.alias, item.aggregate, item.aggregate_cast)
        if item.aggregate
        else SpreadField(item.output_name)
        for item in node.select
    )
    below = tuple(
        item
        for embed in node.embeds
        for item in (
            embed.fields
            if embed.shape in ("spread_one", "spread_many")
            else (() if embed.hidden else (SpreadField(embed.name),))
        )
    )
    return own + below


def lifted_fields(node: ReadPlan, shape: EmbedShape) -> tuple[SpreadField, ...]:
    """The spread's columns as its parent selects them.

    Aggregates rise through to-one spreads to the nearest level where there are rows to
    group; out of a to-many spread they can't.
    """
    fields = _exports(node)
    if shape == "spread_many" and any(item.aggregate for item in fields):
        raise api_error(
            "PGRST127",
            details="Aggregates are not implemented for one-to-many or many-to-many spreads.",
        )
    return fields


def without_aggregates(node: ReadPlan) -> ReadPlan:
    """The node of a to-one spread once its aggregates were lifted out of it."""
    return replace(
        node,
        select=tuple(replace(s, aggregate=None, aggregate_cast=None) for s in node.select),
        embeds=tuple(
            replace(e, fields=tuple(SpreadField(item.name) for item in e.fields))
            for e in node.embeds
        ),
    )


def ordered_by_spread(node: ReadPlan, lateral: str, shown: Collection[str]) -> ReadPlan:
    """A to-many spread's order, moved to where its values are gathered into arrays.

    With a limit the rows must be ordered before it too, so the inner order stays.
    """
    extra: list[tuple[str | None, Selected]] = []
    order: list[Order] = []
    names = Names()
    for number, term in enumerate(node.order, start=1):
        alias = names.fresh(f"{lateral}_{term.field.name}", f"_{number}", avoid=shown)
        extra.append((term.relation, Selected(term.field, alias)))
        order.append(replace(term, field=FieldRef(alias), relation=None))
    inner = node.order if node.range != ALL_ROWS else ()
    return replace(node, order=inner, extra_select=tuple(extra), spread_order=tuple(order))
