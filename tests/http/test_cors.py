"""CORS decisions, from headers alone."""

from __future__ import annotations

import pytest

from proxy.http.cors import CorsPolicy, preflight, response_headers

ANY = CorsPolicy()
LISTED = CorsPolicy((b"https://a.example", b"https://b.example"))
ORIGIN = (b"origin", b"https://a.example")
STRANGER = (b"origin", b"https://c.example")
ASKS_PATCH = (b"access-control-request-method", b"PATCH")


def asks(*names: bytes) -> tuple[bytes, bytes]:
    return (b"access-control-request-headers", b", ".join(names))


def test_a_preflight_is_answered_for_any_origin() -> None:
    response = preflight(ANY, "OPTIONS", (ORIGIN, ASKS_PATCH, asks(b"apikey", b"Prefer")))
    assert response is not None
    assert (response.status, response.body) == (200, b"")
    assert response.headers == (
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD"),
        (
            b"access-control-allow-headers",
            b"Authorization, apikey, Prefer, Accept, Accept-Language, Content-Language",
        ),
        (b"access-control-max-age", b"86400"),
        (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
    )


def test_a_listed_origin_gets_credentials() -> None:
    response = preflight(LISTED, "OPTIONS", (ORIGIN, ASKS_PATCH))
    assert response is not None
    assert response.headers[-2:] == (VARY_OF_PREFLIGHT, VARY)
    assert dict(response.headers) == {
        b"access-control-allow-origin": b"https://a.example",
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD",
        b"access-control-max-age": b"86400",
        b"vary": b"Origin",
    }


@pytest.mark.parametrize(
    "policy, method, headers",
    [
        (ANY, "OPTIONS", ()),
        (ANY, "OPTIONS", (ORIGIN,)),
        (ANY, "OPTIONS", (ASKS_PATCH,)),
        (ANY, "GET", (ORIGIN, ASKS_PATCH)),
        (ANY, "OPTIONS", (ORIGIN, (b"access-control-request-method", b"BREW"))),
        (ANY, "OPTIONS", (ORIGIN, (b"access-control-request-method", b"patch"))),
        (ANY, "OPTIONS", (ORIGIN, ASKS_PATCH, asks(b"x y"))),
        (LISTED, "OPTIONS", (STRANGER, ASKS_PATCH)),
        (LISTED, "OPTIONS", ((b"origin", b"https://A.example"), ASKS_PATCH)),
    ],
)
def test_what_is_no_valid_preflight_goes_to_the_application(
    policy: CorsPolicy, method: str, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert preflight(policy, method, headers) is None


def test_names_that_are_always_allowed_are_not_repeated() -> None:
    headers = (ORIGIN, ASKS_PATCH, asks(b"accept", b"content-type", b"authorization"))
    response = preflight(ANY, "OPTIONS", headers)
    assert response is not None
    assert dict(response.headers)[b"access-control-allow-headers"] == (
        b"Authorization, accept, content-type, authorization, Accept-Language, Content-Language"
    )


def test_an_empty_list_of_names_is_granted() -> None:
    headers = (ORIGIN, ASKS_PATCH, (b"access-control-request-headers", b""))
    response = preflight(ANY, "OPTIONS", headers)
    assert response is not None
    assert dict(response.headers)[b"access-control-allow-headers"] == (
        b"Authorization, Accept, Accept-Language, Content-Language"
    )


POSTGRESTS = (
    b"access-control-expose-headers",
    b"Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location,"
    b" Server, Transfer-Encoding, Range-Unit",
)
OURS = (
    b"access-control-expose-headers",
    b"Age, Allow, Cache-Status, Content-Profile, ETag, Preference-Applied, Proxy-Status,"
    b" RateLimit, RateLimit-Policy, Retry-After, Server-Timing, WWW-Authenticate, Warning",
)
TO_ALL = ((b"access-control-allow-origin", b"*"), POSTGRESTS, OURS)
VARY = (b"vary", b"Origin")
VARY_OF_PREFLIGHT = (
    b"vary",
    b"Access-Control-Request-Method, Access-Control-Request-Headers",
)


@pytest.mark.parametrize(
    "policy, method, headers, added",
    [
        # A cache would hand what says nothing to pages of other origins, too.
        (ANY, "GET", (), TO_ALL),
        (ANY, "GET", (ORIGIN,), TO_ALL),
        (ANY, "OPTIONS", (ORIGIN,), TO_ALL),
        (LISTED, "GET", (), (VARY,)),
        (LISTED, "GET", (STRANGER,), (VARY,)),
        (LISTED, "OPTIONS", (ORIGIN,), (VARY,)),
        (
            LISTED,
            "POST",
            (ORIGIN,),
            (
                (b"access-control-allow-origin", b"https://a.example"),
                (b"access-control-allow-credentials", b"true"),
                POSTGRESTS,
                OURS,
                VARY,
            ),
        ),
    ],
)
def test_what_is_added_to_a_response(
    policy: CorsPolicy,
    method: str,
    headers: tuple[tuple[bytes, bytes], ...],
    added: tuple[tuple[bytes, bytes], ...],
) -> None:
    assert response_headers(policy, method, headers) == added


def test_further_headers_may_be_exposed() -> None:
    policy = CorsPolicy(exposed=(b"x-one", b"x-two"))
    shown = response_headers(policy, "GET", (ORIGIN,))
    assert shown == (*TO_ALL[:2], (OURS[0], OURS[1] + b", x-one, x-two"))
