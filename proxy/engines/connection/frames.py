"""The frames of an HTTP/2 connection (RFC 9113, 4 to 6): bytes in, frames out, and back.

In: what the peer sent, in pieces of any size. Out: whole frames, header blocks put together
from their pieces, to a handler for each kind. What is written is gathered, and handed on once
in a turn of the event loop. What makes the frames unreadable raises `Fatal`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Final

from h2.errors import ErrorCodes

from proxy.engines.patience import MOST

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME: Final = 16_384
"""Bytes of a frame's payload, that of the protocol's default."""
BATCH: Final = 64 * 1024
"""Bytes of frames that are gathered before the transport is asked whether it has room."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
SETTING: Final = Struct(">HI")
LONG: Final = Struct(">I")
TWO_LONGS: Final = Struct(">II")
_TOP: Final = Struct(">BHBBI")

Handler = Callable[[int, int, bytes], None]
"""Takes a frame's flags, stream and payload."""


class Fatal(Exception):
    """What the connection can't go on after (RFC 9113, 5.4.1)."""

    def __init__(self, code: ErrorCodes, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Frames:
    """Splits what comes into frames, and gathers those that go."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        write: Callable[[bytes], None],
        handlers: Mapping[int, Handler],
        most: int,
    ) -> None:
        self._loop = loop
        self._write = write
        self._handlers = handlers
        self._most = most
        """Bytes of a header block."""
        self._rest = bytearray()
        self._needed = len(PREFACE)
        """Bytes without which nothing can be done."""
        self._greeted: bool | None = None
        """Whether SETTINGS have come; None before the preface."""
        self._block: bytearray | None = None
        """A header block of which pieces are still to come."""
        self._begun = (0, 0)
        """The flags and stream of its first frame."""
        self._out: list[bytes | memoryview] = []
        self._gathered = 0
        self._flushing: asyncio.Handle | None = None
        self.useless = 0.0
        """What the peer has sent for nothing, in frames (see `patience`)."""
        self.closed = False

    def read(self, data: bytes) -> None:
        """Handle the frames in what has come. Raises `Fatal`."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, end = 0, len(data)
        if self._greeted is None:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise Fatal(ErrorCodes.PROTOCOL_ERROR, "no preface")
            if end < len(PREFACE):
                self._rest += data
                return
            at, self._greeted = len(PREFACE), False
        while end - at >= 9:
            high, low, kind, flags, stream = _TOP.unpack_from(data, at)
            length = high << 16 | low
            if length > FRAME:
                raise Fatal(ErrorCodes.FRAME_SIZE_ERROR, "a frame too large")
            after = at + 9 + length
            if after > end:
                break
            self._handle(kind, flags, stream & 0x7FFFFFFF, data[at + 9 : after])
            if self.closed:
                return
            at = after
        if at < end:
            self._rest += data[at:]
            rest = end - at
            self._needed = 9 + int.from_bytes(data[at : at + 3], "big") if rest >= 9 else 9

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None:
            self._continue(self._block, kind, flags, stream, payload)
            return
        if not self._greeted:
            if kind != SETTINGS or flags & ACK:
                raise Fatal(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._greeted = True
        if kind == HEADERS:
            payload = _head_block(flags, payload)
            if not flags & END_HEADERS:
                self._block, self._begun = bytearray(payload), (flags, stream)
                return
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(flags, stream, payload)
            return
        # Priorities mean nothing (RFC 9113, 5.3), and what is unknown is ignored (4.1).
        self.useless += 1
        if kind in (PUSH_PROMISE, CONTINUATION) or (kind == PRIORITY and not stream):
            raise Fatal(ErrorCodes.PROTOCOL_ERROR, f"a frame of kind {kind} out of place")

    def _continue(
        self, block: bytearray, kind: int, flags: int, stream: int, more: bytes
    ) -> None:
        begun, own = self._begun
        if kind != CONTINUATION or stream != own:
            raise Fatal(ErrorCodes.PROTOCOL_ERROR, "a header block that is not continued")
        block += more
        self.useless += 1
        # Nothing else may come in between, so that there is no draining here.
        if len(block) > self._most or self.useless > MOST:
            raise Fatal(ErrorCodes.ENHANCE_YOUR_CALM, "a header block too large")
        if flags & END_HEADERS:
            self._block = None
            self._handlers[HEADERS](begun, own, bytes(block))

    def write(self, kind: int, flags: int, stream: int, payload: bytes | memoryview) -> None:
        """Send a frame, with others in the same turn of the event loop."""
        size = len(payload)
        self._out.append(_TOP.pack(size >> 16, size & 0xFFFF, kind, flags, stream))
        if size:
            self._out.append(payload)
        self._gathered += size + 9
        if self._gathered > BATCH:
            self.flush()
        elif self._flushing is None:
            self._flushing = self._loop.call_soon(self.flush)

    def write_block(self, stream: int, block: bytes, ends: bool) -> None:
        """Send a header block, in several frames if need be."""
        kind, flags = HEADERS, END_STREAM if ends else 0
        while len(block) > FRAME:
            self.write(kind, flags, stream, block[:FRAME])
            kind, flags, block = CONTINUATION, 0, block[FRAME:]
        self.write(kind, flags | END_HEADERS, stream, block)

    def flush(self) -> None:
        """Hand on what was gathered."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._out and not self.closed:
            data = b"".join(self._out)
            self._out = []
            self._gathered = 0
            self._write(data)

    def close(self) -> None:
        """Neither take nor hand on anything more."""
        self.flush()
        self.closed = True
        self._rest.clear()
        self._block = None


def _head_block(flags: int, payload: bytes) -> bytes:
    """What HEADERS carry of the header block."""
    payload = unpadded(flags, payload)
    if flags & PRIORITIZED:
        if len(payload) < 5:
            raise Fatal(ErrorCodes.FRAME_SIZE_ERROR, "HEADERS too short")
        payload = payload[5:]
    return payload


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload without its padding (RFC 9113, 6.1). Raises `Fatal`."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Fatal(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
