"""What a kept answer is found by: nothing that matters may be left out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.model import Identity
from proxy.cache.key import Key, key_of, role_settings_digests
from proxy.cache_rules.policy import Scope
from proxy.errors import ApiError
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.model import Headers, HttpRequest
from proxy.request.query_string import parse_query
from proxy.request.request_headers import SELECTING, caching_headers
from proxy.schema_cache.node_trees import PASSING_CLAIMS


def key(
    target: str = "/items",
    scope: Scope = "claims",
    claims: str = '{"role":"a"}',
    role: str = "a",
    method: str = "GET",
    **headers: str,
) -> Key:
    path, _, query = target.encode().partition(b"?")
    named = tuple((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())
    http = HttpRequest(method, path, query, named)
    return key_of(http, caching_headers(named), scope, Identity(role, claims, True))


@pytest.mark.parametrize(
    "one, other",
    [
        ({"target": "/items?a=1&b=2"}, {"target": "/items?b=2&a=1"}),
        ({"target": "/items"}, {"target": "/items", "method": "HEAD"}),
        ({"method": "HEAD", "range": "0-1"}, {"method": "GET"}),
        ({}, {"user_agent": "x", "cookie": "a=b", "accept_encoding": "br"}),
        ({}, {"claims": '{"exp":1,"role":"a","jti":"x","iat":2,"nbf":3.5}'}),
        ({"claims": '{"sub":"a","sub":"b"}'}, {"claims": '{"sub":"c","sub":"b"}'}),
        ({"claims": '{"a":1,"b":2}'}, {"claims": '{ "b" : 2 , "a":1 }'}),
        ({"scope": "role"}, {"scope": "role", "claims": '{"sub":"x"}'}),
        ({"scope": "public"}, {"scope": "public", "claims": '{"sub":"x"}', "role": "b"}),
    ],
)
def test_the_same_is_found(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(**one) == key(**other)


@pytest.mark.parametrize(
    "one, other",
    [
        ({"target": "/items?a=1&a=2"}, {"target": "/items?a=2&a=1"}),
        ({"target": "/items?a=1&%61=2"}, {"target": "/items?%61=2&a=1"}),
        ({"target": "/items?x=1;a=1&b=3"}, {"target": "/items?b=3&x=1;a=1"}),
        ({"target": '/items?"a"=1&a=2'}, {"target": '/items?a=2&"a"=1'}),
        ({"target": "/items?+a=1&a=2"}, {"target": "/items?a=2&+a=1"}),
        ({"target": "/items?a.limit=1&b.limit=2"}, {"target": "/items?b.limit=2&a.limit=1"}),
        ({"target": "/items?a=1&b"}, {"target": "/items?b&a=1"}),
        ({"target": "/items?a=1&b=1&"}, {"target": "/items?b=1&a=1&"}),
        ({"target": "/a?b"}, {"target": "/a%3Fb"}),
        ({}, {"accept": "text/csv"}),
        ({}, {"accept_profile": "other"}),
        ({}, {"prefer": "count=exact"}),
        ({}, {"range": "0-1"}),
        ({"accept": "x"}, {"prefer": "x"}),
        ({"scope": "role"}, {"scope": "role", "role": "b"}),
        ({"scope": "role"}, {"scope": "public"}),
        ({"scope": "role"}, {"scope": "claims"}),
        ({}, {"claims": '{"role":"a","sub":"x"}'}),
        ({"claims": '{"a":1}'}, {"claims": '{"a":"1"}'}),
        ({"claims": '{"a":1}'}, {"claims": '{"a":"\\u00001"}'}),
        ({"claims": '{"a":0.1}'}, {"claims": '{"a":0.10000000000000000555}'}),
        ({"claims": '{"a":1}'}, {"claims": '{"a":[1]}'}),
        ({"claims": '{"sub":"b","sub":"a"}'}, {"claims": '{"sub":"a","sub":"b"}'}),
        # What PostgreSQL may not take for JSON.
        ({"claims": '{"jti":"a"}'}, {"claims": '{"jti":"\\u0000"}'}),
        ({"claims": '{"iat":1}'}, {"claims": '{"iat":1e400000}'}),
    ],
)
def test_what_differs_is_told_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(**one) != key(**other)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
_claims = st.dictionaries(st.sampled_from(["role", "sub", "exp", "jti", "team", ""]), _values)


def _passes(value: object) -> bool:
    """A time or a token id as issuers write them."""
    text = json.dumps(value)
    plain = isinstance(value, str) and "\\" not in text
    return plain or (text.isascii() and text.isdigit() and len(text) <= 18)


@given(_claims, _claims, st.booleans())
def test_keys_are_equal_when_the_lasting_claims_are(
    one: dict[str, Any], other: dict[str, Any], ascii_only: bool
) -> None:
    def lasting(claims: dict[str, Any]) -> str:
        kept = {n: v for n, v in claims.items() if n not in PASSING_CLAIMS or not _passes(v)}
        return json.dumps(sorted((name, json.dumps(value)) for name, value in kept.items()))

    same = lasting(one) == lasting(other)
    assert (key(claims=json.dumps(one)) == key(claims=json.dumps(other))) is same
    reordered = dict(reversed(one.items()))
    assert key(claims=json.dumps(one)) == key(claims=json.dumps(reordered))


_lines = st.lists(
    st.tuples(
        st.sampled_from([*SELECTING, b"x-other"]),
        st.sampled_from(
            [
                b"application/json",
                b"text/csv;q=0.5",
                b"application/vnd.pgrst.object+json;q=0.1",
                b"api",
                b"other",
                b"count=exact",
                b"return=minimal, count=planned",
                b"0-1",
                b"2-",
                b"",
            ]
        ),
    ),
    max_size=6,
)


@given(_lines, _lines, st.sampled_from(["GET", "HEAD"]))
def test_requests_of_one_key_are_read_alike(
    one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]], method: str
) -> None:
    rules = RequestRules(schemas=("api", "other"))

    def read(lines: Headers) -> tuple[Key, object]:
        http = HttpRequest(method, b"/items", b"", lines)
        key = key_of(http, caching_headers(lines), "public", Identity("a", "{}", False))
        try:
            return key, replace(read_api_request(http, rules), headers=())
        except ApiError as error:
            return key, (error.code, error.details)

    key, understood = read(tuple(one))
    # What the key is made of is all that was read.
    assert read(tuple(caching_headers(tuple(one)).items())) == (key, understood)
    other_key, other_understood = read(tuple(other))
    if other_key == key:
        assert other_understood == understood


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ['"a"', " a", "a", "%61", "b", "b.limit", "a.limit", "limit", "or"]
            ),
            st.sampled_from(["eq.1", "eq.2", "1", "2", "(a.eq.1,b.eq.2)"]),
        ),
        max_size=5,
    ),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_queries_of_one_key_mean_the_same(
    pairs: list[tuple[str, str]], random: Random, is_call: bool
) -> None:
    def read(query: bytes) -> object:
        try:
            found = parse_query(query, is_call_read=is_call)
        except ApiError:
            return None
        filters = sorted(map(repr, found.filters)), sorted(map(repr, found.logic))
        return filters, list(found.ranges.items()), sorted(found.arguments)

    shuffled = random.sample(pairs, len(pairs))
    one, other = (
        "&".join(f"{name}={value}" for name, value in each).encode()
        for each in (pairs, shuffled)
    )
    if key(f"/items?{one.decode()}") == key(f"/items?{other.decode()}"):
        assert read(one) == read(other)


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_long_parts_are_told_apart_too(one: bytes, other: bytes) -> None:
    def of(query: bytes) -> Key:
        http = HttpRequest("GET", b"/items", query, ())
        return key_of(http, {}, "public", Identity("a", "{}", False))

    if b"&" not in one + other:
        assert (of(one) == of(other)) is (one == other)


def test_settings_of_roles_tell_public_answers_apart() -> None:
    manners = role_settings_digests(
        {
            "anon": (("statement_timeout", "3s"),),
            "east": (("statement_timeout", "8s"), ("timezone", "Asia/Tokyo")),
            "west": (("timezone", "America/Lima"),),
        }
    )
    assert {*manners} == {"east", "west"}

    def key_for(role: str) -> Key:
        http = HttpRequest("GET", b"/items", b"", ())
        return key_of(http, {}, "public", Identity(role, "{}", True), manners.get(role, b""))

    assert key_for("anon") == key_for("other")
    assert len({key_for("anon"), key_for("east"), key_for("west")}) == 3
