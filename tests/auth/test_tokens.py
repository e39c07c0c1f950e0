"""Every way a token can be accepted or refused, and what is answered."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.model import Identity
from proxy.auth.tokens import MAX_TOKEN_LENGTH, bearer_token, identify
from proxy.errors import ApiError
from tests.auth.signing import (
    NOW,
    RULES,
    SECRET,
    base64url,
    bearer,
    ec_jwk,
    ec_key,
    jwks,
    oct_jwk,
    okp_jwk,
    okp_key,
    rsa_jwk,
    rsa_key,
    rules,
    secret_keys,
    sign,
    signed_with,
)

KEYS = secret_keys()
NO_KEY = "No suitable key was found to decode the JWT"
WRONG_KEY = "None of the keys was able to decode the JWT"
BAD_CRYPTO = "JWT cryptographic operation failed"


def refusal(
    token: str | bytes, keys: Any = KEYS, by: Any = RULES, now: float = NOW
) -> ApiError:
    with pytest.raises(ApiError) as caught:
        identify(bearer(token), keys, by, now)
    return caught.value


def seen(error: ApiError) -> tuple[str, int, str, Any]:
    return error.code, error.status, error.message, error.details


# --- the header -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, token",
    [
        ([], None),
        ([(b"authorization", b"Basic YTpi")], None),
        ([(b"authorization", b"Bearers abc")], None),
        ([(b"x-authorization", b"Bearer abc")], None),
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bEaReR \t abc")], b"abc"),
        ([(b"authorization", b"Bearer a b ")], b"a b "),
        ([(b"authorization", b"Bearer")], b""),
        ([(b"authorization", b"Bearer ")], b""),
        ([(b"authorization", b"Basic x"), (b"authorization", b"Bearer abc")], None),
    ],
)
def test_bearer_token(headers: list[tuple[bytes, bytes]], token: bytes | None) -> None:
    assert bearer_token(headers) == token


def test_without_a_token_the_caller_is_anonymous() -> None:
    assert identify([], KEYS, RULES, NOW) == Identity("anon", '{"role":"anon"}', False)


def test_without_a_token_or_an_anonymous_role_access_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        identify([], KEYS, rules(anon=None), NOW)
    assert seen(caught.value) == ("PGRST302", 401, "Anonymous access is disabled", None)
    assert caught.value.headers == ((b"www-authenticate", b"Bearer"),)


@pytest.mark.parametrize("token", ["", "a.b.c", sign({"role": "author"})])
def test_a_token_needs_a_server_with_a_secret(token: str) -> None:
    error = refusal(token, keys=None)
    assert seen(error) == ("PGRST300", 500, "Server lacks JWT secret", None)
    assert error.headers == ()


# --- what can't be decoded --------------------------------------------------------------

HEADER = base64url(b'{"alg":"HS256"}')
CLAIMS = base64url(b'{"role":"author"}')
UNSIGNED = base64url(b'{"alg":"none"}')
UNSIGNED_IN_DISGUISE = base64url(b'{"alg":"None"}')
UNDECODABLE: list[tuple[str | bytes, str, str | None]] = [
    ("", "Empty JWT is sent in Authorization header", None),
    ("abc", "Expected 3 parts in JWT; got 1", None),
    ("a.b", "Expected 3 parts in JWT; got 2", None),
    ("a.b.c.d.e", "Expected 3 parts in JWT; got 5", None),
    ("..", BAD_CRYPTO, None),
    ("a.b.c", BAD_CRYPTO, None),
    (f"{HEADER}.{CLAIMS}.=", BAD_CRYPTO, None),
    (f"{HEADER}.{CLAIMS}.a", BAD_CRYPTO, None),
    (f"{HEADER}.{CLAIMS}+.", BAD_CRYPTO, None),
    (f"{HEADER}=.{CLAIMS}.", BAD_CRYPTO, None),
    (b"\xff.\x00.\xa0", BAD_CRYPTO, None),
    (f"{base64url(b'[]')}.{CLAIMS}.", BAD_CRYPTO, None),
    (f"{base64url(b'{')}.{CLAIMS}.", BAD_CRYPTO, None),
    (f"{base64url(b'{}')}.{CLAIMS}.", BAD_CRYPTO, None),
    (sign({}, header={"alg": "HS1"}), BAD_CRYPTO, None),
    (sign({}, header={"alg": "hs256"}), BAD_CRYPTO, None),
    (sign({}, header={"alg": ["HS256"]}), BAD_CRYPTO, None),
    (sign({}, header={"alg": "HS256", "typ": 5}), BAD_CRYPTO, None),
    (sign({}, header={"alg": "HS256", "kid": 5}), BAD_CRYPTO, None),
    (sign({}, header={"alg": "HS256", "enc": "A128GCM"}), BAD_CRYPTO, None),
    (sign({}, header={"alg": "HS256", "crit": ["b64"], "b64": False}), BAD_CRYPTO, None),
    (sign({}, header="[" * 20_000), BAD_CRYPTO, None),
    (f"{HEADER}.{CLAIMS}.", "No suitable key or wrong key type", WRONG_KEY),
    (sign({}, secret="x" * 32), "No suitable key or wrong key type", WRONG_KEY),
    (sign({}, header={"alg": "HS512"}), "No suitable key or wrong key type", NO_KEY),
    (sign({}, header={"alg": "RS256"}), "No suitable key or wrong key type", NO_KEY),
    (
        sign({}, header={"alg": "HS256", "kid": "k"}),
        "No suitable key or wrong key type",
        NO_KEY,
    ),
    (
        f"{UNSIGNED}.{CLAIMS}.",
        "Wrong or unsupported encoding algorithm",
        "JWT is unsecured but expected 'alg' was not 'none'",
    ),
    (f"{UNSIGNED_IN_DISGUISE}.{CLAIMS}.", BAD_CRYPTO, None),
    ("a" * (MAX_TOKEN_LENGTH + 1), "JWT couldn't be decoded", None),
    (sign({"x": "y" * MAX_TOKEN_LENGTH}), "JWT couldn't be decoded", None),
    ("." * MAX_TOKEN_LENGTH, f"Expected 3 parts in JWT; got {MAX_TOKEN_LENGTH + 1}", None),
]


@pytest.mark.parametrize("token, message, details", UNDECODABLE)
def test_undecodable(token: str | bytes, message: str, details: str | None) -> None:
    error = refusal(token)
    assert seen(error) == ("PGRST301", 401, message, details)
    challenge = f'Bearer error="invalid_token", error_description="{message}"'
    assert error.headers == ((b"www-authenticate", challenge.encode()),)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_changed_in_any_part_is_refused(part: int) -> None:
    parts = sign({"role": "author"}).split(".")
    others = [base64url(b'{"alg":"HS256" }'), base64url(b'{"role":"admin"}'), "A" * 43]
    parts[part] = others[part]
    assert refusal(".".join(parts)).details == WRONG_KEY


# --- algorithms and keys ----------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_rsa(algorithm: str) -> None:
    token = signed_with(rsa_key(), algorithm)
    assert identify(bearer(token), jwks(rsa_jwk()), RULES, NOW).role == "author"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
@pytest.mark.parametrize("private", [False, True])
def test_ecdsa(algorithm: str, private: bool) -> None:
    token = signed_with(ec_key(algorithm), algorithm)
    keys = jwks(ec_jwk(algorithm, private))
    assert identify(bearer(token), keys, RULES, NOW).role == "author"


@pytest.mark.parametrize("curve", ["Ed25519", "Ed448"])
def test_eddsa(curve: str) -> None:
    token = signed_with(okp_key(curve), "EdDSA")
    assert identify(bearer(token), jwks(okp_jwk(curve)), RULES, NOW).role == "author"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_hmac_with_a_jwk_of_no_declared_algorithm(algorithm: str) -> None:
    secret = SECRET * 2
    token = signed_with(secret, algorithm)
    assert identify(bearer(token), jwks(oct_jwk(secret)), RULES, NOW).role == "author"


def test_an_rsa_key_is_never_an_hmac_secret() -> None:
    pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = rsa_jwk()
    for secret in (pem.decode(), json.dumps(jwk), jwk["n"]):
        error = refusal(sign({"role": "admin"}, secret=secret), keys=jwks(jwk))
        assert error.details == NO_KEY


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_a_curve_belongs_to_one_algorithm(algorithm: str) -> None:
    curves = {"ES256", "ES384", "ES512"} - {algorithm}
    error = refusal(signed_with(ec_key(algorithm), algorithm), keys=jwks(*map(ec_jwk, curves)))
    assert error.details == NO_KEY


def test_a_key_is_used_for_its_declared_algorithm_only() -> None:
    keys = jwks(rsa_jwk(alg="RS512"))
    assert refusal(signed_with(rsa_key(), "RS256"), keys=keys).details == NO_KEY
    assert identify(bearer(signed_with(rsa_key(), "RS512")), keys, RULES, NOW).role == "author"


@pytest.mark.parametrize("extra", [{"use": "enc"}, {"alg": "RSA-OAEP"}])
def test_a_key_for_encryption_verifies_nothing(extra: dict[str, str]) -> None:
    assert (
        refusal(signed_with(rsa_key(), "RS256"), keys=jwks(rsa_jwk(**extra))).details == NO_KEY
    )


def test_what_a_token_says_of_keys_is_not_read() -> None:
    header = {
        "alg": "HS256",
        "jwk": oct_jwk("attacker's very own secret of 32"),
        "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1/cert",
        "x5c": ["MIIB"],
    }
    token = sign({"role": "admin"}, "attacker's very own secret of 32", header)
    assert refusal(token).details == WRONG_KEY


A, B = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    "kids, signer, kid, details",
    [
        ((None, None), B, None, None),  # each is tried
        (("a", "b"), B, None, None),
        (("a", "b"), B, "b", None),
        (("a", "a"), B, "a", None),  # two of one name: both are tried
        (("a", "b"), B, "a", WRONG_KEY),
        (("a", "b"), B, "c", NO_KEY),
        ((None, None), B, "b", NO_KEY),  # a named key is asked for and none has a name
        (("a", "b"), B, "../../dev/null", NO_KEY),
        (("a", "b"), B, "' or 1=1 --", NO_KEY),
        (("a", "b"), B, "", NO_KEY),
    ],
)
def test_kid(
    kids: tuple[str | None, str | None], signer: str, kid: str | None, details: str | None
) -> None:
    named = [{} if name is None else {"kid": name} for name in kids]
    keys = jwks(oct_jwk(A, **named[0]), oct_jwk(B, **named[1]))
    header = {"alg": "HS256"} | ({} if kid is None else {"kid": kid})
    token = sign({"role": "author"}, signer, header)
    if details is None:
        assert identify(bearer(token), keys, RULES, NOW).role == "author"
    else:
        assert refusal(token, keys=keys).details == details


def test_the_type_of_a_token_is_not_looked_at() -> None:
    token = sign({"role": "author"}, header={"alg": "HS256", "typ": "at+jwt", "cty": None})
    assert identify(bearer(token), KEYS, RULES, NOW).role == "author"


# --- whatever comes ---------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
claim_names = st.sampled_from(["exp", "nbf", "iat", "aud", "role", "sub"]) | st.text()
parts = st.binary(max_size=40).map(base64url) | json_values.map(
    lambda value: base64url(json.dumps(value).encode())
)


def answer(token: bytes, path: str = "$.role") -> Identity | ApiError:
    try:
        return identify(bearer(token), jwks(oct_jwk()), rules("me", path), NOW)
    except ApiError as error:
        refused = error
    assert refused.status == 401
    json.loads(refused.body())
    return refused


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(token: bytes) -> None:
    assert isinstance(answer(token), ApiError)


@given(st.lists(parts, min_size=3, max_size=3))
def test_any_three_parts_are_refused(three: list[str]) -> None:
    assert isinstance(answer(".".join(three).encode()), ApiError)


@given(
    st.dictionaries(claim_names, json_values) | json_values,
    st.sampled_from(["$.role", "$..role", "$", "$.role[?(@ > 1)]", '.role[?(@ ^== "a")]']),
)
def test_any_signed_payload_is_understood_or_refused(payload: Any, path: str) -> None:
    got = answer(sign(json.dumps(payload)).encode(), path)
    if isinstance(got, Identity):
        claims = json.loads(got.claims)
        assert claims["role"] == got.role
        assert {**payload, "role": got.role} == claims


@given(st.binary(max_size=60))
def test_any_signed_bytes_are_understood_or_refused(payload: bytes) -> None:
    answer(sign(payload).encode())
