"""A template: all that requests of one fingerprint have in common, found out once.

In: a request that was read and planned in full, and the same request with marks in place of
its values, read and planned by the same code. Where a mark turns up in what comes of it, a
value of that request stands in the other. Out: a `Template`, into which other values are
put; None when anything else differs between the two, or a value is not found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from pool.model import Argument, Statement, keep_always
from proxy.plan.model import DATABASE_PLANS
from proxy.prepared.query import BoundQuery, PreparedQuery
from proxy.request.model import ApiRequest, JsonPayload, QueryParams

_LONGEST_SQL: Final = 16_000
"""Characters; what is longer is not worth its memory."""


@dataclass(frozen=True, slots=True)
class _Holes:
    """A statement; `at` are pairs of a position among `args` and the value that goes there."""

    sql: str
    args: tuple[Argument, ...]
    at: tuple[tuple[int, int], ...]

    def filled(self, values: Sequence[Argument]) -> Statement:
        args = list(self.args)
        for position, value in self.at:
            args[position] = values[value]
        return Statement(self.sql, tuple(args))


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What is common to all requests of a fingerprint. Equal to itself alone.

    `pieces` are the canonical query, cut where texts go; `order` says which.
    """

    prepared: PreparedQuery
    statement: _Holes
    after: _Holes | None
    pieces: tuple[str, ...]
    order: tuple[int, ...]

    @property
    def weight(self) -> int:
        """Characters of SQL and names, as a measure of its memory."""
        after = "" if self.after is None else self.after.sql
        return len(self.statement.sql) + len(after) + sum(map(len, self.pieces)) + 1000

    def bound(self, texts: Sequence[str], values: Sequence[Argument]) -> BoundQuery:
        """The query with these texts, and these values in its statements."""
        return BoundQuery(
            self.prepared,
            self.statement.filled(values),
            None if self.after is None else self.after.filled(values),
            self._canonical(texts),
        )

    def _canonical(self, texts: Sequence[str]) -> str:
        canonical = self.pieces[0]
        for number, piece in zip(self.order, self.pieces[1:], strict=True):
            canonical += quote(texts[number], safe="") + piece
        return canonical


def template_of(
    query: BoundQuery,
    texts: Sequence[str],
    values: Sequence[Argument],
    marked: BoundQuery,
    marks: Sequence[str],
    marked_values: Sequence[Argument],
) -> Template | None:
    """The template of two requests of one fingerprint, the second of which has marks for
    values.

    `texts` and `marks` are as in `Fingerprint.texts`; `values` and `marked_values` as in
    `Fingerprint.values`, followed by the body where there is one.
    """
    main = marked.statement
    if main is None or len(main.sql) > _LONGEST_SQL:
        return None
    statement = _holes(main, marked_values)
    after = None if marked.after is None else _holes(marked.after, marked_values)
    cut = _cut(marked.canonical, [quote(mark, safe="") for mark in marks])
    # Every value must have been found where all of its kind go: in the main statement.
    if cut is None or {number for _, number in statement.at} != {*range(len(values))}:
        return None
    template = Template(replace(marked.prepared, recurs=True), statement, after, *cut)
    return template if _alike(template.bound(texts, values), query) else None


def _holes(statement: Statement, marks: Sequence[Argument]) -> _Holes:
    at = [
        (position, number)
        for position, argument in enumerate(statement.args)
        for number, mark in enumerate(marks)
        if argument == mark
    ]
    return _Holes(statement.sql, statement.args, tuple(at))


def _cut(text: str, marks: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """`text` without `marks`, cut where they stood, and which stood where."""
    if any(text.count(mark) != 1 for mark in marks):
        return None
    order = sorted(range(len(marks)), key=lambda number: text.index(marks[number]))
    pieces = []
    for number in order:
        piece, _, text = text.partition(marks[number])
        pieces.append(piece)
    return (*pieces, text), tuple(order)


def _alike(made: BoundQuery, read: BoundQuery) -> bool:
    """Whether what the template gives is what reading and planning in full gave."""
    return (
        made.canonical == read.canonical
        and made.statement == read.statement
        and made.after == read.after
        and _comparable(made.prepared) == _comparable(read.prepared)
    )


def _comparable(prepared: PreparedQuery) -> tuple[object, ...]:
    """What no value may change. Of a check only whether there is one, for each is a function
    of its own, made of what is compared besides."""
    plan = prepared.planned.plan
    answering = plan.answering if isinstance(plan, DATABASE_PLANS) else None
    return (
        type(plan),
        answering,
        prepared.planned.warnings,
        prepared.isolation,
        prepared.before,
        prepared.access,
        prepared.keep is keep_always,
        prepared.rollback,
        prepared.finish_when_abandoned,
        prepared.form,
        _without_values(prepared.request),
    )


def _without_values(request: ApiRequest) -> ApiRequest:
    """What of a request no value may change, and no header that only the database is told."""
    query, payload = request.query, request.payload
    return replace(
        request,
        query=QueryParams(
            select=query.select,
            order=query.order,
            ranges=query.ranges,
            columns=query.columns,
            on_conflict=query.on_conflict,
        ),
        payload=replace(payload, raw=b"") if isinstance(payload, JsonPayload) else payload,
        headers=(),
        cookies=(),
    )
