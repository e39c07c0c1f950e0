"""HTTP/1.1 status lines carry a reason phrase: the status's own or the one SQL chose."""

from __future__ import annotations

import http.client

import pytest

from tests.http.processes import ServerProcess


@pytest.mark.parametrize(
    "path, status, reason",
    [
        ("/customers?limit=1", 200, "OK"),
        ("/nothing", 404, "Not Found"),
        ("/rpc/teapot", 418, "I am a teapot"),
    ],
)
def test_reason_phrase(edge: ServerProcess, path: str, status: int, reason: str) -> None:
    connection = http.client.HTTPConnection(edge.url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST" if "rpc" in path else "GET", path)
        response = connection.getresponse()
        response.read()
        assert (response.status, response.reason) == (status, reason)
    finally:
        connection.close()
