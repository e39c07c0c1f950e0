"""HTTP by hand: raw bytes on HTTP/1.1, single frames on HTTP/2, to do what clients must not."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events

Pairs = list[tuple[str, str]]


def exchange(address: tuple[str, int], data: bytes, *, close_writing: bool = False) -> bytes:
    """Everything the server says to `data` until it closes the connection."""
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(data)
        if close_writing:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


@dataclass
class Answered:
    """What has arrived on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class H2Client:
    """An HTTP/2 connection with prior knowledge; nothing is sent but what is asked for.

    `receive_buffer`: bytes that the system may take in before anybody reads them."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        acknowledge: bool = True,
        receive_buffer: int | None = None,
    ) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(20)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(address)
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.connection.initiate_connection()
        self.acknowledge = acknowledge
        self.answers: dict[int, Answered] = {}
        self.terminated: h2.events.ConnectionTerminated | None = None
        self.closed = False
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.connection.data_to_send())

    def request(
        self,
        method: str,
        path: str,
        headers: Pairs | None = None,
        body: bytes | None = None,
        *,
        end: bool = True,
        authority: str = "localhost",
    ) -> int:
        """Sends a request; with `end` unset the stream stays open for more.

        An empty `path` is none, as CONNECT has it. Returns the stream."""
        stream = self.connection.get_next_available_stream_id()
        target = [(":path", path), (":scheme", "http")] if path else []
        head = [(":method", method), *target, (":authority", authority), *(headers or [])]
        self.connection.send_headers(stream, head, end_stream=end and body is None)
        if body is not None:
            self.connection.send_data(stream, body, end_stream=end)
        self.answers[stream] = Answered()
        self.flush()
        return stream

    def receive(self) -> None:
        """Takes in what the server sent; blocks until there is something."""
        data = self.sock.recv(262144)
        if not data:
            self.closed = True
            return
        for event in self.connection.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    answer = self.answers[event.stream_id]
                    headers = dict(event.headers)
                    answer.status = int(headers.pop(":status"))  # type: ignore[call-overload]
                    answer.headers = headers  # type: ignore[assignment]
                case h2.events.DataReceived():
                    self.answers[event.stream_id].body += event.data
                    if self.acknowledge:
                        self.connection.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                case h2.events.StreamEnded():
                    self.answers[event.stream_id].ended = True
                case h2.events.StreamReset():
                    self.answers[event.stream_id].reset = int(event.error_code)
                case h2.events.ConnectionTerminated():
                    self.terminated = event
        self.flush()

    def answer(self, stream: int) -> Answered:
        """The whole answer on `stream`, or as much as came before a reset or the end."""
        answered = self.answers[stream]
        while not (answered.ended or answered.reset is not None or self.closed):
            self.receive()
        return answered

    def get(self, path: str, headers: Pairs | None = None) -> Answered:
        return self.answer(self.request("GET", path, headers))
