"""Many requests down one connection, and many connections: nothing adds up, nothing wears out."""

from __future__ import annotations

import gc
import shutil

import pytest

from proxy.asgi import Receive, Scope, Send
from tests.engines.model import DATA, PREFACE, RST_STREAM, SETTINGS, frame, head, request
from tests.engines.test_connection import connected, frames, turns
from tests.faults.many_callers import crowd

_MANY = 20_000
_AT_ONCE = 50


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"2"), (b"x-path", scope["raw_path"])],
        }
    )
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_twenty_thousand_requests_down_one_connection(version: str) -> None:
    connection, wire = connected(_app)
    if version == "2":
        connection.data_received(PREFACE + frame(SETTINGS, 0, 0))
    objects = 0
    for begin in range(0, _MANY, _AT_ONCE):
        numbers = range(begin, begin + _AT_ONCE)
        # Each differs from those before, so that nothing is known already.
        if version == "2":
            asked = (request(2 * n + 1, head(path=b"/%d" % n)) for n in numbers)
        else:
            asked = (b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in numbers)
        connection.data_received(b"".join(asked))
        await turns(3 if version == "2" else 2 * _AT_ONCE)
        said = bytes(wire.written)
        wire.written.clear()
        if version == "2":
            ended = {n for kind, n, _ in frames(said) if kind == DATA}
            assert ended == {2 * n + 1 for n in numbers}
            assert RST_STREAM not in [kind for kind, _, _ in frames(said)]
        else:
            answers = said.split(b"HTTP/1.1 200 OK\r\n")[1:]
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
    found = crowd(requests=1000, connections=50, streams=20, pool=4)
    assert found.well, found
