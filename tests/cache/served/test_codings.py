"""Compressed answers: a tag for each coding, and the same content in all of them."""

from __future__ import annotations

import httpx
import pytest

from tests.cache.served.test_serving import fresh, status_of

CODINGS = ("gzip", "br", "zstd")


@pytest.mark.parametrize("target", ["/products?limit=200", "/products?select=*&limit=3000"])
def test_every_coding_has_the_same_content_and_a_tag_of_its_own(
    anon: httpx.Client, target: str
) -> None:
    target = fresh(target)
    plain = anon.get(target)
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    tags = {plain.headers["etag"]}
    for _ in range(2):
        for coding in CODINGS:
            response = anon.get(target, headers={"accept-encoding": coding})
            assert "; hit" in status_of(response)
            assert response.headers["content-encoding"] == coding
            assert response.content == plain.content
            assert "Accept-Encoding" in response.headers["vary"]
            tags.add(response.headers["etag"])
    assert len(tags) == 1 + len(CODINGS)


@pytest.mark.parametrize("coding", [*CODINGS, "identity"])
def test_head_and_304_are_those_of_the_coding(anon: httpx.Client, coding: str) -> None:
    accepting = {"accept-encoding": coding}
    target = fresh("/products?limit=200")
    get = anon.get(target, headers=accepting)
    head = anon.head(target, headers=accepting)
    assert head.headers["etag"] == get.headers["etag"]
    assert head.headers.get("content-encoding") == get.headers.get("content-encoding")
    asked = accepting | {"if-none-match": get.headers["etag"]}
    unchanged = anon.get(target, headers=asked)
    assert unchanged.status_code == 304
    assert unchanged.headers["etag"] == get.headers["etag"]
    assert not unchanged.content
    # The tag of one coding is not that of another (RFC 9110, section 8.8.3.3).
    other = "br" if coding != "br" else "gzip"
    assert anon.get(target, headers=asked | {"accept-encoding": other}).status_code == 200


def test_what_a_304_repeats(anon: httpx.Client) -> None:
    """RFC 9110, section 15.4.5."""
    target = fresh("/products?limit=1")
    full = anon.get(target)
    unchanged = anon.get(target, headers={"if-none-match": full.headers["etag"]})
    assert unchanged.status_code == 304
    for name in ("etag", "cache-control", "content-location", "vary", "cdn-cache-control"):
        assert unchanged.headers[name] == full.headers[name]
    assert "date" in unchanged.headers
    assert "content-type" not in unchanged.headers
    assert "content-range" not in unchanged.headers


def test_small_answers_are_left_alone(anon: httpx.Client) -> None:
    response = anon.get("/drafts", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in response.headers
    assert "Accept-Encoding" not in response.headers["vary"]


def test_what_a_write_returns_is_compressed_too(ada: httpx.Client) -> None:
    headers = {"accept-encoding": "gzip", "prefer": "return=representation"}
    rows = ada.patch("/products?id=gt.100&id=lt.301", json={"price": 3}, headers=headers)
    assert rows.headers["content-encoding"] == "gzip"
    assert len(rows.json()) == 200
    assert "etag" not in rows.headers


@pytest.mark.parametrize(
    "asked, status, cache_status",
    [
        ("only-if-cached", 504, "fwd=miss"),
        ("no-store", 200, "fwd=miss; detail=no-store"),
    ],
)
def test_what_a_request_asks_of_the_cache(
    anon: httpx.Client, asked: str, status: int, cache_status: str
) -> None:
    target = fresh("/products?limit=1")
    response = anon.get(target, headers={"cache-control": asked})
    assert response.status_code == status
    assert status_of(response) == f"edgerest; {cache_status}"
    assert "fwd=miss; stored" in status_of(anon.get(target))
    again = anon.get(target, headers={"cache-control": "no-cache"})
    assert "fwd=request; stored" in status_of(again)
    hit = anon.get(target, headers={"cache-control": "only-if-cached"})
    assert "; hit" in status_of(hit)
