"""What callers cost: the server's memory at the start, for each connection, for each request
that waits.

Run as `python -m tests.bench.footprint`. Starts a private PostgreSQL and a server for each
measurement, and reads the server's resident set from /proc (Linux only).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import h2.config
import h2.connection
import h2.events

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.http.processes import running

_SCHEMA: Final = """
create role footprint_server login noinherit;
create role footprint_user;
grant footprint_user to footprint_server;
create table public.things (id integer primary key, name text);
insert into public.things values (1, 'one');
grant select on public.things to footprint_user;
"""
_STREAMS: Final = 100
"""Requests at once on a connection, as many as the server allows."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of resident memory: at the start, and added by each one of what came."""

    start: int
    http1: int
    http2: int
    waiting: int


async def _http1(host: str, port: int) -> asyncio.StreamWriter:
    """A connection that has had its answer."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /things?id=eq.1 HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    # The body is sent in chunks or not; either way it ends within what follows.
    await reader.readuntil(b"]")
    return writer


async def _http2(
    host: str, port: int, requests: int, *, answered: bool
) -> asyncio.StreamWriter:
    """A connection with so many requests, and with their answers if they are to come."""
    reader, writer = await asyncio.open_connection(host, port)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", "/things?id=eq.1"),
    ]
    for number in range(requests):
        connection.send_headers(2 * number + 1, headers, end_stream=True)
    writer.write(connection.data_to_send())
    left = requests if answered else 0
    while left:
        for event in connection.receive_data(await reader.read(65536)):
            left -= isinstance(event, h2.events.StreamEnded)
        writer.write(connection.data_to_send())
    await writer.drain()
    return writer


_KINDS: Final[Mapping[str, Callable[[str, int], Awaitable[asyncio.StreamWriter]]]] = {
    "http1": _http1,
    "http2": partial(_http2, requests=1, answered=True),
    "waiting": partial(_http2, requests=_STREAMS, answered=False),
}


@contextlib.asynccontextmanager
async def _locked(dsn: str) -> AsyncIterator[None]:
    """Nobody reads the table meanwhile."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("begin; lock table public.things")
        yield
    finally:
        await connection.close()


async def _settled(pid: int) -> int:
    """The resident set once it has stopped growing."""
    last = 0
    while (now := memory(pid)) > last:
        last = now
        await asyncio.sleep(0.3)
    return now


def memory(pid: int) -> int:
    """The resident set in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no VmRSS of process {pid}")


async def _measure(kind: str, count: int, admin: str, config: Path) -> tuple[int, int]:
    """The resident set before, and the bytes that each of `count` has added."""
    command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
    with running(command) as server:
        held = [await _http1(server.host, server.port)]
        before = await _settled(server.pid)
        async with contextlib.AsyncExitStack() as stack:
            if kind == "waiting":
                await stack.enter_async_context(_locked(admin))
            for _ in range(count // _STREAMS if kind == "waiting" else count):
                held.append(await _KINDS[kind](server.host, server.port))  # noqa: PERF401
            after = await _settled(server.pid)
            for writer in held:
                writer.close()
    return before, (after - before) // count


async def footprint(count: int) -> Footprint:
    """What `count` connections, or requests that wait, come to."""
    with tempfile.TemporaryDirectory(prefix="footprint-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)  # noqa: ASYNC240
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            connection = await asyncpg.connect(database.dsn)
            await connection.execute(_SCHEMA)
            await connection.close()
            settings = {
                "db-uri": database.dsn_for("postgres", "footprint_server"),
                "db-schemas": "public",
                "db-anon-role": "footprint_user",
                "db-pool-acquisition-timeout": 60,
                "server-host": "127.0.0.1",
                "server-port": 0,
            }
            config = scratch / "footprint.conf"
            config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
            start, http1 = await _measure("http1", count, database.dsn, config)
            _, http2 = await _measure("http2", count, database.dsn, config)
            _, waiting = await _measure("waiting", count, database.dsn, config)
    return Footprint(start, http1, http2, waiting)


def as_markdown(found: Footprint) -> str:
    """The table of docs/sizing.md."""
    return "\n".join(
        (
            "| | memory |",
            "| --- | ---: |",
            f"| a process with its schema loaded | {found.start / 1e6:.0f} MB |",
            f"| an idle connection, HTTP/1.1 | {found.http1 / 1e3:.0f} kB |",
            f"| an idle connection, HTTP/2 | {found.http2 / 1e3:.0f} kB |",
            f"| a request that waits, HTTP/2 | {found.waiting / 1e3:.0f} kB |",
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.footprint")
    parser.add_argument("--count", type=int, default=1000, help="connections (1000)")
    given = parser.parse_args()
    print(as_markdown(asyncio.run(footprint(given.count))))


if __name__ == "__main__":
    main()
