"""What one worker writes, the others know of: through memory, not through PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.engines.workers import MIN_LIFE
from tests.apps.conftest import Config, Server, Table, bearer, started
from tests.conftest import MakeToken, StartEdge
from tests.http.processes import ServerProcess
from tests.waiting import eventually

SECRET = "the secret of two apps on one database"
_numbers = itertools.count(5000)


def is_hit(client: httpx.Client, target: str) -> bool:
    return "; hit" in client.get(target).headers["cache-status"]


def one_client_each(server: ServerProcess, stack: ExitStack) -> list[httpx.Client]:
    """Two clients whose connections are with different workers: what one has been given
    already is new to the other."""
    clients: list[httpx.Client] = []
    while len(clients) < 2:
        target = f"/products?id=neq.{next(_numbers)}&limit=1"
        for client in clients:
            client.get(target)
        another = stack.enter_context(httpx.Client(base_url=server.url))
        if not is_hit(another, target):
            clients.append(another)
    return clients


@pytest.fixture
def two_workers(
    start_edge: StartEdge, catalogue: str, postgres: EmbeddedPostgres
) -> Iterator[ServerProcess]:
    with start_edge(
        db_uri=postgres.dsn_for(catalogue, "authenticator"),
        db_schemas="api",
        server_workers=2,
    ) as server:
        yield server
        assert "Traceback" not in server.log


def test_a_write_through_one_worker_is_read_through_the_other(
    two_workers: ServerProcess, token: MakeToken
) -> None:
    with ExitStack() as stack:
        clients = one_client_each(two_workers, stack)
        for price in range(1000, 1040):
            writer, reader = clients if price % 2 else reversed(clients)
            assert is_hit(reader, "/products?id=eq.7") or is_hit(reader, "/products?id=eq.7")
            answer = writer.patch(
                "/products?id=eq.7", json={"price": price}, headers=token(sub="ada")
            )
            assert answer.status_code == 204
            assert reader.get("/products?id=eq.7").json()[0]["price"] == price


async def test_writes_are_not_announced_to_workers(
    two_workers: ServerProcess,
    token: MakeToken,
    catalogue: str,
    postgres: EmbeddedPostgres,
) -> None:
    """PostgreSQL commits transactions that notify one after the other."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(postgres.dsn_for(catalogue))
    try:
        await listener.add_listener(
            "pgrst_cache", lambda _c, _p, _n, text: heard.put_nowait(str(text))
        )
        for _ in range(8):
            async with httpx.AsyncClient(base_url=two_workers.url) as client:
                answer = await client.patch(
                    "/products?id=eq.8", json={"price": 1}, headers=token(sub="ada")
                )
                assert answer.status_code == 204
        await listener.execute("notify pgrst_cache, 'the end'")
        assert await asyncio.wait_for(heard.get(), 10) == "the end"
    finally:
        await listener.close()


def test_nothing_is_taken_for_fresh_after_a_worker_was_killed(
    two_workers: ServerProcess,
) -> None:
    """Nobody knows what it had written."""
    began = time.monotonic()
    with ExitStack() as stack:
        clients = one_client_each(two_workers, stack)
        target = "/products?id=eq.9"
        assert all(is_hit(each, target) or is_hit(each, target) for each in clients)
        # One that dies sooner ends the server.
        eventually(lambda: time.monotonic() - began > MIN_LIFE)
        os.kill(two_workers.workers[0], signal.SIGKILL)
        eventually(lambda: "is replaced" in two_workers.log)
        client = stack.enter_context(httpx.Client(base_url=two_workers.url))
        assert not any(is_hit(client, target) for _ in range(5))


def test_apps_on_one_database_know_of_each_others_writes(
    tmp_path: Path, catalogue: str, postgres: EmbeddedPostgres
) -> None:
    """So does an app that is replaced, of the writes of the one before it."""

    def app(host: str, user: str) -> Table:
        dsn = postgres.dsn_for(catalogue, user)
        return {"hosts": [host], "db-uri": dsn, "db-schemas": "api", "jwt-secret": SECRET}

    config = Config(
        tmp_path / "edge.conf",
        {"server-host": "127.0.0.1", "server-port": 0, "db-anon-role": "web_anon"},
        {"one": app("one.test", "authenticator"), "two": app("two.test", "postgres")},
    )
    with started(config) as server:
        for price in range(2000, 2010):
            _read(server, "two.test")
            assert "; hit" in _read(server, "two.test").headers["cache-status"]
            answer = httpx.patch(
                f"{server.process.url}/products?id=eq.10",
                json={"price": price},
                headers=bearer(SECRET) | {"host": "one.test"},
            )
            assert answer.status_code == 204
            assert _read(server, "two.test").json()[0]["price"] == price


def _read(server: Server, host: str) -> httpx.Response:
    return server.get(host, "/products?id=eq.10")
