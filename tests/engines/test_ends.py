"""How connections end: nothing that was said is lost on who still listens."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.engines.connection import connection as module
from proxy.engines.hypercorn_engine import serve
from proxy.engines.model import EngineOptions
from proxy.http.asgi import Receive, Scope, Send
from tests.engines.fuzz import Wire
from tests.engines.test_connection import connected, turns
from tests.waiting import until

_LONG = 8 * 2**20
_CLOSING = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def _long(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * _LONG})


async def test_who_reads_late_gets_the_last_response_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LINGER", 0.02)
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(serve(_long, listening, EngineOptions(), stop))
        reader, writer = await asyncio.open_connection(*listening.getsockname(), limit=1024)
        writer.write(_CLOSING)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(20):
            # Ten times as long as an end without bytes is waited for.
            await asyncio.sleep(0.01)
        body = await reader.read()
        while piece := await reader.read(2**16):
            body += piece
        writer.close()
        stop.set()
        await serving
    assert len(body) == _LONG


def _has_ended(wire: Wire) -> bool:
    return wire.ended


@pytest.mark.parametrize("how", ["eof", "close", "response"])
async def test_the_end_is_not_awaited_of_who_takes_nothing(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 0.02)
    connection, wire = connected(_long, EngineOptions(idle_timeout=0.1))
    wire.unsent = 1000
    # As a transport with bytes to send: closed, but not lost.
    monkeypatch.setattr(wire, "close", lambda: None)
    if how == "eof":
        connection.data_received(_CLOSING)
        connection.eof_received()
    elif how == "close":
        connection.close()
    else:
        connection.data_received(_CLOSING)
    await until(lambda: wire.lost)


async def test_who_takes_a_little_now_and_then_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection, wire = connected(_long, EngineOptions(idle_timeout=0.3))
    wire.unsent = 1000
    connection.data_received(_CLOSING.replace(b"close", b"keep-alive"))
    connection.pause_writing()
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() < began + 1.0:
        await asyncio.sleep(0.02)
        wire.unsent -= 1
    assert not wire.lost
    await until(lambda: wire.lost)


async def test_a_stream_of_answers_that_began_before_the_end_does_not_hold_it_up() -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"b"})

    connection, wire = connected(app, EngineOptions(farewell=0.0))
    connection.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await turns()
    connection._connections.draining = True
    connection.drain()
    await turns(50)
    assert not _has_ended(wire)
    go_on.set()
    await turns()
    assert wire.written.endswith(b"1\r\nb\r\n0\r\n\r\n")
    assert _has_ended(wire)
    wire.lose()


async def test_an_answer_to_half_a_request_says_that_it_is_the_last() -> None:
    connection, wire = connected(_long)
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1234")
    await turns()
    assert b"\r\nconnection: close\r\n" in wire.written[:200]
    assert _has_ended(wire)
    wire.lose()


async def test_what_waits_beneath_tls_has_time_though_it_can_not_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LINGER", 0.01)
    connection, wire = connected(_long, EngineOptions(idle_timeout=0.5))
    connection.scheme = "https"
    connection.data_received(_CLOSING)
    await turns()
    began = asyncio.get_running_loop().time()
    await until(lambda: wire.lost)
    assert asyncio.get_running_loop().time() - began > 0.3
