"""Logic trees: `and(name.eq.N,or(id.eq.1,not.and(...)))`."""

from __future__ import annotations

from typing import Final

from proxy.request.grammar.combinators import (
    Parser,
    Reply,
    Source,
    any_number,
    attempt,
    char,
    combine,
    constant,
    either,
    labelled,
    nested,
    none_of,
    pure,
    separated,
    string,
)
from proxy.request.grammar.filters import operation, quoted_alone
from proxy.request.grammar.names import comma, delimiter, dotted_names, field, lexeme
from proxy.request.model import EmbedPath, Filter, LogicOperator, LogicTree

_array: Final = attempt(
    combine(
        lambda opened, items, closed: opened + items + closed,
        string("{"),
        any_number(none_of("{}")),
        string("}"),
    )
)
logic_value: Final = either(quoted_alone, _array, any_number(none_of(",)")))
"""A value inside a tree ends at a comma or parenthesis, unless quoted or in braces."""

_filter: Final[Parser[LogicTree | Filter]] = combine(
    lambda path, _, what: Filter(path, what), field, delimiter, operation(logic_value)
)
_is_negated: Final = labelled(
    either(
        constant(True, attempt(combine(lambda *_: None, string("not"), delimiter))),
        pure(False),
    ),
    "negation operator (not)",
)


def _connective(text: LogicOperator) -> Parser[LogicOperator]:
    return constant(text, string(text))


_connectives: Final = labelled(
    either(attempt(_connective("and")), _connective("or")), "logic operator (and, or)"
)


def logic_tree(source: Source, at: int) -> Reply[LogicTree | Filter]:
    """A tree, or a single filter."""
    return _tree(source, at)


def _branch(
    negated: bool,
    connective: LogicOperator,
    _: str,
    children: list[LogicTree | Filter],
    __: str,
) -> LogicTree:
    return LogicTree(connective, tuple(children), negated)


_tree: Final[Parser[LogicTree | Filter]] = either(
    attempt(_filter),
    combine(
        _branch,
        _is_negated,
        _connectives,
        lexeme(char("(")),
        nested(separated(logic_tree, comma)),
        lexeme(char(")")),
    ),
)


def _logic_path(names: list[str]) -> tuple[EmbedPath, str]:
    negation = "not." if "not" in names else ""
    return tuple(name for name in names[:-1] if name != "not"), negation + names[-1]


logic_path: Final = combine(_logic_path, dotted_names)
"""The key of a tree: `actors.not.or` is the embed path and `not.or`, the tree's beginning."""
