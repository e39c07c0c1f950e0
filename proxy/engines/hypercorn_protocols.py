"""What is said on Hypercorn's connections: its HTTP/1.1 and HTTP/2, where they must differ.

In: the bytes that peers send. Out: ASGI events to the application, and its responses as
bytes. Hypercorn's protocol classes are used as they are where they hold up. What is
replaced here, and why (Hypercorn 0.18):

* HTTP/2 frames it does not expect (DATA after the response, a path that is not ASCII,
  CONNECT without a path) end as exceptions that take the whole connection, with every
  stream on it, down;
* HTTP/2 frames that ask for nothing are welcome without limit;
* a stream given up half-way is never reset, so the client waits for ever; and a connection
  that is closed with requests in its pipeline stays in memory;
* an HTTP/2 connection without a request never counts as idle;
* when the server stops, streams that clients have just opened are lost: GOAWAY comes once,
  and means at once that no other stream is looked at;
* a connection remembers the end of each of 65,536 streams;
* uploads are slow from far away, for HTTP/2's windows are as small as they may be; and what
  nobody has read yet is acknowledged, so that clients send without limit. What nobody will
  read is dropped here, and beyond `UNREAD` bytes of the rest the connection waits;
* the head of an HTTP/2 request may come in pieces of a megabyte together;
* HTTP/1.1 clients are asked for bodies (100 Continue) that are then refused;
* HTTP/1.1 status lines come without a reason phrase, which some clients stumble over;
* every response waits for a sending task and a priority tree, and takes three writes. What
  fits into a frame and the windows goes out at once; the rest takes turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

import h2.events
import h11
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.h11 import (
    H2CProtocolRequiredError,
    H2ProtocolAssumedError,
    H11Protocol,
)
from hypercorn.protocol.http_stream import ASGIHTTPState
from hyperframe.frame import GoAwayFrame
from priority.priority import DeadlockError

from proxy.engines.hypercorn_tasks import UNREAD, Context, LeanEvent, Mailbox
from proxy.engines.patience import PER_ANSWER, PER_PIECE, RESET_COST, Patience

WINDOW: Final = 2**20
"""Bytes of requests' bodies that may be under way, on a stream and on a connection. With the
65,535 of the protocol's default, an upload waits a round trip for each of them; an edge is tens
of milliseconds away."""
_FIRST_WINDOW: Final = 65_535
MOST_RESET: Final = 1000
_RESET: Final = frozenset((StreamClosedBy.RECV_RST_STREAM, StreamClosedBy.SEND_RST_STREAM))
_FAREWELL: Final = b"farewell"
"""The opaque data of the PING that goes with the first GOAWAY."""
_ANY_STREAM: Final = 2**31 - 1
_HTTP2_CONTEXT: Final = Context(None)
"""Hypercorn's own way to end HTTP/2 connections is replaced, so it is never told to."""


class Protocol(ProtocolWrapper):
    """HTTP/1.1 by default; HTTP/2 by ALPN, prior knowledge or upgrade, with `_Http2`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if isinstance(self.protocol, H2Protocol):
            self.protocol = self._http2()
        else:
            self.protocol = _Http1(*self._arguments())

    def _http2(self) -> _Http2:
        return _Http2(*self._arguments())

    def _arguments(self) -> tuple[Any, ...]:
        return (
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.state,
            self.ssl,
            self.client,
            self.server,
            self.send,
        )

    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
        except (H2ProtocolAssumedError, H2CProtocolRequiredError) as switch:
            self.protocol = self._http2()
            if isinstance(switch, H2CProtocolRequiredError):
                await self.protocol.initiate(switch.headers, switch.settings)
            else:
                await self.protocol.initiate()
                # What has come so far was no request, though it began like one.
                await self.send(Updated(idle=True))
            if switch.data:
                await self.protocol.handle(RawData(data=switch.data))

    async def end_reading(self) -> None:
        """Let go of whoever waits to read the next request: there is none to come."""
        if isinstance(self.protocol, _Http1):
            await self.protocol.end_reading()

    @property
    def says_farewell(self) -> bool:
        """Whether there is a way to tell the peer that it should go, without a response."""
        return isinstance(self.protocol, _Http2)

    async def say_farewell(self, seconds: float) -> None:
        """Tell the peer to take further requests elsewhere; returns when none is to come,
        after `seconds` at the latest."""
        if isinstance(self.protocol, _Http2):
            await self.protocol.say_farewell(seconds)


def _mailbox(stream: Any) -> Mailbox | None:
    """Where the messages to a stream's application go; None when it has none."""
    return None if stream is None else getattr(stream.app_put, "__self__", None)


class _Http1(H11Protocol):
    """HTTP/1.1 with reason phrases: the application's, or the status's own. A client that
    waits for 100 Continue gets it when the application asks for the body."""

    async def _create_stream(self, request: h11.Request) -> None:
        await super()._create_stream(request)
        mailbox = _mailbox(self.stream)
        if mailbox is not None and self.connection.they_are_waiting_for_100_continue:
            mailbox.asked = self._ask_for_body

    async def _ask_for_body(self) -> None:
        if self.connection.they_are_waiting_for_100_continue:
            headers = self.config.response_headers("h11")
            await super()._send_h11_event(
                h11.InformationalResponse(status_code=100, headers=headers)
            )

    async def end_reading(self) -> None:
        connection: Any = self.connection
        connection.next_event = h11.ConnectionClosed
        await self.can_read.set()

    async def _send_h11_event(
        self, event: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage
    ) -> None:
        if isinstance(event, h11.InformationalResponse) and event.status_code == 100:
            return  # Hypercorn sends it as soon as it has the head.
        if isinstance(event, h11.Response):
            started = getattr(self.stream, "response", None) or {}
            event = h11.Response(
                status_code=event.status_code,
                headers=event.headers,
                http_version=event.http_version,
                reason=_reason_phrase(event.status_code, started.get("reason")),
            )
        await super()._send_h11_event(event)


def _reason_phrase(status: int, chosen: str | None) -> bytes:
    """What the status line ends in; a phrase that SQL chose is cut down to what may stand
    there (RFC 9112, section 4)."""
    if chosen is not None:
        return "".join(c if " " <= c <= "~" else " " for c in chosen).encode()
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


class _Turns:
    """Streams with something to send, taking turns; stands in for Hypercorn's priority tree
    (RFC 9113 deprecates the priorities that it keeps)."""

    def __init__(self) -> None:
        self._ready: OrderedDict[int, None] = OrderedDict()

    def __next__(self) -> int:
        """The stream whose turn it is. Raises `DeadlockError` when none is ready."""
        if not self._ready:
            raise DeadlockError
        stream_id = next(iter(self._ready))
        self._ready.move_to_end(stream_id)
        return stream_id

    def insert_stream(self, stream_id: int) -> None:
        """A new stream has nothing to send yet."""

    def unblock(self, stream_id: int) -> None:
        self._ready[stream_id] = None

    def block(self, stream_id: int) -> None:
        self._ready.pop(stream_id, None)

    remove_stream = block


class ResetStreams(dict[int, StreamClosedBy | None]):
    """The streams of a connection that were reset last, for frames that were on their way.

    h2 keeps how each of the last 65,536 streams ended, several megabytes on a connection that
    lives long. It needs to know of those that were reset only: a frame on another one is an
    error of the connection in any case.
    """

    def __setitem__(self, stream_id: int, closed_by: StreamClosedBy | None) -> None:
        if closed_by in _RESET:
            super().__setitem__(stream_id, closed_by)
            if len(self) > MOST_RESET:
                del self[next(iter(self))]


class _Http2(H2Protocol):
    """HTTP/2 that survives what peers do, and tells them when a stream is over."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.context = _HTTP2_CONTEXT
        former = self.connection.local_settings
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                **{SettingCodes(code): value for code, value in former.items()},
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            },
        )
        private: Any = self.connection
        private._closed_streams = ResetStreams()
        # Set in the settings only, the limit would be announced but not in force.
        self.connection.decoder.max_header_list_size = self.config.h2_max_header_list_size
        # The application's headers are in lower case and checked (`proxy.data_plane`).
        self.connection.config.validate_outbound_headers = False
        self.connection.config.normalize_outbound_headers = False
        self.priority: Any = _Turns()
        self._patience = Patience(monotonic())
        self._frames_without_event = 0
        self._count_frames()
        self._receiving: set[int] = set()
        """Streams whose request has not ended."""
        self._ending: dict[int, asyncio.Future[None]] = {}
        """Applications that wait for the end of their stream to be on its way."""
        self._unread = 0
        """Bytes of bodies that no application has read yet."""
        self._caught_up = LeanEvent()
        self._flush_handle: asyncio.Handle | None = None
        self._farewell_heard = asyncio.Event()
        self._refuses = False
        """Whether the last GOAWAY is out, and streams that come thereafter are refused."""

    async def initiate(
        self, headers: list[tuple[bytes, bytes]] | None = None, settings: bytes | None = None
    ) -> None:
        await super().initiate(headers, settings)
        # That of the connection is no setting (RFC 9113, 6.9.2).
        self.connection.increment_flow_control_window(WINDOW - _FIRST_WINDOW)
        await self._flush()

    async def say_farewell(self, seconds: float) -> None:
        """GOAWAY in two steps (RFC 9113, 6.8): the first one announces, and streams that were
        on their way are still served; the second one, a round trip later, names the last."""
        # In this order, for clients that use h2 take no PING after it.
        self.connection.ping(_FAREWELL)
        _go_away(self.connection, _ANY_STREAM)
        await self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._farewell_heard.wait()
        self._refuses = True
        _go_away(self.connection, self.connection.highest_inbound_stream_id)
        await self._flush()

    def _count_frames(self) -> None:
        """Of some frames, as those on streams that are closed, h2 tells nothing."""
        connection: Any = self.connection
        receive = connection._receive_frame

        def receive_frame(frame: object) -> list[h2.events.Event]:
            events: list[h2.events.Event] = receive(frame)
            self._frames_without_event += not events
            return events

        connection._receive_frame = receive_frame

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if self._head_in_pieces() > self.config.h2_max_header_list_size:
            await self._send_away()
        if isinstance(event, Closed):
            # Nothing is sent any more: whoever waits for that has waited enough.
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()
            for stream_id in list(self._ending):
                self._end(stream_id)
            self._farewell_heard.set()
            self._caught_up.now()

    def _end(self, stream_id: int) -> None:
        waiter = self._ending.get(stream_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _head_in_pieces(self) -> int:
        """Bytes of a head that has not come to its end."""
        buffer: Any = self.connection.incoming_buffer
        return sum([len(frame.data) for frame in buffer._headers_buffer])

    async def _send_away(self) -> None:
        self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        await self._flush()
        await self.send(Closed())

    def _is_read(self, stream: Any) -> bool:
        """Whether the application may read what comes on this stream."""
        return stream.state is ASGIHTTPState.REQUEST and not stream.closed

    def _taken(self, stream_id: int, count: int) -> None:
        self._unread -= count
        self._acknowledge(stream_id, count)
        if self._unread <= UNREAD:
            self._caught_up.now()

    def _acknowledge(self, stream_id: int, count: int) -> None:
        """Let the peer send as much again."""
        if count and not self.closed:
            with suppress(ProtocolError):
                self.connection.acknowledge_received_data(count, stream_id)
                self._flush_soon()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        useless = self._frames_without_event + sum(map(_uselessness, events))
        self._frames_without_event = 0
        if useless and not self._patience.spend(useless, monotonic()):
            await self._send_away()
            return
        for event in events:
            match event:
                case h2.events.RequestReceived():
                    await self._begin(event)
                case h2.events.DataReceived():
                    stream = self.streams.get(event.stream_id)
                    if stream is None or not event.data or not self._is_read(stream):
                        self._acknowledge(event.stream_id, event.flow_controlled_length)
                        continue
                    padding = event.flow_controlled_length - len(event.data)
                    self._acknowledge(event.stream_id, padding)
                    self._unread += len(event.data)
                    await stream.handle(Body(stream_id=event.stream_id, data=event.data))
                    while self._unread > UNREAD and not self.closed:
                        await self._caught_up.clear()
                        await self._caught_up.wait()
                case h2.events.StreamEnded():
                    self._receiving.discard(event.stream_id)
                    stream = self.streams.get(event.stream_id)
                    if stream is not None:
                        await stream.handle(EndBody(stream_id=event.stream_id))
                case h2.events.StreamReset():
                    self._receiving.discard(event.stream_id)
                    await super()._handle_events([event])
                case h2.events.PingAckReceived(ping_data=data) if data == _FAREWELL:
                    self._farewell_heard.set()
                case h2.events.PriorityUpdated():
                    pass  # Deprecated by RFC 9113, 5.3
                case _:
                    await super()._handle_events([event])
        await self._flush()

    async def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id
        pseudo = {name: value for name, value in event.headers if name[:1] == b":"}
        if self._refuses:
            # Tells the client that nothing was done, so that it repeats it elsewhere.
            self.connection.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
        elif b":path" not in pseudo or pseudo[b":method"] == b"CONNECT":
            self.connection.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
        elif not (pseudo[b":path"].isascii() and pseudo[b":method"].isascii()):
            self.connection.send_headers(
                stream_id, [(b":status", b"400"), (b"content-length", b"0")], end_stream=True
            )
            if event.stream_ended is None:
                self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        else:
            if event.stream_ended is None:
                self._receiving.add(stream_id)
            await self._create_stream(event)
            mailbox = _mailbox(self.streams.get(stream_id))
            if mailbox is not None:
                mailbox.taken = partial(self._taken, stream_id)
            await self.send(Updated(idle=False))

    async def stream_send(self, event: StreamEvent) -> None:
        buffer = self.stream_buffers.get(event.stream_id)
        try:
            match event:
                case Response():
                    # Goes out with the first piece of the body or the end.
                    headers = event.headers + self.config.response_headers("h2")
                    status = (b":status", b"%d" % event.status_code)
                    self.connection.send_headers(event.stream_id, [status, *headers])
                    self._flush_soon()
                    return
                case Body() if buffer is not None and self._fits(buffer, event):
                    self.connection.send_data(event.stream_id, event.data)
                    self._patience.earn(PER_PIECE)
                    self._flush_soon()
                    return
                case EndBody() if buffer is not None and not buffer.buffer:
                    self.connection.end_stream(event.stream_id)
                    self._patience.earn(PER_ANSWER)
                    del self.stream_buffers[event.stream_id]
                    self.priority.remove_stream(event.stream_id)
                    await self._ended(event.stream_id)
                    return
                case StreamClosed() if buffer is not None and not buffer.complete:
                    await self._give_up(event.stream_id)
        except ProtocolError:
            return  # The stream or the connection is closed already.
        await super().stream_send(event)
        if not isinstance(event, EndBody) or self.closed:
            return
        if event.stream_id in self.stream_buffers:
            # The last bytes are out, the end of the stream is not. A draining connection
            # must not be closed between the two.
            waiter = asyncio.get_running_loop().create_future()
            self._ending[event.stream_id] = waiter
            try:
                await waiter
            finally:
                del self._ending[event.stream_id]

    def _fits(self, buffer: StreamBuffer, piece: Body) -> bool:
        """Whether `piece` can be sent at once: nothing waits before it, windows are open."""
        size = len(piece.data)
        return (
            not buffer.buffer
            and size <= self.connection.max_outbound_frame_size
            and size <= self.connection.local_flow_control_window(piece.stream_id)
        )

    def _flush_soon(self) -> None:
        """Send what is there before the event loop turns to the network again."""
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_soon(self._spawn_flush)

    def _spawn_flush(self) -> None:
        self._flush_handle = None
        if not self.closed:
            self.task_group.spawn(self._flush)

    async def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        await super()._flush()

    async def _ended(self, stream_id: int) -> None:
        """The response is out; what is left of the request is of no use."""
        if stream_id in self._receiving:
            self._receiving.discard(stream_id)
            with suppress(ProtocolError):
                self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        await self._flush()

    async def _give_up(self, stream_id: int) -> None:
        """Reset a stream whose response ends before it is complete."""
        self._receiving.discard(stream_id)
        await self.stream_buffers[stream_id].close()
        with suppress(ProtocolError):
            self.connection.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._flush()
        # The sending task finds the stream closed and clears its buffer away.
        self.priority.unblock(stream_id)
        await self.has_data.set()

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        if buffer is None:
            self.priority.remove_stream(stream_id)
            return
        try:
            window = self.connection.local_flow_control_window(stream_id)
            room = max(0, min(window, self.connection.max_outbound_frame_size))
            data = await buffer.pop(room)
            if data:
                self.connection.send_data(stream_id, data)
                self._patience.earn(PER_PIECE)
            else:
                self.priority.block(stream_id)
            if buffer.complete:
                self.connection.end_stream(stream_id)
                self._patience.earn(PER_ANSWER)
        except ProtocolError:
            await buffer.close()  # The peer has closed the stream or the connection.
        if buffer.complete:
            self.stream_buffers.pop(stream_id, None)
            self.priority.remove_stream(stream_id)
            self._end(stream_id)
            await self._ended(stream_id)
        else:
            await self._flush()


def _go_away(connection: H2Connection, last_stream: int) -> None:
    """GOAWAY without an error. h2's own ends the connection, answers to come included."""
    frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=ErrorCodes.NO_ERROR)
    private: Any = connection
    private._data_to_send += frame.serialize()


def _uselessness(event: h2.events.Event) -> float:
    """What an event takes of the server's patience."""
    match event:
        case h2.events.StreamReset():
            return RESET_COST
        case h2.events.DataReceived(data=data, stream_ended=ended):
            return 0.0 if data or ended is not None else 1.0
        case h2.events.RequestReceived() | h2.events.StreamEnded():
            return 0.0
        case _:
            return 1.0
