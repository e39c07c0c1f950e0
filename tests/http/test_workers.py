"""Several processes on one socket."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from tests.http.processes import ServerProcess, echo_server

ENGINES = ("hypercorn", "granian")


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


@pytest.mark.parametrize("engine", ENGINES)
def test_every_worker_serves_and_ends(engine: str) -> None:
    with echo_server(engine=engine, workers=2, admin=True) as server:
        workers = workers_of(server, 2)
        assert len(workers) == 2
        assert httpx.get(f"http://{server.admin}/ready").status_code == 200
        server.signal()
        code, output = server.wait()
        assert (code, output) == (0, "closed\nclosed\n")
        assert not any(is_running(pid) for pid in workers)
        assert "Traceback" not in server.log


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
