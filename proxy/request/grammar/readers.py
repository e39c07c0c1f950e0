"""One reader per kind of parameter: the plain shapes first, else the full grammar.

In: the decoded text of a key or a value. Out: what it means, or an `ApiError` PGRST100.
The texts of one query string share a `Budget` for what the full grammar has to read.
What was read for `select`, `order`, keys and lists of columns is kept, keyed by the text
alone (it depends on nothing else, so no caller learns of another): 512 entries each, all
leaving when there are more, texts of at most 1,000 characters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeVar

from proxy.request.grammar import filters, logic, names, order, select, shortcuts
from proxy.request.grammar.combinators import Budget, charge, maybe, parse
from proxy.request.model import (
    EmbedPath,
    FieldPath,
    Filter,
    LogicTree,
    Operation,
    OrderTerm,
    SelectItem,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_CACHED_ENTRIES: Final = 512
_CACHED_LENGTH: Final = 1000


class _Reader(Protocol[T_co]):
    def __call__(self, text: str, budget: Budget | None = None) -> T_co: ...


def _remembered(read: Callable[[str, Budget | None], T]) -> _Reader[T]:
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


@_remembered
def read_select(text: str, budget: Budget | None) -> tuple[SelectItem, ...]:
    """The items of `select=`."""
    plain = shortcuts.select_items(text)
    if plain is not None:
        return plain
    items = parse(
        select.select_items, text, f"failed to parse select parameter ({text})", budget
    )
    return tuple(items)


@_remembered
def read_order(text: str, budget: Budget | None) -> tuple[OrderTerm, ...]:
    """The terms of `order=`."""
    plain = shortcuts.order_terms(text)
    if plain is not None:
        return plain
    terms = parse(order.order_terms, text, f"failed to parse order ({text})", budget)
    return tuple(terms)


@_remembered
def read_columns(text: str, budget: Budget | None) -> tuple[str, ...]:
    """The names of `columns=`."""
    return _names(text, "columns", budget)


@_remembered
def read_on_conflict(text: str, budget: Budget | None) -> tuple[str, ...]:
    """The names of `on_conflict=`."""
    return _names(text, "on_conflict", budget)


def _names(
    text: str, parameter: Literal["columns", "on_conflict"], budget: Budget | None
) -> tuple[str, ...]:
    plain = shortcuts.names(text)
    if plain is not None:
        return plain
    found = parse(
        names.columns, text, f"failed to parse {parameter} parameter ({text})", budget
    )
    return tuple(found)


@_remembered
def read_tree_path(key: str, budget: Budget | None) -> tuple[EmbedPath, FieldPath]:
    """The key of a filter, an order or a range: an embed path and a field."""
    plain = shortcuts.tree_path(key)
    if plain is not None:
        return plain
    return parse(names.tree_path, key, f"failed to parse tree path ({key})", budget)


def read_filter(text: str, budget: Budget | None = None) -> Operation:
    """The value of a filter."""
    plain = shortcuts.operation(text)
    if plain is not None:
        return plain
    return parse(filters.filter_value, text, f"failed to parse filter ({text})", budget)


_filter_or_nothing: Final = maybe(filters.filter_value)


def read_filter_or_argument(text: str, budget: Budget | None = None) -> Operation | None:
    """The value of a function call's parameter: None when it is an argument.

    A text that begins like a filter (`in.`, `is.`, `not.`) must be one.
    """
    if shortcuts.is_argument(text):
        return None
    plain = shortcuts.operation(text)
    if plain is not None:
        return plain
    return parse(_filter_or_nothing, text, f"failed to parse filter ({text})", budget)


@_remembered
def _logic_path(key: str, budget: Budget | None) -> tuple[EmbedPath, str]:
    return parse(logic.logic_path, key, f"failed to parse logic path ({key})", budget)


def read_logic(
    key: str, text: str, budget: Budget | None = None
) -> tuple[EmbedPath, LogicTree | Filter]:
    """The tree of `actors.not.or=(...)`."""
    path, connective = _logic_path(key, budget)
    charge(text, budget)
    tree = shortcuts.logic_tree(connective + text)
    if tree is None:
        description = f"failed to parse logic tree ({text})"
        tree = parse(logic.logic_tree, connective + text, description, budget)
    return path, tree
