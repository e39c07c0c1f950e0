"""Peers that send more than anyone can want: they are sent away, and others are served."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.http.processes import ServerProcess, echo_server
from tests.http.wire import H2Client

PING, RST_STREAM, WINDOW_UPDATE, DATA, SETTINGS, PRIORITY, UNKNOWN = 6, 3, 8, 0, 4, 2, 0xBE
CANCEL = struct.pack("!I", 8)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with echo_server() as server:
        yield server
        assert "Traceback" not in server.log


def frame(kind: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, 0, stream) + payload


def repeated(one: bytes) -> Callable[[H2Client], bytes]:
    return lambda client: one * 100


def resets(client: H2Client) -> bytes:
    """Requests, each taken back at once."""
    for _ in range(20):
        stream = client.connection.get_next_available_stream_id()
        head = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
        client.connection.send_headers(stream, head, end_stream=True)
        client.connection.reset_stream(stream, ErrorCodes.CANCEL)
    return client.connection.data_to_send()


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(repeated(frame(PING, 0, b"12345678")), id="pings"),
        pytest.param(repeated(frame(SETTINGS, 0)), id="settings"),
        pytest.param(repeated(frame(PRIORITY, 9, b"\0\0\0\0\1")), id="priorities"),
        pytest.param(repeated(frame(UNKNOWN, 0, b"x")), id="unknown"),
        pytest.param(repeated(frame(DATA, 3)), id="empty data"),
        pytest.param(repeated(frame(WINDOW_UPDATE, 3, b"\0\0\0\1")), id="windows"),
        pytest.param(repeated(frame(RST_STREAM, 1, CANCEL)), id="resets of what is over"),
        pytest.param(resets, id="rapid resets"),
    ],
)
def test_a_flood_of_frames_is_cut_off(
    server: ServerProcess, flood: Callable[[H2Client], bytes]
) -> None:
    with H2Client((server.host, server.port)) as client:
        assert client.get("/").status == 200
        client.request("POST", "/", end=False)
        for _ in range(50_000):
            try:
                client.sock.sendall(flood(client))
            except OSError:
                break
        else:
            pytest.fail("the server listened on and on")
    assert httpx.get(f"{server.url}/").status_code == 200


def test_a_flood_is_told_why_it_is_cut_off(server: ServerProcess) -> None:
    with H2Client((server.host, server.port)) as client:
        # Little enough to be read to the end, so that no reset wipes out what is said.
        client.sock.sendall(frame(PING, 0, b"12345678") * 2050)
        while not client.closed:
            client.receive()
        assert client.terminated is not None
        assert client.terminated.error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_a_long_response_may_be_taken_in_small_windows(server: ServerProcess) -> None:
    with H2Client((server.host, server.port), acknowledge=False) as client:
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 500})
        stream = client.request("GET", "/big?2000000")
        answer = client.answers[stream]
        taken = 0
        while not answer.ended:
            client.receive()
            if (more := len(answer.body) - taken) > 0 and not answer.ended:
                taken += more
                client.connection.increment_flow_control_window(more, stream)
                client.connection.increment_flow_control_window(more)
                client.flush()
        assert len(answer.body) == 2_000_000
        assert client.terminated is None


def test_whoever_never_stops_sending_leaves_time_for_others() -> None:
    with echo_server() as server:
        served, flooding = threading.Event(), threading.Event()
        still_sending = []

        def flood() -> None:
            with socket.create_connection((server.host, server.port), timeout=20) as sock:
                sock.sendall(
                    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for _ in range(400):
                    sock.sendall(b"1\r\nx\r\n" * 3000)
                    flooding.set()
                    if served.is_set():
                        still_sending.append(True)
                        # What is under way is thrown away, for the server to end sooner.
                        abort = struct.pack("ii", 1, 0)
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
                        return

        thread = threading.Thread(target=flood)
        thread.start()
        assert flooding.wait(20)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(3):
                assert client.get("/").status_code == 200
        served.set()
        thread.join()
        assert still_sending
