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
"""What an answer depends on besides tables and its URL: the token's claims, the role, the rest
of the request (headers, cookies; settings that a pre-request function makes), the time of day.
`token`: any of the claims, for all that can be proven, or their text; `claims` alone: such as
are read by constant names, none of `PASSING_CLAIMS` among them."""

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
_CONST: Final = r"\{CONST [^{}]*\}"
_TEXT: Final = r"\{CONST [^{}]*:constvalue \d+ \[ ([-\d ]+)\]\}"
# current_setting(text) and (text, boolean), whose oids are the same everywhere (pg_proc.dat);
# an operator may be made of them, too.
_SETTING: Final = re.compile(
    rf":(?:funcid|opfuncid) (?:2077|3294) (?::\w+ [^ :]+ ){{0,9}}?:args \((?:{_TEXT})?"
)
_HEADER: Final = 4
"""Bytes of length before those of a text."""

# The claims as a whole; what leaves them as they are (NULLIF compares by texteq); what reads
# one of them: -> and ->>, of json and jsonb (pg_proc.dat).
_CLAIMS: Final = "{CLAIMS}"
_WHOLE: Final = re.compile(
    rf"\{{FUNCEXPR :funcid (?:2077|3294) [^{{}}]*:args \({_TEXT}(?: {_CONST})?\) [^{{}}]*\}}"
)
_SAME: Final = re.compile(
    rf"\{{(?:COERCEVIAIO|RELABELTYPE) :arg {_CLAIMS} [^{{}}]*\}}"
    rf"|\{{COALESCEEXPR [^{{}}]*:args \({_CLAIMS} {_CONST}\) [^{{}}]*\}}"
    rf"|\{{NULLIFEXPR [^{{}}]*:opfuncid 67 [^{{}}]*:args \({_CLAIMS} {_TEXT}\) [^{{}}]*\}}"
)
_MEMBER: Final = re.compile(
    r"\{(?:OPEXPR|FUNCEXPR) [^{}]*:(?:opfuncid|funcid) (?:3947|3948|3478|3214) [^{}]*"
    rf":args \({_CLAIMS} {_TEXT}\) [^{{}}]*\}}"
)
NO_CLAIMS: Final = frozenset(("", "{}"))
"""Texts that no claims are, for the role is always among them."""

# enum SQLValueFunctionOp (primnodes.h): dates and times come first, then who one is.
_LAST_TIME: Final = 8
_LAST_ROLE: Final = 12

_JWT: Final = "request.jwt."
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
    names = [_text(constant) if constant else None for constant in _SETTING.findall(tree)]
    for name in names:
        yield from setting_traits(name)
    if any(map(is_claims, names)) and not _reads_by_name(tree):
        yield "token"


def _reads_by_name(tree: str) -> bool:
    """Whether all that is done with the claims is to read such as last, by constant names."""
    tree = _WHOLE.sub(lambda m: _CLAIMS if is_claims(_text(m[1])) else m[0], tree)
    before = ""
    while before != tree:
        before, tree = tree, _SAME.sub(_same, tree)
    tree = _MEMBER.sub(lambda m: m[0] if _text(m[1]) in PASSING_CLAIMS else "", tree)
    left = [_text(constant) for constant in _SETTING.findall(tree) if constant]
    return _CLAIMS not in tree and not any(map(is_claims, left))


def _same(match: re.Match[str]) -> str:
    is_same = match[1] is None or _text(match[1]) in NO_CLAIMS
    return _CLAIMS if is_same else match[0]


def _text(constant: str) -> str:
    # Bytes are written as C's char, which may be signed.
    values = [int(number) & 0xFF for number in constant.split()]
    return bytes(values[_HEADER:]).decode(errors="replace")


def is_claims(name: str | None) -> bool:
    """Whether the setting `name` holds all of the claims."""
    return name is not None and name.lower() == f"{_JWT}claims"


def setting_traits(name: str | None) -> Iterator[Trait]:
    """What reading the setting `name` (None: one not known beforehand) depends on.

    PostgreSQL's own settings have no dot and are the same for all who share a role. What is
    done with the claims as a whole (`is_claims`) is for the caller to look at.
    """
    if name is None:
        yield "request"
        return
    name = name.lower()
    if name.startswith(_JWT):
        yield "claims"
        one = name.removeprefix(f"{_JWT}claim.")
        if not is_claims(name) and (one == name or one in PASSING_CLAIMS):
            yield "token"
    elif name in _BUILTIN_ROLE_SETTINGS:
        yield "role"
    elif "." in name and not name.startswith("app.settings."):
        yield "request"
