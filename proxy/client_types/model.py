"""What there is to describe to a client, and what JSON a value of each type becomes.

In: the schema cache, and the row of `queries.described_sql`. Out: a `Described`, of which the
languages make their text. What JSON a type becomes is PostgreSQL's `to_json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from proxy.schema_cache.catalog_json import read_catalog_json
from proxy.schema_cache.model import Column, QualifiedName, Relationship, SchemaCache, Table

Scalar = Literal["boolean", "integer", "number", "string", "json", "record", "void"]

_BODIES: Final = frozenset(("bytea", "json", "jsonb", "text", "xml"))
"""Types of the only argument, without a name, that may be the whole body (PostgREST docs,
"Functions with a single unnamed parameter")."""


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """An array of any number of dimensions' elements."""

    element: Value


@dataclass(frozen=True, slots=True)
class EnumOf:
    """One of `labels`."""

    type: QualifiedName
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowOf:
    """A value of a composite type, or a row of a table (`is_table`) or view."""

    type: QualifiedName
    is_table: bool
    fields: tuple[tuple[str, Value], ...]


Value = Scalar | ArrayOf | EnumOf | RowOf

_OWN: Final[Mapping[str, Value]] = {
    "boolean": "boolean",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "real": "number",
    "double precision": "number",
    "numeric": "number",
    "json": "json",
    "jsonb": "json",
    "record": "record",
    "void": "void",
    "int2vector": ArrayOf("integer"),
    "oidvector": ArrayOf("string"),
}
"""By the name that `format_type` gives; all others of PostgreSQL's own become strings."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a function; `name` is empty where it has none."""

    name: str
    value: Value
    optional: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """One overload. `results` are its OUT arguments or the columns of its TABLE; `value` is
    what it returns without those. `returns_one`: a set of at most one row. `takes_body`: its
    argument is the request's body as it is."""

    schema: str
    name: str
    description: str | None
    arguments: tuple[Argument, ...]
    results: tuple[tuple[str, Value], ...]
    value: Value
    returns_set: bool
    returns_one: bool
    takes_body: bool = False

    @property
    def source(self) -> RowOf | None:
        """The table whose row is its only argument: it is a column or an embed of it."""
        value = self.arguments[0].value if len(self.arguments) == 1 else None
        return value if isinstance(value, RowOf) and value.is_table else None

    @property
    def is_column(self) -> bool:
        """Whether it can be selected as if it were a column."""
        scalar = not isinstance(self.value, RowOf) and not self.results
        return self.source is not None and scalar and not self.returns_set

    @property
    def is_callable(self) -> bool:
        """Whether a request can name all its arguments."""
        named = all(argument.name for argument in self.arguments)
        return named or self.takes_body or self.source is not None


@dataclass(frozen=True, slots=True)
class Described:
    """All that the API has in `schemas`, the first being the default. `read_only`: columns of
    views that can't be written, as (schema, view, column)."""

    schemas: tuple[str, ...]
    cache: SchemaCache
    types: Mapping[str, Value]
    signatures: tuple[Signature, ...]
    read_only: frozenset[tuple[str, str, str]]

    def tables(self, schema: str) -> list[Table]:
        """Tables and views of a schema, by name."""
        found = [table for name, table in self.cache.tables.items() if name.schema == schema]
        return sorted(found, key=lambda table: table.name)

    def columns(self, table: Table) -> list[tuple[Column, Value]]:
        """The columns of a table and what they become, by name."""
        columns = sorted(table.columns.values(), key=lambda column: column.name)
        return [(column, self.value_of(column)) for column in columns]

    def value_of(self, column: Column) -> Value:
        """What a column's values become."""
        if (column.nominal_type, "json") in self.cache.representations:
            return "json"
        return value_of(column.type, self.types)

    def computed(self, table: Table) -> list[Signature]:
        """The functions that are selected as if they were columns of `table`, by name."""
        name = QualifiedName(table.schema, table.name)
        found = {
            each.name: each
            for each in self.signatures
            if each.is_column and each.source is not None and each.source.type == name
        }
        return [found[each] for each in sorted(found) if each not in table.columns]

    def is_writable(self, table: Table, column: Column) -> bool:
        """Whether a request may give the column a value."""
        fixed = (table.schema, table.name, column.name) in self.read_only
        return not column.generated and not fixed

    def needs(self, table: Table, column: Column) -> bool:
        """Whether an insert must give the column a value."""
        given = column.default is not None or column.nullable
        return not given and not table.is_view and self.is_writable(table, column)

    def references(self, table: Table) -> list[Relationship]:
        """The foreign keys of a table to others of its schema, by constraint and table."""
        name = QualifiedName(table.schema, table.name)
        found = [
            each
            for each in self.cache.relationships.get((name, table.schema), ())
            if isinstance(each, Relationship)
            and each.is_to_one
            and not each.is_parent
            and each.foreign_table.schema == table.schema
        ]
        return sorted(found, key=lambda each: (each.constraint, each.foreign_table.name))

    def enums(self, schema: str) -> list[EnumOf]:
        """The enums of a schema, by name."""
        # A domain becomes what its base does.
        found = {each.type: each for each in self.types.values() if isinstance(each, EnumOf)}
        return [found[each] for each in sorted(found) if each.schema == schema]

    def composites(self, schema: str) -> list[RowOf]:
        """The composite types of a schema that are no table's, by name."""
        found = {each.type: each for each in self.types.values() if isinstance(each, RowOf)}
        return [
            found[each]
            for each in sorted(found)
            if each.schema == schema and not found[each].is_table
        ]

    def overloads(self, schema: str) -> Mapping[str, list[Signature]]:
        """The functions of a schema that can be called, by name."""
        found: dict[str, list[Signature]] = {}
        for each in self.signatures:
            if each.schema == schema and each.is_callable:
                found.setdefault(each.name, []).append(each)
        return dict(sorted(found.items()))


def value_of(type_name: str, types: Mapping[str, Value]) -> Value:
    """What values of a type become, by the name that `format_type` gives it."""
    if type_name.endswith("[]"):
        return ArrayOf(value_of(type_name.removesuffix("[]"), types))
    return types.get(type_name) or _OWN.get(type_name, "string")


def described(
    cache: SchemaCache, schemas: Sequence[str], row: Sequence[bytes | str | None]
) -> Described:
    """What the schema cache and the row of `queries.described_sql` say together."""
    types, functions, read_only = (read_catalog_json(each) if each else [] for each in row)
    known = _types(types or [])
    return Described(
        schemas=tuple(schemas),
        cache=cache,
        types=known,
        signatures=tuple(_signature(each, known) for each in functions or []),
        read_only=frozenset(tuple(each) for each in read_only or []),
    )


def _types(rows: list[Any]) -> dict[str, Value]:
    """A type may be made of any other, in whatever order they come."""
    by_name = {row[0]: row for row in rows}
    known: dict[str, Value] = {}

    def value(name: str) -> Value:
        if name.endswith("[]"):
            return ArrayOf(value(name.removesuffix("[]")))
        row = by_name.get(name)
        if row is None:
            return _OWN.get(name, "string")
        if name not in known:
            known[name] = made(row)
        return known[name]

    def made(row: list[Any]) -> Value:
        _, kind, schema, bare, labels, fields, base, has_json = row
        if has_json:
            return "json"
        if kind == "e":
            return EnumOf(QualifiedName(schema, bare), tuple(labels or ()))
        if kind in ("c", "t"):
            parts = tuple((field, value(type_name)) for field, type_name in fields or ())
            return RowOf(QualifiedName(schema, bare), kind == "t", parts)
        # Ranges and what extensions add are written as text.
        return value(base) if kind == "d" else "string"

    return {name: value(name) for name in by_name}


def _signature(row: list[Any], types: Mapping[str, Value]) -> Signature:
    schema, name, result, returns_set, returns_one, arguments, description = row
    given = [each for each in arguments or () if each[0] in "ibv"]
    told = [each for each in arguments or () if each[0] in "obt"]
    return Signature(
        schema=schema,
        name=name,
        description=description,
        arguments=tuple(
            Argument(own, value_of(kind, types), optional or mode == "v")
            for mode, own, kind, optional in given
        ),
        results=tuple(
            (own or f"column{place}", value_of(kind, types))
            for place, (_, own, kind, _) in enumerate(told, 1)
        ),
        value=value_of(result, types),
        returns_set=returns_set,
        returns_one=returns_one,
        takes_body=len(given) == 1 and not given[0][1] and given[0][2] in _BODIES,
    )
