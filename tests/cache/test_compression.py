"""Content codings: which is chosen (RFC 9110, section 12.5.3), and that nothing is lost."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.compression import AVAILABLE, encode, negotiate
from proxy.cache.representation import compressed
from proxy.response.model import Response

brotli: Any = import_module("brotli")
_READERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body),
}


@pytest.mark.parametrize(
    "accepted, expected",
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, br", "br"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("br;q=0, gzip;q=0.1", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, gzip;q=0.9", "gzip"),
        ("zstd;q=0, *", "br"),
        ("deflate", None),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity;q=0.9", None),
        ("gzip;q=0.5, identity;q=0.1", "gzip"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("gzip ; q=0.2 , br ; q=0.1", "gzip"),
    ],
)
def test_the_coding_that_is_chosen(accepted: str | None, expected: str | None) -> None:
    assert negotiate(None if accepted is None else accepted.encode()) == expected


@given(st.binary(max_size=40))
def test_no_header_is_too_strange(value: bytes) -> None:
    assert negotiate(value) in (None, *AVAILABLE)


@pytest.mark.parametrize("coding", AVAILABLE)
@given(body=st.binary(max_size=3000))
def test_a_coding_gives_back_what_it_was_given(coding: str, body: bytes) -> None:
    assert _READERS[coding](encode(body, coding)) == body
    assert encode(body, coding) == encode(body, coding)


@pytest.mark.parametrize(
    "content_type, size, expected",
    [
        ("application/json; charset=utf-8", 1024, True),
        ("application/json", 1023, False),
        ("application/vnd.pgrst.object+json", 2000, True),
        ("application/geo+json; charset=utf-8", 2000, True),
        ("application/openapi+json", 2000, True),
        ("text/csv", 2000, True),
        ("text/xml", 2000, True),
        ("image/png", 200_000, False),
        ("application/octet-stream", 2000, False),
    ],
)
async def test_what_is_worth_coding(content_type: str, size: int, expected: bool) -> None:
    headers = ((b"content-type", content_type.encode()),)
    response = Response(200, headers, b"x" * size)
    takes = {b"accept-encoding": b"gzip"}
    coded = (b"content-encoding", b"gzip")
    assert (coded in (await compressed(response, takes, 1024)).headers) is expected
    assert await compressed(response, takes, 0) == response
    before = Response(200, (*headers, (b"Content-Encoding", b"br")), response.body)
    assert await compressed(before, takes, 1024) == before
