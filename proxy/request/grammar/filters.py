"""Filter values: `eq.1`, `not.in.(a,b)`, `fts(french).word`, `is.null`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.request.grammar.combinators import (
    Parser,
    any_number,
    attempt,
    char,
    combine,
    constant,
    either,
    first,
    labelled,
    maybe,
    none_of,
    not_followed_by,
    one,
    optional,
    separated,
    string,
    string_ignoring_case,
)
from proxy.request.grammar.names import (
    delimiter,
    identifier,
    lexeme,
    quoted,
    rest_of_text,
)
from proxy.request.model import IsValue, Operation, Quantifier
from proxy.request.operators import OPERATORS, OperatorKind

_unquoted: Final = any_number(none_of(",)"))
quoted_alone: Final = attempt(first(quoted, not_followed_by(one(none_of(",)")))))
"""A quoted value with nothing but a separator behind it; else the quotes are text."""

list_value: Final = combine(
    lambda _, items, __: tuple(items),
    lexeme(char("(")),
    separated(either(quoted_alone, _unquoted), char(",")),
    lexeme(char(")")),
)


def _is_value(value: IsValue) -> Parser[IsValue]:
    return attempt(constant(value, string_ignoring_case(value)))


_is_values: Final = labelled(
    either(
        _is_value("null"),
        _is_value("not_null"),
        _is_value("true"),
        _is_value("false"),
        _is_value("unknown"),
    ),
    "isVal: (null, not_null, true, false, unknown)",
)


def _operator(kinds: Iterable[OperatorKind]) -> Parser[str]:
    wanted = tuple(kinds)
    names = [operator.name for operator in OPERATORS.values() if operator.kind in wanted]
    return either(*(attempt(string(name)) for name in names))


def _in_parentheses(parser: Parser[str]) -> Parser[str | None]:
    return maybe(attempt(combine(lambda _, value, __: value, char("("), parser, char(")"))))


def _quantifier(text: str | None) -> Quantifier | None:
    return "any" if text == "any" else "all" if text == "all" else None


_is_negated: Final = optional(
    constant(True, attempt(combine(lambda *_: None, string("not"), delimiter))), False
)
_simple_operator: Final = labelled(_operator(["simple"]), "unknown single value operator")
_quantifiable_operator: Final = labelled(
    _operator(["quantifiable", "pattern"]), "unknown single value operator"
)


def _prefix(name: str) -> Parser[str]:
    return attempt(first(string(name), delimiter))


def operation(single_value: Parser[str]) -> Parser[Operation]:
    """An operator and its value, whose extent `single_value` decides."""
    operators: Parser[Operation] = either(
        combine(Operation, _prefix("in"), list_value),
        combine(Operation, _prefix("is"), _is_values),
        combine(Operation, _prefix("isdistinct"), single_value),
        attempt(
            combine(
                lambda name, language, _, value: Operation(name, value, language=language),
                _operator(["fts"]),
                _in_parentheses(identifier),
                delimiter,
                single_value,
            )
        ),
        attempt(
            combine(
                lambda name, _, value: Operation(name, value),
                _simple_operator,
                delimiter,
                single_value,
            )
        ),
        attempt(
            combine(
                lambda name, quantifier, _, value: Operation(
                    name, value, quantifier=_quantifier(quantifier)
                ),
                _quantifiable_operator,
                _in_parentheses(either(attempt(string("any")), string("all"))),
                delimiter,
                single_value,
            )
        ),
    )
    return combine(_with_negation, _is_negated, labelled(operators, "operator (eq, gt, ...)"))


def _with_negation(negated: bool, positive: Operation) -> Operation:
    if not negated:
        return positive
    return Operation(
        positive.operator, positive.value, True, positive.quantifier, positive.language
    )


filter_value: Final = operation(rest_of_text)
"""The value of a filter parameter: everything after the operator is the value."""
