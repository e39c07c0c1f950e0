"""The common, well-formed shapes of the grammar, read with regular expressions.

Each function gives the value the full grammar gives for the same text, or None when the
text is not one of the plain shapes; it never guesses. Plain means ASCII names without
dashes, spaces or quotes. Most requests hold nothing else and are read ten times as fast.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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

_NAME: Final = r"[A-Za-z0-9_$]+"
# An index counts as one only where the grammar lets it end; before ")" it is a key.
_STEPS: Final = r"(?:->>?(?:[A-Za-z_][A-Za-z0-9_$]*|[0-9]+(?=->|::|\.|,|\Z)))*"

_STEP: Final = re.compile(r"(->>?)([A-Za-z0-9_$]+)")
_NAMES: Final = re.compile(rf"{_NAME}(?:,{_NAME})*")
_PATH: Final = re.compile(rf"({_NAME}(?:\.{_NAME})*)({_STEPS})")
_LIST_ITEM: Final = re.compile(
    r'(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^",)][^,)]*|(?=[,)])))([,)])', re.DOTALL
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ORDER_TERM: Final = re.compile(
    rf"({_NAME})(?:({_STEPS})|\(({_NAME})({_STEPS})\))"
    r"(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?"
)
_SELECT_ITEM: Final = re.compile(
    rf"(\.\.\.)?(?:({_NAME}):(?!:))?({_NAME}|\*)((?:!{_NAME}){{0,2}})"
)
_SELECT_TAIL: Final = re.compile(
    rf"({_STEPS})(?:::({_NAME}))?(?:\.(sum|avg|count|max|min)\(\))?(?:::({_NAME}))?(?=[,)]|\Z)"
)
_BRANCH: Final = re.compile(r"(not\.)?(and|or)\(")
_LOGIC_FILTER: Final = re.compile(
    rf"({_NAME})({_STEPS})\.("
    r"(?:not\.)?(?:in\.\([^\"()]*\)|[a-z]+(?:\((?:any|all)\))?\.[^\",(){}]*)"
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


_HEADS: Final = _operator_heads()
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


def _steps(text: str) -> tuple[JsonStep, ...]:
    if not text:
        return ()
    steps = []
    for arrow, operand in _STEP.findall(text):
        kind: JsonArrow = "->>" if arrow == "->>" else "->"
        steps.append(JsonStep(kind, operand, operand.isdigit()))
    return tuple(steps)


def names(text: str) -> tuple[str, ...] | None:
    """`a,b,c`."""
    return tuple(text.split(",")) if _NAMES.fullmatch(text) else None


def tree_path(text: str) -> tuple[EmbedPath, FieldPath] | None:
    """`relation.column->key`."""
    match = _PATH.fullmatch(text)
    if match is None:
        return None
    dotted, steps = match.groups()
    *path, name = dotted.split(".")
    return tuple(path), FieldPath(name, _steps(steps))


def operation(text: str) -> Operation | None:
    """`eq.1`, `not.like(any).{a*}`, `in.(1,2)`, `is.null`."""
    head, dot, rest = text.partition(".")
    negated = head == "not"
    if negated:
        head, dot, rest = rest.partition(".")
    if not dot:
        return None
    known = _HEADS.get(head)
    if known is not None:
        return Operation(known[0], rest, negated, known[1])
    if head == "is":
        value = _IS_VALUES.get(rest)
        return None if value is None else Operation("is", value, negated)
    if head == "in" and rest[:1] == "(" and rest[-1:] == ")":
        items = _list_items(rest)
        return None if items is None else Operation("in", items, negated)
    return None


def _list_items(text: str) -> tuple[str, ...] | None:
    if text[1:2] in (" ", "\t"):
        return None
    if '"' not in text and text.find(")") == len(text) - 1:
        return tuple(text[1:-1].split(","))
    items = []
    at = 1
    while (match := _LIST_ITEM.match(text, at)) is not None:
        quoted, plain, separator = match.groups()
        items.append(plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
        at = match.end()
        if separator == ")":
            return tuple(items) if at == len(text) else None
    return None


def is_argument(text: str) -> bool:
    """Whether `text` can't be a filter, so that a function's parameter is an argument."""
    head, dot, _ = text.partition(".")
    return not dot or (
        head not in _HEADS and head not in ("not", "in", "is") and "(" not in head
    )


def order_terms(text: str) -> tuple[OrderTerm, ...] | None:
    """`a.desc.nullslast,b,relation(c)`."""
    terms = []
    for part in text.split(","):
        match = _ORDER_TERM.fullmatch(part)
        if match is None:
            return None
        name, steps, related, related_steps = match.group(1, 2, 3, 4)
        direction, nulls = _DIRECTIONS.get(match[5]), _NULLS.get(match[6])
        if related is None:
            terms.append(OrderTerm(FieldPath(name, _steps(steps)), None, direction, nulls))
        else:
            path = FieldPath(related, _steps(related_steps))
            terms.append(OrderTerm(path, name, direction, nulls))
    return tuple(terms)


def select_items(text: str) -> tuple[SelectItem, ...] | None:
    """`id,name::text,alias:relation!hint!inner(*,...nested(total.sum()))`."""
    if not text:
        return ()
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
    spread, alias, name, parameters = match.groups()
    if name in ("*", "count") or (spread and alias):
        return None
    hint: str | None = None
    join: JoinType | None = None
    for parameter in parameters.split("!")[1:]:
        if parameter in _JOINS:
            join = join or _JOINS[parameter]
        elif parameter.startswith(("left", "inner")):
            return None
        else:
            hint = hint or parameter
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
    spread, alias, name, parameters = match.groups()
    tail = _SELECT_TAIL.match(text, at)
    if spread or parameters or tail is None:
        return None
    if name == "*":
        return (SelectField(FieldPath("*")), at) if not alias and not tail[0] else None
    steps, cast, aggregate, aggregate_cast = tail.groups()
    path = FieldPath(name, _steps(steps))
    field = SelectField(path, alias, cast, _AGGREGATES.get(aggregate), aggregate_cast)
    return field, tail.end()


def logic_tree(text: str) -> LogicTree | Filter | None:
    """`and(a.eq.1,not.or(b.is.null,c.in.(1,2)))`."""
    read = _logic_tree(text, 0, 0)
    return read[0] if read is not None and read[1] == len(text) else None


def _logic_tree(text: str, at: int, depth: int) -> tuple[LogicTree | Filter, int] | None:
    match = _LOGIC_FILTER.match(text, at)
    if match is not None:
        name, steps, what = match.groups()
        operation_read = operation(what)
        if operation_read is None:
            return None
        return Filter(FieldPath(name, _steps(steps)), operation_read), match.end()
    branch = _BRANCH.match(text, at)
    if branch is None or depth >= MAX_NESTING:
        return None
    children: list[LogicTree | Filter] = []
    at = branch.end()
    while True:
        read = _logic_tree(text, at, depth + 1)
        if read is None:
            return None
        child, at = read
        children.append(child)
        if text[at : at + 1] != ",":
            break
        at += 1
    if text[at : at + 1] != ")":
        return None
    return LogicTree(_CONNECTIVES[branch[2]], tuple(children), branch[1] is not None), at + 1
