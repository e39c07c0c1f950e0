"""What is too long, too large or too slow is refused with a JSON error, and nothing more."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.http.processes import ServerProcess, echo_server
from tests.http.wire import H2Client, exchange, read_all

MAX_BODY = 200_000


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    limits = {"max_url": 61_000, "max_body": MAX_BODY, "body_timeout": 0.3}
    with echo_server(**limits) as server:
        yield server


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    http2 = request.param == "HTTP/2"
    with httpx.Client(http1=not http2, http2=http2) as client:
        yield client


def code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["proxy-status"] == f"PostgREST; error={response.json()['code']}"
    return str(response.json()["code"])


def test_a_url_of_60_kb_works_and_a_longer_one_is_414(
    server: ServerProcess, client: httpx.Client
) -> None:
    long = "id=in.(" + "1," * 30_000 + "1)"
    response = client.get(f"{server.url}/t?{long}")
    assert (response.status_code, response.json()["query"]) == (200, long)
    too_long = client.get(f"{server.url}/t?{long}{'1' * 3_000}")
    assert (too_long.status_code, code(too_long)) == (414, "EDGE414")
    assert client.get(server.url).status_code == 200


def test_headers_beyond_the_limit_are_431(server: ServerProcess, client: httpx.Client) -> None:
    response = client.get(server.url, headers={"x-long": "y" * 60_000})
    assert response.status_code == 200
    too_large = client.get(server.url, headers={"x-long": "y" * 70_000})
    assert (too_large.status_code, code(too_large)) == (431, "EDGE431")
    assert client.get(server.url).status_code == 200


def test_a_body_beyond_the_limit_is_413(server: ServerProcess, client: httpx.Client) -> None:
    assert client.post(server.url, content=b"x" * MAX_BODY).json()["length"] == MAX_BODY
    announced = client.post(server.url, content=b"x" * (MAX_BODY + 1))
    assert (announced.status_code, code(announced)) == (413, "EDGE413")
    chunked = client.post(server.url, content=iter([b"x" * 50_000] * 5))
    assert (chunked.status_code, code(chunked)) == (413, "EDGE413")
    assert client.get(server.url).status_code == 200


def test_a_huge_announced_body_is_refused_before_it_is_sent(server: ServerProcess) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        sock.sendall(head)
        reply = sock.recv(65536)
        assert reply.startswith(b"HTTP/1.1 413")
        sock.shutdown(socket.SHUT_WR)
        assert b"EDGE413" in reply + read_all(sock)


def test_a_body_that_does_not_arrive_is_408(server: ServerProcess) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
    reply = exchange((server.host, server.port), head)
    assert reply.startswith(b"HTTP/1.1 408")
    assert b"EDGE408" in reply
    with H2Client((server.host, server.port)) as client:
        slow = client.request("POST", "/", body=b"abc", end=False)
        assert client.answer(slow).status == 408
        assert client.get("/").status == 200


def test_a_refused_body_on_http2_leaves_the_connection_alone(server: ServerProcess) -> None:
    with H2Client((server.host, server.port)) as client:
        announced = [("content-length", str(MAX_BODY + 1))]
        refused = client.request("POST", "/", announced, b"x" * 1000, end=False)
        answer = client.answer(refused)
        assert answer.status == 413
        # The client may have sent more before it read that.
        if answer.reset is None:
            client.connection.send_data(refused, b"x" * 1000)
            client.flush()
        assert client.get("/").status == 200


def test_nothing_of_this_is_a_failure_of_ours(server: ServerProcess) -> None:
    assert "Traceback" not in server.log
