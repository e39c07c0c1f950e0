"""One reader per kind of parameter: recognised, or told what is wrong.

In: the decoded text of a key or a value. Out: what it means, or an `ApiError` PGRST100. What
`recogniser` refuses, the full grammar reads to say why; the texts of one query string share a
`Budget` for that.
What was read for `select`, `order`, keys and lists of columns is kept, keyed by the text
alone (it depends on nothing else, so no caller learns of another): 512 entries each, all
leaving when there are more, texts of at most 1,000 characters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from proxy.request.grammar import filters, logic, names, order, recogniser, select
from proxy.request.grammar.combinators import Budget, Parser, charge, combine, parse
from proxy.request.grammar.recogniser import Unrecognised
from proxy.request.model import EmbedPath, Filter, LogicTree, Operation

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_CACHED_ENTRIES: Final = 512
_CACHED_LENGTH: Final = 1000


class _Reader(Protocol[T_co]):
    def __call__(self, text: str, budget: Budget | None = None) -> T_co: ...


def _reader(recognise: Callable[[str], T], grammar: Parser[T], what: str) -> _Reader[T]:
    """What reads a text; `what` is what that is called when it is wrong."""

    def read(text: str, budget: Budget | None = None) -> T:
        try:
            return recognise(text)
        except Unrecognised:
            return parse(grammar, text, f"failed to parse {what} ({text})", budget)

    return read


def _remembered(read: _Reader[T]) -> _Reader[T]:
    known: dict[str, T] = {}

    def reader(text: str, budget: Budget | None = None) -> T:
        nonlocal known
        try:
            return known[text]
        except KeyError:
            value = read(text, budget)
        if len(text) <= _CACHED_LENGTH:
            if len(known) >= _CACHED_ENTRIES:
                # Another one, for this one may be in use: large bodies are read in threads.
                known = {}
            known[text] = value
        return value

    return reader


_columns: Final = combine(tuple[str, ...], names.columns)

read_select: Final = _remembered(
    _reader(recogniser.select_items, combine(tuple, select.select_items), "select parameter")
)
read_order: Final = _remembered(
    _reader(recogniser.order_terms, combine(tuple, order.order_terms), "order")
)
read_columns: Final = _remembered(_reader(recogniser.names, _columns, "columns parameter"))
read_on_conflict: Final = _remembered(
    _reader(recogniser.names, _columns, "on_conflict parameter")
)
read_tree_path: Final = _remembered(_reader(recogniser.tree_path, names.tree_path, "tree path"))
"""The key of a filter, an order or a range: an embed path and a field."""
_read_logic_path: Final = _remembered(
    _reader(recogniser.logic_path, logic.logic_path, "logic path")
)
read_filter: Final = _reader(recogniser.operation, filters.filter_value, "filter")


def read_filter_or_argument(text: str, budget: Budget | None = None) -> Operation | None:
    """The value of a function call's parameter: None when it is an argument.

    A text that begins like a filter (`in.`, `is.`, `not.`) must be one.
    """
    return None if recogniser.is_argument(text) else read_filter(text, budget)


def read_logic(
    key: str, text: str, budget: Budget | None = None
) -> tuple[EmbedPath, LogicTree | Filter]:
    """The tree of `actors.not.or=(...)`."""
    path, beginning = _read_logic_path(key, budget)
    charge(text, budget)
    try:
        return path, recogniser.logic_tree(beginning + text)
    except Unrecognised:
        description = f"failed to parse logic tree ({text})"
        return path, parse(logic.logic_tree, beginning + text, description, budget)
