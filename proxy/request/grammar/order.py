"""`order=age.desc.nullslast,directors(last_name)`."""

from __future__ import annotations

from typing import Final

from proxy.request.grammar.combinators import (
    Parser,
    attempt,
    char,
    combine,
    constant,
    either,
    end_of_input,
    first,
    look_ahead,
    maybe,
    separated,
    string,
)
from proxy.request.grammar.names import delimiter, field, field_name, lexeme
from proxy.request.model import Direction, FieldPath, Nulls, OrderTerm


def _direction(text: Direction) -> Parser[Direction]:
    return attempt(constant(text, combine(lambda *_: None, delimiter, string(text))))


def _nulls_are(text: Nulls) -> Parser[Nulls]:
    return attempt(constant(text, combine(lambda *_: None, delimiter, string(text))))


_end: Final = either(attempt(look_ahead(char(","))), attempt(end_of_input))
_directions: Final = maybe(either(_direction("asc"), _direction("desc")))
_nulls: Final[Parser[Nulls | None]] = either(
    first(maybe(either(_nulls_are("nullsfirst"), _nulls_are("nullslast"))), _end),
    combine(lambda _: None, _end),
)


def _term(path: FieldPath, direction: Direction | None, nulls: Nulls | None) -> OrderTerm:
    return OrderTerm(path, None, direction, nulls)


def _related_term(
    relation: str, path: FieldPath, direction: Direction | None, nulls: Nulls | None
) -> OrderTerm:
    return OrderTerm(path, relation, direction, nulls)


_in_parentheses: Final = combine(lambda _, path, __: path, char("("), field, char(")"))

order_terms: Final = separated(
    lexeme(
        either(
            attempt(combine(_related_term, field_name, _in_parentheses, _directions, _nulls)),
            combine(_term, field, _directions, _nulls),
        )
    ),
    char(","),
)
