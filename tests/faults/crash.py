"""The server killed under load: what it acknowledged is there once, nothing is there by half.

Run as `python -m tests.faults.crash`. Many writers insert single rows and whole batches, each
one under a number of its own that is never sent twice. Meanwhile the server is killed with
SIGKILL and started again, time after time. In the end every acknowledged number must have
all its rows exactly once, and a number whose answer was lost either all or none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.http.processes import ServerProcess, running
from tests.ports import free_port

_SCHEMA: Final = """
create role crash_server login noinherit;
create role crash_writer;
grant crash_writer to crash_server;
create table public.written (
    id bigint generated always as identity, writer integer, number integer, part integer
);
grant insert on public.written to crash_writer;
-- Long enough for a kill to come in the middle of a batch.
create function public.linger() returns trigger language plpgsql as $$
begin
    perform pg_sleep(0.001);
    return new;
end
$$;
create trigger linger before insert on public.written for each row execute function linger();
"""
_BATCH: Final = 25
_TIMEOUT: Final = 20.0  # seconds, for one request

Number = tuple[int, int]
"""Writer and number: what identifies one request."""


@dataclass(slots=True)
class Log:
    """What the writers were told: the rows of each request by its number."""

    acknowledged: dict[Number, int] = field(default_factory=dict)
    lost: dict[Number, int] = field(default_factory=dict)
    refused: dict[Number, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many requests were told what; `wrong` describes each broken promise.

    `lost` ones got no answer, of which `lost_but_written` were done all the same.
    """

    acknowledged: int
    lost: int
    lost_but_written: int
    refused: int
    seconds: float
    wrong: tuple[str, ...]


class Crashes:
    """A server that is killed and started again while writers write through it."""

    def __init__(
        self, dsn: str, scratch: Path, *, writers: int, between: int, seed: int
    ) -> None:
        self._between = between
        self._port = free_port()
        self._config = scratch / "crash.conf"
        settings = {
            "db-uri": dsn,
            "db-schemas": "public",
            "db-anon-role": "crash_writer",
            "db-pool": 8,
            "server-host": "127.0.0.1",
            "server-port": self._port,
            "log-level": "error",
        }
        self._config.write_text(
            "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items())
        )
        self._writers = writers
        self._random = random.Random(seed)
        self._up = asyncio.Event()
        self._stop = False
        self._answered = asyncio.Condition()
        self.log = Log()

    async def run(self, kills: int) -> None:
        """Writes and kills, until so many kills are done and the last server has written."""
        limits = httpx.Limits(max_connections=self._writers)
        url = f"http://127.0.0.1:{self._port}"
        async with (
            httpx.AsyncClient(base_url=url, limits=limits, timeout=_TIMEOUT) as client,
            asyncio.TaskGroup() as group,
        ):
            for writer in range(self._writers):
                group.create_task(self._write(client, writer))
            for _ in range(kills):
                await self._serve_until_acknowledged(killed=True)
            await self._serve_until_acknowledged(killed=False)

    async def _serve_until_acknowledged(self, *, killed: bool) -> None:
        command = [sys.executable, "-m", "tests.http.edge_server", str(self._config)]
        with ExitStack() as stack:
            server: ServerProcess = await asyncio.to_thread(
                stack.enter_context, running(command)
            )
            wanted = len(self.log.acknowledged) + self._between
            self._up.set()
            async with self._answered:
                await self._answered.wait_for(lambda: len(self.log.acknowledged) >= wanted)
            if killed:
                self._up.clear()
                server.signal(signal.SIGKILL)
                await asyncio.to_thread(server.wait)
            else:
                self._stop = True
                async with self._answered:
                    await self._answered.wait_for(lambda: self._writers == 0)

    async def _write(self, client: httpx.AsyncClient, writer: int) -> None:
        number = 0
        while not self._stop:
            await self._up.wait()
            number += 1
            size = self._random.choice((1, _BATCH))
            rows = [{"writer": writer, "number": number, "part": part} for part in range(size)]
            try:
                response = await client.post("/written", json=rows if size > 1 else rows[0])
            except httpx.TransportError:
                told = self.log.lost
            else:
                told = (
                    self.log.acknowledged if response.status_code == 201 else self.log.refused
                )
            async with self._answered:
                told[writer, number] = size
                self._answered.notify_all()
        async with self._answered:
            self._writers -= 1
            self._answered.notify_all()


def broken_promises(log: Log, found: dict[Number, list[int]]) -> list[str]:
    """What is wrong with the rows `found`: the parts that each number has."""
    wrong = []
    found = dict(found)
    for told, allowed in (
        (log.acknowledged, lambda size: [[*range(size)]]),
        (log.lost, lambda size: [[], [*range(size)]]),
        (log.refused, lambda size: [[]]),
    ):
        for number, size in told.items():
            parts = sorted(found.pop(number, []))
            if parts not in allowed(size):
                wrong.append(f"{number}: {size} rows sent, parts {parts} found")
    wrong += [f"{number}: never sent, parts {parts} found" for number, parts in found.items()]
    return wrong


def crash(*, writers: int, kills: int, between: int, seconds: float, seed: int = 0) -> Verdict:
    """Run the whole against a private PostgreSQL; `between` two kills so many requests are
    acknowledged. Raises TimeoutError after `seconds`."""
    with tempfile.TemporaryDirectory(prefix="crash-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            dsn = database.dsn_for("postgres", "crash_server")
            crashes = Crashes(dsn, scratch, writers=writers, between=between, seed=seed)
            began = time.monotonic()
            found = asyncio.run(_crash(crashes, database.dsn, kills, seconds))
    log = crashes.log
    return Verdict(
        acknowledged=len(log.acknowledged),
        lost=len(log.lost),
        lost_but_written=len(log.lost.keys() & found.keys()),
        refused=len(log.refused),
        seconds=time.monotonic() - began,
        wrong=tuple(broken_promises(log, found)),
    )


async def _crash(
    crashes: Crashes, dsn: str, kills: int, seconds: float
) -> dict[Number, list[int]]:
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(seconds):
            await connection.execute(_SCHEMA)
            await crashes.run(kills)
            await _until_sessions_ended(connection)
            return await _found(connection)
    finally:
        await connection.close()


async def _until_sessions_ended(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Until no session of a killed server is left: what it began may still commit."""
    sessions = "select count(*) from pg_stat_activity where usename = 'crash_server'"
    while await connection.fetchval(sessions):  # noqa: ASYNC110 -- no event tells of it
        await asyncio.sleep(0.05)


async def _found(connection: asyncpg.Connection[asyncpg.Record]) -> dict[Number, list[int]]:
    rows = await connection.fetch(
        "select writer, number, array_agg(part) as parts from public.written group by 1, 2"
    )
    return {(row["writer"], row["number"]): row["parts"] for row in rows}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash")
    parser.add_argument("--writers", type=int, default=200, help="at the same time (200)")
    parser.add_argument("--kills", type=int, default=10, help="of the server (10)")
    parser.add_argument(
        "--between", type=int, default=200, help="acknowledgements between two kills (200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is written (0)")
    parser.add_argument("--seconds", type=float, default=300, help="at most (300)")
    options = parser.parse_args(arguments)

    verdict = crash(
        writers=options.writers,
        kills=options.kills,
        between=options.between,
        seconds=options.seconds,
        seed=options.seed,
    )
    print(
        f"{options.writers} writers, {options.kills} kills, {verdict.seconds:.0f} s:"
        f" {verdict.acknowledged} requests acknowledged, {verdict.refused} refused,"
        f" {verdict.lost} without an answer ({verdict.lost_but_written} of them written whole);"
        f" {len(verdict.wrong)} broken promises"
    )
    for wrong in verdict.wrong:
        print(wrong)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
