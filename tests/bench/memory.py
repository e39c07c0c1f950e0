"""What the server holds in memory: `python -m tests.bench.memory`.

Starts a private PostgreSQL and the server, and PostgREST where POSTGREST_BIN names its
program. Measures the resident size (Linux's VmRSS, of all its processes together) at rest,
with idle HTTP/2 connections, with requests that wait for the database, and the peak (VmHWM) of
a large response and of a large upload.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import asyncpg
import httpx
from h2.config import H2Configuration
from h2.connection import H2Connection

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.bench.__main__ import DATABASE, prepare
from tests.bench.scenarios import SCENARIOS, SERVER_ROLE
from tests.bench.server import ServerError, children_of, edgerest, postgrest, running

_MB: Final = 1_000_000
_POOL: Final = 4
_REST: Final = 150.0  # seconds
_SQL: Final = """
create function bench.nap_read(seconds float) returns void language sql stable
  as $$ select pg_sleep(seconds) $$;
create function bench.large(bytes int) returns text language sql stable
  as $$ select repeat('x', bytes) $$;
create function bench.swallow(data json) returns int language sql volatile
  as $$ select length(data::text) $$;
"""


def resident(pid: int) -> int:
    """Bytes in memory now, of a process and its children."""
    return sum(_status(each, "VmRSS") for each in children_of(pid))


def forget_peak(pid: int) -> None:
    """Begin to look for the peak anew."""
    for each in children_of(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """Most bytes in memory since `forget_peak`."""
    return sum(_status(each, "VmHWM") for each in children_of(pid))


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def open_connections(port: int, count: int) -> list[socket.socket]:
    """HTTP/2 connections that have said hello, been answered once, and are silent since."""
    sockets = []
    for _ in range(count):
        connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        plug = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.initiate_connection()
        head = (":method", "GET"), (":scheme", "http"), (":authority", "x")
        connection.send_headers(1, [*head, (":path", SCENARIOS[0].targets[0])], end_stream=True)
        plug.sendall(connection.data_to_send())
        ended = False
        while not ended:
            data = plug.recv(65536)
            if not data:
                raise ServerError("the server closed a connection")
            events = connection.receive_data(data)
            ended = any(type(event).__name__ == "StreamEnded" for event in events)
            plug.sendall(connection.data_to_send())
        sockets.append(plug)
    return sockets


async def _waiting(url: str, pid: int, count: int) -> int:
    """Bytes in memory while `count` requests wait for the few connections there are."""
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:

        async def nap() -> None:
            await client.get("/rpc/nap_read", params={"seconds": "2"})

        tasks = [asyncio.create_task(nap()) for _ in range(count)]
        await asyncio.sleep(1.5)
        held = resident(pid)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return held


def _await_rest(client: httpx.Client) -> None:
    """Return once the server answers again: it may go on for callers that have left."""
    deadline = time.monotonic() + _REST
    while client.get(SCENARIOS[0].targets[0]).status_code != 200:
        if time.monotonic() > deadline:
            raise ServerError("the server is still busy for callers that have left")


def _row(name: str, size: float, unit: str) -> str:
    return f"{name:44}{size:10,.1f} {unit}"


def measure(url: str, port: int, pid: int, *, connections: int, waiting: int) -> list[str]:
    """The lines of the report for one server."""
    size = 50 * _MB
    with httpx.Client(base_url=url, timeout=120) as client:
        for scenario in SCENARIOS[:3]:
            client.get(scenario.targets[0]).raise_for_status()
        rest = resident(pid)
        rows = [_row("at rest", rest / _MB, "MB")]
        plugs = open_connections(port, connections)
        each = (resident(pid) - rest) / connections
        rows.append(_row("per idle HTTP/2 connection", each / 1000, "kB"))
        for plug in plugs:
            plug.close()
        before = resident(pid)
        held = asyncio.run(_waiting(url, pid, waiting))
        rows.append(_row("per waiting request", (held - before) / waiting / 1000, "kB"))
        _await_rest(client)
        forget_peak(pid)
        before = resident(pid)
        answer = client.get("/rpc/large", params={"bytes": str(size)})
        answer.raise_for_status()
        rows.append(_row("for a response of 50 MB", (peak(pid) - before) / _MB, "MB"))
        forget_peak(pid)
        before = resident(pid)
        body = b'{"data":"' + b"x" * size + b'"}'
        client.post(
            "/rpc/swallow", content=body, headers={"content-type": "application/json"}
        ).raise_for_status()
        rows.append(_row("for an upload of 50 MB", (peak(pid) - before) / _MB, "MB"))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures edgerest and, where it is to be had, PostgREST."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--waiting", type=int, default=200)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        scratch.chmod(0o711)
        database = stack.enter_context(EmbeddedPostgres(scratch / "pg"))
        asyncio.run(prepare(database))
        asyncio.run(_add_functions(database.dsn_for(DATABASE)))
        dsn = database.dsn_for(DATABASE, SERVER_ROLE)
        settings = f"server-max-body = {60 * _MB}\n"
        contenders = [edgerest(dsn, 1, pool=_POOL, scratch=scratch, settings=settings)]
        contenders += postgrest(dsn, pool=_POOL, scratch=scratch)
        for contender in contenders:
            with running(contender, scratch) as pid:
                print(f"{contender.name}:", flush=True)
                url = f"http://127.0.0.1:{contender.port}"
                for row in measure(
                    url,
                    contender.port,
                    pid,
                    connections=options.connections,
                    waiting=options.waiting,
                ):
                    print(f"  {row}", flush=True)
    return 0


async def _add_functions(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_SQL)
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(main())
