"""SIGTERM: no new connection, what is in flight is finished, the application is closed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading

import httpx
import pytest

from tests.faults.clients import Http1, Http2, Unprocessed
from tests.http.processes import ServerProcess, echo_server
from tests.http.wire import H2Client
from tests.waiting import eventually


def refuses_connections(server: ServerProcess) -> bool:
    try:
        httpx.get(server.url)
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished(number: int) -> None:
    with echo_server() as server:
        answers: list[httpx.Response] = []

        def wait(http2: bool) -> None:
            with httpx.Client(http1=not http2, http2=http2) as client:
                answers.append(client.get(f"{server.url}/wait?0.7", timeout=20))

        threads = [threading.Thread(target=wait, args=(http2,)) for http2 in (False, True)]
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


async def test_streams_on_their_way_are_served_and_later_ones_refused() -> None:
    with echo_server(farewell=0.3) as server:
        client = await Http2.connect(server.host, server.port)
        waiting = client.send("GET", "/wait?1.5")
        assert (await client.request("GET", "/waiting?1")).status == 200
        server.signal()
        # The client is busy, so that the first farewell comes a moment later. What it sends
        # until it has heard that is served.
        on_its_way: list[int] = []
        client.at_farewell = lambda: on_its_way.append(client.send("GET", "/"))
        while not on_its_way:
            assert (await client.request("GET", "/")).status == 200
        assert (await client.answer(on_its_way[0])).status == 200
        await client.last_word.wait()
        with pytest.raises(Unprocessed):  # Safe to repeat elsewhere.
            await client.request("GET", "/")
        assert (await client.answer(waiting)).body == b"waited"
        assert (await asyncio.to_thread(server.wait))[0] == 0


async def test_an_idle_http2_connection_is_told_at_once() -> None:
    with echo_server(farewell=30.0, drain_timeout=30.0) as server:
        client = await Http2.connect(server.host, server.port)
        assert (await client.request("GET", "/")).status == 200
        server.signal()
        await client.last_word.wait()
        assert (await asyncio.to_thread(server.wait))[0] == 0


async def test_a_request_on_an_idle_http1_connection_is_not_lost() -> None:
    with echo_server(farewell=10.0) as server:
        client = await Http1.connect(server.host, server.port)
        assert (await client.request("GET", "/")).status == 200
        server.signal()
        await asyncio.to_thread(eventually, lambda: refuses_connections(server))
        answer = await client.request("GET", "/")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert (await asyncio.to_thread(server.wait))[0] == 0


def test_the_admin_server_says_at_once_that_the_end_is_near() -> None:
    with echo_server(admin=True, drain_delay=60.0) as server:
        ready = f"http://{server.admin}/ready"
        assert httpx.get(ready).status_code == 200
        server.signal()
        while httpx.get(ready).status_code != 503:
            pass
        # Until load balancers have noticed, everybody is served as ever.
        assert httpx.get(f"http://{server.admin}/live").status_code == 200
        answer = httpx.get(server.url)
        assert (answer.status_code, answer.headers.get("connection")) == (200, None)
        # Who signals again does not want to wait.
        server.signal()
        assert server.wait()[0] == 0


def test_connections_are_refused_while_the_rest_is_finished() -> None:
    with echo_server() as server:
        answers: list[httpx.Response] = []
        url = f"{server.url}/wait?2"
        thread = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=20)))
        thread.start()
        assert httpx.get(f"{server.url}/waiting?1", timeout=20).status_code == 200
        server.signal()
        while not refuses_connections(server):
            assert thread.is_alive()
        thread.join()
        assert answers[0].text == "waited"


def test_what_outlasts_the_drain_timeout_is_cut_off() -> None:
    with echo_server(drain_timeout=0.3) as server:
        with H2Client((server.host, server.port)) as client:
            client.request("GET", "/wait?60")
            assert client.get("/waiting?1").status == 200
            server.signal()
            code, output = server.wait()
        assert (code, output) == (0, "closed\n")
        assert "Cut off" in server.log
        assert "Traceback" not in server.log


def test_idle_connections_do_not_delay_the_end() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(echo_server(drain_timeout=30.0))
        for http2 in (False, True):
            client = stack.enter_context(httpx.Client(http1=not http2, http2=http2))
            assert client.get(server.url).status_code == 200
        server.signal()
        assert server.wait(timeout=10) == (0, "closed\n")
