"""Sign tokens for local use, as `edgerest token` and the demo do.

In: the settings, a role, further claims, a life span. Out: a JWT signed with HS256 and the
secret of `jwt-secret` that the server of the same settings accepts. Raises `TokenError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import jwt

from proxy.auth.keys import load_keys
from proxy.errors import Json
from proxy.settings import Settings

_ALGORITHM: Final = "HS256"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN: Final = re.compile(r"(\d{1,6})([smhdw])")
_MEMBERS: Final = re.compile(r"\$?((?:\.[A-Za-z_][A-Za-z0-9_]*)+)")


class TokenError(Exception):
    """No token can be made; the message is one sentence for the user."""


def parse_span(text: str) -> timedelta | None:
    """A life span: `90s`, `15m`, `1h`, `30d`, `4w`; None for `never`."""
    if text == "never":
        return None
    match = _SPAN.fullmatch(text)
    if match is None:
        raise TokenError(f"'{text}' is no span of time; write e.g. 15m, 1h, 30d or never")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_claims(pairs: Sequence[str]) -> dict[str, Json]:
    """`name=value` pairs as claims; a value that is JSON counts as what it says."""
    claims: dict[str, Json] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise TokenError(f"'{pair}' is no claim; write e.g. --claim user_id=1")
        try:
            claims[name] = json.loads(text)
        except ValueError:
            claims[name] = text
    return claims


def sign_token(
    settings: Settings,
    *,
    role: str | None,
    claims: Mapping[str, Json],
    span: timedelta | None,
    now: datetime,
) -> str:
    """The token for `role`, which is put where `jwt-role-claim-key` looks for it.

    `span`: how long it is valid from `now` on, None for ever. `aud` is `jwt-aud` unless
    `claims` say otherwise.
    """
    payload: dict[str, Json] = {"iat": int(now.timestamp())}
    if settings.jwt_aud is not None:
        payload["aud"] = settings.jwt_aud
    if span is not None:
        payload["exp"] = int((now + span).timestamp())
    payload.update(claims)
    if role is not None:
        _put_role(payload, settings.jwt_role_claim_key, role)
    return jwt.encode(payload, _secret(settings), algorithm=_ALGORITHM)


def _put_role(payload: dict[str, Json], path: str, role: str) -> None:
    match = _MEMBERS.fullmatch(path)
    if match is None:
        raise TokenError(
            f"jwt-role-claim-key {path} is no plain path, so --role does not know where to"
            " go; leave it out and give the claim with --claim"
        )
    *parents, name = match[1][1:].split(".")
    place = payload
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise TokenError(f"the claim {parent} has no room for the role {path}")
        place = inner
    place[name] = role


def _secret(settings: Settings) -> bytes:
    try:
        keys = load_keys(settings.jwt_secret, settings.jwt_secret_is_base64)
    except ValueError as error:
        raise TokenError(str(error).rstrip(".")) from error
    if keys is None:
        raise TokenError("there is no secret to sign with; set jwt-secret or give --secret")
    for key in keys.keys:
        if _ALGORITHM in key.algorithms and isinstance(key.material, bytes):
            return key.material
    raise TokenError(
        f"jwt-secret holds no key for {_ALGORITHM}; sign with the private key that belongs to"
        " it, or give another secret with --secret"
    )
