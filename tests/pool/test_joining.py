"""What is written ahead goes out with the next write, and the loop is asyncio's otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pool.joining import JoiningLoop, JoiningTransport
from pool.model import Statement, Transaction
from pool.pool import Pool
from proxy.cli.demo.private_postgres import EmbeddedPostgres


class Written(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: Any) -> None:
        self.pieces.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def test_what_is_written_ahead_goes_out_with_the_next_write() -> None:
    written = Written()
    transport = JoiningTransport(written)
    transport.write(b"a")
    transport.write_ahead(b"b")
    assert written.pieces == [b"a"]
    transport.write(memoryview(b"c"))
    transport.write(b"d")
    assert written.pieces == [b"a", b"bc", b"d"]
    assert not transport.is_closing()


@pytest.fixture
async def counted(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Pool, list[int]]]:
    """A pool of one session, and the length of each of its writes."""
    writes: list[int] = []
    write = JoiningTransport.write

    def counting(self: JoiningTransport, data: Any) -> None:
        writes.append(len(data))
        write(self, data)

    monkeypatch.setattr(JoiningTransport, "write", counting)
    pool = Pool(postgres.dsn, size=1)
    yield pool, writes
    await pool.close()


async def test_a_read_is_one_write(counted: tuple[Pool, list[int]]) -> None:
    pool, writes = counted
    read = Transaction(
        Statement("select current_setting('a.b')"),
        settings=(("a.b", "c"), ("role", "postgres")),
        before=Statement("select 1"),
    )
    for _ in range(2):
        assert (await pool.run(read)).rows[0][0] == b"c"
    before = len(writes)
    assert (await pool.run(read)).rows[0][0] == b"c"
    assert len(writes) == before + 1


async def test_the_loop_connects_as_the_loop_behind_it() -> None:
    loop = asyncio.get_running_loop()
    joining: Any = JoiningLoop(loop)
    assert joining.time() <= loop.time()
    received = loop.create_future()

    class Peer(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            received.set_result(data)

    server = await loop.create_server(Peer, "127.0.0.1", 0)
    made: list[asyncio.BaseTransport] = []

    class Client(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    host, port = server.sockets[0].getsockname()
    transport, client = await joining.create_connection(Client, host, port)
    assert made == [transport]
    assert isinstance(client, Client)
    transport.write_ahead(b"one ")
    transport.write(b"two")
    assert await received == b"one two"
    transport.close()
    server.close()
