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

from asyncio import TimerHandle
from time import time
from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy.engines.connection.exchange import Piece
from proxy.engines.connection.frames import (
    ACK,
    BATCH,
    DATA,
    END_STREAM,
    FRAME,
    GOAWAY,
    HEADERS,
    LONG,
    PADDED,
    PING,
    RST_STREAM,
    SETTING,
    SETTINGS,
    TWO_LONGS,
    WINDOW_UPDATE,
    Fatal,
    Frames,
    unpadded,
)
from proxy.engines.connection.hpack import Decoder, Encoder, Fields, HpackError
from proxy.engines.connection.messages import (
    Malformed,
    Request,
    http_date,
    request_of,
    scope_of,
)
from proxy.engines.connection.stream import WINDOW, Stream
from proxy.engines.patience import PER_ANSWER, RESET_COST, WORTH, Patience
from proxy.errors import ApiError, api_error
from proxy.response.errors import error_response

if TYPE_CHECKING:
    from proxy.engines.connection.connection import Connection

CONNECTION_WINDOW: Final = 2 * WINDOW
"""The same for all bodies of a connection: more than one, so that none can stall others."""
_FIRST_WINDOW: Final = 65_535
_MOST_WINDOW: Final = 2**31 - 1
YOUNG: Final = 0.1
"""Seconds after which a reset costs half."""
_FAREWELL: Final = b"farewell"
"""The opaque data of the PING that goes with the first GOAWAY."""
_ANY_STREAM: Final = 2**31 - 1
_MOST_SETTINGS: Final = 32
"""Settings in a frame. Each may change the windows of all streams (CVE-2020-11080)."""
_MOST_CUT: Final = 1024
"""Streams that were cut off and are remembered."""


class Http2:
    """The streams of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.options
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._streams: dict[int, Stream] = {}
        self._last = 0
        """The highest stream that the peer has opened."""
        self.window = _FIRST_WINDOW
        """Bytes that the peer takes on all streams together."""
        self.first_window = _FIRST_WINDOW
        """Bytes that it takes on a new stream."""
        self.frame = FRAME
        self._open = CONNECTION_WINDOW
        """Bytes that it may send."""
        self._taken = 0
        """Bytes that it has sent and does not know to be taken."""
        self._untaken = 0
        """Bytes sent that the peer has not said to be taken, by stream and by connection."""
        self._patience = Patience(connection.loop.time())
        self._worn_out = False
        self._announced = False
        self._last_word: TimerHandle | None = None
        self._refuses = False
        """Whether the last GOAWAY is out."""
        self._left = False
        """Whether the peer has said that it goes."""
        self._code = ErrorCodes.NO_ERROR
        self._named = _ANY_STREAM
        """The last stream of the last GOAWAY."""
        self._cut: dict[int, None] = {}
        """Streams that were reset here: the rest of them is on its way for a while."""
        handlers = {
            DATA: self._data,
            HEADERS: self._headers,
            RST_STREAM: self._reset,
            SETTINGS: self._settings,
            PING: self._ping,
            GOAWAY: self._goaway,
            WINDOW_UPDATE: self._window_update,
        }
        self._frames = Frames(
            connection.loop, connection.write, handlers, self._options.max_head
        )
        self._write = self._frames.write

    @property
    def idle(self) -> bool:
        """Whether no response is awaited."""
        return not self._streams

    def begin(self) -> None:
        """Greet the peer."""
        settings = (
            (SettingCodes.MAX_CONCURRENT_STREAMS, self._options.max_streams),
            (SettingCodes.INITIAL_WINDOW_SIZE, WINDOW),
            (SettingCodes.MAX_HEADER_LIST_SIZE, self._options.max_head),
        )
        self._write(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in settings))
        self._write(WINDOW_UPDATE, 0, 0, LONG.pack(CONNECTION_WINDOW - _FIRST_WINDOW))

    def adopt(self, request: Request) -> None:
        """Answer a request that came before the upgrade to HTTP/2 (RFC 7540, 3.2)."""
        self._last = 1
        try:
            self._apply(request.settings or b"")
        except Fatal as fatal:
            self._end(fatal.code, str(fatal))
        else:
            self._begin(1, request._replace(version="2"), complete=True)

    def receive(self, data: bytes) -> None:
        """Take in what the peer sent."""
        if self._frames.closed:
            return
        try:
            self._frames.read(data)
            if self._frames.useless:
                self._spend()
        except Fatal as fatal:
            self._end(fatal.code, str(fatal))

    # --- requests -------------------------------------------------------------------------

    def _headers(self, flags: int, stream_id: int, block: bytes) -> None:
        """A whole header block: of a request, or its trailers."""
        if not stream_id & 1:
            raise Fatal(ErrorCodes.PROTOCOL_ERROR, "a stream that clients can't open")
        ends = bool(flags & END_STREAM)
        try:
            fields = self._decoder.decode(block, self._options.max_head)
        except HpackError as error:
            raise Fatal(ErrorCodes.COMPRESSION_ERROR, str(error)) from error
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._trailers(stream, fields, ends)
        elif stream_id in self._cut:
            self._frames.useless += 1
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
        except Malformed as malformed:
            connection.refused(malformed)
            self._reject(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        try:
            self._begin(stream_id, request, complete=ends)
        except Malformed as malformed:
            # It is a request, to something that has no name: its author can be told so.
            self._refuse(stream_id, str(malformed), malformed.error)

    def _begin(self, stream_id: int, request: Request, *, complete: bool) -> None:
        connection = self._connection
        scope = scope_of(request, connection.scheme, connection.client, connection.address)
        connection.busy()
        self._streams[stream_id] = Stream(
            self, connection, stream_id, scope, request.length, complete=complete
        )

    def _refuse(self, stream_id: int, reason: str, error: ApiError) -> None:
        """Answer a request that the application is not told of."""
        self._connection.refused(Malformed(reason, error))
        response = error_response(error)
        fields = [
            (b":status", b"%d" % response.status),
            *response.headers,
            http_date(int(time())),
        ]
        self._frames.write_block(stream_id, self._encoder.encode(fields), False)
        self._write(DATA, END_STREAM, stream_id, response.body)
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
            raise Fatal(ErrorCodes.FLOW_CONTROL_ERROR, "more than the window")
        data = unpadded(flags, payload) if flags & PADDED else payload
        stream = self._stream_at(stream_id, "DATA")
        if stream is None or stream.complete:
            self.took(size)
            self._refuse_data(stream_id, stream, bool(data))
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
        elif not flags & END_STREAM:
            self._frames.useless += 1
        if flags & END_STREAM:
            self._complete(stream)

    def _refuse_data(self, stream_id: int, stream: Stream | None, some: bool) -> None:
        """DATA of a stream that takes none."""
        if stream is not None:
            self.reset(stream, ErrorCodes.STREAM_CLOSED)
        elif stream_id not in self._cut:
            self._reject(stream_id, ErrorCodes.STREAM_CLOSED)
        elif not some:
            self._frames.useless += 1

    def _stream_at(self, stream_id: int, what: str) -> Stream | None:
        """The stream that a frame is about, None when it is over. Raises `Fatal`."""
        stream = self._streams.get(stream_id)
        if stream is None and (stream_id > self._last or not stream_id & 1):
            raise Fatal(ErrorCodes.PROTOCOL_ERROR, f"{what} of a stream that is none")
        return stream

    def took(self, size: int) -> None:
        """So many bytes of bodies are held no more."""
        self._taken += size
        if self._taken >= CONNECTION_WINDOW // 4:
            self._write(WINDOW_UPDATE, 0, 0, LONG.pack(self._taken))
            self._open += self._taken
            self._taken = 0

    # --- the rest of the frames -----------------------------------------------------------

    def _reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Fatal(ErrorCodes.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        stream = self._stream_at(stream_id, "RST_STREAM")
        if stream is None:
            # It is over: nothing was done in vain.
            self._frames.useless += 1
            return
        age = self._connection.loop.time() - stream.since
        self._frames.useless += RESET_COST / (1 + age / YOUNG)
        self._forget(stream)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        self._frames.useless += 1
        if stream:
            raise Fatal(ErrorCodes.PROTOCOL_ERROR, "SETTINGS of a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise Fatal(ErrorCodes.FRAME_SIZE_ERROR, "SETTINGS of an odd length")
        if len(payload) > 6 * _MOST_SETTINGS:
            raise Fatal(ErrorCodes.ENHANCE_YOUR_CALM, "too many SETTINGS")
        if not flags & ACK:
            self._apply(payload)
            self._write(SETTINGS, ACK, 0, b"")

    def _apply(self, payload: bytes) -> None:
        for code, value in SETTING.iter_unpack(payload):
            if code == SettingCodes.HEADER_TABLE_SIZE:
                self._encoder.allow(value)
            elif code == SettingCodes.ENABLE_PUSH and value > 1:
                raise Fatal(ErrorCodes.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            elif code == SettingCodes.INITIAL_WINDOW_SIZE:
                self._change_windows(value)
            elif code == SettingCodes.MAX_FRAME_SIZE:
                if not FRAME <= value < 2**24:
                    raise Fatal(ErrorCodes.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
                self.frame = min(value, BATCH)

    def _change_windows(self, value: int) -> None:
        if value > _MOST_WINDOW:
            raise Fatal(ErrorCodes.FLOW_CONTROL_ERROR, "a window too large")
        change, self.first_window = value - self.first_window, value
        for stream in self._streams.values():
            stream.window += change
            if stream.window > _MOST_WINDOW:
                raise Fatal(ErrorCodes.FLOW_CONTROL_ERROR, "a window too large")
            if stream.window > 0:
                stream.resume()

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Fatal(ErrorCodes.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise Fatal(ErrorCodes.FRAME_SIZE_ERROR, "PING has eight bytes")
        self._frames.useless += 1
        if not flags & ACK:
            self._write(PING, ACK, 0, payload)
        elif payload == _FAREWELL and self._announced:
            # What came with the answer is served, as the client heard of the end after it.
            self._connection.loop.call_soon(self._say_last)

    def _goaway(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Fatal(ErrorCodes.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise Fatal(ErrorCodes.FRAME_SIZE_ERROR, "GOAWAY too short")
        self._frames.useless += 1
        self._left = True
        if not self._streams:
            self._end(ErrorCodes.NO_ERROR, "")

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Fatal(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        more = LONG.unpack(payload)[0] & _MOST_WINDOW
        taken = min(more, self._untaken)
        self._untaken -= taken
        self._frames.useless += max(0.0, 1 - taken / WORTH)
        if not stream_id:
            self.window += more
            if not more or self.window > _MOST_WINDOW:
                code = ErrorCodes.FLOW_CONTROL_ERROR if more else ErrorCodes.PROTOCOL_ERROR
                raise Fatal(code, "WINDOW_UPDATE out of range")
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
        self._frames.useless += 1
        self._cut_off(stream_id, code)

    def _cut_off(self, stream_id: int, code: ErrorCodes) -> None:
        """Tell the peer to stop; what it has sent by then is no fault (RFC 9113, 5.1)."""
        self._write(RST_STREAM, 0, stream_id, LONG.pack(code))
        self._cut[stream_id] = None
        if len(self._cut) > _MOST_CUT:
            del self._cut[next(iter(self._cut))]

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
            self._cut_off(stream.number, ErrorCodes.NO_ERROR)
        if stream.held:
            self.took(stream.held)
        if not self._streams:
            self._after_stream()

    def _after_stream(self) -> None:
        if self._streams or self._frames.closed:
            return
        if self._left or self._refuses:
            self._end(self._code, "")
        else:
            self._connection.idle()
            if self._connection.draining:
                self.part()

    def _spend(self) -> None:
        frames = self._frames
        useless, frames.useless = frames.useless, 0.0
        if self._patience.spend(useless, self._connection.loop.time()):
            return
        if self._worn_out:
            raise Fatal(ErrorCodes.ENHANCE_YOUR_CALM, "frames for nothing")
        self._worn_out = True
        self._patience = Patience(self._connection.loop.time())
        self._code = ErrorCodes.ENHANCE_YOUR_CALM
        self._connection.complain(f"{self._connection} sends too much for nothing")
        self.part()

    # --- the end of the connection --------------------------------------------------------

    def drain(self) -> None:
        """Ask the peer to go. Some clients give up on open streams at the first GOAWAY, so
        these may end before; `part` is called in any case."""
        if not self._streams:
            self.part()

    def part(self) -> None:
        """GOAWAY that ends nothing, and the question whether it was heard."""
        if self._announced or self._frames.closed:
            return
        self._announced = True
        # In this order, for clients that use h2 take no PING after it.
        self._write(PING, 0, 0, _FAREWELL)
        self._go_away(_ANY_STREAM, ErrorCodes.NO_ERROR, "")
        connection = self._connection
        self._last_word = connection.loop.call_later(connection.farewell, self._say_last)

    def _say_last(self) -> None:
        """What comes from now on is refused."""
        if self._refuses or self._frames.closed:
            return
        self._refuses = True
        if self._streams:
            self._go_away(self._last, self._code, "")
        else:
            self._end(self._code, "")

    def _go_away(self, last: int, code: ErrorCodes, reason: str) -> None:
        # It never names more than before (RFC 9113, 6.8), whatever was refused meanwhile.
        self._named = min(last, self._named)
        self._write(GOAWAY, 0, 0, TWO_LONGS.pack(self._named, code) + reason.encode())

    def _end(self, code: ErrorCodes, reason: str) -> None:
        if self._frames.closed:
            return
        if reason:
            self._connection.complain(f"Closed the connection of {self._connection}: {reason}")
        self._go_away(self._last, code, reason)
        self.lost()
        self._connection.end()

    def lost(self) -> None:
        """Nothing more comes or goes."""
        self._frames.close()
        if self._last_word is not None:
            self._last_word.cancel()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.leave()

    def expired(self) -> None:
        """It has been idle for too long."""
        self._end(ErrorCodes.NO_ERROR, "")

    def has_room(self) -> bool:
        """Whether more of bodies may be written, as far as HTTP is concerned."""
        return self.window > 0

    # --- responses ------------------------------------------------------------------------

    def begin_response(self, stream: Stream, fields: Fields, ends: bool) -> None:
        """Write the head of a response."""
        self._frames.write_block(stream.number, self._encoder.encode(fields), ends)

    def send_data(self, stream: Stream, data: Piece, ends: bool) -> None:
        """Write a frame of a body that the windows have room for."""
        size = len(data)
        self.window -= size
        stream.window -= size
        self._write(DATA, END_STREAM if ends else 0, stream.number, data)
        self._untaken += 2 * size

    def give_back(self, stream: Stream, size: int) -> None:
        """Let the peer send so many bytes more on a stream."""
        self._write(WINDOW_UPDATE, 0, stream.number, LONG.pack(size))
