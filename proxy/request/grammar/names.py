"""Names in the query string: identifiers, quoted names, JSON paths, embed paths.

The rules every parameter shares. A name holds letters, digits, `_`, `$`, spaces and
dashes; anything else must stand in double quotes. A dash before `>` ends the name: it
begins a JSON arrow.
"""

from __future__ import annotations

from typing import Final

from proxy.request.grammar.combinators import (
    Parser,
    T,
    any_number,
    attempt,
    char,
    combine,
    either,
    end_of_input,
    first,
    labelled,
    last,
    look_ahead,
    many,
    none_of,
    not_followed_by,
    one,
    optional,
    pure,
    remembered,
    separated,
    some,
    string,
)
from proxy.request.model import EmbedPath, FieldPath, JsonArrow, JsonStep

SPACES: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u202f\u205f\u3000"
)
"""What Haskell's isSpace takes for a space; Python's strip() takes more."""


def _is_ascii_digit(character: str) -> bool:
    return "0" <= character <= "9"


def _is_identifier_character(character: str) -> bool:
    return character.isalpha() or "0" <= character <= "9" or character in "_ $"


def _any_character(_: str) -> bool:
    return True


whitespace: Final = any_number(" \t".__contains__)


def lexeme(parser: Parser[T]) -> Parser[T]:
    """`parser` with spaces and tabs around it."""
    return combine(lambda _, value, __: value, whitespace, parser, whitespace)


comma: Final = lexeme(char(","))
delimiter: Final = labelled(char("."), "delimiter (.)")
digits: Final = some(_is_ascii_digit, "digit")
rest_of_text: Final = any_number(_any_character)

identifier: Final = combine(
    lambda text: text.strip(SPACES), some(_is_identifier_character, "letter", "digit")
)

quoted: Final = combine(
    lambda _, parts, __: "".join(parts),
    char('"'),
    many(either(one(none_of('\\"')), last(char("\\"), one(_any_character)))),
    char('"'),
)
"""A value in double quotes, backslash escapes the next character."""


def joined_by_dashes(part: Parser[str]) -> Parser[str]:
    """`part`s with dashes between them, as long as no dash begins an arrow."""
    dash = attempt(last(char("-"), not_followed_by(char(">"))))
    return combine("-".join, separated(part, dash))


FIELD_NAME: Final = "field name (* or [a..z0..9_$])"
bare_name: Final = joined_by_dashes(identifier)
field_name: Final = remembered(labelled(either(quoted, bare_name), FIELD_NAME))


def written_name(name: str) -> str:
    """`name` as `field_name` reads it: in double quotes unless it can stand bare."""
    parts = name.split("-")
    if all(part and all(map(_is_bare, part)) for part in parts):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_bare(character: str) -> bool:
    return _is_identifier_character(character) and character != " "


# --- JSON paths ---------------------------------------------------------------------------

_key: Final = labelled(
    either(
        quoted,
        joined_by_dashes(
            combine(lambda text: text.strip(SPACES), some(none_of("(-:.,>)"))),
        ),
    ),
    "any non reserved character different from: .,>()",
)
_after_index: Final = either(
    *(attempt(look_ahead(string(text))) for text in ("->", "::", ".", ",")),
    attempt(end_of_input),
)
_index: Final = first(
    combine(lambda sign, number: sign + number, optional(char("-"), ""), digits), _after_index
)


def _arrow(text: JsonArrow) -> Parser[JsonArrow]:
    return attempt(combine(lambda _: text, string(text)))


def _step(arrow: JsonArrow, operand: tuple[str, bool]) -> JsonStep:
    return JsonStep(arrow, *operand)


_operand: Final = either(
    attempt(combine(lambda text: (text, True), _index)),
    attempt(combine(lambda text: (text, False), _key)),
)
json_path: Final = combine(
    tuple[JsonStep, ...], many(combine(_step, either(_arrow("->>"), _arrow("->")), _operand))
)

# --- fields and paths ---------------------------------------------------------------------

_NO_PATH: Final[Parser[tuple[JsonStep, ...]]] = pure(())
_bare_field: Final = combine(FieldPath, field_name, either(json_path, _NO_PATH))
field: Final = lexeme(_bare_field)


def _tree_path(names: list[str], steps: tuple[JsonStep, ...]) -> tuple[EmbedPath, FieldPath]:
    return tuple(names[:-1]), FieldPath(names[-1], steps)


tree_path: Final = combine(
    _tree_path, separated(field_name, delimiter), either(json_path, _NO_PATH)
)
"""The key of a filter: `actors.films.title->>en` is a field of an embedded resource."""

dotted_names: Final = separated(field_name, delimiter)
columns: Final = separated(field_name, comma)
