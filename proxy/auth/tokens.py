"""JSON Web Tokens (RFC 7519) in compact form: from request headers to an `Identity`.

In: headers, keys, rules, the time. Out: the identity, or an `ApiError` with PostgREST's
code, message, details and `WWW-Authenticate`. Only a key chosen by the operator verifies a
token: what the token says of keys itself (`jwk`, `jku`, `x5u`, `x5c`) is not read.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from jwt.algorithms import Algorithm

from proxy.auth.claims import NO_CLAIMS, Claims, check_times, identity_of, parse_claims
from proxy.auth.keys import ALGORITHMS, Key, KeySet
from proxy.auth.model import AuthRules, Identity
from proxy.auth.refusals import BAD_ALGORITHM, BAD_CRYPTO, NO_KEY, invalid_token, no_secret

MAX_TOKEN_LENGTH: Final = 64 * 1024
"""In bytes. A longer token is refused unread."""

_BEARER: Final = re.compile(rb"bearer(?:[ \t\n\v\f\r\xa0]+|\Z)", re.IGNORECASE)
_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]*")


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The token of the first Authorization header (names in lower case), if its scheme is
    Bearer. None means the caller is anonymous; an empty token is a token."""
    for name, value in headers:
        if name == b"authorization":
            scheme = _BEARER.match(value)
            return value[scheme.end() :] if scheme else None
    return None


def identify(
    headers: Iterable[tuple[bytes, bytes]],
    keys: KeySet | None,
    rules: AuthRules,
    now: float,
) -> Identity:
    """Who is asking at `now` (seconds since the epoch). Raises ApiError PGRST30x."""
    token = bearer_token(headers)
    claims = NO_CLAIMS if token is None else verify(token, keys)
    check_times(claims, now)
    return identity_of(claims, rules)


def verify(token: bytes, keys: KeySet | None) -> Claims:
    """The claims of a token that one of `keys` has signed, which may be out of date.

    Raises ApiError: PGRST300 without keys, PGRST301 when the token can't be decoded,
    PGRST303 when what was signed is no JSON object.
    """
    if keys is None:
        raise no_secret()
    if not token:
        raise invalid_token("PGRST301", "Empty JWT is sent in Authorization header")
    if len(token) > MAX_TOKEN_LENGTH:
        raise invalid_token("PGRST301", "JWT couldn't be decoded")
    parts = token.split(b".")
    if len(parts) != 3:
        raise invalid_token("PGRST301", f"Expected 3 parts in JWT; got {len(parts)}")
    header, payload, signature = parts
    try:
        fields = _parse_header(_decode(header))
        body = _decode(payload)
        if fields["alg"] == "none":
            raise invalid_token(
                "PGRST301",
                BAD_ALGORITHM,
                "JWT is unsecured but expected 'alg' was not 'none'",
            )
        mark = _decode(signature)
    except (ValueError, RecursionError) as error:
        raise invalid_token("PGRST301", BAD_CRYPTO) from error
    suitable = keys.suitable(fields["alg"], fields.get("kid"))
    if not suitable:
        details = "No suitable key was found to decode the JWT"
        raise invalid_token("PGRST301", NO_KEY, details)
    algorithm, signed = ALGORITHMS[fields["alg"]], header + b"." + payload
    if not any(_has_signed(key, algorithm, signed, mark) for key in suitable):
        details = "None of the keys was able to decode the JWT"
        raise invalid_token("PGRST301", NO_KEY, details)
    return parse_claims(body)


def names_unknown_key(headers: Iterable[tuple[bytes, bytes]], keys: KeySet | None) -> bool:
    """Whether the caller's token asks for a key that `keys` lacks: a newer set may have it."""
    token = bearer_token(headers)
    if keys is None or not token or len(token) > MAX_TOKEN_LENGTH:
        return False
    try:
        fields = _parse_header(_decode(token.partition(b".")[0]))
    except (ValueError, RecursionError):
        return False
    return not keys.suitable(fields["alg"], fields.get("kid"))


def _has_signed(key: Key, algorithm: Algorithm, signed: bytes, signature: bytes) -> bool:
    try:
        return algorithm.verify(signed, key.material, signature)
    except ValueError:  # e.g. an RSA key too small for the digest
        return False


def _decode(part: bytes) -> bytes:
    """Unpadded base64url and nothing else: Python's decoder skips what it doesn't know."""
    if not _BASE64URL.fullmatch(part):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _parse_header(header: bytes) -> dict[str, Any]:
    """The JOSE header. Raises ValueError when it is unfit or asks for what we don't do:
    encryption (`enc`), and extensions that it declares critical (RFC 7515, 4.1.11)."""
    fields = json.loads(header.decode())
    if not isinstance(fields, dict):
        raise ValueError("the header must be an object")
    for name in ("typ", "cty", "kid"):
        if not isinstance(fields.get(name), str | None):
            raise ValueError(f"{name} must be a string")
    algorithm = fields.get("alg")
    if algorithm != "none" and (
        not isinstance(algorithm, str)
        or algorithm not in ALGORITHMS
        or {"enc", "crit"} & fields.keys()
    ):
        raise ValueError("unsupported algorithm or extension")
    return fields
