"""Many requests, some of them cancelled, wrong or late: nothing may be left of any.

Run as `python -m tests.faults.soak`. Clients ask over HTTP/1.1 and HTTP/2; one request in
twenty is given up half-way, is answered with an error or runs out of time. At each checkpoint
they pause, and what the server holds is written down: memory, file descriptors, asyncio
tasks, database connections. After the first tenth none of it may grow, memory and the
collector's objects by more than 5 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
import uvloop

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.faults.clients import Broken, Http1, Http2
from tests.faults.disconnects import SCHEMA
from tests.http.processes import ServerProcess, running

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CHECKPOINTS: Final = 10
_POOL: Final = 8
_WORKERS: Final = 32
_CONNECTIONS: Final = 4
_TROUBLE: Final = 0.05
_WARM: Final = 2000
"""Requests after which caches and buffers are as large as they get."""
_CONNECTIONS_SQL: Final = """
select count(*) from pg_stat_activity where usename = 'faults_server'
"""
_OPEN_SQL: Final = """
select count(*) from pg_stat_activity
where usename = 'faults_server' and xact_start is not null
"""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a server holds. `memory`: resident bytes; `objects`: those of the garbage
    collector."""

    memory: int
    files: int
    tasks: int
    objects: int


async def look(server: ServerProcess, reports: Path) -> Holding:
    """What a `tests.faults.soak_server` that reports there holds now."""
    reader, writer = await asyncio.open_unix_connection(reports)
    told = json.loads(await reader.read())
    writer.close()
    process = Path(f"/proc/{server.pid}")
    status = (process / "status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return Holding(
        memory=int(resident.split()[1]) * 1024,
        files=len(list((process / "fd").iterdir())),
        tasks=told["tasks"],
        objects=told["objects"],
    )


@dataclass(frozen=True, slots=True)
class Held(Holding):
    """What the server holds at a checkpoint, `requests` after the start."""

    requests: int
    connections: int
    open_transactions: int
    rate: float


@dataclass(slots=True)
class Verdict:
    """The checkpoints, how requests ended, and what was wrong."""

    held: list[Held] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Soak:
    """The clients of one server."""

    def __init__(self, server: ServerProcess, reports: Path, admin: Admin, seed: int) -> None:
        self._server = server
        self._reports = reports
        self._admin = admin
        self._dice = random.Random(seed)
        self._http2: list[Http2 | None] = [None] * _CONNECTIONS
        self._opening = [asyncio.Lock() for _ in self._http2]
        self._http1: list[Http1 | None] = [None] * _WORKERS
        self._left = 0
        self.verdict = Verdict()

    async def run(self, requests: int) -> Verdict:
        """Ask so often, and look at the server CHECKPOINTS times on the way."""
        for checkpoint in range(CHECKPOINTS):
            self._left = requests // CHECKPOINTS
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number in range(_WORKERS):
                    group.create_task(self._work(number))
            took = time.monotonic() - began
            done = (checkpoint + 1) * (requests // CHECKPOINTS)
            held = await self._look(done, requests // CHECKPOINTS / took)
            self.verdict.held.append(held)
        for connection in (*self._http1, *self._http2):
            if connection is not None:
                connection.abort()
                await connection.gone()
        self._judge()
        return self.verdict

    async def _work(self, number: int) -> None:
        while self._left > 0:
            self._left -= 1
            trouble = self._dice.random() < _TROUBLE
            kind = self._dice.choice(("cancel", "error", "timeout")) if trouble else "plain"
            try:
                async with asyncio.timeout(30):
                    if number % 2:
                        ended = await self._ask_http1(number, kind)
                    else:
                        ended = await self._ask_http2(number // 2 % _CONNECTIONS, kind)
            except (Broken, OSError, TimeoutError) as error:
                ended = f"failed: {error!r}"[:100]
            self.verdict.ended[ended] += 1

    async def _ask_http1(self, number: int, kind: str) -> str:
        connection = self._http1[number]
        if connection is None or not connection.usable:
            connection = await Http1.connect(self._server.host, self._server.port)
            self._http1[number] = connection
        method, path, headers, body = self._request(kind)
        if kind != "cancel":
            answer = await connection.request(method, path, headers, body)
            return _named(kind, answer.status)
        connection.send(method, path, headers, body)
        await asyncio.sleep(self._dice.uniform(0, 0.05))
        connection.abort()
        return "cancelled"

    async def _ask_http2(self, slot: int, kind: str) -> str:
        async with self._opening[slot]:
            connection = self._http2[slot]
            if connection is None or not connection.usable:
                connection = await Http2.connect(self._server.host, self._server.port)
                self._http2[slot] = connection
        method, path, headers, body = self._request(kind)
        stream = connection.send(method, path, headers, body)
        if kind != "cancel":
            return _named(kind, (await connection.answer(stream)).status)
        await asyncio.sleep(self._dice.uniform(0, 0.05))
        connection.reset(stream)
        return "cancelled"

    def _request(self, kind: str) -> tuple[str, str, dict[str, str], bytes]:
        number = self._dice.randrange(50_000)
        match kind:
            case "cancel":
                return "GET", "/rpc/nap?seconds=5", {}, b""
            case "timeout":
                return "GET", "/rpc/nap?seconds=5", {"x-request-timeout": "0.02"}, b""
            case "error":
                wrong = ("/nowhere", "/big?id=eq.x", "/rpc/nap?seconds=x", "/big?select=none")
                return "GET", self._dice.choice(wrong), {}, b""
        if self._dice.random() < 0.1:
            body = json.dumps({"tag": str(number)}).encode()
            return "POST", "/written", {}, body
        if self._dice.random() < 0.05:
            return "GET", f"/big?id=gt.{number}&limit=200", {}, b""
        # Not many shapes, and some that were not seen before.
        return "GET", f"/big?id=eq.{number}&select=id,a{number % 100}:filler", {}, b""

    async def _look(self, requests: int, rate: float) -> Held:
        async with asyncio.timeout(30):
            while await self._admin.fetchval(_OPEN_SQL):  # noqa: ASYNC110 -- no event tells
                await asyncio.sleep(0.05)
        return Held(
            **asdict(await look(self._server, self._reports)),
            requests=requests,
            connections=await self._admin.fetchval(_CONNECTIONS_SQL),
            open_transactions=await self._admin.fetchval(_OPEN_SQL),
            rate=rate,
        )

    def _judge(self) -> None:
        first, last = self.verdict.held[0], self.verdict.held[-1]
        wrong = self.verdict.wrong
        # Beside the pool's there is the listener's.
        if any(held.connections > _POOL + 1 for held in self.verdict.held):
            wrong.append("more database connections than the pool may have")
        if last.files > first.files + _POOL:
            wrong.append(f"file descriptors: {first.files}, then {last.files}")
        if last.tasks > first.tasks + _POOL:
            wrong.append(f"asyncio tasks: {first.tasks}, then {last.tasks}")
        if first.requests >= _WARM and last.memory > first.memory * 1.05:
            growth = 100 * (last.memory / first.memory - 1)
            wrong.append(f"memory grew by {growth:.1f} %")
        if first.requests >= _WARM and last.objects > first.objects * 1.05:
            wrong.append(f"objects: {first.objects}, then {last.objects}")
        failed = [ended for ended in self.verdict.ended if ended.startswith("failed")]
        wrong += [f"{self.verdict.ended[ended]} times {ended}" for ended in failed]


def _named(kind: str, status: int) -> str:
    expected = {"plain": (200, 201), "error": (400, 404), "timeout": (504, 503)}[kind]
    return kind if status in expected else f"failed: {kind} answered {status}"


def soak(
    server: EmbeddedPostgres,
    database: str,
    scratch: Path,
    *,
    requests: int,
    seed: int = 0,
) -> Verdict:
    """Run the whole against an empty `database`."""
    asyncio.run(execute(server.dsn_for(database), SCHEMA))
    settings = {
        "db-uri": server.dsn_for(database, "faults_server"),
        "db-schemas": "faults",
        "db-anon-role": "faults_anon",
        "db-pool": _POOL,
        "server-host": "127.0.0.1",
        "server-port": 0,
        "log-level": "crit",
    }
    config, reports = scratch / "soak.conf", scratch / "soak.sock"
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    command = [sys.executable, "-m", "tests.faults.soak_server", str(config), str(reports)]
    with running(command) as edge:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ran = _run(edge, reports, server.dsn_for(database), requests, seed)
            verdict = runner.run(ran)
        if "Traceback" in edge.log:
            verdict.wrong.append(edge.log[-3000:])
    return verdict


async def _run(
    edge: ServerProcess, reports: Path, dsn: str, requests: int, seed: int
) -> Verdict:
    admin = await asyncpg.connect(dsn)
    try:
        return await Soak(edge, reports, admin, seed).run(requests)
    finally:
        await admin.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when something was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--requests", type=int, default=200_000, help="in all (200000)")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked (0)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            verdict = soak(
                database,
                "postgres",
                scratch,
                requests=options.requests,
                seed=options.seed,
            )
    print(f"how requests ended: {dict(verdict.ended)}")
    print("requests  memory/MB  files  tasks  objects  connections  requests/s")
    for held in verdict.held:
        print(
            f"{held.requests:8} {held.memory / 2**20:10.1f} {held.files:6} {held.tasks:6}"
            f" {held.objects:8} {held.connections:12} {held.rate:11.0f}"
        )
    for wrong in verdict.wrong:
        print(wrong)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
