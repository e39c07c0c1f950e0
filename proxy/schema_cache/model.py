"""The schema cache as a value: what of a database the API may speak of.

Made by `proxy.schema_cache.load`, read by `proxy.plan`; nothing here does I/O. A reload
builds a new `SchemaCache` and swaps the reference; requests in flight keep theirs.
Terms are PostgREST's (docs: "Schema Cache", "Resource Embedding").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from pool.model import IsolationLevel

if TYPE_CHECKING:
    from proxy.schema_cache.facts import Facts


class QualifiedName(NamedTuple):
    """`schema.name`; an empty schema means the transaction's search_path decides."""

    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or view.

    `type` is the base type as `format_type` writes it (domains resolved, modifiers left
    out); `nominal_type` is the declared one with modifiers. `max_length` is in characters.
    `generated`: PostgreSQL alone gives it a value (GENERATED ALWAYS, identity or stored).
    """

    name: str
    description: str | None
    nullable: bool
    type: str
    nominal_type: str
    max_length: int | None
    default: str | None
    enum: tuple[str, ...] = ()
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table, view, materialized view, foreign table or partitioned table.

    `insertable`, `updatable` and `deletable` say what the object is capable of, not what
    a role may do. `columns` keeps the order of definition; `primary_key` is sorted by name,
    except for a view's, which keeps the order of the keys it shows.
    """

    schema: str
    name: str
    description: str | None
    is_view: bool
    insertable: bool
    updatable: bool
    deletable: bool
    primary_key: tuple[str, ...]
    columns: Mapping[str, Column]


Cardinality = Literal["many-to-one", "one-to-many", "one-to-one", "many-to-many"]


@dataclass(frozen=True, slots=True)
class Junction:
    """The table in the middle of a many-to-many relationship.

    `source_columns` pairs (source column, junction column), `target_columns` pairs
    (target column, junction column).
    """

    table: QualifiedName
    constraint1: str
    constraint2: str
    source_columns: tuple[tuple[str, str], ...]
    target_columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Relationship:
    """A relationship found through foreign keys, seen from `table`.

    `columns` pairs (column of table, column of foreign_table); it is empty and `junction`
    is set when `cardinality` is many-to-many. `is_parent` tells the referenced side of a
    one-to-one.
    """

    table: QualifiedName
    foreign_table: QualifiedName
    is_self: bool
    cardinality: Cardinality
    constraint: str
    columns: tuple[tuple[str, str], ...]
    table_is_view: bool = False
    foreign_table_is_view: bool = False
    is_parent: bool = False
    junction: Junction | None = None

    @property
    def is_to_one(self) -> bool:
        return self.cardinality in ("many-to-one", "one-to-one")


@dataclass(frozen=True, slots=True)
class ComputedRelationship:
    """A function `function(table) returns [setof] foreign_table` used as a relationship."""

    function: QualifiedName
    table: QualifiedName
    foreign_table: QualifiedName
    is_to_one: bool
    is_self: bool


AnyRelationship = Relationship | ComputedRelationship


@dataclass(frozen=True, slots=True)
class Parameter:
    """A function parameter. `type_without_length` widens bit and character types."""

    name: str
    type: str
    type_without_length: str
    required: bool
    variadic: bool


Volatility = Literal["volatile", "stable", "immutable"]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of an exposed schema, one overload of it.

    `return_type` is the type's qualified name (of the table for a row type);
    `returns_composite` is also true with OUT, INOUT or TABLE parameters.
    `settings` are the function's own SET clauses that db-hoisted-tx-settings names.
    """

    schema: str
    name: str
    description: str | None
    parameters: tuple[Parameter, ...]
    return_type: QualifiedName
    returns_set: bool
    returns_composite: bool
    returns_composite_alias: bool
    volatility: Volatility
    has_variadic: bool
    isolation: IsolationLevel | None
    settings: tuple[tuple[str, str], ...]

    @property
    def returns_scalar(self) -> bool:
        return not self.returns_set and not self.returns_composite

    @property
    def returns_void(self) -> bool:
        return self.returns_scalar and self.return_type == ("pg_catalog", "void")

    @property
    def table_name(self) -> str | None:
        """The name of the row type it returns, if it returns rows."""
        return self.return_type.name if self.returns_composite else None


HandlerKind = Literal[
    "json", "csv", "geojson", "single_json", "array_json_strip", "custom", "none"
]


@dataclass(frozen=True, slots=True)
class MediaHandler:
    """How rows become a body: a builtin, or a user's function (`kind == "custom"`).

    `function` and `target` belong to custom handlers; `target` is None for anyelement.
    """

    kind: HandlerKind
    strip_nulls: bool = False
    function: QualifiedName | None = None
    target: QualifiedName | None = None


@dataclass(frozen=True, slots=True)
class CustomHandler:
    """A custom media handler as the database declares it.

    `target` is the relation or function it applies to (None: any), `media_type` the
    lower-case type it answers to, `produces` the type its answers carry.
    """

    function: QualifiedName
    target: QualifiedName | None
    media_type: str
    produces: str


@dataclass(frozen=True, slots=True)
class SchemaCache:
    """All that the planner knows of one database.

    Keys: `tables` and `functions` by qualified name (functions: overloads, fewest
    parameters first); `relationships` by (source table, schema of the foreign table or
    of the computed relationship's function);
    `representations` maps (source type, target type) to the casting function's SQL name.
    `role_settings` are ALTER ROLE settings that the connecting user may set for a role it
    can switch to. `server_version` is server_version_num. `facts` are what invalidation must
    know; None unless they were asked for.
    """

    tables: Mapping[QualifiedName, Table] = field(default_factory=dict)
    relationships: Mapping[tuple[QualifiedName, str], tuple[AnyRelationship, ...]] = field(
        default_factory=dict
    )
    functions: Mapping[QualifiedName, tuple[Function, ...]] = field(default_factory=dict)
    representations: Mapping[tuple[str, str], str] = field(default_factory=dict)
    custom_handlers: tuple[CustomHandler, ...] = ()
    role_settings: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    role_isolation: Mapping[str, IsolationLevel] = field(default_factory=dict)
    server_version: int = 0
    facts: Facts | None = field(default=None, repr=False)
