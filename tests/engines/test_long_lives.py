"""Many requests down one connection, and many connections: nothing adds up or wears out."""

from __future__ import annotations

import gc
import shutil

import pytest

from proxy.http.asgi import Receive, Scope, Send
from tests.engines.test_connection import connected, turns
from tests.faults.many_callers import crowd

_MANY = 20_000
_AT_ONCE = 50


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2"), (b"x-path", scope["raw_path"])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_twenty_thousand_requests_down_one_http1_connection() -> None:
    """Over HTTP/2, and with sockets, tests/http/test_protocols.py does it."""
    connection, wire = connected(_app)
    objects = 0
    for begin in range(0, _MANY, _AT_ONCE):
        numbers = range(begin, begin + _AT_ONCE)
        # Each differs from those before, so that nothing is known already.
        asked = (b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in numbers)
        connection.data_received(b"".join(asked))
        await turns(2 * _AT_ONCE)
        answers = bytes(wire.written).split(b"HTTP/1.1 200 OK\r\n")[1:]
        wire.written.clear()
        for number, answer in zip(numbers, answers, strict=True):
            assert b"x-path: /%d\r\n" % number in answer
        if begin == _MANY // 10:
            gc.collect()
            objects = len(gc.get_objects())
    gc.collect()
    assert len(gc.get_objects()) < objects + 1000
    assert not wire.ended
    assert not wire.closing
    wire.lose()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_of_a_crowd_are_answered() -> None:
    """10,000 on 500 connections is `python -m tests.faults.many_callers`."""
    if shutil.which("h2load") is None:
        pytest.skip("h2load (of nghttp2) is not installed")
    found = crowd(requests=400, connections=20, streams=20, pool=4)
    assert found.well, found
