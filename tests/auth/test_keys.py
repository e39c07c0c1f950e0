"""What jwt-secret may be."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.keys import Key, KeySet, load_keys
from tests.auth.signing import SECRET, ec_jwk, jwks, oct_jwk, okp_jwk, rsa_jwk, rsa_key


def algorithms(keys: KeySet | None) -> list[set[str]]:
    assert keys is not None
    return [set(key.algorithms) for key in keys.keys]


def test_no_secret_no_keys() -> None:
    assert load_keys(None) is None


def test_a_plain_secret_is_for_hs256() -> None:
    assert load_keys(SECRET) == KeySet((Key(SECRET.encode(), frozenset({"HS256"})),))


@pytest.mark.parametrize("length, accepted", [(0, False), (31, False), (32, True)])
def test_length_of_a_plain_secret(length: int, accepted: bool) -> None:
    if accepted:
        assert load_keys("x" * length)
    else:
        with pytest.raises(ValueError, match="must be at least 32 characters long"):
            load_keys("x" * length)


OCTETS = bytes(range(224, 256)) + b"?"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(OCTETS).decode(),
        base64.urlsafe_b64encode(OCTETS).decode(),
        base64.urlsafe_b64encode(OCTETS).decode().replace("=", "."),
        f" {base64.b64encode(OCTETS).decode()}\n",
    ],
)
def test_base64(text: str) -> None:
    assert load_keys(text, is_base64=True) == KeySet((Key(OCTETS, frozenset({"HS256"})),))


def test_base64_of_a_jwk() -> None:
    text = base64.b64encode(json.dumps(oct_jwk(alg="HS512")).encode()).decode()
    assert algorithms(load_keys(text, is_base64=True)) == [{"HS512"}]


@pytest.mark.parametrize("text", ["not base64!", "abc", "ä" * 40])
def test_what_is_not_base64(text: str) -> None:
    with pytest.raises(ValueError, match="jwt-secret is not base64"):
        load_keys(text, is_base64=True)


HMAC = {"HS256", "HS384", "HS512"}
RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def test_algorithms_follow_from_the_type_of_key() -> None:
    keys = [oct_jwk(), rsa_jwk(), ec_jwk("ES384"), okp_jwk("Ed25519"), rsa_jwk(alg="PS256")]
    assert algorithms(jwks(*keys)) == [HMAC, RSA, {"ES384"}, {"EdDSA"}, {"PS256"}]


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "unheard-of"},
        {},
        {"kty": "EC", "crv": "secp256k1", "x": "", "y": ""},
        {"kty": "OKP", "crv": "X25519", "x": ""},
        oct_jwk(alg="RS256"),
        oct_jwk(alg="none"),
        oct_jwk(use="enc"),
    ],
)
def test_keys_of_no_use_are_left_out(jwk: dict[str, Any]) -> None:
    assert algorithms(jwks(jwk, rsa_jwk())) == [RSA]


@pytest.mark.parametrize(
    "jwk",
    [
        5,
        {"kty": "oct"},
        {"kty": "oct", "k": ""},
        {"kty": "oct", "k": 5},
        {"kty": "RSA", "n": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        oct_jwk() | {"kid": 5},
    ],
)
def test_malformed_keys(jwk: Any) -> None:
    with pytest.raises(ValueError, match="jwt-secret"):
        load_keys(json.dumps({"keys": [jwk]}))


def test_one_key_outside_a_set_and_an_empty_set() -> None:
    assert algorithms(load_keys(json.dumps(okp_jwk("Ed448")))) == [{"EdDSA"}]
    assert algorithms(load_keys('{"keys":[]}')) == []


def test_a_public_key_is_not_taken_for_a_secret() -> None:
    pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="asymmetric key"):
        load_keys(pem.decode())


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(load_keys(SECRET))


@given(st.text(max_size=50), st.booleans())
def test_any_text_is_keys_or_a_value_error(text: str, is_base64: bool) -> None:
    try:
        assert load_keys(text, is_base64) is not None
    except ValueError:
        return
