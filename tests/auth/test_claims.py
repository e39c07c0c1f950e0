"""What a well-signed token's claims allow, and how they reach the database."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.claims import parse_claims
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


@pytest.mark.parametrize(
    "payload, claims",
    [
        ('{"role":"author","sub":"b","sub":"a"}', '{"role":"author","sub":"a"}'),
        ('{"sub":"b","role":"author","s\\u0075b":"a"}', '{"sub":"a","role":"author"}'),
        ('{"role":"x","role":"author","n":0.10}', '{"role":"author","n":0.10}'),
        ('{"role":"author","a":[{"x":1,"x":1e2}]}', '{"role":"author","a":[{"x":1e2}]}'),
        (
            '{"role":"author","n":1.0, "s":"\\ud800"}',
            '{"role":"author","n":1.0, "s":"\\ud800"}',
        ),
        ('{"role":"author","s":"é","s":"\\ud800"}', '{"role":"author","s":"\\ud800"}'),
        ('{"exp":1,"role":"author","exp":99999999999}', '{"exp":99999999999,"role":"author"}'),
    ],
)
def test_of_equal_names_the_last_counts_everywhere(payload: str, claims: str) -> None:
    identity = ask(payload)
    assert identity.role == "author"
    assert identity.claims == claims


def test_an_audience_named_twice() -> None:
    assert ask('{"role":"author","aud":"other","aud":"me"}', audience="me").role == "author"
    assert refusal('{"role":"author","aud":"me","aud":"other"}', audience="me") == AUDIENCE


class _Members(list[Any]):
    """Members of an object, some names more than once."""


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.sampled_from("ab"), inner), max_size=3).map(_Members)
    ),
    max_leaves=8,
)


def _text(value: Any) -> str:
    if isinstance(value, _Members):
        return "{" + ",".join(f"{json.dumps(n)}:{_text(v)}" for n, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value)


@given(st.lists(st.tuples(st.sampled_from("ab"), _values), max_size=4))
def test_no_text_that_is_handed_on_has_a_name_twice(members: list[tuple[str, Any]]) -> None:
    text = _text(_Members(members))
    claims = parse_claims(text.encode())

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    assert json.loads(claims.text, object_pairs_hook=once) == claims.values == json.loads(text)
