"""QUERY, and the POST that means it: a read whose query string is the body."""

from __future__ import annotations

import pytest

from proxy.errors import ApiError
from proxy.http.cors import CorsPolicy, preflight
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.model import ApiRequest, HttpRequest
from proxy.request.query_method import MAX_PARAMETERS, MAX_QUERY
from proxy.request.query_string import parse_query
from proxy.request.ranges import Range

RULES = RequestRules(("public", "api"))
FORM = b"application/x-www-form-urlencoded"
OURS = b"application/vnd.edgerest.query"


def read(
    body: bytes,
    *headers: tuple[bytes, bytes],
    method: str = "QUERY",
    path: bytes = b"/t",
    query: bytes = b"",
    media_type: bytes = FORM,
) -> ApiRequest:
    given = ((b"content-type", media_type), *headers)
    return read_api_request(HttpRequest(method, path, query, given, body), RULES)


@pytest.mark.parametrize(
    "method, media_type",
    [
        ("QUERY", FORM),
        ("QUERY", OURS),
        ("QUERY", b"Application/X-WWW-Form-URLencoded; charset=utf-8"),
        ("POST", OURS),
    ],
)
def test_the_body_is_the_query_string(method: str, media_type: bytes) -> None:
    found = read(b"select=a&b=eq.1%2C2", method=method, media_type=media_type)
    assert found.query == parse_query(b"select=a&b=eq.1%2C2", is_call_read=False)
    assert (found.action.kind, found.method, found.payload) == ("read", "QUERY", None)


def test_the_urls_query_string_comes_first() -> None:
    found = read(b"b=eq.2&select=c", query=b"select=a&b=eq.1")
    expected = parse_query(b"select=a&b=eq.1&b=eq.2&select=c", is_call_read=False)
    assert found.query == expected
    assert read(b"", query=b"a=eq.1", media_type=b"").query.canonical == "a=eq.1"


def test_functions_are_called_for_reading() -> None:
    found = read(b"a=1&b=eq.2", path=b"/rpc/f")
    assert found.action.kind == "call_read"
    assert found.query.arguments == (("a", "1"),)


def test_it_takes_the_headers_of_a_get() -> None:
    found = read(b"", (b"accept-profile", b"api"), (b"range", b"5-9"))
    assert (found.schema, found.range) == ("api", Range(5, 5))


@pytest.mark.parametrize("media_type", [FORM, b"application/json", b""])
def test_other_posts_stay_what_they_are(media_type: bytes) -> None:
    body = b'{"a": 1}' if media_type != FORM else b"a=1"
    given = ((b"content-type", media_type),) if media_type else ()
    found = read_api_request(HttpRequest("POST", b"/t", b"", given, body), RULES)
    assert (found.action.kind, found.method) == ("create", "POST")


@pytest.mark.parametrize(
    "body, media_type, code",
    [
        (b'{"a": 1}', b"application/json", "EDGE415"),
        (b"a=eq.1", b"", "EDGE415"),
        (b"a=in.(" + b"1," * (MAX_QUERY // 2) + b"1)", FORM, "EDGE413"),
        (b"&".join([b"a=eq.1"] * (MAX_PARAMETERS + 1)), FORM, "EDGE413"),
        (b";".join([b"a=eq.1"] * (MAX_PARAMETERS + 1)), FORM, "EDGE413"),
        (b"or=(" + b",".join([b"a.eq.1"] * 30_000) + b")", FORM, "PGRST100"),
    ],
)
def test_what_is_refused(body: bytes, media_type: bytes, code: str) -> None:
    with pytest.raises(ApiError) as raised:
        read(body, media_type=media_type)
    assert raised.value.code == code


def test_as_long_as_it_may_be() -> None:
    values = ",".join(f"{number:036}" for number in range(6_000))
    (path, found), *others = read(f"id=in.({values})".encode()).query.filters
    assert (path, others, len(found.operation.value)) == ((), [], 6_000)
    pairs = b"&".join([b"a=eq.1"] * MAX_PARAMETERS)
    assert len(read(pairs).query.filters) == MAX_PARAMETERS


def test_there_is_no_query_of_the_root() -> None:
    with pytest.raises(ApiError) as raised:
        read(b"", path=b"/")
    assert raised.value.code == "PGRST117"


def test_browsers_are_told_of_it_when_they_ask() -> None:
    def allowed(method: bytes) -> bytes:
        headers = ((b"origin", b"https://a"), (b"access-control-request-method", method))
        answer = preflight(CorsPolicy(), "OPTIONS", headers)
        assert answer is not None
        return dict(answer.headers)[b"access-control-allow-methods"]

    assert allowed(b"QUERY").endswith(b", QUERY")
    assert b"QUERY" not in allowed(b"GET")
