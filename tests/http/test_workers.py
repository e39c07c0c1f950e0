"""Several processes on one socket."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from contextlib import ExitStack

import httpx
import pytest

from proxy.engines.sockets import ServerError, bind_tcp
from tests.http.processes import ServerProcess, echo_server


def workers_of(server: ServerProcess, count: int) -> set[int]:
    """The processes that answer, once `count` of them have."""
    seen: set[int] = set()
    while len(seen) < count:
        seen |= {int(httpx.get(f"{server.url}/pid").text) for _ in range(10)}
    return seen


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_worker_serves_and_ends() -> None:
    with echo_server(workers=2, admin=True) as server:
        workers = workers_of(server, 2)
        assert len(workers) == 2
        assert httpx.get(f"http://{server.admin}/ready").status_code == 200
        server.signal()
        code, output = server.wait()
        assert (code, output) == (0, "closed\nclosed\n")
        assert not any(is_running(pid) for pid in workers)
        assert "Traceback" not in server.log


def test_connections_are_shared_out_among_the_workers() -> None:
    """Also those that come all at once, which one worker alone could take in."""
    with echo_server(workers=2) as server, ExitStack() as stack:
        workers_of(server, 2)
        sockets = []
        for _ in range(64):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((server.host, server.port))
            sockets.append(sock)
        answered: Counter[bytes] = Counter()
        for sock in sockets:
            sock.setblocking(True)
            sock.settimeout(10)
            sock.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            with sock.makefile("rb") as answer:
                answered[answer.read().splitlines()[-1]] += 1
        assert len(answered) == 2
        # As even as chance has it: worse than this once in 13 thousand million times.
        assert min(answered.values()) >= 8


def test_no_other_server_gets_in_among_the_workers() -> None:
    with echo_server(workers=2) as server:
        workers_of(server, 2)
        with pytest.raises(ServerError):
            bind_tcp(server.host, server.port)


def test_workers_that_cannot_live_end_the_server() -> None:
    with echo_server(workers=2) as server:
        first, _ = sorted(workers_of(server, 2))
        os.kill(first, signal.SIGKILL)
        code, _ = server.wait()
        assert code == 1
        assert "as soon as it started" in server.log


def test_workers_do_not_outlive_their_parent() -> None:
    with echo_server(workers=2) as server:
        workers = workers_of(server, 2)
        server.signal(signal.SIGKILL)
        # Their end of the output closes when the last one is gone.
        assert server.wait() == (-signal.SIGKILL, "closed\nclosed\n")
        assert len(workers) == 2
