"""Answers that are made while they are sent: in little memory, and whole or plainly broken."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from h2.errors import ErrorCodes

from tests.http.processes import ServerProcess, echo_server
from tests.http.wire import H2Client, exchange, read_all

PIECE = 65536


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with echo_server() as server:
        yield server


def get(path: str, method: str = "GET", version: str = "1.1", then: str = "close") -> bytes:
    lines = (f"{method} {path} HTTP/{version}", "Host: x", f"Connection: {then}", "", "")
    return "\r\n".join(lines).encode()


def ask(server: ServerProcess, path: str) -> str:
    return httpx.get(f"{server.url}{path}", timeout=30).text


def streamed(server: ServerProcess, method: str, path: str, *, http2: bool) -> httpx.Response:
    with httpx.Client(http1=not http2, http2=http2, timeout=60) as client:
        return client.request(method, f"{server.url}{path}")


@pytest.mark.parametrize("http2", [False, True])
def test_what_has_no_length_arrives_whole_in_constant_memory(
    server: ServerProcess, http2: bool
) -> None:
    streamed(server, "GET", "/stream?64", http2=http2)
    before = int(ask(server, "/memory"))
    answer = streamed(server, "GET", "/stream?1600", http2=http2)
    assert answer.status_code == 200
    assert len(answer.content) == 1600 * PIECE
    assert "content-length" not in answer.headers
    assert int(ask(server, "/memory")) - before < 16 * 1024


@pytest.mark.parametrize("http2", [False, True])
def test_head_has_no_body_and_begins_none(server: ServerProcess, http2: bool) -> None:
    answer = streamed(server, "HEAD", "/stream?10", http2=http2)
    assert (answer.status_code, answer.content) == (200, b"")
    assert ask(server, "/streamed?0") == "0"


def test_pieces_arrive_as_they_are_made(server: ServerProcess) -> None:
    with H2Client((server.host, server.port)) as client:
        stream = client.request("GET", "/drip?1,hangs")
        while not client.answers[stream].body:
            client.receive()
        assert client.answers[stream].status == 200
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        sock.sendall(get("/drip?0,hangs"))
        # The head alone: nothing of the body is there yet.
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("http2", [False, True])
def test_a_slow_reader_slows_down_who_makes_the_pieces(
    server: ServerProcess, http2: bool
) -> None:
    address = server.host, server.port
    if http2:
        client = H2Client(address, acknowledge=False)
        stream = client.request("GET", "/stream?4000")
        while len(client.answers[stream].body) < 60_000:
            client.receive()
        sock = client.sock
    else:
        sock = socket.create_connection(address, timeout=20)
        sock.sendall(get("/stream?4000"))
        sock.recv(1000)
    made = -1
    deadline = time.monotonic() + 20
    # It stands still once what lies between is full.
    while (now := int(ask(server, "/streamed?0"))) != made and time.monotonic() < deadline:
        made = now
        time.sleep(0.3)
    assert made == now < 400
    sock.close()
    assert int(ask(server, "/streamed?1")) < 500


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_client_that_leaves_stops_the_pieces(server: ServerProcess, way: str) -> None:
    address = server.host, server.port
    if way == "close":
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(get("/drip?1,hangs"))
            while b"1\r\n.\r\n" not in sock.recv(65536):
                pass
        ask(server, "/streamed?1")
    else:
        with H2Client(address) as client:
            stream = client.request("GET", "/drip?1,hangs")
            while not client.answers[stream].body:
                client.receive()
            client.connection.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
            assert client.get("/streamed?1").status == 200
    assert "Traceback" not in server.log


@pytest.mark.parametrize("http2", [False, True])
def test_pieces_that_wait_for_nothing_stop_as_well(server: ServerProcess, http2: bool) -> None:
    address = server.host, server.port
    if http2:
        with H2Client(address) as client:
            stream = client.request("GET", "/rush?2000000")
            while not client.answers[stream].body:
                client.receive()
            client.connection.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
            made = int(client.get("/streamed?1").body)
    else:
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(get("/rush?2000000"))
            sock.recv(65536)
        made = int(ask(server, "/streamed?1"))
    assert made < 1_000_000


@pytest.mark.parametrize("how", ["fails", "late"])
def test_what_breaks_off_does_not_look_whole(server: ServerProcess, how: str) -> None:
    answer = exchange((server.host, server.port), get(f"/drip?2,{how}"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"1\r\n.\r\n1\r\n.\r\n"
    with H2Client((server.host, server.port)) as client:
        stream = client.answer(client.request("GET", f"/drip?2,{how}"))
        assert (stream.status, bytes(stream.body), stream.ended) == (200, b"..", False)
        assert stream.reset is not None
        # Nobody else's request suffers.
        assert client.get("/pid").status == 200
    assert b"secret" not in answer
    assert ("a secret of the inside" in server.log) == (how == "fails")


def test_http_1_0_ends_with_the_connection(server: ServerProcess) -> None:
    answer = exchange((server.host, server.port), get("/drip?3", version="1.0"))
    assert answer.partition(b"\r\n\r\n")[2] == b"..."
    assert b"chunked" not in answer


def test_the_next_request_on_a_connection_is_answered_as_ever(server: ServerProcess) -> None:
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        sock.sendall(get("/drip?3", then="keep-alive") + get("/status?200"))
        answers = read_all(sock)
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.endswith(b"body")


def test_a_stream_ends_before_a_server_that_is_to_stop(server: ServerProcess) -> None:
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        sock.sendall(get("/drip?40"))
        first = sock.recv(65536)
        server.signal()
        assert (first + read_all(sock)).endswith(b"0\r\n\r\n")
