"""`select=id,full:name,total:amount.sum(),director:directors!inner(*),...tags(name)`."""

from __future__ import annotations

from typing import Final, NamedTuple

from proxy.request.grammar.combinators import (
    Parser,
    Reply,
    Source,
    attempt,
    char,
    combine,
    constant,
    either,
    end_of_input,
    first,
    labelled,
    last,
    look_ahead,
    maybe,
    nested,
    not_followed_by,
    pure,
    remembered,
    separated,
    string,
    where,
)
from proxy.request.grammar.names import (
    FIELD_NAME,
    bare_name,
    comma,
    field,
    field_name,
    identifier,
    lexeme,
    quoted,
)
from proxy.request.model import (
    Aggregate,
    FieldPath,
    JoinType,
    SelectEmbed,
    SelectField,
    SelectItem,
)


class _Hint(NamedTuple):
    name: str


class _Relation(NamedTuple):
    name: str
    alias: str | None
    hint: str | None
    join: JoinType | None
    spread: bool


def _join(text: JoinType) -> Parser[_Hint | JoinType]:
    value: _Hint | JoinType = text
    return attempt(constant(value, string(text)))


def _named(name: str) -> _Hint | JoinType:
    return _Hint(name)


_alias: Final = remembered(
    maybe(
        attempt(
            first(field_name, combine(lambda *_: None, char(":"), not_followed_by(char(":"))))
        )
    )
)
_embed_parameter: Final = maybe(
    combine(
        lambda _, parameter: parameter,
        char("!"),
        either(
            _join("left"),
            _join("inner"),
            attempt(combine(_named, field_name)),
        ),
    )
)
_opening: Final = attempt(look_ahead(string("(")))


def _relation(
    alias: str | None,
    name: str,
    one: _Hint | JoinType | None,
    two: _Hint | JoinType | None,
    spread: bool,
) -> _Relation:
    hints = [each.name for each in (one, two) if isinstance(each, _Hint)]
    joins = [each for each in (one, two) if each is not None and not isinstance(each, _Hint)]
    return _Relation(
        name, alias, hints[0] if hints else None, joins[0] if joins else None, spread
    )


_spread_relation: Final = lexeme(
    combine(
        lambda _, name, one, two, __: _relation(None, name, one, two, spread=True),
        string("..."),
        field_name,
        _embed_parameter,
        _embed_parameter,
        _opening,
    )
)
# Unquoted, `count` begins an aggregate.
_relation_name: Final = labelled(
    either(quoted, where(bare_name, lambda name: name != "count")), FIELD_NAME
)
_embedded_relation: Final = lexeme(
    combine(
        lambda alias, name, one, two, _: _relation(alias, name, one, two, spread=False),
        _alias,
        _relation_name,
        _embed_parameter,
        _embed_parameter,
        _opening,
    )
)


def _aggregate(name: Aggregate) -> Parser[Aggregate]:
    return constant(name, string(name))


_aggregates: Final = either(
    _aggregate("sum"),
    _aggregate("avg"),
    _aggregate("count"),
    attempt(_aggregate("max")),
    attempt(_aggregate("min")),
)
_cast: Final = maybe(last(string("::"), identifier))
_end: Final = either(
    attempt(look_ahead(string(")"))), attempt(look_ahead(string(","))), attempt(end_of_input)
)


def _plain(
    alias: str | None,
    path: FieldPath,
    cast: str | None,
    aggregate: Aggregate | None,
    aggregate_cast: str | None,
) -> SelectField:
    return SelectField(path, alias, cast, aggregate, aggregate_cast)


_select_field: Final[Parser[SelectItem]] = lexeme(
    either(
        attempt(combine(lambda *_: SelectField(FieldPath("*")), string("*"), _end)),
        attempt(
            combine(
                lambda alias, _, cast, __: SelectField(
                    FieldPath("*"), alias, None, "count", cast
                ),
                _alias,
                string("count()"),
                _cast,
                _end,
            )
        ),
        first(
            combine(
                _plain,
                _alias,
                field,
                _cast,
                maybe(
                    attempt(
                        combine(lambda _, name, __: name, char("."), _aggregates, string("()"))
                    )
                ),
                _cast,
            ),
            _end,
        ),
    )
)


def select_items(source: Source, at: int) -> Reply[list[SelectItem]]:
    """The items between two parentheses, or of the whole parameter; there may be none."""
    return _items(source, at)


def _embed(relation: _Relation, items: list[SelectItem]) -> SelectItem:
    return SelectEmbed(
        relation.name,
        tuple(items),
        relation.alias,
        relation.hint,
        relation.join,
        relation.spread,
    )


_inner_items: Final = combine(
    lambda _, items, __: items, char("("), nested(select_items), char(")")
)
_item: Final[Parser[SelectItem]] = either(
    combine(_embed, attempt(_spread_relation), _inner_items),
    combine(_embed, attempt(_embedded_relation), _inner_items),
    _select_field,
)
_no_items: Final[Parser[list[SelectItem]]] = combine(lambda _: [], pure(None))
_items: Final = either(separated(_item, comma), _no_items)
