"""Plans: what is to be done, resolved against the schema cache, before any SQL exists.

Out of `proxy.plan.planner`, into `proxy.sql`. A plan names every table, column,
relationship and media handler; the SQL layer only has to write it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pool.model import AccessMode
from proxy.request.media_types import MediaType
from proxy.request.model import (
    Aggregate,
    JoinType,
    JsonStep,
    Operation,
)
from proxy.request.ranges import ALL_ROWS, Range
from proxy.schema_cache.model import (
    AnyRelationship,
    Function,
    MediaHandler,
    Parameter,
    QualifiedName,
)

SOURCE = "pgrst_source"
"""The CTE that holds the rows of a write or a function call."""


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A column (or computed field) as one use of it needs it.

    `to_json`: a JSON path on a column that is no JSON needs `to_jsonb` first.
    `tsvector`: full-text search on a column that is no tsvector converts it, in
    `language` if given. `type` is the declared type ("" when unknown), `base_type` what
    it is when it is a domain. `transform` is the
    casting function between `type` and its representation. `whole_row` stands for the
    row itself, whatever is in it, in COUNT over a spread embed.
    """

    name: str
    path: tuple[JsonStep, ...] = ()
    to_json: bool = True
    tsvector: bool = False
    language: str | None = None
    type: str = ""
    base_type: str = ""
    transform: str | None = None
    default: str | None = None
    whole_row: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """A field of the result."""

    field: FieldRef
    alias: str | None = None
    cast: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None

    @property
    def output_name(self) -> str:
        return self.alias if self.alias is not None else self.field.name


@dataclass(frozen=True, slots=True)
class Comparison:
    """A filter on a column."""

    field: FieldRef
    operation: Operation


@dataclass(frozen=True, slots=True)
class EmbedIsNull:
    """A filter on whether an embedded resource has rows, by its alias in the statement;
    `is_array`: its rows are gathered into one."""

    embed_alias: str
    negated: bool
    is_array: bool


@dataclass(frozen=True, slots=True)
class Connective:
    """Conditions joined by AND or OR."""

    connective: Literal["and", "or"]
    children: tuple[Condition, ...]
    negated: bool = False


Condition = Comparison | EmbedIsNull | Connective


@dataclass(frozen=True, slots=True)
class Order:
    """One ORDER BY term; `relation` is the alias of a to-one embed it reaches into."""

    field: FieldRef
    relation: str | None = None
    direction: Literal["asc", "desc"] | None = None
    nulls: Literal["nullsfirst", "nullslast"] | None = None


@dataclass(frozen=True, slots=True)
class SpreadField:
    """A column that a spread embed lifts into its parent; aggregates apply there."""

    name: str
    alias: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None


EmbedShape = Literal["object", "array", "spread_one", "spread_many"]


@dataclass(frozen=True, slots=True)
class Embed:
    """A child of a read plan and how it shows in its parent's rows.

    `alias` is the lateral subquery's name, `parent` the name the parent's rows go by,
    `junction_alias` the junction's unless it goes by its own. An `object` or `array` shows
    as a column `name` (not at all when `hidden`: an embed without any column); spreads
    show as `fields`.
    """

    node: ReadPlan
    name: str
    alias: str
    parent: QualifiedName
    shape: EmbedShape
    relationship: AnyRelationship
    join: JoinType | None
    hidden: bool = False
    fields: tuple[SpreadField, ...] = ()
    junction_alias: str | None = None

    @property
    def is_array(self) -> bool:
        """Whether its rows are gathered into one row of arrays."""
        return self.shape in ("array", "spread_many")


@dataclass(frozen=True, slots=True)
class JoinCondition:
    """`left.column = right.column`, both sides by the name their row source has."""

    left: QualifiedName
    left_column: str
    right: QualifiedName
    right_column: str


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Rows of one source with their embeds; the root of a tree of such plans.

    `source` is a table or the CTE of a write or call (`alias` then is the table's name),
    `table` what its columns were resolved against. `extra_select` and `spread_order`
    serve spreading to-many: columns only fetched to order by, and that order.
    """

    table: QualifiedName
    source: QualifiedName
    alias: str | None
    select: tuple[Selected, ...] = ()
    where: tuple[Condition, ...] = ()
    join_conditions: tuple[JoinCondition, ...] = ()
    order: tuple[Order, ...] = ()
    range: Range = ALL_ROWS
    embeds: tuple[Embed, ...] = ()
    extra_select: tuple[tuple[str | None, Selected], ...] = ()
    spread_order: tuple[Order, ...] = ()

    @property
    def reference(self) -> QualifiedName:
        """The name its columns are written with."""
        return self.source if self.alias is None else QualifiedName("", self.alias)

    @property
    def has_default_select(self) -> bool:
        """Whether it selects `*` and nothing else: only then custom handlers apply."""
        return not self.embeds and len(self.select) == 1 and self.select[0].field.name == "*"

    @property
    def is_grouped(self) -> bool:
        """Whether an aggregate is computed at this level."""
        return any(selected.aggregate for selected in self.select) or any(
            item.aggregate for embed in self.embeds for item in embed.fields
        )


@dataclass(frozen=True, slots=True)
class InsertPlan:
    """`on_conflict` columns with `resolution`, or neither. `put_filters` makes it a PUT."""

    table: QualifiedName
    columns: tuple[FieldRef, ...]
    body: bytes
    body_is_array: bool
    returning: tuple[str, ...]
    primary_key: tuple[str, ...]
    resolution: Literal["merge-duplicates", "ignore-duplicates"] | None = None
    on_conflict: tuple[str, ...] = ()
    put_filters: tuple[Condition, ...] = ()
    apply_defaults: bool = False


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """PATCH: the payload's columns set on the rows that `where` chooses.

    With `keys` (a by-key update) each row of the payload sets its own values on the row
    whose key columns equal its own; `columns` holds the keys too, which are never set.
    """

    table: QualifiedName
    columns: tuple[FieldRef, ...]
    body: bytes
    body_is_array: bool
    where: tuple[Condition, ...]
    returning: tuple[str, ...]
    apply_defaults: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """DELETE of the rows that `where` chooses."""

    table: QualifiedName
    where: tuple[Condition, ...]
    returning: tuple[str, ...]


MutatePlan = InsertPlan | UpdatePlan | DeletePlan


@dataclass(frozen=True, slots=True)
class DirectArguments:
    """Arguments from the query string or a form; a variadic one has several values."""

    values: dict[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class BodyArguments:
    """Arguments in a JSON object, or one raw body for a single unnamed parameter."""

    body: bytes
    is_array: bool = False


@dataclass(frozen=True, slots=True)
class CallPlan:
    """A function call. `positional`: its one parameter has no name and takes the body.

    `columns` are the result's columns that the read around it needs; empty for all.
    """

    function: Function
    parameters: tuple[Parameter, ...]
    arguments: DirectArguments | BodyArguments
    positional: bool
    columns: tuple[str, ...]


MutationKind = Literal["create", "update", "upsert", "delete"]


@dataclass(frozen=True, slots=True)
class Answering:
    """How the result becomes a body: the handler and the media type it produces.
    `plain_csv`: backslashes are not doubled in CSV (csv-plain-backslashes)."""

    handler: MediaHandler
    media_type: MediaType
    plain_csv: bool = False


@dataclass(frozen=True, slots=True)
class TableRead:
    """GET or HEAD on a relation."""

    read: ReadPlan
    answering: Answering
    target: QualifiedName
    head: bool


@dataclass(frozen=True, slots=True)
class TableWrite:
    """POST, PATCH, PUT or DELETE on a relation, and the read that shapes what it returns."""

    read: ReadPlan
    mutation: MutatePlan
    kind: MutationKind
    answering: Answering
    target: QualifiedName


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call and the read that filters, orders and embeds its rows."""

    read: ReadPlan
    call: CallPlan
    answering: Answering
    access: AccessMode
    head: bool


@dataclass(frozen=True, slots=True)
class Inspect:
    """GET or HEAD on the root: the OpenAPI description of a schema."""

    schema: str
    head: bool
    media_type: MediaType


@dataclass(frozen=True, slots=True)
class Info:
    """OPTIONS: the methods a resource allows, answered without the database."""

    allow: str


DatabasePlan = TableRead | TableWrite | FunctionCall
DATABASE_PLANS: Final = (TableRead, TableWrite, FunctionCall)
Plan = DatabasePlan | Inspect | Info
