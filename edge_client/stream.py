"""All rows of a query in pages, behind each other by key or by offset.

In: an operation and a page size. Out: a generator that asks for pages and gives rows, and
waits for nothing itself; the clients do what it asks. One page is held at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

from edge_client.errors import DecodingError
from edge_client.filters import AnyCondition, Condition, all_of, any_of
from edge_client.literals import column_path
from edge_client.operation import Operation

Keys = tuple[str, ...]

_HIDDEN: Final = "edge_key_"
_AGGREGATE: Final = re.compile(r"\b(sum|avg|count|max|min)\(\)")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream is; `total` is known when the query has `count=`."""

    rows: int
    pages: int
    total: int | None = None


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is to be streamed; `key` None: find the primary key, (): go by offsets."""

    operation: Operation
    page_size: int
    key: Keys | None = None
    progress: Callable[[Progress], None] | None = None


@dataclass(frozen=True, slots=True)
class FindKey:
    """Asks for the primary key of the operation's table: `Keys`, empty if unknown."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Fetch:
    """Asks for a page: a `Page`."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page and the count that came with it."""

    rows: Any
    count: int | None


@dataclass(frozen=True, slots=True)
class Emit:
    """Gives rows to the caller; nothing is answered."""

    rows: list[Any]


Step = FindKey | Fetch | Emit
Pages = Generator[Step, Any, None]


def stream_plan(
    operation: Operation,
    page_size: int,
    key: Keys | None,
    progress: Callable[[Progress], None] | None,
) -> StreamPlan:
    """Raises ValueError for what can't be read page by page."""
    if operation.method != "GET":
        raise ValueError("only reads can be streamed (a function with get=True)")
    if operation.shape != "rows":
        raise ValueError("only rows can be streamed")
    if page_size < 1:
        raise ValueError("page_size must be positive")
    return StreamPlan(operation, page_size, key, progress)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    descending: bool

    def beyond(self, value: str) -> Condition:
        return Condition(self.name, "lt" if self.descending else "gt", value)

    def same(self, value: str) -> Condition:
        return Condition(self.name, "eq", value)


def pages(plan: StreamPlan) -> Pages:
    """The steps of reading everything that `plan` names."""
    key = plan.key
    if key is None:
        key = () if _goes_by_offset(plan.operation) else (yield FindKey(plan.operation))
    columns = _key_columns(plan.operation, key or ())
    if plan.key and columns is None:
        raise ValueError("an order of its own, an offset or an aggregate rules out key=")
    return (yield from _read(plan, columns or ()))


def _goes_by_offset(operation: Operation) -> bool:
    return (
        operation.path.startswith("/rpc/")
        or operation.param("offset") is not None
        or _AGGREGATE.search(operation.param("select") or "") is not None
    )


def _key_columns(operation: Operation, key: Keys) -> tuple[_Column, ...] | None:
    """The key in the query's order; None when pages can't be found by it."""
    if not key or _goes_by_offset(operation):
        return None
    order = operation.param("order")
    if order is None:
        return tuple(_Column(name, descending=False) for name in key)
    terms = [term.rpartition(".") for term in order.split(",")]
    names = [column_path(name) for name in key]
    if sorted(name for name, _, _ in terms) != sorted(names):
        return None
    if any(direction not in ("asc", "desc") for _, _, direction in terms):
        return None
    by_text = dict(zip(names, key, strict=True))
    return tuple(_Column(by_text[name], direction == "desc") for name, _, direction in terms)


def _read(plan: StreamPlan, columns: tuple[_Column, ...]) -> Pages:
    first = plan.operation
    limit_text, offset_text = first.param("limit"), first.param("offset")
    left = None if limit_text is None else int(limit_text)
    offset = 0 if offset_text is None else int(offset_text)
    base = _with_key(first, columns) if columns else first
    total: int | None = None
    last: tuple[str, ...] | None = None
    read = number = 0
    while left is None or left > 0:
        wanted = plan.page_size if left is None else min(plan.page_size, left)
        operation = base.setting("limit", str(wanted))
        if columns:
            if last is not None:
                operation = _after(operation, columns, last)
        else:
            operation = operation.setting("offset", str(offset + read) if read else offset_text)
        page: Page = yield Fetch(operation)
        if not isinstance(page.rows, list):
            raise DecodingError("only an answer of rows can be streamed")
        if not page.rows:
            return
        if columns:
            last = _take_key(page.rows, len(columns))
        read, number = read + len(page.rows), number + 1
        left = None if left is None else left - len(page.rows)
        total = page.count if number == 1 else total
        # Counted once; and past the last row a counted page would be an error.
        base = base.preferring(count=None)
        yield Emit(page.rows)
        if plan.progress is not None:
            plan.progress(Progress(read, number, total))
        # A short page is the last one only if it isn't the server that caps pages.


def _with_key(operation: Operation, columns: tuple[_Column, ...]) -> Operation:
    """The key's columns are read as text, which loses nothing of any type."""
    hidden = ",".join(
        f"{_HIDDEN}{number}:{column_path(column.name)}::text"
        for number, column in enumerate(columns)
    )
    order = ",".join(
        f"{column_path(column.name)}.{'desc' if column.descending else 'asc'}"
        for column in columns
    )
    select = operation.param("select") or "*"
    return operation.setting("select", f"{select},{hidden}").setting("order", order)


def _take_key(rows: list[Any], width: int) -> tuple[str, ...]:
    last: tuple[str, ...] = ()
    for row in rows:
        last = tuple(row.pop(f"{_HIDDEN}{number}") for number in range(width))
    if None in last:
        raise DecodingError("a key column without a value can't be streamed by")
    return last


def _after(
    operation: Operation, columns: tuple[_Column, ...], last: tuple[str, ...]
) -> Operation:
    """Rows behind `last`: (a, b) > (1, 2) is a > 1 or (a = 1 and b > 2)."""
    choices: list[AnyCondition] = []
    for number, column in enumerate(columns):
        same = [
            before.same(value) for before, value in zip(columns[:number], last, strict=False)
        ]
        beyond = column.beyond(last[number])
        choices.append(all_of(*same, beyond) if same else beyond)
    condition = choices[0] if len(choices) == 1 else any_of(*choices)
    return operation.adding(*condition.parameter())


def key_operation(operation: Operation) -> Operation:
    """The request for the schema's description, which marks primary keys."""
    return Operation(
        "GET",
        "/",
        schema=operation.schema,
        accept="application/openapi+json",
        shape="json",
        repeatable=True,
    )


def keys_of(document: Any) -> dict[str, Keys]:
    """The primary keys by table that an OpenAPI document (PostgREST's) tells."""
    found: dict[str, Keys] = {}
    definitions = document.get("definitions") if isinstance(document, dict) else None
    for table, definition in (definitions or {}).items():
        properties = definition.get("properties") or {}
        found[table] = tuple(
            f'"{name}"' if "." in name or "->" in name else name
            for name, about in properties.items()
            if "<pk/>" in (about.get("description") or "")
        )
    return found
