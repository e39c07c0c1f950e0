"""The keys that tokens are verified with: the value of `jwt-secret`.

In: the setting's text (a plain secret, base64 of one, a JWK or a JWKS; RFC 7517). Out: a
`KeySet`. Each key carries the algorithms it may be used with, fixed here by its type and
never by a token: that is what keeps an RSA key from being taken for an HMAC secret.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import AllowedPublicKeys, get_default_algorithms
from jwt.exceptions import InvalidKeyError

MINIMUM_SECRET_LENGTH: Final = 32
"""In bytes, of a secret that is no JWK."""

_HMAC: Final = frozenset({"HS256", "HS384", "HS512"})
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_ECDSA: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_EDDSA: Final = {"Ed25519": "EdDSA", "Ed448": "EdDSA"}

ALGORITHMS: Final = {
    name: algorithm
    for name, algorithm in get_default_algorithms().items()
    if name in _HMAC | _RSA | {*_ECDSA.values(), *_EDDSA.values()}
}
"""Every algorithm a token may be signed with, `none` not among them, and its verifier."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that verifies. `algorithms` are the `alg` values it may be used with."""

    material: bytes | AllowedPublicKeys = field(repr=False)
    algorithms: frozenset[str]
    kid: str | None = None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one app, in the order they were given."""

    keys: tuple[Key, ...]

    def suitable(self, algorithm: str, kid: str | None) -> tuple[Key, ...]:
        """The keys to try on a token. A token that names a `kid` is only tried with keys
        of that name; one that names none with every key that fits its algorithm."""
        return tuple(
            key
            for key in self.keys
            if algorithm in key.algorithms and (kid is None or kid == key.kid)
        )


class UnusableKey(ValueError):
    """A key is given, and not a secret, but it can't be used as it is written."""


def load_keys(secret: str | None, is_base64: bool = False) -> KeySet | None:
    """Read `jwt-secret`; None when there is none.

    Keys of a set that can't verify a signature (unknown type, curve or algorithm, `use`
    other than `sig`) are left out. Raises ValueError when the secret is too short, not
    base64, a malformed JWK, or a PEM or DER key: an asymmetric key taken for a secret
    would let everyone who knows its public half sign tokens.
    """
    if secret is None:
        return None
    octets = _from_base64(secret) if is_base64 else secret.encode()
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        if isinstance(document.get("keys"), list):
            return KeySet(tuple(key for jwk in document["keys"] for key in jwk_keys(jwk)))
        if "kty" in document:
            return KeySet(jwk_keys(document))
    if len(octets) < MINIMUM_SECRET_LENGTH:
        if octets.lstrip().startswith(b"{"):
            raise UnusableKey("jwt-secret: it begins like a JSON Web Key, and is none")
        raise ValueError("The JWT secret must be at least 32 characters long.")
    try:
        ALGORITHMS["HS256"].prepare_key(octets)
    except InvalidKeyError as error:
        raise UnusableKey(f"jwt-secret: {error}") from error
    return KeySet((Key(octets, frozenset({"HS256"})),))


def _from_base64(text: str) -> bytes:
    # "." for "=" is a URL-safe padding that PostgREST accepts.
    standard = text.strip().translate(str.maketrans("-_.", "+/="))
    try:
        return base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnusableKey(f"jwt-secret is not base64: {error}") from error


def jwk_keys(jwk: object) -> tuple[Key, ...]:
    """The key a JWK describes: none if it is of no use for verifying signatures. Raises
    `UnusableKey` when it is malformed."""
    if not isinstance(jwk, dict):
        raise UnusableKey("jwt-secret: a JSON Web Key must be an object")
    usable = _usable_algorithms(jwk)
    if not usable:
        return ()
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise UnusableKey("jwt-secret: a key's 'kid' must be a string")
    try:
        loader: Any = ALGORITHMS[min(usable)]
        material = loader.from_jwk(jwk)
    except (InvalidKeyError, KeyError, ValueError, TypeError) as error:
        raise UnusableKey(f"jwt-secret: malformed key of type {jwk['kty']}: {error}") from error
    if material == b"":
        raise UnusableKey("jwt-secret: a symmetric key must not be empty")
    if isinstance(
        material, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
    ):
        material = material.public_key()
    return (Key(material, usable, kid),)


def _usable_algorithms(jwk: Mapping[str, Any]) -> frozenset[str]:
    if jwk.get("use") not in (None, "sig"):
        return frozenset()
    match jwk.get("kty"):
        case "oct":
            fitting = _HMAC
        case "RSA":
            fitting = _RSA
        case "EC":
            fitting = frozenset({_ECDSA.get(str(jwk.get("crv")), "")}) - {""}
        case "OKP":
            fitting = frozenset({_EDDSA.get(str(jwk.get("crv")), "")}) - {""}
        case _:
            fitting = frozenset()
    declared = jwk.get("alg")
    return fitting if declared is None else fitting & {str(declared)}
