"""Status and headers that SQL chooses."""

from __future__ import annotations

import pytest

from proxy.errors import ApiError
from proxy.response.gucs import guc_headers, guc_status


def test_headers_that_sql_chose() -> None:
    text = '[{"Set-Cookie": "a=b"}, {"Set-Cookie": " c=d "}, {"X-É": "x"}]'
    with pytest.raises(ApiError):
        guc_headers(text)
    assert guc_headers('[{"Set-Cookie": "a=b"}, {"Set-Cookie": " ü "}]') == (
        (b"set-cookie", b"a=b"),
        (b"set-cookie", "ü".encode()),
    )
    assert guc_headers(None) == guc_headers("[]") == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{}",
        "[1]",
        '[{"A": 1}]',
        '[{"A": "x", "B": "y"}]',
        '[{"A": "x\\r\\nB: y"}]',
        '[{"A\\r\\nB": "y"}]',
        '[{"A": "\\u0000"}]',
        '[{"": "x"}]',
        '[{":status": "200"}]',
        '[{"Content-Length": "1"}]',
        '[{"Transfer-Encoding": "chunked"}]',
        "[" * 100_000,
    ],
)
def test_headers_that_are_none(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        guc_headers(text)
    assert (caught.value.code, caught.value.status) == ("PGRST111", 500)


def test_a_status_that_sql_chose() -> None:
    assert [guc_status(text) for text in (None, "200", "304", "999")] == [None, 200, 304, 999]


@pytest.mark.parametrize("text", ["", "x", "99", "199", "1000", "-1", "9" * 5000])
def test_a_status_that_is_none(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        guc_status(text)
    assert caught.value.code == "PGRST112"
