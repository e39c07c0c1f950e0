"""Small servers whose every answer a test decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h2.config
import h2.connection
import h2.events

from tests.loopback import LoopbackServer


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """`drops`: the connection ends in place of an answer. `drip`: seconds between bytes."""

    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=dict)
    drops: bool = False
    drip: float = 0.0


@dataclass
class Scripted:
    """A running server: where it is and what it was asked."""

    url: str
    asked: list[Asked]


@contextmanager
def answering(answer: Callable[[Asked], Answer]) -> Iterator[Scripted]:
    """An HTTP/1.1 server in threads; `answer` is called for each request."""
    asked: list[Asked] = []
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Asked(self.command, self.path, headers, self.rfile.read(length))
            asked.append(request)
            given = answer(request)
            if given.drops:
                self.close_connection = True
                return
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            bodiless = given.status in (204, 304)
            if not bodiless:
                self.send_header("content-length", str(len(given.body)))
            self.end_headers()
            if not bodiless and self.command != "HEAD":
                self.write(given)
            self.wfile.flush()

        def write(self, given: Answer) -> None:
            with suppress(OSError):
                for byte in given.body if given.drip else ():
                    self.wfile.write(bytes((byte,)))
                    self.wfile.flush()
                    ending.wait(given.drip)
                if not given.drip:
                    self.wfile.write(given.body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: stderr is the test run's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Scripted(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


class GoingAway(LoopbackServer):
    """An HTTP/2 server that ends each connection with GOAWAY after `requests` requests.

    `abruptly`: without an answer to the last of them, as when the process ends.
    """

    def __init__(self, requests: int, *, abruptly: bool) -> None:
        super().__init__()
        self._requests = requests
        self._abruptly = abruptly
        self.connections = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        configuration = h2.config.H2Configuration(client_side=False)
        connection = h2.connection.H2Connection(configuration)
        connection.initiate_connection()
        seen = 0
        try:
            while seen < self._requests:
                writer.write(connection.data_to_send())
                data = await reader.read(65536)
                if not data:
                    break
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.StreamEnded):
                        seen += 1
                        if seen > self._requests:
                            continue
                        if not (self._abruptly and seen == self._requests):
                            stream = event.stream_id
                            connection.send_headers(stream, [(":status", "200")])
                            connection.send_data(stream, b"[]", end_stream=True)
            if seen >= self._requests:
                connection.close_connection()
            writer.write(connection.data_to_send())
            await writer.drain()
        except OSError:
            return
        finally:
            writer.close()
