"""Conditions as values: what a row must fulfil, alone or in a tree of `and` and `or`.

In: a column, a Python value. Out: a `Condition` or a `Tree`, which knows how it is written
as a parameter (`age=gte.18`) and inside a tree (`age.gte.18`). The methods of queries are
made of these functions; used by themselves they build trees:

    query.or_(lt("age", 18), all_of(gte("age", 65), not_(is_("pension", None))))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from edge_client.literals import (
    array_literal,
    column_path,
    list_literal,
    protected,
    range_literal,
    text_of,
)

Of = Literal["any", "all"] | None
"""Whether the operator must hold for any or for all of several values."""
Patterns = str | Iterable[str]
Bounds = str | tuple[object, object]
SearchType = Literal["plain", "phrase", "web_search"]


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` stands in the relation `operator` to `operand` (the text of a value).

    `closed`: the operand ends by itself (`in`, `is`), so a tree needs no quotes around it.
    """

    column: str
    operator: str
    operand: str
    closed: bool = False
    negated: bool = False

    def parameter(self) -> tuple[str, str]:
        """Name and value of the query string's parameter."""
        return column_path(self.column), f"{self._head}.{self.operand}"

    def term(self) -> str:
        """How it is written inside a tree."""
        operand = self.operand if self.closed else protected(self.operand)
        return f"{column_path(self.column)}.{self._head}.{operand}"

    @property
    def _head(self) -> str:
        return f"not.{self.operator}" if self.negated else self.operator


@dataclass(frozen=True, slots=True)
class Tree:
    """Conditions joined by `and` or `or`; a string among them is PostgREST's own syntax."""

    connective: Literal["and", "or"]
    children: tuple[Condition | Tree | str, ...]
    negated: bool = False

    def parameter(self) -> tuple[str, str]:
        """Name and value of the query string's parameter."""
        return self._head, self._items

    def term(self) -> str:
        """How it is written inside another tree."""
        return self._head + self._items

    @property
    def _head(self) -> str:
        return f"not.{self.connective}" if self.negated else self.connective

    @property
    def _items(self) -> str:
        written = (child if isinstance(child, str) else child.term() for child in self.children)
        return f"({','.join(written)})"


AnyCondition = Condition | Tree


def any_of(*conditions: AnyCondition | str) -> Tree:
    """At least one of `conditions` holds."""
    return _tree("or", conditions)


def all_of(*conditions: AnyCondition | str) -> Tree:
    """All `conditions` hold."""
    return _tree("and", conditions)


def not_(condition: AnyCondition) -> AnyCondition:
    """`condition` does not hold."""
    return replace(condition, negated=not condition.negated)


def _tree(connective: Literal["and", "or"], given: tuple[AnyCondition | str, ...]) -> Tree:
    if not given:
        raise ValueError("a tree needs at least one condition")
    return Tree(connective, given)


def custom(column: str, operator: str, criteria: object) -> Condition:
    """Any operator by its name in the URL: `custom("age", "gte", 18)`."""
    return Condition(column, operator, text_of(criteria), closed=operator in ("in", "is"))


def _compared(column: str, operator: str, value: object, of: Of) -> Condition:
    if of is None:
        return Condition(column, operator, text_of(value))
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"of={of!r} compares with several values: give a list")
    return Condition(column, f"{operator}({of})", array_literal(value))


def eq(column: str, value: object, *, of: Of = None) -> Condition:
    """Equal; None asks for rows that have no value."""
    if value is None and of is None:
        return is_(column, None)
    return _compared(column, "eq", value, of)


def neq(column: str, value: object) -> Condition:
    """Not equal (rows without a value are neither); None asks for rows that have one."""
    if value is None:
        return is_(column, "not_null")
    return Condition(column, "neq", text_of(value))


def gt(column: str, value: object, *, of: Of = None) -> Condition:
    """Greater than `value`."""
    return _compared(column, "gt", value, of)


def gte(column: str, value: object, *, of: Of = None) -> Condition:
    """Greater than or equal to `value`."""
    return _compared(column, "gte", value, of)


def lt(column: str, value: object, *, of: Of = None) -> Condition:
    """Less than `value`."""
    return _compared(column, "lt", value, of)


def lte(column: str, value: object, *, of: Of = None) -> Condition:
    """Less than or equal to `value`."""
    return _compared(column, "lte", value, of)


def _pattern(column: str, operator: str, patterns: Patterns, of: Of) -> Condition:
    if of is not None and isinstance(patterns, str):
        # As in `postgrest`: the inside of an array literal.
        return Condition(column, f"{operator}({of})", f"{{{patterns}}}")
    return _compared(column, operator, patterns, of)


def like(column: str, pattern: Patterns, *, of: Of = None) -> Condition:
    """Like the pattern, in which `%` or `*` is any text and `_` any character."""
    return _pattern(column, "like", pattern, of)


def ilike(column: str, pattern: Patterns, *, of: Of = None) -> Condition:
    """`like`, upper and lower case being the same."""
    return _pattern(column, "ilike", pattern, of)


def regex(column: str, pattern: Patterns, *, of: Of = None) -> Condition:
    """Matches the POSIX regular expression (PostgREST's `match`)."""
    return _pattern(column, "match", pattern, of)


def iregex(column: str, pattern: Patterns, *, of: Of = None) -> Condition:
    """`regex`, upper and lower case being the same (PostgREST's `imatch`)."""
    return _pattern(column, "imatch", pattern, of)


def is_(column: str, value: bool | str | None) -> Condition:
    """IS: None, True, False, or `null`, `not_null`, `true`, `false`, `unknown`."""
    return Condition(column, "is", text_of(value), closed=True)


def is_distinct(column: str, value: object) -> Condition:
    """IS DISTINCT FROM: not equal, where no value is a value too; None asks for rows that
    have one."""
    if value is None:
        return is_(column, "not_null")
    return Condition(column, "isdistinct", text_of(value))


def in_(column: str, values: Iterable[object]) -> Condition:
    """One of `values`, as many as you like; none at all matches no row.

    Raises ValueError for None among them, which SQL's IN never matches.
    """
    given = list(values)
    if any(value is None for value in given):
        raise ValueError("in_ never matches NULL: join it with is_(column, None) by or_")
    if len(given) == 1 and text_of(given[0]) == "":
        # `in.("")` is how PostgREST writes the empty list.
        return Condition(column, "eq", "")
    return Condition(column, "in", list_literal(given), closed=True)


def _search(column: str, kind: str, query: str, config: str | None) -> Condition:
    return Condition(column, kind if config is None else f"{kind}({config})", query)


def fts(column: str, query: str, *, config: str | None = None) -> Condition:
    """Full-text search in the syntax of `to_tsquery`; `config` is the language."""
    return _search(column, "fts", query, config)


def plfts(column: str, query: str, *, config: str | None = None) -> Condition:
    """Full-text search for all of the words (`plainto_tsquery`)."""
    return _search(column, "plfts", query, config)


def phfts(column: str, query: str, *, config: str | None = None) -> Condition:
    """Full-text search for the phrase (`phraseto_tsquery`)."""
    return _search(column, "phfts", query, config)


def wfts(column: str, query: str, *, config: str | None = None) -> Condition:
    """Full-text search as in web search engines (`websearch_to_tsquery`)."""
    return _search(column, "wfts", query, config)


def contains(column: str, value: object) -> Condition:
    """The array, JSON or range contains `value` (a text is taken as it stands)."""
    return Condition(column, "cs", text_of(value))


def contained_by(column: str, value: object) -> Condition:
    """The array, JSON or range is contained by `value`."""
    return Condition(column, "cd", text_of(value))


def overlaps(column: str, value: object) -> Condition:
    """The array or range has something in common with `value`."""
    return Condition(column, "ov", text_of(value))


def range_lt(column: str, bounds: Bounds) -> Condition:
    """The range lies strictly left of `bounds` (`sl`)."""
    return Condition(column, "sl", range_literal(bounds))


def range_gt(column: str, bounds: Bounds) -> Condition:
    """The range lies strictly right of `bounds` (`sr`)."""
    return Condition(column, "sr", range_literal(bounds))


def range_lte(column: str, bounds: Bounds) -> Condition:
    """The range does not extend to the right of `bounds` (`nxr`)."""
    return Condition(column, "nxr", range_literal(bounds))


def range_gte(column: str, bounds: Bounds) -> Condition:
    """The range does not extend to the left of `bounds` (`nxl`)."""
    return Condition(column, "nxl", range_literal(bounds))


def range_adjacent(column: str, bounds: Bounds) -> Condition:
    """The range is adjacent to `bounds` (`adj`)."""
    return Condition(column, "adj", range_literal(bounds))
