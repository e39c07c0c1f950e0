"""Bodies: who may send one, how much of all is held, and that nobody keeps others out."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.bench.footprint import memory
from tests.conftest import MakeDatabase, StartEdge, execute
from tests.http.processes import ServerProcess
from tests.http.wire import H2Client
from tests.waiting import eventually

MIB = 1024 * 1024
SMALLEST = 4 * MIB
"""The smallest bound on bodies that may be set."""


@pytest.fixture(scope="module")
def database(make_database: MakeDatabase) -> str:
    return make_database(Path(__file__).with_name("bodies.sql"))


@pytest.fixture(scope="module")
def start(
    start_edge: StartEdge, postgres: EmbeddedPostgres, database: str
) -> Callable[..., object]:
    def starting(**settings: str | int) -> object:
        uri = postgres.dsn_for(database, "authenticator")
        # Nobody reads the access log, and a pipe holds but so many lines.
        return start_edge(db_uri=uri, db_schemas="api", log_level="crit", **settings)

    return starting


@pytest.fixture(scope="module")
def server(start: StartEdge) -> Iterator[ServerProcess]:
    with start() as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture
def address(server: ServerProcess) -> tuple[str, int]:
    return server.host, server.port


FORGED = {"authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoid2ViX2Fub24ifQ.AAAA"}
JSON_TYPE = {"content-type": "application/json"}
REFUSED = [
    # One thing wrong
    ("POST", "/nothing", {}, 404, "PGRST205"),
    ("PATCH", "/nothing?id=eq.1", {}, 404, "PGRST205"),
    ("DELETE", "/nothing?id=eq.1", {}, 404, "PGRST205"),
    ("POST", "/rpc/nothing", {}, 404, "PGRST202"),
    ("POST", "/no/such/path", {}, 404, "PGRST125"),
    ("POST", "/notes", FORGED, 401, "PGRST301"),
    ("POST", "/notes", {"authorization": "Bearer one.two"}, 401, "PGRST301"),
    ("PATCH", "/rpc/long", {}, 405, "PGRST101"),
    ("TRACE", "/notes", {}, 405, "PGRST117"),
    ("POST", "/", {}, 405, "PGRST117"),
    ("POST", "/notes", {"content-profile": "other"}, 406, "PGRST106"),
    ("POST", "/notes", {"content-type": "image/png"}, 400, "PGRST102"),
    ("POST", "/notes", {"content-type": "text/plain"}, 400, "PGRST102"),
    # Several: the first in PostgREST's order is told
    ("PATCH", "/no/such/path", FORGED, 401, "PGRST301"),
    ("PATCH", "/rpc/nothing", {"content-profile": "other"}, 406, "PGRST106"),
    ("PATCH", "/rpc/nothing", {}, 405, "PGRST101"),
    ("POST", "/nothing?id=nonsense", {}, 400, "PGRST100"),
    ("PUT", "/nothing?limit=1", {}, 400, "PGRST114"),
    ("POST", "/nothing", {"content-type": "image/png"}, 400, "PGRST102"),
    ("POST", "/notes?id=nonsense", {"content-type": "image/png"}, 400, "PGRST100"),
    ("POST", "/rpc/nothing", {"content-type": "image/png"}, 400, "PGRST102"),
]


def head_of(method: str, path: str, headers: dict[str, str], length: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n{lines}\r\n".encode()


def answer_on(sock: socket.socket) -> tuple[int, str, dict[str, str]]:
    """Status, code and headers of the answer, of which all but the end has come."""
    received = b""
    while b"\r\n\r\n" not in received or not received.rstrip().endswith(b"}"):
        piece = sock.recv(65536)
        assert piece, received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    document = body[body.index(b"{") : body.rindex(b"}") + 1]
    return int(lines[0].split()[1]), json.loads(document)["code"], headers


@pytest.mark.parametrize("length", [40 * MIB, None])
@pytest.mark.parametrize("method, path, headers, status, code", REFUSED)
def test_a_body_that_is_of_no_use_is_not_waited_for(
    address: tuple[str, int],
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
    length: int | None,
) -> None:
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(head_of(method, path, headers, length))
        assert answer_on(sock)[:2] == (status, code)
    with H2Client(address) as client:
        announced = [] if length is None else [("content-length", str(length))]
        pairs = [*headers.items(), *announced]
        stream = client.request(method, path, pairs, b"[", end=False)
        answered = client.answers[stream]
        while not answered.body and not client.closed:
            client.receive()
        assert (answered.status, json.loads(answered.body)["code"]) == (status, code)


def test_a_query_says_early_what_it_can_not_be(address: tuple[str, int]) -> None:
    for media_type, length, code in (
        ("text/csv", 10, "EDGE415"),
        ("application/x-www-form-urlencoded", 300_000, "EDGE413"),
    ):
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(head_of("QUERY", "/notes", {"content-type": media_type}, length))
            assert answer_on(sock)[1] == code


def test_a_refused_client_is_not_asked_for_its_body(address: tuple[str, int]) -> None:
    expecting = {"expect": "100-continue"}
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(head_of("POST", "/nothing", expecting, 100))
        assert sock.recv(65536).startswith(b"HTTP/1.1 404")
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(head_of("POST", "/notes", {**expecting, **JSON_TYPE}, 14))
        assert sock.recv(65536).startswith(b"HTTP/1.1 100")
        sock.sendall(b'{"text":"yes"}')
        assert sock.recv(65536).startswith(b"HTTP/1.1 201")


def test_what_is_said_of_a_function_names_its_arguments(server: ServerProcess) -> None:
    unknown = httpx.post(f"{server.url}/rpc/nothing", json={"b": 1, "a": 2})
    assert unknown.status_code == 404
    assert "api.nothing(a, b)" in unknown.json()["message"]
    near = httpx.post(f"{server.url}/rpc/lenght_of", json={"words": "x" * 20_000})
    assert (near.status_code, near.json()["code"]) == (404, "PGRST202")
    assert "length_of" in near.json()["hint"]


def test_a_table_that_is_new_takes_bodies(
    start: StartEdge, postgres: EmbeddedPostgres, database: str
) -> None:
    dsn = postgres.dsn_for(database)
    with start(db_channel_enabled=False) as server:
        assert httpx.post(f"{server.url}/younger", json={"id": 1}).status_code == 404
        asyncio.run(execute(dsn, "create table api.younger (id int)"))
        asyncio.run(execute(dsn, "grant insert on api.younger to web_anon"))
        # How often it looks for what it does not know is bounded.
        younger = f"{server.url}/younger"
        eventually(lambda: httpx.post(younger, json={"id": 1}).status_code == 201)


def flood(address: tuple[str, int], head: bytes, size: int) -> None:
    """Send a head and as much of a body as is taken."""
    with suppress(OSError), socket.create_connection(address, timeout=20) as sock:
        sock.sendall(head)
        piece = b"x" * 65536
        for _ in range(size // len(piece)):
            sock.sendall(piece)


@pytest.mark.parametrize("path, headers", [("/nothing", {}), ("/notes", FORGED)])
def test_bodies_that_are_refused_take_no_memory(
    start: StartEdge, path: str, headers: dict[str, str]
) -> None:
    with start() as server:
        assert httpx.post(f"{server.url}/notes", json={"text": "a"}).status_code == 201
        before = memory(server.pid)
        head = head_of("POST", path, headers, 40 * MIB + 1)
        threads = [
            threading.Thread(target=flood, args=((server.host, server.port), head, 40 * MIB))
            for _ in range(6)
        ]
        highest = before
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            highest = max(highest, memory(server.pid))
            time.sleep(0.01)
        assert highest - before < 40 * MIB


# --- all of them together -----------------------------------------------------------------


@contextmanager
def unfinished(
    server: ServerProcess, count: int, size: int, *, http2: bool
) -> Iterator[list[socket.socket]]:
    """So many requests whose bodies stop after `size` bytes, once all have arrived; over the
    connections that are given."""
    before = arrived(server)
    socks: list[socket.socket] = []
    with ExitStack() as stack:
        if http2:
            for _ in range(0, count, 10):
                client = stack.enter_context(H2Client((server.host, server.port)))
                for _ in range(10):
                    stream = client.request(
                        "POST", "/notes", list(JSON_TYPE.items()), end=False
                    )
                    for _ in range(size // 16_000):
                        while client.connection.local_flow_control_window(stream) < 16_000:
                            client.receive()
                        client.connection.send_data(stream, b" " * 16_000)
                        client.flush()
                socks.append(client.sock)
        else:
            head = head_of("POST", "/notes", JSON_TYPE, 3 * MIB)
            for _ in range(count):
                sock = stack.enter_context(
                    socket.create_connection((server.host, server.port), timeout=20)
                )
                sock.sendall(head)
                with suppress(OSError):
                    # It may be sent away before it has sent all of it.
                    sock.sendall(b" " * size)
                socks.append(sock)
        # While more come in than there is room for, which of them stay is luck.
        eventually(lambda: arrived(server) - before >= count)
        yield socks


def arrived(server: ServerProcess) -> float:
    """How many requests have come to it: those that were answered, that left, that wait."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=server.admin)) as admin:
        page = admin.get("http://admin/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name
        in {
            "edgerest_http_requests_in_flight",
            "edgerest_http_requests_abandoned_total",
            "edgerest_http_request_duration_seconds_count",
        }
    )


@pytest.fixture(scope="module")
def bounded(
    start: StartEdge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with start(
        server_max_bodies_in_flight=SMALLEST,
        server_max_answers_in_flight=MIB,
        admin_server_unix_socket=str(tmp_path_factory.mktemp("admin") / "sock"),
    ) as server:
        yield server
        assert "Traceback" not in server.log


def post(server: ServerProcess, size: int = 10) -> httpx.Response:
    return httpx.post(f"{server.url}/notes", json={"text": "x" * size}, timeout=60)


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("count, size", [(60, 128_000), (300, 0)], ids=["large", "empty"])
def test_whoever_fills_the_bound_keeps_nobody_out(
    bounded: ServerProcess, count: int, size: int, http2: bool
) -> None:
    with unfinished(bounded, count, size, http2=http2):
        for _ in range(10):
            assert post(bounded).status_code == 201
        assert post(bounded, MIB).status_code == 201


def test_who_gives_way_is_told_when_to_come_again(bounded: ServerProcess) -> None:
    with unfinished(bounded, 60, 128_000, http2=False) as socks:
        assert post(bounded).status_code == 201
        status, code, headers = answer_on(socks[0])
        assert (status, code) == (503, "EDGE531")
        assert int(headers["retry-after"]) > 0


def test_clients_that_leave_give_back_what_they_held(bounded: ServerProcess) -> None:
    for http2 in (False, True):
        with unfinished(bounded, 60, 128_000, http2=http2):
            pass
        assert post(bounded, 3 * MIB).status_code == 201


def test_a_body_larger_than_all_may_be_is_413(bounded: ServerProcess) -> None:
    refused = post(bounded, SMALLEST)
    assert (refused.status_code, refused.json()["code"]) == (413, "EDGE413")


def test_answers_that_nobody_takes_give_way(bounded: ServerProcess) -> None:
    size = 2 * MIB
    before = memory(bounded.pid)
    with ExitStack() as stack:
        for _ in range(50):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect((bounded.host, bounded.port))
            sock.sendall(b"GET /rpc/long?size=%d HTTP/1.1\r\nHost: x\r\n\r\n" % size)
        given_up = time.monotonic() + 20
        while True:
            read = httpx.get(f"{bounded.url}/rpc/long?size={size}", timeout=20)
            if read.status_code == 200:
                break
            assert (read.status_code, read.json()["code"]) == (503, "EDGE531")
            assert time.monotonic() < given_up
            time.sleep(0.1)
        assert len(read.json()) == size
        assert memory(bounded.pid) - before < 60 * MIB


# --- heads ----------------------------------------------------------------------------------


def test_a_head_in_ever_more_pieces_is_cut_off(address: tuple[str, int]) -> None:
    """CONTINUATION frames without an end (RFC 9113, 6.10)."""

    def frame(kind: int, payload: bytes) -> bytes:
        size = struct.pack("!I", len(payload))[1:]
        return size + struct.pack("!BBI", kind, 0, 1) + payload

    # ECONNRESET and EPIPE are as good an end as any; TimeoutError is none.
    with H2Client(address) as client, suppress(ConnectionError):
        # A literal header whose value is as long as a string may be.
        client.sock.sendall(frame(1, b"\x00\x01x\x7f\xe1\xff\xff\x07"))
        for _ in range(60):
            client.sock.sendall(frame(9, b"x" * 16_000))
        while not client.closed and client.terminated is None:
            client.receive()
