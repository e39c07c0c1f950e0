"""What a connection holds, when it gives room back, and how long it waits."""

from __future__ import annotations

import asyncio
import struct

import pytest

from proxy.engines.connection import connection as module
from proxy.engines.connection.connection import Connection, Connections
from proxy.engines.connection.http1 import AHEAD, UNTAKEN
from proxy.engines.connection.http2 import CONNECTION_WINDOW
from proxy.engines.connection.stream import WINDOW
from proxy.engines.model import EngineOptions
from proxy.http.asgi import AsgiApp, Message, Receive, Scope, Send
from tests.engines.fuzz import Wire
from tests.engines.model import (
    DATA,
    END_HEADERS,
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
from tests.waiting import until

_FRAME = 16_384
_POST = frame(HEADERS, END_HEADERS, 1, block(head(method=b"POST")))
_GET1 = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def connected(app: AsgiApp, options: EngineOptions | None = None) -> tuple[Connection, Wire]:
    connections = Connections(app, options or EngineOptions())
    connection = Connection(connections)
    wire = Wire(asyncio.get_running_loop(), connection)
    connection.connection_made(wire)
    return connection, wire


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def frames(said: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, stream and payload of each frame."""
    found, at = [], 0
    while at < len(said):
        length, kind = int.from_bytes(said[at : at + 3], "big"), said[at + 3]
        stream = int.from_bytes(said[at + 5 : at + 9], "big")
        found.append((kind, stream, said[at + 9 : at + 9 + length]))
        at += 9 + length
    return found


def is_reading(wire: Wire) -> bool:
    return wire.reading


def is_closing(wire: Wire) -> bool:
    return wire.closing


def updates(wire: Wire, stream: int) -> int:
    """Bytes that the client was given more room for on a stream, from its greeting on."""
    return sum(
        int.from_bytes(payload, "big")
        for kind, number, payload in frames(bytes(wire.written))
        if (kind, number) == (WINDOW_UPDATE, stream)
    )


class Slow:
    """Reads and answers when told to."""

    def __init__(self) -> None:
        self.read = asyncio.Event()
        self.got = 0
        self.last: Message | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.read.wait()
        while True:
            self.last = await receive()
            if self.last["type"] != "http.request":
                return
            self.got += len(self.last["body"])
            if not self.last["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def test_room_on_a_stream_comes_back_only_as_the_application_reads() -> None:
    app = Slow()
    connection, wire = connected(app)
    connection.data_received(GREETING + _POST)
    for _ in range(WINDOW // _FRAME):
        connection.data_received(frame(DATA, 0, 1, b"x" * _FRAME))
    await turns()
    assert updates(wire, 1) == 0
    greeted = updates(wire, 0)
    app.read.set()
    await turns()
    assert app.got == WINDOW
    assert updates(wire, 1) == WINDOW
    assert updates(wire, 0) == greeted + WINDOW
    wire.lose()


async def test_who_sends_more_than_the_window_loses_the_stream_alone() -> None:
    connection, wire = connected(Slow())
    connection.data_received(GREETING + _POST)
    for _ in range(WINDOW // _FRAME + 1):
        connection.data_received(frame(DATA, 0, 1, b"x" * _FRAME))
    await turns()
    said = frames(bytes(wire.written))
    assert (RST_STREAM, 1, struct.pack("!I", 3)) in said
    assert not wire.closing
    # What was held for it is room for others again.
    assert updates(wire, 0) >= CONNECTION_WINDOW - 65_535 + WINDOW
    wire.lose()


async def test_one_body_that_nobody_reads_does_not_stall_another() -> None:
    app = Slow()
    connection, wire = connected(app)
    connection.data_received(GREETING + _POST)
    for _ in range(WINDOW // _FRAME):
        connection.data_received(frame(DATA, 0, 1, b"x" * _FRAME))
    room = CONNECTION_WINDOW - WINDOW
    assert room >= WINDOW
    connection.data_received(frame(HEADERS, END_HEADERS, 3, block(head(method=b"POST"))))
    for _ in range(room // _FRAME):
        connection.data_received(frame(DATA, 0, 3, b"x" * _FRAME))
    await turns()
    assert GOAWAY not in [kind for kind, _, _ in frames(bytes(wire.written))]
    wire.lose()


async def test_reading_stops_while_an_http1_body_is_not_taken() -> None:
    app = Slow()
    connection, wire = connected(app)
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n")
    sent = 0
    while wire.reading:
        connection.data_received(b"x" * _FRAME)
        sent += _FRAME
    assert sent <= UNTAKEN + 2 * _FRAME
    app.read.set()
    await turns()
    assert app.got == sent
    assert is_reading(wire)
    wire.lose()
    await turns()
    assert app.last == {"type": "http.disconnect"}


async def test_reading_stops_while_many_requests_wait() -> None:
    app = Slow()
    connection, wire = connected(app)
    sent = 0
    while wire.reading:
        connection.data_received(_GET1 * 100)
        sent += 100
    assert sent * len(_GET1) <= AHEAD + 2 * 100 * len(_GET1)
    app.read.set()
    await turns(20 * sent)
    assert wire.written.count(b"HTTP/1.1 200 OK") == sent
    assert is_reading(wire)
    wire.lose()


def _stream_of(pieces: list[int]) -> AsgiApp:
    """Sends a megabyte in pieces; `pieces` has a number for each that was taken."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(64):
            await send({"type": "http.response.body", "body": b"x" * _FRAME, "more_body": True})
            pieces.append(number)
        await send({"type": "http.response.body", "body": b""})

    return app


async def test_the_window_of_the_client_holds_back_the_application() -> None:
    pieces: list[int] = []
    connection, wire = connected(_stream_of(pieces))
    connection.data_received(GREETING + request(1, head()))
    await turns()
    # 65,535 bytes are the protocol's default.
    assert len(pieces) == 3
    more = struct.pack("!I", 2 * _FRAME)
    connection.data_received(
        frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, 1, more)
    )
    await turns()
    assert len(pieces) == 5
    wire.lose()


async def test_waiting_streams_take_turns() -> None:
    connection, wire = connected(_stream_of([]))
    wide = frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff")
    connection.data_received(GREETING + wide + request(1, head()) + request(3, head()))
    await turns()
    wire.written.clear()
    for _ in range(6):
        connection.data_received(frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", _FRAME)))
        await turns()
    sent = {1: 0, 3: 0}
    for kind, stream, payload in frames(bytes(wire.written)):
        if kind == DATA:
            sent[stream] += len(payload)
    assert sum(sent.values()) == 6 * _FRAME
    assert abs(sent[1] - sent[3]) <= 2 * _FRAME
    wire.lose()


@pytest.mark.parametrize("sent", [_GET1, GREETING + request(1, head())], ids=["1.1", "2"])
async def test_a_full_transport_holds_back_the_application(sent: bytes) -> None:
    pieces: list[int] = []
    connection, wire = connected(_stream_of(pieces))
    connection.data_received(sent)
    connection.pause_writing()
    await turns()
    assert pieces == []
    # What is read may have to be answered.
    assert not wire.reading
    connection.resume_writing()
    await turns(200)
    assert len(pieces) >= 3
    assert is_reading(wire)
    wire.lose()


async def test_a_connection_is_closed_that_takes_nothing() -> None:
    connection, wire = connected(_stream_of([]), EngineOptions(idle_timeout=0.05))
    connection.data_received(_GET1)
    connection.pause_writing()
    await until(lambda: wire.lost)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", _GET1[:-2], b"PRI * HTTP/2.0\r\n", GREETING, GREETING + _POST[:20]],
    ids=[
        "nothing",
        "half a line",
        "half a head",
        "half a preface",
        "a preface",
        "half a frame",
    ],
)
async def test_silence_is_not_waited_on(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD", 0.05)
    idle = 0.05 if sent[:3] != b"GET" else 30.0
    connection, wire = connected(Slow(), EngineOptions(idle_timeout=idle))
    if sent:
        connection.data_received(sent)
    await until(lambda: wire.closing or wire.lost or wire.ended)
    wire.lose()


async def test_what_comes_after_the_end_is_thrown_away_up_to_a_bound() -> None:
    connection, wire = connected(Slow())
    connection.data_received(b"nonsense\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 400")
    for _ in range(module.MOST_AFTER // _FRAME):
        connection.data_received(b"x" * _FRAME)
    assert not wire.closing
    connection.data_received(b"x" * _FRAME)
    assert is_closing(wire)
    await turns()


async def test_100_continue_comes_when_the_body_is_wanted() -> None:
    app = Slow()
    connection, wire = connected(app)
    connection.data_received(
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"
    )
    await turns()
    assert wire.written == b""
    app.read.set()
    await turns()
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"abc")
    await turns()
    assert b"HTTP/1.1 200 OK" in wire.written
    wire.lose()


async def test_400_callers_who_gave_up_waiting_are_no_attack() -> None:
    connection, wire = connected(Slow(), EngineOptions(max_streams=1000))
    connection.data_received(GREETING + b"".join(request(n, head()) for n in range(1, 803, 2)))
    await asyncio.sleep(1)
    connection.data_received(
        b"".join(frame(RST_STREAM, 0, n, struct.pack("!I", 8)) for n in range(1, 801, 2))
    )
    await turns()
    assert GOAWAY not in [kind for kind, _, _ in frames(bytes(wire.written))]
    wire.lose()


@pytest.mark.parametrize("settings", [b"AAIAAAAF", b"AASA____", b"AAUAAAAA"])
async def test_an_upgrade_with_settings_that_are_none_ends_as_http2(settings: bytes) -> None:
    connection, wire = connected(Slow())
    connection.data_received(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\n"
        b"upgrade: h2c\r\nhttp2-settings: " + settings + b"\r\n\r\n" + GREETING
    )
    await turns()
    said = bytes(wire.written)
    assert said.startswith(b"HTTP/1.1 101")
    kinds = [kind for kind, _, _ in frames(said.partition(b"\r\n\r\n")[2])]
    assert kinds[-1] == GOAWAY
    wire.lose()


async def test_many_malformed_requests_are_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection, wire = connected(Slow())
    connection.data_received(GREETING)
    bad = b"".join(request(n, head((b"te", b"gzip"))) for n in range(1, 101, 2))
    connection.data_received(bad)
    warnings = [each for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "192.0.2.1" in warnings[0].getMessage()
    wire.lose()


@pytest.mark.parametrize("sent", [_GET1, GREETING + request(1, head())], ids=["1.1", "2"])
@pytest.mark.parametrize(
    "fault", ["raises", "says nothing", "breaks a line", "lies about length"]
)
async def test_an_application_that_fails_is_a_500(sent: bytes, fault: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {
            "breaks a line": [(b"x", b"a\r\nb: c")],
            "lies about length": [(b"content-length", b"1")],
        }.get(fault, [])
        if fault == "raises":
            raise RuntimeError("on purpose")
        if fault != "says nothing":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"four"})

    connection, wire = connected(app)
    connection.data_received(sent)
    await turns()
    said = bytes(wire.written)
    if sent is _GET1:
        assert said.startswith(b"HTTP/1.1 500")
        assert b"on purpose" not in said
    else:
        kinds = {(kind, stream) for kind, stream, _ in frames(said)}
        assert (HEADERS, 1) in kinds or (RST_STREAM, 1) in kinds
        assert b"four" not in said
    wire.lose()
