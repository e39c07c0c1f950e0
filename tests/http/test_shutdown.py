"""SIGTERM: no new connection, what is in flight is finished, the application is closed."""

from __future__ import annotations

import contextlib
import signal
import threading

import httpx
import pytest

from tests.http.processes import ServerProcess, echo_server
from tests.http.wire import H2Client

ENGINES = ("hypercorn", "granian")


def refuses_connections(server: ServerProcess) -> bool:
    try:
        httpx.get(server.url)
    except httpx.ConnectError:
        return True
    return False


# Granian announces the end with GOAWAY and PING, which httpx's HTTP/2 takes for an error.
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "engine, versions", [("hypercorn", (False, True)), ("granian", (False, False))]
)
def test_a_request_in_flight_is_finished(
    engine: str, versions: tuple[bool, ...], number: int
) -> None:
    with echo_server(engine=engine) as server:
        answers: list[httpx.Response] = []

        def wait(http2: bool) -> None:
            with httpx.Client(http1=not http2, http2=http2) as client:
                answers.append(client.get(f"{server.url}/wait?0.7", timeout=20))

        threads = [threading.Thread(target=wait, args=(http2,)) for http2 in versions]
        for thread in threads:
            thread.start()
        assert httpx.get(f"{server.url}/waiting?2", timeout=20).status_code == 200
        server.signal(number)
        code, output = server.wait()
        for thread in threads:
            thread.join()
        assert [answer.text for answer in answers] == ["waited", "waited"]
        assert (code, output) == (0, "closed\n")
        assert refuses_connections(server)
        assert "Traceback" not in server.log


def test_an_http1_client_is_told_that_the_connection_ends() -> None:
    with echo_server() as server:
        answers: list[httpx.Response] = []
        url = f"{server.url}/wait?0.7"
        thread = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=20)))
        thread.start()
        assert httpx.get(f"{server.url}/waiting?1", timeout=20).status_code == 200
        server.signal()
        thread.join()
        assert answers[0].headers["connection"] == "close"


def test_a_new_stream_on_a_draining_connection_is_refused_unprocessed() -> None:
    with (
        echo_server() as server,
        H2Client((server.host, server.port)) as client,
    ):
        waiting = client.request("GET", "/wait?0.7")
        assert client.get("/waiting?1").status == 200
        server.signal()
        late = client.request("GET", "/")
        while not refuses_connections(server):
            late = client.request("GET", "/")
        late = client.request("GET", "/")
        assert client.answer(late).reset == 7  # REFUSED_STREAM: safe to repeat elsewhere
        assert client.answer(waiting).body == b"waited"
        assert server.wait()[0] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_what_outlasts_the_drain_timeout_is_cut_off(engine: str) -> None:
    with echo_server(engine=engine, drain_timeout=0.3) as server:
        with H2Client((server.host, server.port)) as client:
            client.request("GET", "/wait?60")
            assert client.get("/waiting?1").status == 200
            server.signal()
            code, output = server.wait()
        assert (code, output) == (0, "closed\n")
        assert "Cut off" in server.log
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "engine, versions", [("hypercorn", (False, True)), ("granian", (False,))]
)
def test_idle_connections_do_not_delay_the_end(engine: str, versions: tuple[bool, ...]) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(echo_server(engine=engine, drain_timeout=30.0))
        for http2 in versions:
            client = stack.enter_context(httpx.Client(http1=not http2, http2=http2))
            assert client.get(server.url).status_code == 200
        server.signal()
        assert server.wait(timeout=10) == (0, "closed\n")
