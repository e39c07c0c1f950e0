"""Where the role stands in a token's claims: the value of `jwt-role-claim-key`.

In: the setting's text, once; then the claims of each token. Out: the role, or None when
the path leads nowhere. Two syntaxes are understood (PostgREST docs, "JWT Role
Extraction"): JSONPath (RFC 9535, with `search()` as its only function), and the path
language that PostgREST had before version 16, such as `.roles[?(@ ^== "app_")]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError
from jsonpath_rfc9535.function_extensions import Search

from proxy.errors import Json

Claims = Mapping[str, Json]


class _Nothing:
    """What a path finds when it finds nothing; JSON's null is something."""


_NOTHING: Final = _Nothing()
_Found = Json | _Nothing
_Step = Callable[[_Found], _Found]


@dataclass(frozen=True, slots=True)
class RoleClaim:
    """A parsed `jwt-role-claim-key`; made by `parse_role_claim`.

    `deprecated` tells the syntax from before PostgREST 16, which deserves a warning.
    """

    text: str
    deprecated: bool
    _find: Callable[[Claims], _Found] = field(repr=False, compare=False)


def parse_role_claim(text: str) -> RoleClaim:
    """Read a `jwt-role-claim-key`. Raises ValueError when it is in neither syntax."""
    try:
        return RoleClaim(text, False, _json_path(text))
    except JSONPathError as error:
        reason = str(error)
    steps = _old_path(text)
    if steps is None:
        raise ValueError(f"failed to parse role-claim-key value ({text}): {reason}")
    return RoleClaim(text, True, _follow(steps))


def with_quoted_keys(text: str) -> str:
    """A `jwt-role-claim-key` as PostgREST shows it: in the old syntax all keys are quoted."""
    if not parse_role_claim(text).deprecated:
        return text
    path, condition, rest = text.partition("[?")
    return _OLD_KEY.sub(lambda key: f'."{key[0][1:].strip(chr(34))}"', path) + condition + rest


def extract_role(claim: RoleClaim, claims: Claims) -> str | None:
    """The role that `claims` name, or None. A value that is no string counts as its JSON
    text, as in PostgREST. Raises ValueError when the claims are nested too deeply."""
    try:
        found = claim._find(claims)
        if isinstance(found, _Nothing):
            return None
        if isinstance(found, str):
            return found
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    except (JSONPathError, RecursionError) as error:
        raise ValueError("the claims are nested too deeply") from error


# --- RFC 9535 ---------------------------------------------------------------------------


class _OnlySearch(JSONPathEnvironment):
    def setup_function_extensions(self) -> None:
        self.function_extensions["search"] = Search()


_JSON_PATH: Final = _OnlySearch()
_PLAIN_MEMBER: Final = re.compile(r"\$\.([A-Za-z_][A-Za-z0-9_]*)")


def _json_path(text: str) -> Callable[[Claims], _Found]:
    if plain := _PLAIN_MEMBER.fullmatch(text):
        name = plain[1]
        return lambda claims: claims.get(name, _NOTHING)
    query = _JSON_PATH.compile(text)

    def find(claims: Claims) -> _Found:
        node = query.find_one(dict(claims))
        return _NOTHING if node is None else cast(Json, node.value)

    return find


# --- the syntax before PostgREST 16 -----------------------------------------------------

_OLD_KEY: Final = re.compile(r'\.(?:([^\W_]|[_$@])+|"[^"]*")')
_OLD_INDEX: Final = re.compile(r"\[([0-9]+)\]")
_OLD_FILTER: Final = re.compile(r'\[\?\(@\s*(==\^|==|!=|\^==|\*==)\s*"([^"]*)"\)\]')

_COMPARISONS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "==": str.__eq__,
    "!=": str.__ne__,
    "^==": str.startswith,
    "==^": str.endswith,
    "*==": str.__contains__,
}


def _old_path(text: str) -> tuple[_Step, ...] | None:
    steps: list[_Step] = []
    position = 0
    while position < len(text):
        if match := _OLD_KEY.match(text, position):
            steps.append(_member(match[0][1:].strip('"')))
        elif match := _OLD_INDEX.match(text, position):
            steps.append(_element(int(match[1])))
        elif (match := _OLD_FILTER.match(text, position)) and match.end() == len(text):
            steps.append(_first_like(_COMPARISONS[match[1]], match[2]))
        else:
            return None
        position = match.end()
    return tuple(steps) or None


def _member(key: str) -> _Step:
    return lambda value: value.get(key, _NOTHING) if isinstance(value, dict) else _NOTHING


def _element(index: int) -> _Step:
    def step(value: _Found) -> _Found:
        return value[index] if isinstance(value, list) and index < len(value) else _NOTHING

    return step


def _first_like(compare: Callable[[str, str], bool], operand: str) -> _Step:
    def step(value: _Found) -> _Found:
        elements = value if isinstance(value, list) else []
        strings = (element for element in elements if isinstance(element, str))
        return next((text for text in strings if compare(text, operand)), _NOTHING)

    return step


def _follow(steps: tuple[_Step, ...]) -> Callable[[Claims], _Found]:
    def find(claims: Claims) -> _Found:
        value: _Found = dict(claims)
        for step in steps:
            value = step(value)
        return value

    return find
