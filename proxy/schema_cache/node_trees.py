"""What an expression or query that PostgreSQL has stored reads: relations, functions, more.

In: node trees as text (`pg_rewrite.ev_action`, `pg_policy.polqual`, `pg_proc.prosqlbody`;
src/backend/nodes/outfuncs.c). Out: a `Code`. Names within a tree are escaped, constants
are bytes, so a field like `:relid 16384` is what it seems. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Trait = Literal["claims", "token", "role", "request", "time"]
"""What an answer depends on besides tables and its URL: the token's claims, such among them
(seen by their names) as differ from token to token of one identity, the role, the rest of the
request (headers, cookies; settings that a pre-request function makes), the time of day."""

PASSING_CLAIMS: Final = frozenset(("exp", "iat", "nbf", "jti"))
"""Claims that differ from token to token of one identity (RFC 7519)."""

NOTHING: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Code:
    """What some code depends on: oids of relations and functions, and traits.

    `odd` names what makes it impossible to tell more: TABLESAMPLE, say.
    """

    relations: frozenset[int] = NOTHING
    functions: frozenset[int] = NOTHING
    traits: frozenset[Trait] = frozenset()
    odd: tuple[str, ...] = ()


NO_CODE: Final = Code()

_RELATION: Final = re.compile(r":relid (\d+)")
_FUNCTION: Final = re.compile(r":(?:funcid|aggfnoid|winfnoid|opfuncid) (\d+)")
_VALUE: Final = re.compile(r"\{SQLVALUEFUNCTION :op (\d+)")
# current_setting(text) and (text, boolean), whose oids are the same everywhere (pg_proc.dat).
_SETTING: Final = re.compile(
    r":funcid (?:2077|3294) (?::\w+ [^ :]+ ){0,9}?:args \("
    r"(?:\{CONST [^{}]*?:constvalue \d+ \[ ([-\d ]+)\])?"
)
_HEADER: Final = 4
"""Bytes of length before those of a text."""
_SHORT_TEXT: Final = re.compile(r":constvalue 7 \[ ([-\d ]+) \]")
"""A text of three letters."""

# enum SQLValueFunctionOp (primnodes.h): dates and times come first, then who one is.
_LAST_TIME: Final = 8
_LAST_ROLE: Final = 12

_BUILTIN_ROLE_SETTINGS: Final = frozenset(("role", "session_authorization", "is_superuser"))


def read_code(trees: Iterable[str | None]) -> Code:
    """What the code stored as `trees` depends on, all of them together."""
    tree = "\n".join(text for text in trees if text is not None)
    functions = _FUNCTION.findall(tree)
    return Code(
        relations=frozenset(map(int, _RELATION.findall(tree))),
        functions=frozenset(map(int, functions)) - {0},
        traits=frozenset(_traits(tree)),
        odd=("TABLESAMPLE",) if "{TABLESAMPLECLAUSE" in tree else (),
    )


def _traits(tree: str) -> Iterator[Trait]:
    for text in _VALUE.findall(tree):
        if int(text) <= _LAST_TIME:
            yield "time"
        elif int(text) <= _LAST_ROLE:
            yield "role"
    if not PASSING_CLAIMS.isdisjoint(map(_text, _SHORT_TEXT.findall(tree))):
        yield "token"
    for constant in _SETTING.findall(tree):
        yield from setting_traits(_text(constant) if constant else None)


def _text(constant: str) -> str:
    # Bytes are written as C's char, which may be signed.
    values = [int(number) & 0xFF for number in constant.split()]
    return bytes(values[_HEADER:]).decode(errors="replace")


def setting_traits(name: str | None) -> Iterator[Trait]:
    """What reading the setting `name` (None: one not known beforehand) depends on.

    PostgreSQL's own settings have no dot and are the same for all who share a role.
    """
    if name is None:
        yield "request"
        return
    name = name.lower()
    if name.startswith("request.jwt."):
        yield "claims"
        if name.rpartition(".")[2] in PASSING_CLAIMS:
            yield "token"
    elif name in _BUILTIN_ROLE_SETTINGS:
        yield "role"
    elif "." in name and not name.startswith("app.settings."):
        yield "request"
