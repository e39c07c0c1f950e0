"""`edgerest ready` asks a server where it can be reached, wherever it listens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.cli.ready import ask_ready
from proxy.engines.sockets import ServerError, bind_tcp
from proxy.settings import Settings


@contextmanager
def answering_once(host: str, status: str) -> Iterator[int]:
    """A server on `host` that answers one request; its port."""
    try:
        sock = bind_tcp(host, 0)
    except ServerError:
        pytest.skip(f"{host} can't be had here")

    def answer() -> None:
        client, _ = sock.accept()
        with client:
            client.recv(65536)
            client.sendall(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())

    with sock:
        sock.settimeout(30)
        sock.listen()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield sock.getsockname()[1]
        thread.join(30)


@pytest.mark.parametrize(
    "status, ready", [("200 OK", True), ("503 Service Unavailable", False)]
)
@pytest.mark.parametrize(
    "host",
    [*("!4", "*", "*4", "*6", "!6"), "0.0.0.0", "::", "[::]", "localhost"],  # noqa: S104
)
def test_it_asks_where_the_server_is(host: str, status: str, ready: bool) -> None:
    with answering_once(host, status) as port:
        answer = ask_ready(Settings(server_host=host, admin_server_port=port))
    assert answer.ready == ready
    assert f":{port}/ready" in answer.text
