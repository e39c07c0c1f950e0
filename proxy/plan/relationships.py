"""Which relationship an embed means: `target` or `target!hint` seen from `origin`.

PostgREST docs: "Resource Embedding", "Foreign Key Joins on Multiple Foreign Key
Relationships". Raises PGRST200 when nothing fits, PGRST201 (300) when several do.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.errors import ApiError, Json, api_error
from proxy.schema_cache.model import (
    AnyRelationship,
    ComputedRelationship,
    QualifiedName,
    Relationship,
    SchemaCache,
)
from proxy.schema_cache.suggestions import relationship_hint


def find_relationship(
    cache: SchemaCache, schema: str, origin: str, target: str, hint: str | None
) -> AnyRelationship:
    """The one relationship from `origin` that `target` and `hint` describe."""
    candidates = cache.relationships.get((QualifiedName(schema, origin), schema), ())
    found = [rel for rel in candidates if _fits(rel, target, hint)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _none_found(cache, schema, origin, target, hint)
    raise _several_found(origin, target, [r for r in found if isinstance(r, Relationship)])


def _fits(rel: AnyRelationship, target: str, hint: str | None) -> bool:
    if isinstance(rel, ComputedRelationship):
        return rel.function.name == target
    if rel.is_self:
        return _fits_self(rel, target, hint)
    if hint is None:
        by_key = not rel.foreign_table_is_view and (
            _is_constraint(rel, target) or _is_own_column(rel, target)
        )
        return rel.foreign_table.name == target or by_key
    return rel.foreign_table.name == target and (
        _is_constraint(rel, hint)
        or _is_own_column(rel, hint)
        or _is_foreign_column(rel, hint)
        or (rel.junction is not None and rel.junction.table.name == hint)
    )


def _fits_self(rel: Relationship, target: str, hint: str | None) -> bool:
    """One foreign key of a table on itself makes two relationships: the table's name
    means the children, the key's column the parent."""
    children = rel.foreign_table.name == target and rel.cardinality == "one-to-many"
    if hint is not None:
        return children and _is_foreign_column(rel, hint)
    return children or (rel.cardinality == "many-to-one" and _is_own_column(rel, target))


def _is_constraint(rel: Relationship, name: str) -> bool:
    return rel.junction is None and rel.constraint == name


def _is_own_column(rel: Relationship, name: str) -> bool:
    return len(rel.columns) == 1 and rel.columns[0][0] == name


def _is_foreign_column(rel: Relationship, name: str) -> bool:
    return len(rel.columns) == 1 and rel.columns[0][1] == name


def _none_found(
    cache: SchemaCache, schema: str, origin: str, target: str, hint: str | None
) -> ApiError:
    with_hint = f" using the hint '{hint}'" if hint is not None else ""
    return api_error(
        "PGRST200",
        parent=origin,
        child=target,
        details=(
            f"Searched for a foreign key relationship between '{origin}' and '{target}'"
            f"{with_hint} in the schema '{schema}', but no matches were found."
        ),
        hint=relationship_hint(cache, schema, origin, target),
    )


def _several_found(origin: str, target: str, found: Sequence[Relationship]) -> ApiError:
    choices = ", ".join(f"'{rel.foreign_table.name}!{_hint_for(rel)}'" for rel in found)
    return api_error(
        "PGRST201",
        parent=origin,
        child=target,
        details=[_described(rel) for rel in found],
        hint=(
            f"Try changing '{target}' to one of the following: {choices}."
            " Find the desired relationship in the 'details' key."
        ),
    )


def _hint_for(rel: Relationship) -> str:
    return rel.constraint if rel.junction is None else rel.junction.table.name


def _described(rel: Relationship) -> Json:
    def columns(names: Sequence[str]) -> str:
        return f"({', '.join(names)})"

    if rel.junction is not None:
        source = columns([column for _, column in rel.junction.source_columns])
        target = columns([column for _, column in rel.junction.target_columns])
        path = (
            f"{rel.junction.table.name} using {rel.junction.constraint1}{source}"
            f" and {rel.junction.constraint2}{target}"
        )
    else:
        path = (
            f"{rel.constraint} using {rel.table.name}{columns([c for c, _ in rel.columns])}"
            f" and {rel.foreign_table.name}{columns([c for _, c in rel.columns])}"
        )
    return {
        "cardinality": rel.cardinality,
        "embedding": f"{rel.table.name} with {rel.foreign_table.name}",
        "relationship": path,
    }
