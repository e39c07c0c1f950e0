"""What wears out a server's patience, and what a proxy with many callers may do."""

from __future__ import annotations

import struct

import pytest

from proxy.http.asgi import AsgiApp, Receive, Scope, Send
from tests.engines.model import (
    GOAWAY,
    GREETING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    head,
    request,
)
from tests.engines.test_connection import connected, frames, turns

_LARGE_FRAMES = frame(SETTINGS, 0, 0, struct.pack("!HI", 5, 2**20))
_WINDOWS = frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 2**22)) + frame(
    WINDOW_UPDATE, 0, 0, struct.pack("!I", 2**30)
)
"""Go's, of a stream and of a connection."""
_LONG = 40 * 2**20


def _app_of(size: int) -> AsgiApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * size})

    return app


def _taken(stream: int, size: int) -> bytes:
    """What Go says of so many bytes it has read, in 4 KiB at the least (inflowMinRefresh)."""
    more = struct.pack("!I", size)
    return frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, stream, more)


def _goes_away(said: bytes) -> bool:
    return GOAWAY in [kind for kind, _, _ in frames(said)]


@pytest.mark.parametrize("settings", [b"", _LARGE_FRAMES], ids=["16 KiB", "1 MiB"])
async def test_who_takes_a_long_answer_in_small_bits_is_no_flood(settings: bytes) -> None:
    connection, wire = connected(_app_of(_LONG))
    connection.data_received(GREETING + _WINDOWS + settings + request(1, head()))
    for _ in range(_LONG // 4096):
        await turns(2)
        assert not _goes_away(bytes(wire.written))
        wire.written.clear()
        connection.data_received(_taken(1, 4096))
    wire.lose()


@pytest.mark.parametrize("settings", [b"", _LARGE_FRAMES], ids=["16 KiB", "1 MiB"])
async def test_who_takes_many_answers_in_small_bits_is_no_flood(settings: bytes) -> None:
    size = 60_000
    connection, wire = connected(_app_of(size))
    connection.data_received(GREETING + _WINDOWS + settings)
    for stream in range(1, 2001, 2):
        connection.data_received(request(stream, head()))
        await turns(5)
        said = bytes(wire.written)
        assert not _goes_away(said)
        assert any(number == stream for _, number, _ in frames(said))
        wire.written.clear()
        connection.data_received(_taken(stream, 4096) * (size // 4096))
    wire.lose()


async def test_who_makes_the_server_send_single_bytes_is_a_flood() -> None:
    """CVE-2019-9511."""
    connection, wire = connected(_app_of(_LONG))
    connection.data_received(
        GREETING + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1") + request(1, head())
    )
    for _ in range(5000):
        await turns(2)
        connection.data_received(_taken(1, 1))
    await turns()
    assert _goes_away(bytes(wire.written))
    wire.lose()


async def test_who_gives_up_what_is_answered_already_is_no_flood() -> None:
    connection, wire = connected(_app_of(0))
    connection.data_received(GREETING)
    sent = [frame(RST_STREAM, 0, n, struct.pack("!I", 8)) for n in range(1, 3001, 2)]
    for number, reset in enumerate(sent):
        connection.data_received(request(2 * number + 1, head()))
        await turns(5)
        connection.data_received(reset * 2)
    assert not _goes_away(bytes(wire.written))
    wire.lose()
