"""What a well-signed token's claims allow, and how they reach the database."""

import json
from typing import Any

import pytest

from proxy.auth.model import Identity
from proxy.auth.tokens import identify
from proxy.errors import ApiError
from tests.auth.signing import NOW, bearer, rules, secret_keys, sign

KEYS = secret_keys()
SECOND = int(NOW)
EXPIRED = "JWT expired"
EARLY = "JWT not yet valid"
FUTURE = "JWT issued at future"
AUDIENCE = "JWT not in audience"
BAD_AUDIENCE = "The JWT 'aud' claim must be a string or an array of strings"
NO_NUMBERS: list[Any] = ["9999999999", True, [], {}]
UNPARSABLE = "Parsing claims failed"


def ask(payload: Any, now: float = NOW, **options: Any) -> Identity:
    return identify(bearer(sign(payload)), KEYS, rules(**options), now)


def refusal(payload: Any, **options: Any) -> str:
    with pytest.raises(ApiError) as caught:
        ask(payload, **options)
    error = caught.value
    assert (error.code, error.status, error.details) == ("PGRST303", 401, None)
    challenge = f'Bearer error="invalid_token", error_description="{error.message}"'
    assert error.headers == ((b"www-authenticate", challenge.encode()),)
    return error.message


@pytest.mark.parametrize(
    "claims, message",
    [
        ({"exp": SECOND}, None),
        ({"exp": SECOND - 30}, None),
        ({"exp": SECOND - 31}, EXPIRED),
        ({"exp": SECOND + 60.5}, None),
        ({"exp": 0}, EXPIRED),
        ({"exp": -1}, EXPIRED),
        ({"exp": 10**30}, EXPIRED),
        ({"nbf": SECOND + 30}, None),
        ({"nbf": SECOND + 31}, EARLY),
        ({"iat": SECOND + 30}, None),
        ({"iat": SECOND + 31}, FUTURE),
        ({"exp": None, "nbf": None, "iat": None, "aud": None}, None),
        ({"exp": SECOND - 99, "nbf": SECOND + 99, "iat": "x", "aud": 1}, EXPIRED),
        ({"nbf": SECOND + 99, "iat": SECOND + 99}, EARLY),
        ({"iat": SECOND + 99, "aud": "other"}, FUTURE),
        *(
            ({name: value}, f"The JWT '{name}' claim must be a number")
            for name in ("exp", "nbf", "iat")
            for value in NO_NUMBERS
        ),
    ],
)
def test_times(claims: dict[str, Any], message: str | None) -> None:
    payload = {"role": "author", **claims}
    if message is None:
        assert ask(payload, audience="me").role == "author"
    else:
        assert refusal(payload, audience="me") == message


def test_exp_beyond_every_number() -> None:
    assert refusal('{"role":"author","exp":1e999}') == EXPIRED


@pytest.mark.parametrize(
    "audience, claim, message",
    [
        (None, "anyone", None),
        (None, ["a", "b"], None),
        (None, 5, BAD_AUDIENCE),
        (None, ["a", 5], BAD_AUDIENCE),
        (None, {"a": "b"}, BAD_AUDIENCE),
        (None, False, BAD_AUDIENCE),
        ("me", "me", None),
        ("me", ["you", "me"], None),
        ("me", [], None),
        ("me", None, None),
        ("me", "Me", AUDIENCE),
        ("me", "", AUDIENCE),
        ("me", ["you"], AUDIENCE),
        ("me", "mes", AUDIENCE),
        ("me|you", "me", AUDIENCE),
        ("https://api.example.com", "https://api.example.com", None),
    ],
)
def test_audience(audience: str | None, claim: Any, message: str | None) -> None:
    payload = {"role": "author", "aud": claim}
    if message is None:
        assert ask(payload, audience=audience).role == "author"
    else:
        assert refusal(payload, audience=audience) == message


def test_a_token_need_not_name_an_audience() -> None:
    assert ask({"role": "author"}, audience="me").role == "author"


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "null",
        "[]",
        '"role"',
        '{"role":"a"',
        '{"exp":NaN}',
        '{"exp":Infinity}',
        b'{"role":"\xff"}',
        '{"a":' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"n":' + "9" * 5_000 + "}",
        '{"role":"\\u0000"}',
        '{"role":"\\ud800"}',
        '{"role":"none"}',
    ],
)
def test_claims_that_are_no_claims(payload: str | bytes) -> None:
    assert refusal(payload) == UNPARSABLE


def test_a_search_through_claims_nested_too_deeply() -> None:
    payload = '{"a":' + "[" * 400 + "]" * 400 + "}"
    assert refusal(payload, path="$..role") == UNPARSABLE


@pytest.mark.parametrize(
    "claims, anon, role, authenticated",
    [
        ({"role": "author"}, "anon", "author", True),
        ({"role": "author"}, None, "author", True),
        ({"role": "anon"}, "anon", "anon", False),
        ({}, "anon", "anon", False),
        ({"sub": "x"}, "anon", "anon", False),
        ({"role": None}, "anon", "null", True),
        ({"role": 5}, "anon", "5", True),
        ({"role": {"a": [1]}}, "anon", '{"a":[1]}', True),
        ({"role": ""}, "anon", "", True),
        ({"role": 'Frau "Ö"'}, "anon", 'Frau "Ö"', True),
    ],
)
def test_role(claims: dict[str, Any], anon: str | None, role: str, authenticated: bool) -> None:
    identity = ask(claims, anon=anon)
    assert (identity.role, identity.authenticated) == (role, authenticated)
    assert json.loads(identity.claims) == {**claims, "role": role}


def test_no_role_and_no_anonymous_role() -> None:
    with pytest.raises(ApiError) as caught:
        ask({"sub": "x"}, anon=None)
    assert caught.value.code == "PGRST302"


@pytest.mark.parametrize(
    "payload, path, claims",
    [
        ('{"role":"a","n":1}', "$.role", '{"role":"a","n":1}'),
        ('{"n":1}', "$.role", '{"n":1,"role":"anon"}'),
        ("{}", "$.role", '{"role":"anon"}'),
        (" { } \n", "$.role", ' {"role":"anon"}'),
        ('{"app":{"role":"a"}}', "$.app.role", '{"app":{"role":"a"},"role":"a"}'),
        ('{"role":"x","r":"a"}', "$.r", '{"r":"a","role":"a"}'),
        (
            '{ "r" : "a" , "r\\u006fle" : [{}, 1e2] , "z" : 0 }',
            "$.r",
            '{"r" : "a","z" : 0,"role":"a"}',
        ),
        ('{"role":"x","r":"}\\"{,:"}', "$.r", '{"r":"}\\"{,:","role":"}\\"{,:"}'),
        ('{"role":1,"x":2,"role":3}', "$.role", '{"x":2,"role":"3"}'),
        (
            '{"role":"a","big":123456789012345678901234567890,"e":1.10,"x":1e400}',
            "$.role",
            '{"role":"a","big":123456789012345678901234567890,"e":1.10,"x":1e400}',
        ),
    ],
)
def test_claims_reach_the_database_as_they_were_signed(
    payload: str, path: str, claims: str
) -> None:
    assert ask(payload, path=path).claims == claims


def test_expires_at() -> None:
    assert ask({"role": "a", "exp": SECOND + 5}).expires_at == SECOND + 5
    assert ask({"role": "a"}).expires_at is None
