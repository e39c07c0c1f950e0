"""What the table of cases is made of, and the two clients that try it."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import Final

from h2.errors import ErrorCodes
from hpack import Decoder

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED, ACK = 1, 4, 8, 32, 1
PATIENCE: Final = 20.0
"""Seconds that a server may take on a busy machine."""
_PROBE: Final = b"\0probe\0\0"

Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Case:
    """What is sent, what the RFC allows to come, and what comes.

    Outcomes are words: `200`, `400 close`, `reset PROTOCOL_ERROR`, `goaway COMPRESSION_ERROR`,
    `alive`. `why` says why what comes is not what the RFC allows. `first`: nothing is sent
    before it on its connection. `stream`: the one that it is about, on HTTP/2.
    """

    name: str
    rfc: str
    sent: bytes
    allowed: tuple[str, ...]
    comes: str
    why: str = ""
    first: bool = False
    stream: int = 3


# --- HTTP/1.1 -----------------------------------------------------------------------------


async def try_http1(case: Case, host: str, port: int) -> str:
    """What comes: the statuses of what is answered, and `close` when the server closes."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        innocent = b"" if case.first else b"GET /innocent HTTP/1.1\r\nhost: x\r\n\r\n"
        # Answered when the case leaves the connection open; its method tells it apart.
        last = b"LAST /last HTTP/1.1\r\nhost: x\r\n\r\n"
        writer.write(innocent + case.sent + last)
        if not case.first:
            status, body = await _response(reader)
            assert (status, b"/innocent" in body) == ("200", True), case.name
        statuses: list[str] = []
        while True:
            try:
                # Only the first one of a case may be HEAD.
                bodiless = case.sent.startswith(b"HEAD ") and not statuses
                status, body = await _response(reader, bodiless)
            except (asyncio.IncompleteReadError, ConnectionError):
                return " ".join([*statuses, "close"])
            if b'"LAST"' in body:
                return " ".join(statuses)
            statuses.append(status)
    finally:
        writer.close()


async def _response(reader: asyncio.StreamReader, bodiless: bool = False) -> tuple[str, bytes]:
    async with asyncio.timeout(PATIENCE):
        top = await reader.readuntil(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        status = lines[0].split(" ")[1]
        fields = dict(line.lower().split(": ", 1) for line in lines[1:-2])
        if bodiless or status[0] == "1" or status in ("204", "304"):
            return status, b""
        return status, await reader.readexactly(int(fields["content-length"]))


class Bystander:
    """A request in flight on a connection of its own, whatever is tried on others."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, host: str, port: int) -> Bystander:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab")
        return cls(reader, writer)

    async def finish(self) -> str:
        """The status of its answer."""
        self._writer.write(b"cd")
        status, _ = await _response(self._reader)
        self._writer.close()
        return status


# --- HTTP/2 -------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame, whatever is wrong with it."""
    return (
        struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload
    )


GREETING: Final = PREFACE + frame(SETTINGS, 0, 0)
"""What a client says first."""


def block(pairs: Pairs) -> bytes:
    """A header block that leaves the tables alone, whatever is wrong with its fields."""
    return b"".join(b"\x10" + _text(name) + _text(value) for name, value in pairs)


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    left, out = len(text) - 127, bytearray(b"\x7f")
    while left >= 128:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out) + text


def head(*more: tuple[bytes, bytes], **changed: bytes | None) -> Pairs:
    """A GET, with pseudo-headers changed or left out (None) and headers added."""
    pseudo = {"method": b"GET", "scheme": b"http", "path": b"/", "authority": b"x"}
    pairs = {**pseudo, **changed}
    own = [(b":" + name.encode(), value) for name, value in pairs.items() if value is not None]
    return [*own, *more]


def request(stream: int, pairs: Pairs, body: bytes | None = None) -> bytes:
    """A request on a stream, with its body in one piece."""
    flags = END_HEADERS | (END_STREAM if body is None else 0)
    sent = frame(HEADERS, flags, stream, block(pairs))
    return sent if body is None else sent + frame(DATA, END_STREAM, stream, body)


@dataclass
class Heard:
    """What an HTTP/2 server has said so far."""

    statuses: dict[int, str] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    resets: dict[int, str] = field(default_factory=dict)
    goaways: list[tuple[int, str]] = field(default_factory=list)
    pongs: int = 0
    closed: bool = False

    def of(self, stream: int) -> str:
        """What became of a stream."""
        if stream in self.resets and stream not in self.ended:
            return f"reset {self.resets[stream]}"
        return self.statuses.get(stream, "alive")


class Http2Client:
    """A connection that carries an innocent request beside whatever is tried on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.heard = Heard()
        self._decoder = Decoder(max_header_list_size=2**24)
        self._decoder.max_allowed_table_size = 4096

    @classmethod
    async def connect(cls, host: str, port: int) -> Http2Client:
        return cls(*await asyncio.open_connection(host, port))

    async def read(self) -> None:
        """Take in one frame; answers what must be answered."""
        try:
            async with asyncio.timeout(PATIENCE):
                top = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(top[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.heard.closed = True
            return
        kind, flags, stream = top[3], top[4], int.from_bytes(top[5:], "big")
        heard = self.heard
        if kind in (HEADERS, CONTINUATION):
            fields = dict(self._decoder.decode(payload, raw=True))
            heard.statuses[stream] = bytes(fields[b":status"]).decode()
        elif kind == DATA:
            heard.bodies[stream] = heard.bodies.get(stream, b"") + payload
        elif kind == RST_STREAM:
            heard.resets.setdefault(stream, _name(payload))
        elif kind == GOAWAY:
            heard.goaways.append((int.from_bytes(payload[:4], "big"), _name(payload[4:8])))
        elif kind == PING and flags & ACK and payload == _PROBE:
            heard.pongs += 1
        elif kind == PING and not flags & ACK:
            self.writer.write(frame(PING, ACK, 0, payload))
        elif kind == SETTINGS and not flags & ACK:
            self.writer.write(frame(SETTINGS, ACK, 0))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            heard.ended.add(stream)

    async def settled(self) -> None:
        """Returns when the server has looked at all that was sent, or is gone."""
        before = self.heard.pongs
        self.writer.write(frame(PING, 0, 0, _PROBE))
        while self.heard.pongs == before and not self.heard.closed:
            await self.read()

    async def over(self, stream: int) -> None:
        """Returns when a stream is over."""
        while not (
            stream in self.heard.ended or stream in self.heard.resets or self.heard.closed
        ):
            await self.read()


def _name(code: bytes) -> str:
    number = int.from_bytes(code[:4], "big")
    return ErrorCodes(number).name if number < len(ErrorCodes) else str(number)


async def try_http2(case: Case, host: str, port: int) -> str:
    """What becomes of the case's stream, or of the connection; the request on stream 1 must
    live on, unless the connection ends because of an error of the connection."""
    client = await Http2Client.connect(host, port)
    heard = client.heard
    ends = case.comes.startswith(("goaway", "close"))
    try:
        if not case.first:
            post = head((b"content-length", b"8"), method=b"POST")
            client.writer.write(
                PREFACE
                + frame(SETTINGS, 0, 0)
                + frame(HEADERS, END_HEADERS, 1, block(post))
                + frame(DATA, 0, 1, b"inno")
            )
        client.writer.write(case.sent)
        await client.settled()
        if case.comes != "alive" and not ends:
            await client.over(case.stream)
        if not heard.closed and not case.first:
            client.writer.write(frame(DATA, END_STREAM, 1, b"cent"))
            await client.over(1)
            if not heard.closed:
                assert heard.statuses.get(1) == "200", (case.name, heard)
                assert b'"length": 8' in heard.bodies[1], case.name
        while ends and not heard.closed:
            await client.read()
        if heard.goaways:
            return f"goaway {heard.goaways[-1][1]}"
        return "close" if heard.closed else heard.of(case.stream)
    finally:
        client.writer.close()
