"""What the response itself tells: Server-Timing and the trace header."""

from __future__ import annotations

import re

import httpx

from tests.observability.conftest import Serve

TIMING = re.compile(
    r"jwt;dur=\d+\.\d, parse;dur=\d+\.\d, plan;dur=\d+\.\d,"
    r" transaction;dur=(\d+\.\d), response;dur=\d+\.\d"
)


def test_timings_and_the_trace_header(serve: Serve) -> None:
    with (
        serve(server_timing_enabled=True, server_trace_header="X-Request-Id") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        waited = client.post(
            "/rpc/wait", json={"seconds": 0.05}, headers={"x-request-id": "a b"}
        )
        refused = client.get("/nothing")
        info = client.options("/items", headers={"X-REQUEST-ID": "o"})
    assert waited.headers["x-request-id"] == "a b"
    timing = TIMING.fullmatch(waited.headers["server-timing"])
    assert timing is not None
    assert 50 <= float(timing[1]) < 5000
    assert refused.headers["x-request-id"] == ""
    assert "server-timing" not in refused.headers
    assert info.headers["x-request-id"] == "o"
    assert info.headers["server-timing"].startswith("jwt;dur=")
