"""Hints for errors: what the caller may have meant by a name nobody knows. Pure.

In: the schema cache and the names asked for. Out: PostgREST's hint, or None (PostgREST
docs, "Errors", PGRST200, PGRST202, PGRST205). Names come from exposed schemas only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from proxy.schema_cache.fuzzy import FuzzySet
from proxy.schema_cache.model import AnyRelationship, QualifiedName, SchemaCache

_MIN_NAME_SCORE: Final = 0.75
_TOO_MANY_TABLES: Final = 500
_EXACT: Final = 1.0


@lru_cache(maxsize=32)
def _index(names: tuple[str, ...]) -> FuzzySet:
    """The index of `names`, kept since making it takes longer than asking it.

    Keyed by the names themselves: whoever gets an index already had all that is in it.
    """
    return FuzzySet(names)


def _index_of(names: Iterable[str]) -> FuzzySet:
    return _index(tuple(sorted(names)))


def table_hint(cache: SchemaCache, table: QualifiedName) -> str | None:
    """The table of the same schema whose name is nearest; none in schemas with 500 tables
    or more."""
    names = [name for schema, name in cache.tables if schema == table.schema]
    if len(names) >= _TOO_MANY_TABLES:
        return None
    nearest = _index_of(names).get_one(table.name, _MIN_NAME_SCORE)
    return nearest and f"Perhaps you meant the table '{table.schema}.{nearest}'"


def function_hint(
    cache: SchemaCache, function: QualifiedName, arguments: Sequence[str]
) -> str | None:
    """The overload whose parameters are nearest to `arguments`, or when there is no
    function of that name, the function whose name is nearest."""
    overloads = cache.functions.get(function, ())
    if overloads:
        signatures = tuple(_listed(p.name for p in f.parameters) for f in overloads)
        parameters = _index(signatures).get_one(_listed(arguments))
        nearest = parameters and f"{function.name}{parameters}"
    else:
        names = [name for schema, name in cache.functions if schema == function.schema]
        nearest = _index_of(names).get_one(function.name, _MIN_NAME_SCORE)
    return nearest and f"Perhaps you meant to call the function {function.schema}.{nearest}"


def _listed(names: Iterable[str]) -> str:
    return f"({', '.join(sorted(names))})"


def relationship_hint(cache: SchemaCache, schema: str, parent: str, child: str) -> str | None:
    """The table nearest to `parent` when nothing is related to it, or else the relation
    of `parent` nearest to `child`, unless `child` is one."""
    known = cache.relationships.get((QualifiedName(schema, parent), schema))
    if known is not None:
        wrong, nearest = child, _nearest_child(known, child)
    else:
        parents = (table.name for table, target in cache.relationships if target == schema)
        wrong, nearest = parent, _index_of(parents).get_one(parent)
    return nearest and f"Perhaps you meant '{nearest}' instead of '{wrong}'."


def _nearest_child(known: Iterable[AnyRelationship], child: str) -> str | None:
    index = _index(tuple(rel.foreign_table.name for rel in known))
    return next((name for score, name in index.get(child) if score < _EXACT), None)
