"""What a token's claims allow: from claims whose signature is good to an `Identity`.

In: the claims, the rules, the time. Out: the identity, or the `ApiError` PGRST303 (or
PGRST302) that PostgREST answers with. What depends on the time (`check_times`) is apart
from what does not (`identity_of`), so that only the second may be remembered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.auth.model import AuthRules, Identity
from proxy.auth.refusals import UNPARSABLE_CLAIMS, invalid_token, token_required
from proxy.auth.role_claim import extract_role
from proxy.errors import Json

CLOCK_SKEW: Final = 30
"""Seconds by which the clocks of issuer and server may differ (PostgREST docs, "JWT Claims
Validation")."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token: `values` to judge by, `text` to hand on. The text is the
    token's own, so that numbers of any size and precision reach the database unharmed; but
    no object in it has a name twice, so that all who read it read the same."""

    text: str
    values: Mapping[str, Json]


NO_CLAIMS: Final = Claims("{}", {})


def parse_claims(payload: bytes) -> Claims:
    """The claims in a token's payload; of equal names the last counts (RFC 7519, section
    4). Raises ApiError PGRST303 if it is no JSON object."""
    repeats = False

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        nonlocal repeats
        found = dict(pairs)
        repeats |= len(found) < len(pairs)
        return found

    try:
        text = payload.decode()
        values = json.loads(text, parse_constant=_no_json, object_pairs_hook=members)
        if repeats:
            text = _without_repeats(text)
    except (ValueError, RecursionError):
        values = None
    else:
        if isinstance(values, dict):
            return Claims(text, values)
    raise invalid_token("PGRST303", UNPARSABLE_CLAIMS)


def _no_json(constant: str) -> Json:
    raise ValueError(f"{constant} is not JSON")


class _Number(str):
    """A number as it is written."""


def _without_repeats(text: str) -> str:
    """JSON with only the last of equal names in each object, numbers to the letter.
    PostgreSQL reads the last as well, but not everywhere: `json_each` shows all."""
    return _written(json.loads(text, parse_int=_Number, parse_float=_Number))


def _written(value: object) -> str:
    if isinstance(value, dict):
        members = (f"{json.dumps(name)}:{_written(each)}" for name, each in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return value if isinstance(value, _Number) else json.dumps(value)


def check_times(claims: Claims, now: float) -> None:
    """Raise ApiError PGRST303 unless the claims hold at `now` (seconds since the epoch)."""
    second = math.floor(now)
    expires = numeric_date(claims, "exp")
    if expires is not None and second - CLOCK_SKEW > expires:
        raise invalid_token("PGRST303", "JWT expired")
    not_before = numeric_date(claims, "nbf")
    if not_before is not None and second + CLOCK_SKEW < not_before:
        raise invalid_token("PGRST303", "JWT not yet valid")
    issued = numeric_date(claims, "iat")
    if issued is not None and second + CLOCK_SKEW < issued:
        raise invalid_token("PGRST303", "JWT issued at future")


def numeric_date(claims: Claims, name: str) -> float | None:
    """The time a claim names, in seconds since the epoch (RFC 7519, NumericDate)."""
    value = claims.values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_token("PGRST303", f"The JWT '{name}' claim must be a number")
    # Times no clock can show count as the epoch, as in PostgREST: such a token has expired.
    return value if -(2**63) <= value < 2**63 else 0


def identity_of(claims: Claims, rules: AuthRules) -> Identity:
    """Whom the claims name, whatever the time. Raises ApiError PGRST303 or PGRST302."""
    _check_audience(claims, rules.audience)
    try:
        role = extract_role(rules.role_claim, claims.values)
    except ValueError as error:
        raise invalid_token("PGRST303", UNPARSABLE_CLAIMS) from error
    if role is None:
        role = rules.anonymous_role
    if role is None:
        raise token_required()
    if not _can_be_a_role(role):
        raise invalid_token("PGRST303", UNPARSABLE_CLAIMS)
    return Identity(
        role=role,
        claims=_with_role(claims, role),
        authenticated=role != rules.anonymous_role,
        expires_at=numeric_date(claims, "exp"),
    )


def _check_audience(claims: Claims, expected: str | None) -> None:
    audience = claims.values.get("aud")
    if audience is None:
        return
    audiences = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(each, str) for each in audiences):
        raise invalid_token(
            "PGRST303", "The JWT 'aud' claim must be a string or an array of strings"
        )
    # An empty array addresses everyone.
    if expected is not None and audiences and expected not in audiences:
        raise invalid_token("PGRST303", "JWT not in audience")


def _can_be_a_role(role: str) -> bool:
    """Whether PostgreSQL could have such a role. JSON's strings can be no text at all; and
    `none` is no role there, but the user that the server connected as (docs, SET ROLE)."""
    is_text = "\0" not in role and not any("\ud800" <= c <= "\udfff" for c in role)
    return is_text and role != "none"


# --- the claims' text ---------------------------------------------------------------------

_WHITESPACE: Final = " \t\n\r"
_DECODER: Final = json.JSONDecoder()


def _with_role(claims: Claims, role: str) -> str:
    """The claims' text with `role` as its member "role", all else as it was."""
    if claims.values.get("role") == role:
        return claims.text
    text = claims.text if "role" not in claims.values else _without_role(claims.text)
    opening = text.rstrip(_WHITESPACE)[:-1].rstrip(_WHITESPACE)
    comma = "" if opening.endswith("{") else ","
    return f'{opening}{comma}"role":{json.dumps(role, ensure_ascii=False)}}}'


def _without_role(text: str) -> str:
    kept = []
    position = _skip_whitespace(text, text.index("{") + 1)
    while text[position] != "}":
        start = position
        name, position = _DECODER.raw_decode(text, position)
        value_start = _skip_whitespace(text, text.index(":", position) + 1)
        _, position = _DECODER.raw_decode(text, value_start)
        if name != "role":
            kept.append(text[start:position])
        position = _skip_whitespace(text, position)
        if text[position] == ",":
            position = _skip_whitespace(text, position + 1)
    return "{" + ",".join(kept) + "}"


def _skip_whitespace(text: str, position: int) -> int:
    while text[position] in _WHITESPACE:
        position += 1
    return position
