"""What recognises the grammar of the query string: regular expressions, in linear time.

Each function gives what a text means, or raises `Unrecognised`. It accepts what the full
grammar beside it accepts, with the same result, and nothing else (tests/request/
test_grammars.py holds one against the other): that grammar is asked only to put into words
what is wrong. As there, what follows a complete parameter is ignored.

Left to the full grammar, whatever they are: more items or deeper trees than are of use to
anybody, and texts with numerals such as "²", which Python takes for letters in a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, get_args

from proxy.request.grammar.combinators import MAX_NESTING
from proxy.request.grammar.names import SPACES
from proxy.request.model import (
    Aggregate,
    Direction,
    EmbedPath,
    FieldPath,
    Filter,
    IsValue,
    JoinType,
    JsonArrow,
    JsonStep,
    LogicOperator,
    LogicTree,
    Nulls,
    Operation,
    OrderTerm,
    Quantifier,
    SelectEmbed,
    SelectField,
    SelectItem,
)
from proxy.request.operators import OPERATORS, Operator

_MAX_ITEMS: Final = 5_000
"""More items than any statement can have."""
_MAX_EMBEDS: Final = 500
"""Each is a join to plan, so that far fewer of them are too many."""

_BLANKS: Final = r"[ \t]*+"
_WORDS: Final = r"[\w$ ]++"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*+"'
# A dash that begins no arrow joins; then something must follow it.
_DASH: Final = r"-(?!>)"
_NAME: Final = rf"(?:{_QUOTED}|{_WORDS}(?:{_DASH}{_WORDS})*+(?!{_DASH}))"
_IN_KEY: Final = r"[^(\-:.,>)]++"
_KEY: Final = rf'(?:{_QUOTED}|(?!"){_IN_KEY}(?:{_DASH}{_IN_KEY})*+(?!{_DASH}))'
# A number is an index only where the grammar lets it end; before ")" it is a key.
_INDEX: Final = r"-?[0-9]++(?=->|::|\.|,|\Z)"
_STEPS: Final = rf"(?:->>?+(?:{_INDEX}|{_KEY}))*+(?!->)"
_ALIAS: Final = rf"(?:({_NAME}):(?!:))?+"
_ITEM_ENDS: Final = r"(?=[,)]|\Z)"


def _one_of(words: object) -> str:
    return "|".join(get_args(words))


_pattern: Final[Callable[[str], re.Pattern[str]]] = partial(re.compile, flags=re.DOTALL)

_STEP: Final = _pattern(rf"(->>?+)(?:({_INDEX})|({_KEY}))")
_DOTTED: Final = rf"({_NAME}(?:\.{_NAME})*+)(?!\.)"
_PATH: Final = _pattern(rf"{_DOTTED}({_STEPS})")
_LOGIC_PATH: Final = _pattern(_DOTTED)
# Quotes that are not closed, which the texts here have none of, take all that is left.
_BETWEEN_DOTS: Final = _pattern(rf'{_QUOTED}|".*+|[^".]++')
_COLUMN: Final = _pattern(rf"({_NAME})(?:({_BLANKS},{_BLANKS})|(?![ \t,]))")
_COMMA: Final = _pattern(rf"{_BLANKS},{_BLANKS}")
_ESCAPED: Final = _pattern(r"\\(.)")

_HEAD: Final = _pattern(rf"((?:not\.)?+[a-z]++)(?:\(({_WORDS})\))?+\.")
_IS: Final = _pattern(rf"(?ai:{_one_of(IsValue)})")
_LIST: Final = _pattern(rf"{_BLANKS}\({_BLANKS}")
_LIST_ITEM: Final = _pattern(rf"(?:({_QUOTED})(?=[,)])|([^,)]*+))([,)])")
_IN_TREE: Final = _pattern(rf"({_QUOTED})(?=[,)]|\Z)|\{{[^{{}}]*+\}}|[^,)]*+")

_ORDER_TERM: Final = _pattern(
    rf"{_BLANKS}({_NAME})(?:\({_BLANKS}({_NAME})({_STEPS}){_BLANKS}\)|({_STEPS}){_BLANKS})"
    rf"(?:\.({_one_of(Direction)}))?+(?:\.({_one_of(Nulls)}))?+(,|\Z)"
)

_JOIN: Final = _one_of(JoinType)
_RELATION: Final = _pattern(
    rf"{_BLANKS}(?:(\.\.\.)|{_ALIAS})({_NAME})"
    rf"((?:!(?:{_JOIN}|(?!{_JOIN}){_NAME})){{0,2}}+)\("
)
_PARAMETER: Final = _pattern(rf"!({_NAME})")
_FIELD: Final = _pattern(
    rf"{_BLANKS}(?:(\*)|{_ALIAS}(?:(count\(\))|{_BLANKS}({_NAME})({_STEPS}){_BLANKS})"
    rf"(?:::({_WORDS}))?+(?:\.({_one_of(Aggregate)})\(\))?+(?:::({_WORDS}))?+){_ITEM_ENDS}"
)
_BEGUN: Final = _pattern(r'[\w$ \t"]')

_TREE_FIELD: Final = _pattern(rf"{_BLANKS}({_NAME})({_STEPS}){_BLANKS}\.")
_BRANCH: Final = _pattern(rf"(not\.)?+({_one_of(LogicOperator)}){_BLANKS}\({_BLANKS}")
_CLOSING: Final = _pattern(rf"\){_BLANKS}")


class Unrecognised(Exception):
    """The text is not of the grammar, or too unusual to be read here."""


class Head(NamedTuple):
    """What precedes a filter's value: `eq.`, `not.like(any).`, `fts(french).`."""

    operator: Operator
    negated: bool = False
    quantifier: Quantifier | None = None
    language: str | None = None


def _heads() -> Mapping[str, Head]:
    heads: dict[str, Head] = {}
    quantifiers: tuple[Quantifier, ...] = get_args(Quantifier)
    for name, operator in OPERATORS.items():
        for negated, start in ((False, name), (True, f"not.{name}")):
            heads[f"{start}."] = Head(operator, negated)
            if operator.kind in ("quantifiable", "pattern"):
                for quantifier in quantifiers:
                    heads[f"{start}({quantifier})."] = Head(operator, negated, quantifier)
    return heads


HEADS: Final = _heads()
"""All heads but those that name a language, as they are written."""
_COMMITTED: Final = ("not.", "in.", "is.")
"""What begins so is a filter, and must be a right one."""


_AGGREGATES: Final[Mapping[str | None, Aggregate]] = {
    name: name for name in get_args(Aggregate)
}
_JOINS: Final[Mapping[str, JoinType]] = {join: join for join in get_args(JoinType)}
_LOGIC: Final[Mapping[str, LogicOperator]] = {word: word for word in get_args(LogicOperator)}
_DIRECTIONS: Final[Mapping[str | None, Direction]] = {
    word: word for word in get_args(Direction)
}
_NULLS: Final[Mapping[str | None, Nulls]] = {word: word for word in get_args(Nulls)}
_ARROWS: Final[Mapping[str, JsonArrow]] = {arrow: arrow for arrow in get_args(JsonArrow)}


def _found(match: re.Match[str] | None) -> re.Match[str]:
    if match is None:
        raise Unrecognised
    return match


def _decline_many_items(text: str) -> None:
    if text.count(",") >= _MAX_ITEMS or text.count("(") > _MAX_EMBEDS:
        raise Unrecognised


def _has_other_numerals(text: str) -> bool:
    return not text.isascii() and any(
        character.isalnum() and not character.isalpha()
        for character in text
        if character > "\x7f"
    )


def _decline_other_numerals(text: str) -> None:
    if _has_other_numerals(text):
        raise Unrecognised


# --- names --------------------------------------------------------------------------------


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if "\\" in text else text[1:-1]


def _name(text: str) -> str:
    """The name, or key of a JSON path, that is written so."""
    if text[:1] == '"':
        return _unquoted(text)
    return "-".join([part.strip(SPACES) for part in text.split("-")])


def _field(match: re.Match[str], name: int, steps: int) -> FieldPath:
    """The field whose name and JSON path are these groups."""
    return FieldPath(_name(match[name]), _json_path(match, steps))


def _json_path(match: re.Match[str], group: int) -> tuple[JsonStep, ...]:
    at, end = match.span(group)
    found = []
    while at < end:
        step = _found(_STEP.match(match.string, at))
        arrow, index, key = step.groups()
        operand = _name(key) if index is None else index
        found.append(JsonStep(_ARROWS[arrow], operand, index is not None))
        at = step.end()
    return tuple(found)


def names(text: str) -> tuple[str, ...]:
    """`a,b,c`."""
    _decline_other_numerals(text)
    found = []
    at = 0
    while True:
        match = _found(_COLUMN.match(text, at))
        found.append(_name(match[1]))
        if match[2] is None:
            return tuple(found)
        at = match.end()


def tree_path(text: str) -> tuple[EmbedPath, FieldPath]:
    """`relation.column->key`."""
    _decline_other_numerals(text)
    match = _found(_PATH.match(text))
    *path, last = _BETWEEN_DOTS.findall(match[1])
    return tuple(map(_name, path)), FieldPath(_name(last), _json_path(match, 2))


def logic_path(text: str) -> tuple[EmbedPath, str]:
    """`relation.not.or`: the embed path, and how the tree begins."""
    _decline_other_numerals(text)
    path = list(map(_name, _BETWEEN_DOTS.findall(_found(_LOGIC_PATH.match(text))[1])))
    negation = "not." if "not" in path else ""
    return tuple([name for name in path[:-1] if name != "not"]), negation + path[-1]


# --- filters ------------------------------------------------------------------------------


def head_of(text: str, at: int = 0) -> tuple[Head, int] | None:
    """The head of the filter at `at`, and where its value begins."""
    match = _HEAD.match(text, at)
    if match is None:
        return None
    head = HEADS.get(match[0]) or _with_language(match)
    return None if head is None else (head, match.end())


def _with_language(match: re.Match[str]) -> Head | None:
    head = HEADS.get(f"{match[1]}.")
    if head is None or match[2] is None or head.operator.kind != "fts":
        return None
    if _has_other_numerals(match[2]):
        # No language is called so, which is not for whoever asks about a head to hear.
        return None
    return Head(head.operator, head.negated, language=_name(match[2]))


def is_argument(text: str) -> bool:
    """Whether the value of a function's parameter is an argument, being no filter."""
    return not text.startswith(_COMMITTED) and head_of(text) is None


def operation(text: str) -> Operation:
    """`eq.1`, `not.like(any).{a*}`, `in.(1,2)`, `is.null`."""
    return _operation(text, 0, in_tree=False)[0]


def _operation(text: str, at: int, *, in_tree: bool) -> tuple[Operation, int]:
    found = head_of(text, at)
    if found is None:
        raise Unrecognised
    head, at = found
    kind = head.operator.kind
    value: str | tuple[str, ...]
    if kind == "in":
        value, end = _list_items(text, at)
    elif kind == "is":
        match = _found(_IS.match(text, at))
        value, end = match[0].lower(), match.end()
    elif in_tree:
        match = _found(_IN_TREE.match(text, at))
        value, end = match[0] if match[1] is None else _unquoted(match[1]), match.end()
    else:
        value, end = text[at:], len(text)
    name = head.operator.name
    return Operation(name, value, head.negated, head.quantifier, head.language), end


def list_items(text: str) -> tuple[str, ...]:
    """The values of `(1,2,"a,b")`, the parentheses included."""
    return _list_items(text, 0)[0]


def _list_items(text: str, at: int) -> tuple[tuple[str, ...], int]:
    at = _found(_LIST.match(text, at)).end()
    end = text.find(")", at)
    if end >= 0 and text.find('"', at, end) < 0:
        return tuple(text[at:end].split(",")), _found(_CLOSING.match(text, end)).end()
    items = []
    while True:
        match = _found(_LIST_ITEM.match(text, at))
        quoted, plain, separator = match.groups()
        items.append(plain if quoted is None else _unquoted(quoted))
        at = match.end()
        if separator == ")":
            return tuple(items), _found(_CLOSING.match(text, at - 1)).end()


# --- order and select ---------------------------------------------------------------------


def order_terms(text: str) -> tuple[OrderTerm, ...]:
    """`a.desc.nullslast,b,relation(c)`."""
    _decline_many_items(text)
    _decline_other_numerals(text)
    terms = []
    at = 0
    while True:
        match = _found(_ORDER_TERM.match(text, at))
        direction, nulls = _DIRECTIONS.get(match[5]), _NULLS.get(match[6])
        if match[2] is None:
            terms.append(OrderTerm(_field(match, 1, 4), None, direction, nulls))
        else:
            relation = _name(match[1])
            terms.append(OrderTerm(_field(match, 2, 3), relation, direction, nulls))
        at = match.end()
        if not match[7]:
            return tuple(terms)


def select_items(text: str) -> tuple[SelectItem, ...]:
    """`id,name::text,alias:relation!hint!inner(*,...nested(total.sum()))`."""
    _decline_many_items(text)
    _decline_other_numerals(text)
    return _select_items(text, 0, 0)[0]


def _select_items(text: str, at: int, depth: int) -> tuple[tuple[SelectItem, ...], int]:
    items: list[SelectItem] = []
    while True:
        item: SelectItem
        relation = _RELATION.match(text, at)
        # Unquoted, `count` begins an aggregate.
        if relation is not None and (relation[1] or relation[3].strip(SPACES) != "count"):
            item, at = _embed(relation, depth)
        else:
            field = _FIELD.match(text, at)
            if field is None and not items and _BEGUN.match(text, at) is None:
                return (), at
            if field is None:
                raise Unrecognised
            item, at = _select_field(field), field.end()
        items.append(item)
        if text[at : at + 1] not in (",", " ", "\t"):
            return tuple(items), at
        at = _found(_COMMA.match(text, at)).end()


def _embed(match: re.Match[str], depth: int) -> tuple[SelectEmbed, int]:
    spread, alias, name, parameters = match.groups()
    if depth >= MAX_NESTING:
        raise Unrecognised
    hint: str | None = None
    join: JoinType | None = None
    for parameter in _PARAMETER.findall(parameters):
        if parameter in _JOINS:
            join = join or _JOINS[parameter]
        elif hint is None:
            hint = _name(parameter)
    text = match.string
    items, at = _select_items(text, match.end(), depth + 1)
    if text[at : at + 1] != ")":
        raise Unrecognised
    named = None if alias is None else _name(alias)
    return SelectEmbed(_name(name), items, named, hint, join, bool(spread)), at + 1


def _select_field(match: re.Match[str]) -> SelectField:
    star, alias, count, _, _, cast, aggregate, aggregate_cast = match.groups()
    if star:
        return SelectField(FieldPath("*"))
    named = None if alias is None else _name(alias)
    first = None if cast is None else _name(cast)
    if count:
        if aggregate or aggregate_cast:
            raise Unrecognised
        return SelectField(FieldPath("*"), named, None, "count", first)
    second = None if aggregate_cast is None else _name(aggregate_cast)
    return SelectField(_field(match, 4, 5), named, first, _AGGREGATES.get(aggregate), second)


# --- trees --------------------------------------------------------------------------------


def logic_tree(text: str) -> LogicTree | Filter:
    """`and(a.eq.1,not.or(b.is.null,c.in.(1,2)))`."""
    _decline_other_numerals(text)
    return _logic_tree(text, 0, 0)[0]


def _logic_tree(text: str, at: int, depth: int) -> tuple[LogicTree | Filter, int]:
    field = _TREE_FIELD.match(text, at)
    if field is not None:
        try:
            what, end = _operation(text, field.end(), in_tree=True)
        except Unrecognised:
            # `not.and(` begins like a filter of the field `not`.
            pass
        else:
            return Filter(_field(field, 1, 2), what), end
    branch = _found(_BRANCH.match(text, at))
    if depth >= MAX_NESTING:
        raise Unrecognised
    children: list[LogicTree | Filter] = []
    at = branch.end()
    while True:
        child, at = _logic_tree(text, at, depth + 1)
        children.append(child)
        if text[at : at + 1] not in (",", " ", "\t"):
            break
        at = _found(_COMMA.match(text, at)).end()
    end = _found(_CLOSING.match(text, at)).end()
    return LogicTree(_LOGIC[branch[2]], tuple(children), branch[1] is not None), end
