"""From foreign keys to the relationships a client can embed through. Pure.

In: the foreign keys of all tables, the keys that views show, primary keys and computed
relationships. Out: the map of `SchemaCache.relationships` (PostgREST docs, "Resource
Embedding").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Literal

from proxy.schema_cache.model import (
    AnyRelationship,
    Cardinality,
    ComputedRelationship,
    Junction,
    QualifiedName,
    Relationship,
)

RelationshipMap = Mapping[tuple[QualifiedName, str], tuple[AnyRelationship, ...]]
PrimaryKeys = Mapping[QualifiedName, Sequence[str]]

_CARDINALITY_ORDER: Final[Mapping[Cardinality, int]] = {
    "one-to-many": 0,
    "many-to-one": 1,
    "one-to-one": 2,
    "many-to-many": 3,
}


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key constraint; `columns` pairs (own column, referenced column).

    `is_unique`: a primary key or unique constraint has exactly the same own columns.
    """

    table: QualifiedName
    foreign_table: QualifiedName
    constraint: str
    columns: tuple[tuple[str, str], ...]
    is_unique: bool


KeyRole = Literal["primary", "foreign", "referenced"]


@dataclass(frozen=True, slots=True)
class ViewKey:
    """A key of `table` that `view` shows whole.

    `role`: the table's primary key, its foreign key `constraint`, or the columns that
    `constraint` of some table references. `columns` has, for each column of the key in
    order, the names it goes by in the view, at least one.
    """

    table: QualifiedName
    view: QualifiedName
    constraint: str
    role: KeyRole
    columns: tuple[tuple[str, ...], ...]


def view_primary_keys(view_keys: Iterable[ViewKey]) -> dict[QualifiedName, tuple[str, ...]]:
    """The primary keys of views: those of the tables they show, each column by the first
    of its names."""
    found: dict[QualifiedName, tuple[str, ...]] = {}
    primary = (key for key in view_keys if key.role == "primary")
    for key in sorted(primary, key=lambda k: (k.table, k.constraint), reverse=True):
        names = tuple(names[0] for names in key.columns)
        found[key.view] = found.get(key.view, ()) + names
    return found


def relationship_map(
    foreign_keys: Iterable[ForeignKey],
    view_keys: Iterable[ViewKey],
    primary_keys: PrimaryKeys,
    computed: Iterable[ComputedRelationship],
    schemas: Collection[str],
) -> RelationshipMap:
    """All relationships between tables, views and functions of the exposed `schemas`.

    `primary_keys` are those of the tables and views that may be junctions. A computed
    relationship replaces the detected ones to a table named like its function. A key stays
    in the map when all it led to is hidden, so that hints can tell a table without visible
    relationships from an unknown one. The order of a value is that of PostgREST, which
    shows in PGRST201.
    """
    to_one = list(_to_one(foreign_keys, view_keys))
    detected = [*to_one, *_many_to_many(to_one, primary_keys), *map(_inverse, to_one)]
    by_target: dict[tuple[QualifiedName, QualifiedName], list[AnyRelationship]]
    by_target = defaultdict(list)
    for rel in detected:
        by_target[rel.table, rel.foreign_table].append(rel)
    for function in computed:
        by_target[function.table, function.function] = [function]

    visible: dict[tuple[QualifiedName, str], list[AnyRelationship]] = defaultdict(list)
    for (table, target), rels in by_target.items():
        if table.schema in schemas:
            visible[table, target.schema] += (r for r in rels if _is_visible(r, schemas))
    return {key: tuple(sorted(rels, key=_order)) for key, rels in visible.items()}


def _to_one(
    foreign_keys: Iterable[ForeignKey], view_keys: Iterable[ViewKey]
) -> Iterator[Relationship]:
    """Each foreign key between its tables, and between all views that stand in for them."""
    stand_ins: dict[tuple[QualifiedName, str, KeyRole], list[ViewKey]] = defaultdict(list)
    for key in view_keys:
        stand_ins[key.table, key.constraint, key.role].append(key)
    for foreign_key in foreign_keys:
        own = [name for name, _ in foreign_key.columns]
        referenced = [name for _, name in foreign_key.columns]
        constraint = foreign_key.constraint
        sources = [(foreign_key.table, own, False)]
        for key in stand_ins.get((foreign_key.table, constraint, "foreign"), ()):
            sources += [(key.view, list(names), True) for names in product(*key.columns)]
        targets = [(foreign_key.foreign_table, referenced, False)]
        for key in stand_ins.get((foreign_key.foreign_table, constraint, "referenced"), ()):
            targets += [(key.view, list(names), True) for names in product(*key.columns)]
        cardinality: Cardinality = "one-to-one" if foreign_key.is_unique else "many-to-one"
        for table, columns, table_is_view in sources:
            for foreign_table, foreign_columns, foreign_table_is_view in targets:
                yield Relationship(
                    table=table,
                    foreign_table=foreign_table,
                    is_self=table == foreign_table,
                    cardinality=cardinality,
                    constraint=constraint,
                    columns=tuple(zip(columns, foreign_columns, strict=True)),
                    table_is_view=table_is_view,
                    foreign_table_is_view=foreign_table_is_view,
                )


def _many_to_many(
    to_one: Iterable[Relationship], primary_keys: PrimaryKeys
) -> Iterator[Relationship]:
    """Through every junction: a table or view whose primary key has the columns of two of
    its foreign keys."""
    parts: dict[QualifiedName, list[Relationship]] = defaultdict(list)
    for rel in to_one:
        if rel.cardinality == "many-to-one":
            key = primary_keys.get(rel.table, ())
            if all(column in key for column, _ in rel.columns):
                parts[rel.table].append(rel)
    for junction, rels in parts.items():
        for one, other in product(rels, rels):
            if one.constraint != other.constraint:
                yield _through(junction, one, other)


def _through(junction: QualifiedName, one: Relationship, other: Relationship) -> Relationship:
    return Relationship(
        table=one.foreign_table,
        foreign_table=other.foreign_table,
        is_self=one.foreign_table == other.foreign_table,
        cardinality="many-to-many",
        constraint="",
        columns=(),
        table_is_view=one.foreign_table_is_view,
        foreign_table_is_view=other.foreign_table_is_view,
        junction=Junction(
            table=junction,
            constraint1=one.constraint,
            constraint2=other.constraint,
            source_columns=_swapped(one.columns),
            target_columns=_swapped(other.columns),
        ),
    )


def _inverse(rel: Relationship) -> Relationship:
    is_one_to_one = rel.cardinality == "one-to-one"
    return Relationship(
        table=rel.foreign_table,
        foreign_table=rel.table,
        is_self=rel.is_self,
        cardinality="one-to-one" if is_one_to_one else "one-to-many",
        constraint=rel.constraint,
        columns=_swapped(rel.columns),
        table_is_view=rel.foreign_table_is_view,
        foreign_table_is_view=rel.table_is_view,
        is_parent=is_one_to_one,
    )


def _swapped(columns: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((there, here) for here, there in columns)


def _is_visible(rel: AnyRelationship, schemas: Collection[str]) -> bool:
    if rel.foreign_table.schema not in schemas:
        return False
    junction = rel.junction if isinstance(rel, Relationship) else None
    return junction is None or junction.table.schema in schemas


def _order(rel: AnyRelationship) -> tuple[Any, ...]:
    if isinstance(rel, ComputedRelationship):
        return (1, rel.function, rel.table, rel.foreign_table, rel.is_to_one, rel.is_self)
    through = rel.junction
    kind: tuple[Any, ...] = (
        (rel.constraint, rel.columns, rel.is_parent)
        if through is None
        else (
            through.table,
            through.constraint1,
            through.constraint2,
            through.source_columns,
            through.target_columns,
        )
    )
    return (
        0,
        rel.table,
        rel.foreign_table,
        rel.is_self,
        _CARDINALITY_ORDER[rel.cardinality],
        kind,
        rel.table_is_view,
        rel.foreign_table_is_view,
    )
