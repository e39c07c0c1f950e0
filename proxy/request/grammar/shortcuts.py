"""The common, well-formed shapes of the grammar, read with regular expressions.

Each function gives the value the full grammar gives for the same text, or None when the
text is not one of the plain shapes; it never guesses. Plain means names of letters, digits
and dashes or in double quotes, with no spaces around them. Nearly all requests hold nothing
else and are read ten times as fast, in a time that grows with their length alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from proxy.request.grammar.combinators import MAX_NESTING
from proxy.request.grammar.logic import Connective
from proxy.request.grammar.order import Direction, Nulls
from proxy.request.model import (
    Aggregate,
    EmbedPath,
    FieldPath,
    Filter,
    IsValue,
    JoinType,
    JsonArrow,
    JsonStep,
    LogicTree,
    Operation,
    OrderTerm,
    Quantifier,
    SelectEmbed,
    SelectField,
    SelectItem,
)
from proxy.request.operators import OPERATORS

_MAX_ITEMS: Final = 5_000
"""More items than any statement can have; the full grammar's budget then decides."""
_MAX_EMBEDS: Final = 500
"""Each is a join to plan, so that far fewer of them are too many; decided likewise."""

_WORD: Final = r"[\w$]++"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*+"'
_NAME: Final = rf"(?:{_WORD}(?:-{_WORD})*+|{_QUOTED})"
# A number is an index only where the grammar lets it end; before ")" it is a key.
_KEY: Final = rf"(?:[^\W\d][\w$]*+(?:-{_WORD})*+|{_QUOTED})"
_STEPS: Final = rf"(?:->>?(?:{_KEY}|[0-9]++(?=->|::|\.|,|\Z)))*+"


_pattern: Final[Callable[[str], re.Pattern[str]]] = partial(re.compile, flags=re.DOTALL)

_STEP: Final = _pattern(rf"(->>?)({_NAME})")
_NAMES: Final = _pattern(rf"{_NAME}(?:,{_NAME})*+")
_PATH: Final = _pattern(rf"({_NAME}(?:\.{_NAME})*+)({_STEPS})")
# Quotes that are not closed, which the texts here have none of, take all that is left.
_ONE_NAME: Final = _pattern(rf'{_NAME}|".*+')
_LIST_ITEM: Final = _pattern(rf"(?:({_QUOTED})(?=[,)])|([^,)]*+))([,)])")
_ESCAPED: Final = _pattern(r"\\(.)")
_ORDER_TERM: Final = _pattern(
    rf"({_NAME})(?:\(({_NAME})({_STEPS})\)|({_STEPS}))"
    r"(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?(,|\Z)"
)
_SELECT_ITEM: Final = _pattern(
    rf"(\.\.\.)?(?:({_NAME}):(?!:))?({_NAME}|\*)((?:!{_NAME}){{0,2}}+)"
)
_SELECT_TAIL: Final = _pattern(
    rf"({_STEPS})(?:::({_WORD}))?(?:\.(sum|avg|count|max|min)\(\))?(?:::({_WORD}))?"
    r"(?=[,)]|\Z)"
)
_BRANCH: Final = _pattern(r"(not\.)?(and|or)\(")
_LIST: Final = rf'\((?:[^"()]|{_QUOTED}(?=[,)]))*+\)'
_LOGIC_FILTER: Final = _pattern(
    rf"({_NAME})({_STEPS})\.("
    rf"(?:not\.)?(?:in\.{_LIST}|[a-z]++(?:\((?:any|all)\))?\."
    rf'(?:{_QUOTED}|\{{[^{{}}]*+\}}|(?!["{{])[^,)]*+))'
    r")(?=[,)])"
)


def _operator_heads() -> Mapping[str, tuple[str, Quantifier | None]]:
    heads: dict[str, tuple[str, Quantifier | None]] = {}
    for name, operator in OPERATORS.items():
        if operator.kind in ("in", "is"):
            continue
        heads[name] = (name, None)
        if operator.kind in ("quantifiable", "pattern"):
            heads[f"{name}(any)"] = (name, "any")
            heads[f"{name}(all)"] = (name, "all")
    return heads


HEADS: Final = _operator_heads()
"""What stands before the first dot of a plain filter (`eq`, `like(any)`): its operator and
quantifier. All that follows the dot is the value, whatever it is."""
_IS_VALUES: Final[Mapping[str, IsValue]] = {
    "null": "null",
    "not_null": "not_null",
    "true": "true",
    "false": "false",
    "unknown": "unknown",
}
_AGGREGATES: Final[Mapping[str, Aggregate]] = {
    "sum": "sum",
    "avg": "avg",
    "count": "count",
    "max": "max",
    "min": "min",
}
_JOINS: Final[Mapping[str, JoinType]] = {"left": "left", "inner": "inner"}
_CONNECTIVES: Final[Mapping[str, Connective]] = {"and": "and", "or": "or"}
_DIRECTIONS: Final[Mapping[str, Direction]] = {"asc": "asc", "desc": "desc"}
_NULLS: Final[Mapping[str, Nulls]] = {"nullsfirst": "nullsfirst", "nullslast": "nullslast"}


def _unquoted(text: str) -> str:
    """The name that a match of `_NAME` writes, or the value in quotes."""
    if text[:1] != '"':
        return text
    return _ESCAPED.sub(r"\1", text[1:-1]) if "\\" in text else text[1:-1]


def _has_many_items(text: str) -> bool:
    return text.count(",") >= _MAX_ITEMS or text.count("(") > _MAX_EMBEDS


def _has_other_numerals(text: str) -> bool:
    # `\w` also takes numerals such as "²", which the grammar refuses in names.
    return not text.isascii() and any(
        character.isalnum() and not character.isalpha()
        for character in text
        if character > "\x7f"
    )


def _steps(text: str) -> tuple[JsonStep, ...]:
    if not text:
        return ()
    steps = []
    for arrow, operand in _STEP.findall(text):
        kind: JsonArrow = "->>" if arrow == "->>" else "->"
        steps.append(JsonStep(kind, _unquoted(operand), "0" <= operand[0] <= "9"))
    return tuple(steps)


def names(text: str) -> tuple[str, ...] | None:
    """`a,b,c`."""
    if _NAMES.fullmatch(text) is None or _has_other_numerals(text):
        return None
    return tuple(map(_unquoted, _ONE_NAME.findall(text)))


def tree_path(text: str) -> tuple[EmbedPath, FieldPath] | None:
    """`relation.column->key`."""
    match = _PATH.fullmatch(text)
    if match is None or _has_other_numerals(text):
        return None
    dotted, steps = match.groups()
    *path, name = map(_unquoted, _ONE_NAME.findall(dotted))
    return tuple(path), FieldPath(name, _steps(steps))


def operation(text: str, *, in_tree: bool = False) -> Operation | None:
    """`eq.1`, `not.like(any).{a*}`, `in.(1,2)`, `is.null`; inside a tree also `eq."1,2"`."""
    head, dot, rest = text.partition(".")
    negated = head == "not"
    if negated:
        head, dot, rest = rest.partition(".")
    if not dot:
        return None
    known = HEADS.get(head)
    if known is not None:
        value = _unquoted(rest) if in_tree else rest
        return Operation(known[0], value, negated, known[1])
    if head == "is":
        is_value = _IS_VALUES.get(rest)
        return None if is_value is None else Operation("is", is_value, negated)
    if head == "in" and rest[:1] == "(" and rest[-1:] == ")":
        items = list_items(rest)
        return None if items is None else Operation("in", items, negated)
    return None


def list_items(text: str) -> tuple[str, ...] | None:
    """The values of `(1,2,"a,b")`, the parentheses included."""
    if text[1:2] in (" ", "\t"):
        return None
    if '"' not in text and text.find(")") == len(text) - 1:
        return tuple(text[1:-1].split(","))
    items = []
    at = 1
    while (match := _LIST_ITEM.match(text, at)) is not None:
        quoted, plain, separator = match.groups()
        items.append(plain if quoted is None else _unquoted(quoted))
        at = match.end()
        if separator == ")":
            return tuple(items) if at == len(text) else None
    return None


def is_argument(text: str) -> bool:
    """Whether `text` can't be a filter, so that a function's parameter is an argument."""
    head, dot, _ = text.partition(".")
    return not dot or (
        head not in HEADS and head not in ("not", "in", "is") and "(" not in head
    )


def order_terms(text: str) -> tuple[OrderTerm, ...] | None:
    """`a.desc.nullslast,b,relation(c)`."""
    if _has_many_items(text) or _has_other_numerals(text):
        return None
    terms = []
    at = 0
    while (match := _ORDER_TERM.match(text, at)) is not None:
        name, related, related_steps, steps = match.group(1, 2, 3, 4)
        direction, nulls = _DIRECTIONS.get(match[5]), _NULLS.get(match[6])
        if related is None:
            path = FieldPath(_unquoted(name), _steps(steps))
            terms.append(OrderTerm(path, None, direction, nulls))
        else:
            path = FieldPath(_unquoted(related), _steps(related_steps))
            terms.append(OrderTerm(path, _unquoted(name), direction, nulls))
        at = match.end()
        if not match[7]:
            return tuple(terms)
    return None


def select_items(text: str) -> tuple[SelectItem, ...] | None:
    """`id,name::text,alias:relation!hint!inner(*,...nested(total.sum()))`."""
    if not text:
        return ()
    if _has_many_items(text) or _has_other_numerals(text):
        return None
    read = _select_items(text, 0, 0)
    return read[0] if read is not None and read[1] == len(text) else None


def _select_items(text: str, at: int, depth: int) -> tuple[tuple[SelectItem, ...], int] | None:
    if depth > MAX_NESTING:
        return None
    items: list[SelectItem] = []
    while True:
        match = _SELECT_ITEM.match(text, at)
        if match is None:
            return None
        at = match.end()
        read = (
            _embed(match, text, at, depth)
            if text[at : at + 1] == "("
            else _select_field(match, text, at)
        )
        if read is None:
            return None
        item, at = read
        items.append(item)
        if text[at : at + 1] != ",":
            return tuple(items), at
        at += 1


def _embed(
    match: re.Match[str], text: str, at: int, depth: int
) -> tuple[SelectEmbed, int] | None:
    spread, written_alias, written, parameters = match.groups()
    alias = None if written_alias is None else _unquoted(written_alias)
    name = _unquoted(written)
    if written == "*" or name == "count" or (spread and alias is not None):
        return None
    hint: str | None = None
    join: JoinType | None = None
    for parameter in _ONE_NAME.findall(parameters):
        if parameter in _JOINS:
            join = join or _JOINS[parameter]
        elif parameter.startswith(("left", "inner")):
            return None
        elif hint is None:
            hint = _unquoted(parameter)
    items: tuple[SelectItem, ...] = ()
    at += 1
    if text[at : at + 1] != ")":
        read = _select_items(text, at, depth + 1)
        if read is None:
            return None
        items, at = read
    if depth >= MAX_NESTING or text[at : at + 1] != ")":
        return None
    return SelectEmbed(name, items, alias, hint, join, bool(spread)), at + 1


def _select_field(match: re.Match[str], text: str, at: int) -> tuple[SelectField, int] | None:
    spread, written_alias, written, parameters = match.groups()
    tail = _SELECT_TAIL.match(text, at)
    if spread or parameters or tail is None:
        return None
    if written == "*":
        bare = written_alias is None and not tail[0]
        return (SelectField(FieldPath("*")), at) if bare else None
    steps, cast, aggregate, aggregate_cast = tail.groups()
    alias = None if written_alias is None else _unquoted(written_alias)
    path = FieldPath(_unquoted(written), _steps(steps))
    field = SelectField(path, alias, cast, _AGGREGATES.get(aggregate), aggregate_cast)
    return field, tail.end()


def logic_tree(text: str) -> LogicTree | Filter | None:
    """`and(a.eq.1,not.or(b.is.null,c.in.(1,2)))`."""
    if _has_other_numerals(text):
        return None
    read = _logic_tree(text, 0, 0)
    return read[0] if read is not None and read[1] == len(text) else None


def _logic_tree(text: str, at: int, depth: int) -> tuple[LogicTree | Filter, int] | None:
    match = _LOGIC_FILTER.match(text, at)
    if match is not None:
        name, steps, what = match.groups()
        read = operation(what, in_tree=True)
        if read is None:
            return None
        return Filter(FieldPath(_unquoted(name), _steps(steps)), read), match.end()
    branch = _BRANCH.match(text, at)
    if branch is None or depth >= MAX_NESTING:
        return None
    children: list[LogicTree | Filter] = []
    at = branch.end()
    while True:
        branch_read = _logic_tree(text, at, depth + 1)
        if branch_read is None:
            return None
        child, at = branch_read
        children.append(child)
        if text[at : at + 1] != ",":
            break
        at += 1
    if text[at : at + 1] != ")":
        return None
    return LogicTree(_CONNECTIVES[branch[2]], tuple(children), branch[1] is not None), at + 1
