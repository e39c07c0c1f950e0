"""Resolving names to columns: FieldRefs for output, for filters and for payloads.

A name that is no column is kept as it is (it may be a computed field); only payloads
insist on known columns. Representations are casts between a domain and json or text
(PostgREST docs: "Domain Representations").
"""

from __future__ import annotations

from dataclasses import replace

from proxy.errors import api_error
from proxy.plan.model import Comparison, Condition, Connective, FieldRef
from proxy.request.model import FieldPath, Filter, LogicTree
from proxy.request.operators import OPERATORS
from proxy.schema_cache.model import Column, QualifiedName, SchemaCache, Table


def column_field(column: Column) -> FieldRef:
    """The reference to a known column, without path or transform."""
    return FieldRef(
        column.name,
        to_json=column.nominal_type not in ("json", "jsonb"),
        type=column.nominal_type,
        base_type=column.type,
        default=column.default,
    )


def _field(cache: SchemaCache, table: QualifiedName, path: FieldPath) -> FieldRef:
    known = cache.tables.get(table)
    column = known.columns.get(path.name) if known else None
    if column is None:
        return FieldRef(path.name, path.path)
    return replace(column_field(column), path=path.path)


def _transformed(cache: SchemaCache, field: FieldRef, source: str, target: str) -> FieldRef:
    function = cache.representations.get((source, target))
    return field if function is None else replace(field, transform=function)


def with_output_format(cache: SchemaCache, field: FieldRef) -> FieldRef:
    """The field as JSON shows it: through its domain's cast to json, if there is one."""
    return _transformed(cache, field, field.type, "json")


def output_field(cache: SchemaCache, table: QualifiedName, path: FieldPath) -> FieldRef:
    """A field of `select`, as JSON shows it."""
    return with_output_format(cache, _field(cache, table, path))


def order_field(cache: SchemaCache, table: QualifiedName, path: FieldPath) -> FieldRef:
    """A field to order by: the column itself, not its representation."""
    return _field(cache, table, path)


def filter_condition(
    cache: SchemaCache, table: QualifiedName, tree: Filter | LogicTree
) -> Condition:
    """A filter or logic tree with its columns resolved."""
    if isinstance(tree, LogicTree):
        children = tuple(filter_condition(cache, table, child) for child in tree.children)
        return Connective(tree.connective, children, tree.negated)
    field = _field(cache, table, tree.field)
    if OPERATORS[tree.operation.operator].kind == "fts":
        known = cache.tables.get(table)
        column = known.columns.get(field.name) if known else None
        # A computed field may be a tsvector already; its type isn't known here.
        if column is not None and column.type != "tsvector":
            field = replace(field, tsvector=True, language=tree.operation.language)
    return Comparison(_transformed(cache, field, "text", field.type), tree.operation)


def payload_field(cache: SchemaCache, table: Table, name: str) -> FieldRef:
    """The column a payload's key goes to. Raises PGRST204 when there is none."""
    column = table.columns.get(name)
    if column is None:
        raise api_error("PGRST204", column=name, table=table.name)
    field = column_field(column)
    transform = cache.representations.get(("json", field.type))
    # The record is read with the representation's own type, then cast to the column's.
    return field if transform is None else replace(field, type="json", transform=transform)
