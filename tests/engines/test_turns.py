"""Streams that wait for room: each gets its turn, whatever becomes of the others."""

from __future__ import annotations

import struct
import tracemalloc

from proxy.engines.model import EngineOptions
from proxy.http.asgi import Receive, Scope, Send
from tests.engines.model import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    GREETING,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    head,
    request,
)
from tests.engines.test_connection import connected, frames, turns

_WIDE = frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff")
_POST = block(head(method=b"POST"))
_CANCEL = struct.pack("!I", 8)


async def _large(scope: Scope, receive: Receive, send: Send) -> None:
    """70,000 bytes: more than the window of a connection at first."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 70_000})


async def _refusing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _more(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", size))


def _reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _CANCEL)


async def test_a_stream_that_is_reset_when_its_turn_comes_passes_it_on() -> None:
    connection, wire = connected(_large)
    connection.data_received(GREETING + _WIDE + b"".join(request(n, head()) for n in (1, 3, 5)))
    await turns()
    # Room for all of them, in the same moment in which the first one's caller gives up.
    connection.data_received(_more(0, 10**6) + _reset(1))
    await turns()
    ended = [n for kind, n, _ in frames(bytes(wire.written)) if kind == DATA]
    assert {3, 5} <= set(ended)
    assert connection.protocol is not None
    assert connection.protocol.idle
    wire.lose()


async def test_of_streams_that_are_over_none_waits_for_room() -> None:
    connection, wire = connected(_large)
    connection.data_received(GREETING + _WIDE + request(1, head()))
    await turns()
    for number in range(3, 203, 2):
        connection.data_received(request(number, head()))
        await turns(5)
        connection.data_received(_more(number, 1) + _reset(number))
        await turns(5)
    assert len(connection.blocked) == 1
    for _ in range(20):
        connection.data_received(_more(1, 1))
        await turns(5)
    assert len(connection.blocked) == 1
    wire.lose()


async def test_the_end_of_a_response_needs_no_window() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"four", "more_body": True})
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.body", "body": b""})

    connection, wire = connected(app)
    connection.data_received(GREETING + frame(HEADERS, END_HEADERS, 1, _POST))
    await turns()
    # The window is -4 now (RFC 9113, 6.9.2).
    connection.data_received(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0") + frame(DATA, 0, 1, b"a"))
    connection.data_received(frame(DATA, END_STREAM, 1, b"b"))
    await turns()
    assert (DATA, 1, b"") in frames(bytes(wire.written))
    wire.lose()


async def test_what_was_on_its_way_to_a_refused_upload_is_no_fault() -> None:
    connection, wire = connected(_refusing, EngineOptions(max_streams=1000))
    connection.data_received(GREETING)
    for number in range(1, 11, 2):
        connection.data_received(frame(HEADERS, END_HEADERS, number, _POST))
        await turns(5)
        for _ in range(1000):
            connection.data_received(frame(DATA, 0, number, b"x" * 100))
        connection.data_received(frame(HEADERS, END_HEADERS | END_STREAM, number, b""))
    await turns()
    kinds = [kind for kind, _, _ in frames(bytes(wire.written))]
    assert GOAWAY not in kinds
    assert kinds.count(RST_STREAM) == 5
    wire.lose()


async def test_empty_frames_for_a_refused_upload_are_a_flood() -> None:
    connection, wire = connected(_refusing)
    connection.data_received(GREETING + frame(HEADERS, END_HEADERS, 1, _POST))
    await turns()
    for _ in range(5000):
        connection.data_received(frame(DATA, 0, 1, b""))
    await turns()
    assert frames(bytes(wire.written))[-1][0] == GOAWAY
    wire.lose()


async def test_many_settings_in_a_frame_end_the_connection() -> None:
    connection, wire = connected(_refusing)
    connection.data_received(GREETING + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0" * 33))
    await turns()
    kind, _, payload = frames(bytes(wire.written))[-1]
    assert (kind, payload[4:8]) == (GOAWAY, struct.pack("!I", 0xB))
    wire.lose()


async def test_no_goaway_names_a_later_stream_than_the_one_before() -> None:
    connection, wire = connected(_large, EngineOptions(farewell=0.0))
    connection.data_received(GREETING + request(1, head()))
    await turns()
    connection.drain()
    await turns(50)
    # Refused, as the last GOAWAY is out.
    connection.data_received(_more(0, 10**6) + _more(1, 10**6) + request(3, head()))
    await turns()
    said = frames(bytes(wire.written))
    named = [int.from_bytes(payload[:4], "big") for kind, _, payload in said if kind == GOAWAY]
    assert named[0] == 2**31 - 1
    assert set(named[1:]) == {1}
    assert len(named) == 3
    wire.lose()


async def test_what_is_left_of_a_long_body_is_not_copied_for_each_frame() -> None:
    length, step = 32 * 2**20, 16_384

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * length})

    connection, wire = connected(app)
    connection.data_received(GREETING + request(1, head()))
    await turns()
    peak = 0
    tracemalloc.start()
    for _ in range(8):
        before, _most = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        connection.data_received(_more(0, step) + _more(1, step))
        await turns()
        peak = max(peak, tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    assert peak < length // 4
    wire.lose()
