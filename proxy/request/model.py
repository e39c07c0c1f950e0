"""What a request means, as immutable values; the output of `proxy.request`.

`HttpRequest` is what the ASGI edge read from the wire. `ApiRequest` is the same thing in
PostgREST's terms: an action on a resource, with parsed query parameters, preferences,
ranges, media types and payload. Nothing here knows the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.request.media_types import MediaType
from proxy.request.preferences import Preferences
from proxy.request.ranges import Range
from proxy.schema_cache.model import QualifiedName

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came: header names in lower case, path and query still encoded."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes = b""


# --- the query string ------------------------------------------------------------------

JsonArrow = Literal["->", "->>"]


@dataclass(frozen=True, slots=True)
class JsonStep:
    """One step of a JSON path: `->key`, `->>key`, `->0`. `is_index` for integer operands."""

    arrow: JsonArrow
    operand: str
    is_index: bool


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A column, or a path into one: `data->a->>b`."""

    name: str
    path: tuple[JsonStep, ...] = ()


Aggregate = Literal["sum", "avg", "count", "max", "min"]
JoinType = Literal["inner", "left"]


@dataclass(frozen=True, slots=True)
class SelectField:
    """`alias:field::cast.aggregate()::aggregate_cast`; the name may be `*`."""

    field: FieldPath
    alias: str | None = None
    cast: str | None = None
    aggregate: Aggregate | None = None
    aggregate_cast: str | None = None


@dataclass(frozen=True, slots=True)
class SelectEmbed:
    """`alias:relation!hint!inner(items)`, or `...relation(items)` when `spread`."""

    relation: str
    items: tuple[SelectItem, ...]
    alias: str | None = None
    hint: str | None = None
    join: JoinType | None = None
    spread: bool = False


SelectItem = SelectField | SelectEmbed

LogicOperator = Literal["and", "or"]
Direction = Literal["asc", "desc"]
Nulls = Literal["nullsfirst", "nullslast"]
Quantifier = Literal["any", "all"]
IsValue = Literal["null", "not_null", "true", "false", "unknown"]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator applied to a value, e.g. `not.like(any).{a*,b*}`.

    `operator` is a key of `proxy.request.operators.OPERATORS`. `value` is a string, for
    `in` a tuple of strings. `quantifier` belongs to the quantifiable operators,
    `language` to full-text search.
    """

    operator: str
    value: str | tuple[str, ...]
    negated: bool = False
    quantifier: Quantifier | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """A field and what must hold for it."""

    field: FieldPath
    operation: Operation


@dataclass(frozen=True, slots=True)
class LogicTree:
    """`not.and(...)`: filters and trees joined by one connective."""

    connective: LogicOperator
    children: tuple[LogicTree | Filter, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """`field.desc.nullslast`, or `relation(field).desc` when `relation` is set."""

    field: FieldPath
    relation: str | None = None
    direction: Direction | None = None
    nulls: Nulls | None = None


EmbedPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueryParams:
    """The parsed query string.

    Everything addressed to an embedded resource carries its path; the empty path is the
    root. `arguments` are the parameters of a function called with GET, in order. `ranges`
    maps the raw key of `limit` (`actors.limit`, `limit`) to the range that limit and offset
    make.
    `canonical` is the query string with its parameters sorted, for Content-Location.
    """

    canonical: str = ""
    select: tuple[SelectItem, ...] = (SelectField(FieldPath("*")),)
    filters: tuple[tuple[EmbedPath, Filter], ...] = ()
    logic: tuple[tuple[EmbedPath, LogicTree | Filter], ...] = ()
    order: tuple[tuple[EmbedPath, tuple[OrderTerm, ...]], ...] = ()
    ranges: Mapping[EmbedPath, Range] = field(default_factory=dict)
    columns: frozenset[str] | None = None
    on_conflict: tuple[str, ...] | None = None
    arguments: tuple[tuple[str, str], ...] = ()


# --- the payload ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JsonPayload:
    """A JSON body, passed on as the bytes that came. `keys` are its objects' common keys."""

    raw: bytes
    keys: frozenset[str]
    is_array: bool


@dataclass(frozen=True, slots=True)
class FormPayload:
    """`application/x-www-form-urlencoded` arguments of a function, in order."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RawPayload:
    """A body that is one value: text, XML or bytes for a single unnamed parameter."""

    raw: bytes


Payload = JsonPayload | FormPayload | RawPayload

# --- the whole --------------------------------------------------------------------------

ActionKind = Literal[
    "read",
    "create",
    "update",
    "upsert",
    "delete",
    "call",
    "call_read",
    "inspect",
    "relation_info",
    "routine_info",
    "schema_info",
]


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done to what.

    `kind`: `upsert` is PUT, `call` is POST on a function, `call_read` GET or HEAD on one,
    `inspect` GET or HEAD on the root, `*_info` are OPTIONS. `target` is the relation or
    function; for the root its name is empty.
    """

    kind: ActionKind
    target: QualifiedName
    head: bool = False

    @property
    def is_mutation(self) -> bool:
        return self.kind in ("create", "update", "upsert", "delete")

    @property
    def is_call(self) -> bool:
        return self.kind in ("call", "call_read", "routine_info")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request, understood. `columns` are those a write names (`columns=` or payload keys).

    `range` is the root's range after Range header and limit/offset were combined;
    `query.ranges` holds those of embedded resources. `negotiated_by_profile` tells
    whether the response names its schema in Content-Profile. `headers` and `cookies` go
    to the transaction's GUCs (cookie header left out of `headers`). `path_prefix` is what
    stands in `path` before the resource, `/v1` or nothing; `base_path` what stood before all
    of it and was taken off, `/shop` or nothing.
    """

    action: Action
    schema: str
    negotiated_by_profile: bool
    method: str
    path: str
    query: QueryParams
    range: Range
    preferences: Preferences
    payload: Payload | None
    columns: frozenset[str]
    accept: tuple[MediaType, ...]
    content_type: MediaType
    headers: tuple[tuple[str, str], ...]
    cookies: tuple[tuple[str, str], ...]
    path_prefix: str = ""
    base_path: str = ""

    @property
    def prefix(self) -> str:
        """What stands before the resource in the URLs that clients use."""
        return self.base_path + self.path_prefix
