"""Keys and tokens for these tests, made by PyJWT and by hand."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.auth.keys import KeySet, load_keys
from proxy.auth.model import AuthRules
from proxy.auth.role_claim import parse_role_claim

SECRET = "reallyreallyreallyreallyverysafe"
NOW = 1_700_000_000.5
RULES = AuthRules(None, parse_role_claim("$.role"), "anon")


def rules(
    audience: str | None = None, path: str = "$.role", anon: str | None = "anon"
) -> AuthRules:
    return AuthRules(audience, parse_role_claim(path), anon)


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def sign(
    payload: str | bytes | Mapping[str, Any],
    secret: str = SECRET,
    header: str | Mapping[str, Any] = '{"alg":"HS256","typ":"JWT"}',
) -> str:
    """An HS256 token around any bytes, whatever its header claims."""
    head = header if isinstance(header, str) else json.dumps(header)
    body = json.dumps(payload) if isinstance(payload, Mapping) else payload
    octets = body if isinstance(body, bytes) else body.encode()
    signed = f"{base64url(head.encode())}.{base64url(octets)}"
    mark = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(mark)}"


def bearer(token: str | bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"authorization", b"Bearer " + (token if isinstance(token, bytes) else token.encode()))
    ]


def secret_keys() -> KeySet:
    keys = load_keys(SECRET)
    assert keys is not None
    return keys


def jwks(*keys: Mapping[str, Any]) -> KeySet:
    loaded = load_keys(json.dumps({"keys": keys}))
    assert loaded is not None
    return loaded


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def rsa_jwk(**extra: str) -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(rsa_key().public_key(), as_dict=True) | extra


CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@cache
def ec_key(algorithm: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVES[algorithm])


def ec_jwk(algorithm: str, private: bool = False) -> dict[str, Any]:
    key = ec_key(algorithm)
    return ECAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)


@cache
def okp_key(curve: str) -> ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey:
    if curve == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ed448.Ed448PrivateKey.generate()


def okp_jwk(curve: str) -> dict[str, Any]:
    return OKPAlgorithm.to_jwk(okp_key(curve).public_key(), as_dict=True)


def oct_jwk(secret: str = SECRET, **extra: str) -> dict[str, Any]:
    return {"kty": "oct", "k": base64url(secret.encode()), **extra}


def signed_with(key: Any, algorithm: str, kid: str | None = None, **claims: Any) -> str:
    headers = None if kid is None else {"kid": kid}
    return jwt.encode({"role": "author", **claims}, key, algorithm, headers=headers)
