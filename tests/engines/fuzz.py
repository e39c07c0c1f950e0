"""Nothing a client sends makes a connection raise, hang or stay: `python -m tests.engines.fuzz
[--count N] [--seed N]`.

In: sessions that real clients had, the cases of the conformance tables, and chance. Out:
nothing, or the seed and the bytes that did it. What is sent comes in pieces of any size, the
peer takes answers or does not, and leaves by any way. Each time

* no call of the connection raises, and none takes long;
* what it says is HTTP: whole responses on HTTP/1.1, frames in order on HTTP/2;
* when the peer is gone, every request has ended, and nothing is left of the connection.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Any, Final

from hpack import Decoder

from proxy.app.front import EdgeApp
from proxy.engines.connection.connection import Connection, Connections
from proxy.engines.model import EngineOptions
from proxy.http.data_plane import Answer
from proxy.observability.record import Record
from proxy.request.model import HttpRequest
from proxy.response.model import Response
from tests.engines import http1_cases, http2_cases
from tests.engines.model import CONTINUATION, GREETING, HEADERS, PREFACE

SESSIONS: Final = Path(__file__).with_name("sessions")
LONG: Final = 2.0
"""Seconds of processor time for one piece: some ten times what the worst one takes."""
_OPTIONS: Final = EngineOptions(idle_timeout=5.0, max_head=32 * 1024, max_streams=16)


class Wrong(Exception):
    """What must not happen has happened."""


class Service:
    """Answers all requests, at once or after a moment, with much or little."""

    ready = True

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def admit(self, head: HttpRequest, record: Record) -> Answer:
        return self.answer

    async def answer(self, request: HttpRequest, record: Record) -> Response:
        size = len(request.path) * 4099 + len(request.query) * 7 + len(request.body)
        if size % 5 == 0:
            await asyncio.sleep(0)
        if size % 7 == 0:
            await asyncio.sleep(3600)
        return Response(200, ((b"content-type", b"text/plain"),), b"x" * (size % 200_000))


class Wire(asyncio.Transport):
    """A transport whose peer is the test."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        super().__init__({"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)})
        self._loop = loop
        self._connection = connection
        self.written = bytearray()
        self.unsent = 0
        self.reading = True
        self.ended = False
        self.closing = False
        self.lost = False

    def write(self, data: Any) -> None:
        if self.lost:
            raise Wrong("bytes were written after the end")
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self.lose)

    abort = close

    def lose(self) -> None:
        self.closing = True
        if not self.lost:
            self.lost = True
            self._connection.connection_lost(None)


def seeds() -> list[bytes]:
    """What mutations begin with."""
    sessions = [path.read_bytes() for path in sorted(SESSIONS.glob("*.bin"))]
    cases = [case.sent for case in http1_cases.CASES if len(case.sent) < 40_000]
    cases += [
        case.sent if case.first else GREETING + case.sent
        for case in http2_cases.CASES
        if len(case.sent) < 40_000
    ]
    return sessions * 10 + cases


def mutated(chance: random.Random, among: Sequence[bytes]) -> bytes:
    """A session with some of it changed, or bytes of chance alone."""
    if chance.random() < 0.1:
        start = chance.choice((b"", PREFACE, GREETING, b"GET / HTTP/1.1\r\n"))
        return start + chance.randbytes(chance.randrange(2000))
    data = bytearray(chance.choice(among))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 9, 100)))
        match chance.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * chance.choice((1, 2, 50))
            case 3:
                data[at:at] = chance.randbytes(chance.choice((1, 2, 9)))
            case 4:
                other = chance.choice(among)
                data[at:] = other[chance.randrange(len(other) + 1) :]
            case _:
                data[at:end] = chance.choice((b"\r\n", b"\n", b"\0", b":", b" ", b"\xff" * 4))
    return bytes(data)


async def session(connections: Connections, data: bytes, chance: random.Random) -> None:
    """One connection, from its beginning to its end. Raises `Wrong`."""
    loop = asyncio.get_running_loop()
    connection = Connection(connections)
    wire = Wire(loop, connection)
    connection.connection_made(wire)
    at, size = 0, chance.choice((1, 7, 100, 5000, 10**6))
    if size == 1:
        data = data[:3000]
    paused = False
    while at < len(data) and not wire.lost:
        if not wire.reading and not paused:
            # As the peer's: what is not read is not sent.
            await asyncio.sleep(0)
            if chance.random() < 0.2:
                break
            continue
        step = chance.randrange(1, size + 1)
        began = process_time()
        connection.data_received(data[at : at + step])
        if process_time() - began > LONG:
            raise Wrong(f"a piece took {process_time() - began:.1f} s")
        at += step
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if chance.random() < 0.05 and not wire.lost:
            paused = not paused
            (connection.pause_writing if paused else connection.resume_writing)()
    if paused and not wire.lost and chance.random() < 0.5:
        connection.resume_writing()
    for _ in range(chance.choice((0, 1, 20))):
        await asyncio.sleep(0)
    if not wire.lost:
        if chance.random() < 0.5 and not connection.eof_received():
            wire.close()
        wire.lose()
    check_said(bytes(wire.written), data)


def check_said(said: bytes, heard: bytes) -> None:
    """Raise `Wrong` when what a connection said is not HTTP."""
    if said.startswith(b"HTTP/1.1 101"):
        said = said.partition(b"\r\n\r\n")[2]
    elif said[:5] == b"HTTP/" or not heard.startswith(PREFACE):
        if said and not said.startswith(b"HTTP/1.1 "):
            raise Wrong(f"said {said[:40]!r}")
        return
    decoder, at, ended = Decoder(), 0, set[int]()
    while at < len(said):
        length, kind = int.from_bytes(said[at : at + 3], "big"), said[at + 3]
        stream = int.from_bytes(said[at + 5 : at + 9], "big")
        payload = said[at + 9 : at + 9 + length]
        if len(payload) < length or length > 16_384 * 4:
            raise Wrong("a frame is not whole")
        if kind == HEADERS:
            decoder.decode(payload, raw=True)
        if kind == CONTINUATION or (kind < 2 and stream in ended):
            raise Wrong("a frame out of place")
        if kind < 2 and said[at + 4] & 1:
            ended.add(stream)
        at += 9 + length


async def run(count: int, seed: int) -> None:
    """So many sessions. Raises `Wrong`."""
    raised: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: raised.append(str(context)))
    connections = Connections(EdgeApp(Service()), _OPTIONS)
    among = seeds()
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        data = mutated(chance, among)
        try:
            await session(connections, data, chance)
        except Exception as error:
            raise Wrong(
                f"--seed {seed}, session {number}: {error!r}\n{data[:2000]!r}"
            ) from error
        if raised:
            raise Wrong(f"--seed {seed}, session {number}: {raised}\n{data[:2000]!r}")
    for _ in range(200):
        await asyncio.sleep(0.05)
        if len(asyncio.all_tasks()) == 1:
            break
    else:
        raise Wrong(f"{len(asyncio.all_tasks()) - 1} requests go on though nobody waits")
    if connections.open or raised:
        raise Wrong(f"{len(connections.open)} connections are left, {raised}")
    gc.collect()
    if any(isinstance(each, Connection) for each in gc.get_objects()):
        raise Wrong("connections are left in memory")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs; 1 when something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    try:
        asyncio.run(run(options.count, options.seed))
    except Wrong as wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
