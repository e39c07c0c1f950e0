"""HTTP/2 (RFC 9113): frames in, requests to the application; their responses out.

What libraries such as h2 do in a class of theirs is done here, because one caller's odd
request must not cost another's answer, and h2 ends the connection for each of: a length that
does not match, a stream too many, a client's GOAWAY with streams open. Those rules are ours:

* A request that is malformed resets its own stream. Only what makes the frames or the table
  of fields unreadable ends a connection (RFC 9113, 5.4.1).
* Streams beyond the limit are refused, so that the client sends them again.
* A client's GOAWAY lets its open streams end.
* Room for a body is given back as the application takes it: what a connection holds is at
  most `CONNECTION_WINDOW`, of a stream at most `WINDOW`.
* A response waits for the peer's windows in the application, not here; of those that wait for
  the connection's each gets its turn.
* What a peer sends for nothing wears out a patience (`proxy.engines.patience`); a reset costs
  less the older its stream is, as those who gave up waiting are no attack. When it is worn
  out the connection drains: what is under way is answered. Worn out again, it ends.
* The end comes in two steps (RFC 9113, 6.8): a GOAWAY that announces it, and a round trip
  later one that names the last stream; what comes thereafter is refused, safe to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from struct import Struct
from time import time
from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy.data_plane import Scope
from proxy.engines.connection.exchange import Exchange, logger
from proxy.engines.connection.hpack import Decoder, Encoder, Fields, HpackError
from proxy.engines.connection.http1 import Malformed, scope_of
from proxy.engines.connection.requests import Request, request_of
from proxy.engines.patience import PER_ANSWER, PER_PIECE, RESET_COST, Patience
from proxy.errors import ApiError, api_error
from proxy.response.errors import error_response
from proxy.response.model import BODILESS

if TYPE_CHECKING:
    from proxy.engines.connection.connection import Connection

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW: Final = 2**20
"""Bytes of a request's body that may be under way. With the 65,535 of the protocol's default,
an upload waits a round trip for each of them; an edge is tens of milliseconds away."""
CONNECTION_WINDOW: Final = 2 * WINDOW
"""The same for all bodies of a connection: more than one, so that none can stall others."""
_FIRST_WINDOW: Final = 65_535
_MOST_WINDOW: Final = 2**31 - 1
FRAME: Final = 16_384
"""Bytes of a frame's payload, that of the protocol's default."""
YOUNG: Final = 0.1
"""Seconds after which a reset costs half."""
_MOST_PIECES: Final = 100
"""Frames of one header block that are taken before patience is asked."""
_BATCH: Final = 64 * 1024
"""Bytes of frames that are gathered before the transport is asked whether it has room."""
_FAREWELL: Final = b"farewell"
"""The opaque data of the PING that goes with the first GOAWAY."""
_ANY_STREAM: Final = 2**31 - 1

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS = range(5)
_PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(5, 10)
_ACK, _END_STREAM, _END_HEADERS, _PADDED, _PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
_FRAME: Final = Struct(">BHBBI")
_SETTING: Final = Struct(">HI")
_LONG: Final = Struct(">I")
_TWO_LONGS: Final = Struct(">II")


class _Fatal(Exception):
    """What the connection can't go on after (RFC 9113, 5.4.1)."""

    def __init__(self, code: ErrorCodes, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Http2:
    """The streams of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.options
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._streams: dict[int, Stream] = {}
        self._rest = bytearray()
        self._preface = 0
        """How much of the preface and the first frame, which is SETTINGS, is still to come."""
        self._block: _Block | None = None
        self._last = 0
        """The highest stream that the peer has opened."""
        self._out: list[bytes] = []
        self._gathered = 0
        self._flush_handle: asyncio.Handle | None = None
        self.window = _FIRST_WINDOW
        """Bytes that the peer takes on all streams together."""
        self.first_window = _FIRST_WINDOW
        """Bytes that it takes on a new stream."""
        self.frame = FRAME
        self._open = CONNECTION_WINDOW
        """Bytes that it may send."""
        self._taken = 0
        """Bytes that it has sent and does not know to be taken."""
        self._patience = Patience(connection.loop.time())
        self._worn_out = False
        self._useless = 0.0
        self._announced = False
        self._refuses = False
        """Whether the last GOAWAY is out."""
        self._left = False
        """Whether the peer has said that it goes."""
        self._code = ErrorCodes.NO_ERROR
        self._closed = False
        self._greeted = False
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            _DATA: self._data,
            _HEADERS: self._headers,
            _RST_STREAM: self._reset,
            _SETTINGS: self._settings,
            _PUSH_PROMISE: self._push,
            _PING: self._ping,
            _GOAWAY: self._goaway,
            _WINDOW_UPDATE: self._window_update,
            _CONTINUATION: self._naked,
        }

    @property
    def idle(self) -> bool:
        """Whether no response is awaited."""
        return not self._streams

    def begin(self, *, preface: bool) -> None:
        """Greet the peer, whose own preface is still to come or not."""
        self._preface = len(PREFACE) if preface else 0
        settings = (
            (SettingCodes.MAX_CONCURRENT_STREAMS, self._options.max_streams),
            (SettingCodes.INITIAL_WINDOW_SIZE, WINDOW),
            (SettingCodes.MAX_HEADER_LIST_SIZE, self._options.max_head),
        )
        self.write(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings))
        self.write(_WINDOW_UPDATE, 0, 0, _LONG.pack(CONNECTION_WINDOW - _FIRST_WINDOW))

    def adopt(self, settings: bytes, request: Scope) -> None:
        """Answer a request that came before the upgrade to HTTP/2 (RFC 7540, 3.2)."""
        self._apply(settings)
        self._last = 1
        self._streams[1] = Stream(self, self._connection, 1, request, None, complete=True)
        self._connection.busy()

    # --- frames ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take in what the peer sent."""
        if self._closed:
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed():
                return
            data = bytes(self._rest)
            self._rest.clear()
        try:
            self._read(data)
            if self._useless:
                self._spend()
        except _Fatal as fatal:
            self._end(fatal.code, str(fatal))

    def _needed(self) -> int:
        """Bytes without which nothing can be done."""
        if self._preface:
            return self._preface
        rest = self._rest
        return 9 + int.from_bytes(rest[:3], "big") if len(rest) >= 9 else 9

    def _read(self, data: bytes) -> None:
        at, end = 0, len(data)
        if self._preface:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "no preface")
            if end < len(PREFACE):
                self._rest += data
                return
            at, self._preface = len(PREFACE), 0
        while end - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(data, at)
            length = high << 16 | low
            if length > FRAME:
                raise _Fatal(ErrorCodes.FRAME_SIZE_ERROR, "a frame too large")
            after = at + 9 + length
            if after > end:
                break
            self._frame(kind, flags, stream & 0x7FFFFFFF, data[at + 9 : after])
            if self._closed:
                return
            at = after
        if at < end:
            self._rest += data[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        block = self._block
        if block is not None:
            self._continue(block, kind, flags, stream, payload)
            return
        if not self._greeted:
            if kind != _SETTINGS or flags & _ACK:
                raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._greeted = True
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(flags, stream, payload)
        else:
            # Priorities mean nothing (RFC 9113, 5.3), and what is unknown is ignored (4.1).
            self._useless += 1
            if kind == _PRIORITY and not stream:
                raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "PRIORITY of no stream")

    def write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Send a frame, with others in the same turn of the event loop."""
        size = len(payload)
        self._out.append(_FRAME.pack(size >> 16, size & 0xFFFF, kind, flags, stream))
        if size:
            self._out.append(payload)
        self._gathered += size
        if self._flush_handle is None:
            self._flush_handle = self._connection.loop.call_soon(self._flush)
        elif self._gathered > _BATCH:
            self._flush_now()

    def _flush(self) -> None:
        self._flush_handle = None
        self._flush_out()

    def _flush_now(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        self._flush_out()

    def _flush_out(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out = []
            self._gathered = 0
            self._connection.write(data)

    # --- requests -------------------------------------------------------------------------

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        payload = _unpadded(flags, payload)
        if flags & _PRIORITIZED:
            if len(payload) < 5:
                raise _Fatal(ErrorCodes.FRAME_SIZE_ERROR, "HEADERS too short")
            payload = payload[5:]
        if not stream & 1:
            raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "a stream that clients can't open")
        if flags & _END_HEADERS:
            self._fields(stream, payload, bool(flags & _END_STREAM))
        else:
            self._block = _Block(stream, bool(flags & _END_STREAM), bytearray(payload))

    def _continue(self, block: _Block, kind: int, flags: int, stream: int, more: bytes) -> None:
        if kind != _CONTINUATION or stream != block.stream:
            raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "a header block that is not continued")
        block.data += more
        self._useless += 1
        if self._useless > _MOST_PIECES:
            self._spend()
        if len(block.data) > self._options.max_head:
            raise _Fatal(ErrorCodes.ENHANCE_YOUR_CALM, "a header block too large")
        if flags & _END_HEADERS:
            self._block = None
            self._fields(block.stream, bytes(block.data), block.ends)

    def _naked(self, flags: int, stream: int, payload: bytes) -> None:
        raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "CONTINUATION of nothing")

    def _push(self, flags: int, stream: int, payload: bytes) -> None:
        raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "clients can't push")

    def _fields(self, stream_id: int, block: bytes, ends: bool) -> None:
        """A whole header block: of a request, or its trailers."""
        try:
            fields = self._decoder.decode(block, self._options.max_head)
        except HpackError as error:
            raise _Fatal(ErrorCodes.COMPRESSION_ERROR, str(error)) from error
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._trailers(stream, fields, ends)
        elif stream_id <= self._last:
            self._reject(stream_id, ErrorCodes.STREAM_CLOSED)
        else:
            self._last = stream_id
            self._open_stream(stream_id, fields, ends)

    def _open_stream(self, stream_id: int, fields: Fields | None, ends: bool) -> None:
        connection = self._connection
        most = self._options.max_streams
        if self._refuses or len(self._streams) >= most or len(connection.running) >= 2 * most:
            self._reject(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        if fields is None:
            self._refuse(stream_id, "the head is too large", api_error("EDGE431"))
            return
        try:
            request = request_of(fields)
            if ends and request.length:
                raise Malformed("The body is not as long as Content-Length says")
            scope = scope_of(connection, "2", request.method, request.target, request.headers)
        except Malformed as malformed:
            connection.refused(malformed)
            self._reject(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        if not self._streams:
            connection.busy()
        self._streams[stream_id] = Stream(
            self, connection, stream_id, scope, request, complete=ends
        )

    def _refuse(self, stream_id: int, reason: str, error: ApiError) -> None:
        """Answer a request that the application is not told of."""
        self._connection.refused(Malformed(reason, error))
        response = error_response(error)
        fields = [(b":status", b"%d" % response.status), *response.headers, _date(int(time()))]
        self.write(_HEADERS, _END_HEADERS, stream_id, self._encoder.encode(fields))
        self.write(_DATA, _END_STREAM, stream_id, response.body)
        self._reject(stream_id, ErrorCodes.NO_ERROR)

    def _trailers(self, stream: Stream, fields: Fields | None, ends: bool) -> None:
        if stream.complete:
            self.reset(stream, ErrorCodes.STREAM_CLOSED)
        elif not ends or fields is None or any(name[:1] == b":" for name, _ in fields):
            self._malformed(stream, "The trailers of the body are malformed")
        else:
            self._complete(stream)

    def _complete(self, stream: Stream) -> None:
        if stream.expected:
            self._malformed(stream, "The body is not as long as Content-Length says")
        else:
            stream.finish()

    def _malformed(self, stream: Stream, reason: str) -> None:
        self._connection.refused(Malformed(reason))
        self.reset(stream, ErrorCodes.PROTOCOL_ERROR)

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._open -= size
        if self._open < 0:
            raise _Fatal(ErrorCodes.FLOW_CONTROL_ERROR, "more than the window")
        data = _unpadded(flags, payload) if flags & _PADDED else payload
        stream = self._stream_at(stream_id, "DATA")
        if stream is None or stream.complete:
            self.took(size)
            self._reject(stream_id, ErrorCodes.STREAM_CLOSED)
            if stream is not None:
                self._forget(stream)
            return
        stream.open -= size
        if stream.open < 0:
            self.took(size)
            self.reset(stream, ErrorCodes.FLOW_CONTROL_ERROR)
            return
        if size > len(data):
            self.took(size - len(data))
            stream.gave(size - len(data))
        if stream.expected is not None:
            stream.expected -= len(data)
            if stream.expected < 0:
                self.took(len(data))
                self._malformed(stream, "The body is longer than Content-Length says")
                return
        if data:
            stream.feed(data)
        elif not flags & _END_STREAM:
            self._useless += 1
        if flags & _END_STREAM:
            self._complete(stream)

    def _stream_at(self, stream_id: int, what: str) -> Stream | None:
        """The stream that a frame is about, None when it is over. Raises `_Fatal`."""
        stream = self._streams.get(stream_id)
        if stream is None and (stream_id > self._last or not stream_id & 1):
            raise _Fatal(ErrorCodes.PROTOCOL_ERROR, f"{what} of a stream that is none")
        return stream

    def took(self, size: int) -> None:
        """So many bytes of bodies are held no more."""
        self._taken += size
        if self._taken >= CONNECTION_WINDOW // 4:
            self.write(_WINDOW_UPDATE, 0, 0, _LONG.pack(self._taken))
            self._open += self._taken
            self._taken = 0

    # --- the rest of the frames -----------------------------------------------------------

    def _reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _Fatal(ErrorCodes.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        stream = self._stream_at(stream_id, "RST_STREAM")
        if stream is None:
            self._useless += RESET_COST
            return
        age = self._connection.loop.time() - stream.since
        self._useless += RESET_COST / (1 + age / YOUNG)
        self._forget(stream)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        self._useless += 1
        if stream:
            raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "SETTINGS of a stream")
        if len(payload) % 6 or (flags & _ACK and payload):
            raise _Fatal(ErrorCodes.FRAME_SIZE_ERROR, "SETTINGS of an odd length")
        if not flags & _ACK:
            self._apply(payload)
            self.write(_SETTINGS, _ACK, 0, b"")

    def _apply(self, payload: bytes) -> None:
        for code, value in _SETTING.iter_unpack(payload):
            if code == SettingCodes.HEADER_TABLE_SIZE:
                self._encoder.allow(value)
            elif code == SettingCodes.ENABLE_PUSH and value > 1:
                raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            elif code == SettingCodes.INITIAL_WINDOW_SIZE:
                self._change_windows(value)
            elif code == SettingCodes.MAX_FRAME_SIZE:
                if not FRAME <= value < 2**24:
                    raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
                self.frame = min(value, _BATCH)

    def _change_windows(self, value: int) -> None:
        if value > _MOST_WINDOW:
            raise _Fatal(ErrorCodes.FLOW_CONTROL_ERROR, "a window too large")
        change, self.first_window = value - self.first_window, value
        for stream in self._streams.values():
            stream.window += change
            if stream.window > _MOST_WINDOW:
                raise _Fatal(ErrorCodes.FLOW_CONTROL_ERROR, "a window too large")
            if stream.window > 0:
                stream.resume()

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise _Fatal(ErrorCodes.FRAME_SIZE_ERROR, "PING has eight bytes")
        self._useless += 1
        if not flags & _ACK:
            self.write(_PING, _ACK, 0, payload)
        elif payload == _FAREWELL and self._announced:
            # What came with the answer is served, as the client heard of the end after it.
            self._connection.loop.call_soon(self._say_last)

    def _goaway(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise _Fatal(ErrorCodes.FRAME_SIZE_ERROR, "GOAWAY too short")
        self._useless += 1
        self._left = True
        if not self._streams:
            self._end(ErrorCodes.NO_ERROR, "")

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _Fatal(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        more = _LONG.unpack(payload)[0] & _MOST_WINDOW
        self._useless += 1
        if not stream_id:
            self.window += more
            if not more or self.window > _MOST_WINDOW:
                code = ErrorCodes.FLOW_CONTROL_ERROR if more else ErrorCodes.PROTOCOL_ERROR
                raise _Fatal(code, "WINDOW_UPDATE out of range")
            self._connection.wake()
            return
        stream = self._stream_at(stream_id, "WINDOW_UPDATE")
        if stream is None:
            return
        stream.window += more
        if not more:
            self.reset(stream, ErrorCodes.PROTOCOL_ERROR)
        elif stream.window > _MOST_WINDOW:
            self.reset(stream, ErrorCodes.FLOW_CONTROL_ERROR)
        elif stream.window > 0:
            stream.resume()

    # --- streams' ends --------------------------------------------------------------------

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream before its time."""
        self._reject(stream.number, code)
        self._forget(stream)

    def _reject(self, stream_id: int, code: ErrorCodes) -> None:
        self._useless += 1
        self.write(_RST_STREAM, 0, stream_id, _LONG.pack(code))

    def _forget(self, stream: Stream) -> None:
        """The peer takes nothing more on this stream."""
        del self._streams[stream.number]
        self.took(stream.held)
        stream.leave()
        self._after_stream()

    def answered(self, stream: Stream) -> None:
        """The response is out; what is left of the request is of no use."""
        del self._streams[stream.number]
        self._patience.earn(PER_ANSWER)
        if not stream.complete:
            self.write(_RST_STREAM, 0, stream.number, _LONG.pack(ErrorCodes.NO_ERROR))
        if stream.held:
            self.took(stream.held)
        if not self._streams:
            self._after_stream()

    def _after_stream(self) -> None:
        if self._streams or self._closed:
            return
        if self._left or self._refuses:
            self._end(self._code, "")
        else:
            self._connection.idle()
            if self._connection.draining:
                self.announce()

    def earn(self) -> None:
        """A frame of a response was sent, which updates of windows may follow."""
        self._patience.earn(PER_PIECE)

    def _spend(self) -> None:
        useless, self._useless = self._useless, 0.0
        if self._patience.spend(useless, self._connection.loop.time()):
            return
        if self._worn_out or self._block is not None:
            raise _Fatal(ErrorCodes.ENHANCE_YOUR_CALM, "frames for nothing")
        self._worn_out = True
        self._patience = Patience(self._connection.loop.time())
        self._code = ErrorCodes.ENHANCE_YOUR_CALM
        logger.info("%s sends too much for nothing: its connection drains", self._connection)
        self.announce()

    # --- the end of the connection --------------------------------------------------------

    def drain(self) -> None:
        """Ask the peer to go. Some clients give up on open streams at the first GOAWAY, so
        these may end before; `part` is called in any case."""
        if not self._streams:
            self.announce()

    def part(self) -> None:
        """The peer has had time to see its streams end."""
        self.announce()

    def announce(self) -> None:
        """GOAWAY that ends nothing, and the question whether it was heard."""
        if self._announced or self._closed:
            return
        self._announced = True
        # In this order, for clients that use h2 take no PING after it.
        self.write(_PING, 0, 0, _FAREWELL)
        self._go_away(_ANY_STREAM, ErrorCodes.NO_ERROR, "")
        self._connection.loop.call_later(self._connection.farewell, self._say_last)

    def _say_last(self) -> None:
        """What comes from now on is refused."""
        if self._refuses or self._closed:
            return
        self._refuses = True
        if self._streams:
            self._go_away(self._last, self._code, "")
        else:
            self._end(self._code, "")

    def _go_away(self, last: int, code: ErrorCodes, reason: str) -> None:
        self.write(_GOAWAY, 0, 0, _TWO_LONGS.pack(last, code) + reason.encode())

    def _end(self, code: ErrorCodes, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        if reason:
            logger.info("Closed the connection of %s: %s", self._connection, reason)
        self._go_away(self._last, code, reason)
        self._flush_now()
        self.lost()
        self._connection.end()

    def lost(self) -> None:
        """The peer is gone."""
        self._closed = True
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.leave()
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None

    def expired(self) -> None:
        """It has been idle for too long."""
        self._end(ErrorCodes.NO_ERROR, "")

    def has_room(self) -> bool:
        """Whether more of bodies may be written, as far as HTTP is concerned."""
        return self.window > 0

    # --- responses ------------------------------------------------------------------------

    def begin_response(self, stream: Stream, status: int, headers: Fields, ends: bool) -> None:
        """Write the head of a response."""
        fields = [(b":status", b"%d" % status), _date(int(time())), *headers]
        block = self._encoder.encode(fields)
        flags = _END_STREAM if ends else 0
        if len(block) <= FRAME:
            self.write(_HEADERS, flags | _END_HEADERS, stream.number, block)
            return
        self.write(_HEADERS, flags, stream.number, block[:FRAME])
        for at in range(FRAME, len(block), FRAME):
            last = at + FRAME >= len(block)
            piece = block[at : at + FRAME]
            self.write(_CONTINUATION, _END_HEADERS if last else 0, stream.number, piece)

    def send_data(self, stream: Stream, data: bytes, ends: bool) -> None:
        """Write a frame of a body that the windows have room for."""
        self.window -= len(data)
        stream.window -= len(data)
        self.write(_DATA, _END_STREAM if ends else 0, stream.number, data)

    def give_back(self, stream: Stream, size: int) -> None:
        """Let the peer send so many bytes more on a stream."""
        self.write(_WINDOW_UPDATE, 0, stream.number, _LONG.pack(size))


class _Block:
    """A header block of which frames are still to come."""

    __slots__ = ("data", "ends", "stream")

    def __init__(self, stream: int, ends: bool, data: bytearray) -> None:
        self.stream = stream
        self.ends = ends
        self.data = data


class Stream(Exchange):
    """A request and its response, on a stream of its own."""

    __slots__ = ("_http", "_left", "_returned", "expected", "number", "open", "since", "window")

    def __init__(
        self,
        http: Http2,
        peer: Connection,
        number: int,
        scope: Scope,
        request: Request | None,
        *,
        complete: bool,
    ) -> None:
        super().__init__(peer, scope, complete=complete)
        self._http = http
        self.number = number
        self.window = http.first_window
        """Bytes that the peer takes."""
        self.open = WINDOW
        """Bytes that it may send."""
        self._returned = 0
        self.expected = None if request is None else request.length
        """Bytes that are to come, where a header says so."""
        self.since = peer.loop.time()
        self._left: int | None = None

    def gave(self, size: int) -> None:
        """So many bytes are held no more."""
        self._returned += size
        if self._returned >= WINDOW // 4 and not self.complete:
            self._http.give_back(self, self._returned)
            self.open += self._returned
            self._returned = 0

    def _took(self, size: int) -> None:
        self._http.took(size)
        self.gave(size)

    def _queue(self) -> None:
        if self.window > 0:
            self.peer.blocked.append(self)

    def _put(self, body: bytes, *, more: bool) -> bytes | None:
        if self.peer.paused:
            return body
        if self._start is not None:
            body = self._begin(body, more)
            if self.ended or self.gone:
                return None
        elif self._left is not None and self._left < 0:
            body = b""
        if not body and more:
            return None
        return self._send(body, more)

    def _begin(self, body: bytes, more: bool) -> bytes:
        """Write the head; the body that may follow it."""
        start = self._start
        assert start is not None  # `_put` has looked
        self._start = None
        status: int = start["status"]
        headers: Fields = start["headers"]
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._left = -1
            body = b""
        else:
            self._left = next((int(v) for n, v in headers if n == b"content-length"), None)
        if any(name == b"connection" for name, _ in headers):
            headers = [field for field in headers if field[0] != b"connection"]
        ends = not body and not more
        self._begun = True
        self._http.begin_response(self, status, headers, ends)
        if ends:
            self._done()
        return body

    def _send(self, body: bytes, more: bool) -> bytes | None:
        http, at, size = self._http, 0, len(body)
        while True:
            room = min(size - at, self.window, http.window, http.frame)
            if room < size - at and (room <= 0 or self.peer.paused):
                return body[at:]
            piece = body if room == size else body[at : at + room]
            at += room
            last = at == size
            if self._left is not None and self._left >= 0:
                self._left -= room
                if self._left < 0 or (last and not more and self._left):
                    logger.error("A response is not as long as it says")
                    self.give_up()
                    return None
            http.send_data(self, piece, last and not more)
            http.earn()
            if last:
                break
        if not more:
            self._done()
        return None

    def _done(self) -> None:
        self.ended = True
        self._http.answered(self)

    def give_up(self) -> None:
        self._http.reset(self, ErrorCodes.INTERNAL_ERROR)


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise _Fatal(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


@lru_cache(maxsize=2)
def _date(seconds: int) -> tuple[bytes, bytes]:
    return b"date", formatdate(seconds, usegmt=True).encode()
