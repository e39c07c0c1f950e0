"""A password rotated under load: nobody notices, and nothing is restarted.

Run as `python -m tests.faults.rotation`. The server has its `db-uri` from a file. Requests come
all the time, over connections that live for a second only, so that new ones are made all the
time. Again and again the role is given another password, first in the database and then in the
file, as an operator would who can't do both at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.http.processes import ServerProcess, running

_SCHEMA = """
create role rotation_server login noinherit password 'first';
create role rotation_caller;
grant rotation_caller to rotation_server;
create function public.ping() returns int language sql stable as 'select 1';
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How requests were answered; `sessions`: how many the database has begun meanwhile."""

    answers: Counter[str]
    sessions: int
    seconds: float


def rotate(*, times: int, between: float, apart: float = 0.5) -> Verdict:
    """Rotate so often, `between` seconds from one to the next; for `apart` seconds the file
    still has the old password while the database has the new one."""
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            asyncio.run(_execute(database.dsn, _SCHEMA))
            uri = scratch / "uri"
            uri.write_text(_uri(database, "first"))
            config = scratch / "rotation.conf"
            config.write_text(
                f'db-uri = {json.dumps(f"@{uri}")}\ndb-schemas = "public"\ndb-pool = 4\n'
                'db-anon-role = "rotation_caller"\ndb-pool-max-lifetime = 1\n'
                'server-host = "127.0.0.1"\nserver-port = 0\nlog-level = "error"\n'
            )
            command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
            with running(command) as server:
                return asyncio.run(_rotate(database, server, uri, times, between, apart))


def _uri(database: EmbeddedPostgres, password: str) -> str:
    dsn = database.dsn_for(user="rotation_server", password=password, tcp=True)
    return f"{dsn}?sslmode=disable"


async def _rotate(
    database: EmbeddedPostgres,
    server: ServerProcess,
    uri: Path,
    times: int,
    between: float,
    apart: float,
) -> Verdict:
    answers: Counter[str] = Counter()
    stopping = asyncio.Event()

    async def ask(client: httpx.AsyncClient) -> None:
        while not stopping.is_set():
            try:
                response = await client.get("/rpc/ping")
                answers[str(response.status_code)] += 1
            except httpx.TransportError as error:
                answers[type(error).__name__] += 1
            await asyncio.sleep(0.01)

    began = time.monotonic()
    before = await _sessions(database.dsn)
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=30) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(4):
            group.create_task(ask(client))
        for _ in range(times):
            await asyncio.sleep(between)
            password = secrets.token_hex(8)
            await _execute(database.dsn, f"alter role rotation_server password '{password}'")
            await asyncio.sleep(apart)
            await asyncio.to_thread(uri.write_text, _uri(database, password))
        await asyncio.sleep(between)
        stopping.set()
    sessions = await _sessions(database.dsn) - before
    return Verdict(answers, sessions, time.monotonic() - began)


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


async def _sessions(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    await connection.execute("select pg_stat_clear_snapshot()")
    asked = "select sessions from pg_stat_database where datname = current_database()"
    found: int = await connection.fetchval(asked)
    await connection.close()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a request failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.rotation")
    parser.add_argument("--times", type=int, default=5, help="rotations (5)")
    parser.add_argument("--between", type=float, default=3, help="seconds between two (3)")
    parser.add_argument(
        "--apart", type=float, default=0.5, help="seconds the file is behind (0.5)"
    )
    options = parser.parse_args(arguments)
    verdict = rotate(times=options.times, between=options.between, apart=options.apart)
    print(
        f"{options.times} rotations, {verdict.seconds:.0f} s, {verdict.sessions} new sessions:"
        f" answers {dict(verdict.answers)}"
    )
    return 0 if set(verdict.answers) == {"200"} else 1


if __name__ == "__main__":
    sys.exit(main())
