"""A kept answer is refused to whom the database's would be: for what a header says.

For each header that requests are read by, what makes sense and what doesn't: whether the
answer is kept makes no difference to its status.
"""

from __future__ import annotations

import httpx
import pytest

from proxy.request.request_headers import SELECTING, SHAPING
from tests.cache.served.test_serving import status_of

ODD = ("", "x", "-1", "nonsense=1", "*/*;q=9", "1e5", "0-0", "9-1", "\u00e9", "a" * 500)
NAMES = sorted(
    {name.decode() for name in (*SHAPING, *SELECTING)}
    | {
        *("accept-encoding", "authorization", "cookie", "if-match", "if-modified-since"),
        *("if-none-match", "if-unmodified-since", "if-range", "range-unit"),
        *("x-consistency-token", "x-request-timeout"),
    }
)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_is_refused_as_what_is_not(
    anon: httpx.Client, method: str, name: str
) -> None:
    target = "/products?limit=3&order=id"
    for value in ODD:
        headers = [(name.encode(), value.encode())]
        asked = anon.request(
            method, target, headers=[*headers, (b"cache-control", b"no-cache")]
        )
        for _ in range(3):
            kept = anon.request(method, target, headers=headers)
            assert kept.status_code == asked.status_code, value
            assert kept.content == asked.content


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_timeout_that_makes_no_sense_is_400_on_a_hit_and_a_304(
    anon: httpx.Client, method: str
) -> None:
    anon.get("/products?limit=4")
    hit = anon.request(method, "/products?limit=4")
    assert status_of(hit).startswith("edgerest; hit")
    for more in ({}, {"If-None-Match": hit.headers["etag"]}):
        for wish in ("soon", "-1", "", "1e3"):
            for _ in range(2):
                got = anon.request(
                    method, "/products?limit=4", headers={"X-Request-Timeout": wish, **more}
                )
                assert got.status_code == 400
                assert got.headers["cache-control"] == "no-store"
