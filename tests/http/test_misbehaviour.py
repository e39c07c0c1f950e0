"""Peers that break off, break rules or do not listen: their own request suffers, no other."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.http.processes import ServerProcess, echo_server
from tests.http.wire import H2Client, exchange
from tests.waiting import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with echo_server() as server:
        yield server
        assert "Traceback" not in server.log
        assert "exception" not in server.log.lower()


@pytest.fixture
def address(server: ServerProcess) -> tuple[str, int]:
    return server.host, server.port


def test_the_work_for_a_client_that_left_is_cancelled() -> None:
    with echo_server() as server:
        address = (server.host, server.port)
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(b"GET /wait?60 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert httpx.get(f"{server.url}/waiting?1", timeout=20).text == "1"
        assert httpx.get(f"{server.url}/cancelled?1", timeout=20).text == "1"
        with H2Client(address) as client:
            waiting = client.request("GET", "/wait?60")
            assert client.get("/waiting?2").status == 200
            client.connection.reset_stream(waiting, ErrorCodes.CANCEL)
            client.flush()
            assert client.get("/cancelled?2").body == b"2"
            client.request("GET", "/wait?60")
            assert client.get("/waiting?3").status == 200
        assert httpx.get(f"{server.url}/cancelled?3", timeout=20).text == "3"
        # A stream that waits is not cancelled by what happens to others.
        with H2Client(address) as client:
            waiting = client.request("GET", "/wait?0.5")
            other = client.request("POST", "/", body=b"half", end=False)
            client.connection.reset_stream(other, ErrorCodes.CANCEL)
            client.flush()
            assert client.answer(waiting).body == b"waited"
        assert "Traceback" not in server.log


def test_streams_reset_half_way_disturb_no_other(address: tuple[str, int]) -> None:
    # Again and again: where the reset meets the response differs from time to time.
    for _ in range(30):
        with H2Client(address) as client:
            # Few enough on a connection not to look like an attack by resets.
            for n in range(16):
                half = client.request("POST", "/", body=b"x" * 100, end=n % 2 == 0)
                client.connection.reset_stream(half, ErrorCodes.CANCEL)
            client.flush()
            assert client.get("/").status == 200
            assert client.terminated is None


def test_a_response_nobody_takes_is_reset_cleanly(address: tuple[str, int]) -> None:
    with H2Client(address, acknowledge=False) as client:
        large = client.request("GET", "/big?5000000")
        while len(client.answers[large].body) < 60_000:
            client.receive()
        client.connection.reset_stream(large, ErrorCodes.CANCEL)
        client.connection.increment_flow_control_window(1_000_000)
        client.flush()
        assert client.get("/").status == 200


def test_a_client_that_stops_reading_is_given_up() -> None:
    with (
        echo_server(send_timeout=0.3) as server,
        H2Client((server.host, server.port), acknowledge=False) as client,
    ):
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
        client.flush()
        assert client.answer(client.request("GET", "/big?1000")).reset is not None
        assert "Traceback" not in server.log


def pings(client: H2Client) -> None:
    """Have more answered than the buffers hold."""
    for _ in range(1000):
        client.connection.ping(b"12345678")
    client.flush()


def big_responses(client: H2Client) -> None:
    client.connection.increment_flow_control_window(2**30)
    client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
    for _ in range(10):
        client.request("GET", "/big?5000000")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files as on Linux")
@pytest.mark.parametrize("provoke", [pings, big_responses])
def test_a_peer_that_reads_nothing_at_all_is_cut_off(
    provoke: Callable[[H2Client], None],
) -> None:
    with echo_server(send_timeout=0.3, idle_timeout=0.5) as server:
        files = Path(f"/proc/{server.pid}/fd")
        # Once it answers, it has all files open that it ever needs.
        with H2Client((server.host, server.port)) as first:
            assert first.get("/").status == 200
            before = len(list(files.iterdir())) - 1
        with H2Client((server.host, server.port), receive_buffer=4096) as client:
            assert client.get("/").status == 200
            assert len(list(files.iterdir())) > before
            provoke(client)
            eventually(lambda: len(list(files.iterdir())) <= before)


def test_a_pipeline_whose_answers_nobody_takes_is_no_burden() -> None:
    with (
        echo_server(send_timeout=0.3, drain_timeout=20) as server,
        socket.create_connection((server.host, server.port), timeout=20) as sock,
    ):
        sock.sendall(b"GET /big?50000000 HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        # By then the server has given up.
        assert httpx.get(f"{server.url}/wait?1").text == "waited"
        server.signal()
        ended = time.monotonic()
        server.wait(timeout=40)
        assert time.monotonic() - ended < 15


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET nonsense HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT example.org:443 HTTP/1.1",
    ],
)
def test_a_malformed_request_is_refused(address: tuple[str, int], request_line: bytes) -> None:
    reply = exchange(address, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert reply == b"" or int(reply.split()[1]) in (400, 404, 405, 501, 505)


def test_a_request_framed_in_two_ways_ends_the_connection(address: tuple[str, int]) -> None:
    """Who stands in between may have read it the other way (RFC 9112, 6.1)."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    reply = exchange(
        address,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n0\r\n\r\n%b" % (5 + len(smuggled), smuggled),
    )
    assert reply.count(b"HTTP/1.1 ") == 1
    assert b"/smuggled" not in reply


def test_truncated_requests_are_dropped(address: tuple[str, int]) -> None:
    for data in (
        b"",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame, and long enough",
    ):
        reply = exchange(address, data, close_writing=True)
        assert b"HTTP/1.1 2" not in reply


def test_odd_http2_requests_are_refused_one_by_one(address: tuple[str, int]) -> None:
    with H2Client(address) as client:
        assert client.get("/caf\u00e9").status in (200, 400)
        connect = client.request("CONNECT", "")
        answer = client.answer(connect)
        assert answer.reset is not None or answer.status >= 400
        assert client.get("/").status == 200


def test_priority_frames_mean_nothing() -> None:
    with (
        echo_server() as server,
        H2Client((server.host, server.port)) as client,
    ):
        for stream in range(1, 3001, 2):
            client.connection.prioritize(stream, weight=1 + stream % 256)
        client.flush()
        assert client.get("/").status == 200
        assert client.terminated is None


def keep_sending(client: H2Client, stream: int) -> None:
    """Send on, as clients do that have not seen the answer, until told not to."""
    for _ in range(20):
        if client.answers[stream].reset is None:
            client.connection.send_data(stream, b"x" * 1000)
    client.flush()


def test_data_after_the_answer_disturbs_no_other(address: tuple[str, int]) -> None:
    with H2Client(address) as client:
        preflight = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "POST"),
        ]
        early = client.request("OPTIONS", "/", preflight, end=False)
        while client.answers[early].status == 0:
            client.receive()
        assert client.answers[early].status == 200
        keep_sending(client, early)
        assert client.get("/").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_a_read_carries_unannounced_is_not_waited_for(
    address: tuple[str, int], method: str
) -> None:
    with H2Client(address) as client:
        read = client.request(method, "/", end=False)
        while client.answers[read].status == 0:
            client.receive()
        assert client.answers[read].status == 200
        keep_sending(client, read)
        assert client.get("/").status == 200


def test_websockets_are_refused(address: tuple[str, int]) -> None:
    reply = exchange(
        address,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        close_writing=True,
    )
    assert not reply.startswith(b"HTTP/1.1 101")


def test_pipelined_requests_are_answered_in_order(address: tuple[str, int]) -> None:
    one = b"GET /%b HTTP/1.1\r\nHost: x\r\n%b\r\n"
    data = one % (b"first", b"") + one % (b"second", b"Connection: close\r\n")
    reply = exchange(address, data)
    assert reply.count(b"HTTP/1.1 200") == 2
    assert reply.index(b"/first") < reply.index(b"/second")
