"""The database restarted under load: reads wait for it, writes are done once or not at all.

Run as `python -m tests.faults.restart`. Requests arrive at a steady rate, half of them reads,
half of them writes under a number that is sent once. Meanwhile PostgreSQL is stopped and
started again, time after time: fast, which ends its sessions with a word, or immediate, which
is a crash. In the end no read may have failed, every acknowledged number must be there exactly
once and every other at most once, and each time the first answer must have come within two
seconds of the database accepting connections.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.http.processes import ServerProcess, running

_SCHEMA: Final = """
create role restart_server login noinherit;
create role restart_caller;
grant restart_caller to restart_server;
create table public.written (number integer);
grant select, insert on public.written to restart_caller;
"""
_TIMEOUT: Final = 30.0  # seconds, for one request
SOON: Final = 2.0
"""Seconds from the database accepting connections to the first answer."""


@dataclass(slots=True)
class Log:
    """What the callers were told. `answers`: when each answer from the database came."""

    reads: Counter[str] = field(default_factory=Counter)
    acknowledged: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    answers: list[float] = field(default_factory=list)
    slowest: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many requests were told what; `wrong` describes each broken promise. `first`: the
    seconds from each start of the database to the first answer; `away`: those from each
    stop to it."""

    reads: int
    acknowledged: int
    refusals: Counter[str]
    unknown_but_written: int
    seconds: float
    slowest: float
    away: tuple[float, ...]
    first: tuple[float, ...]
    wrong: tuple[str, ...]


class Load:
    """Requests at a steady rate, one read for each write."""

    def __init__(self, url: str, rate: float) -> None:
        self._url = url
        self._rate = rate
        self._stopping = asyncio.Event()
        self.log = Log()

    def stop(self) -> None:
        """Begin no more requests."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`, and until all are answered."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with (
            httpx.AsyncClient(base_url=self._url, limits=limits, timeout=_TIMEOUT) as client,
            asyncio.TaskGroup() as group,
        ):
            for number in itertools.count():
                # What is due is begun at once, however late the loop is.
                pause = began + number / self._rate - loop.time()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(pause, 0)):
                        await self._stopping.wait()
                if self._stopping.is_set():
                    return
                group.create_task(
                    self._write(client, number) if number % 2 else self._read(client)
                )

    async def _read(self, client: httpx.AsyncClient) -> None:
        began = time.monotonic()
        try:
            response = await client.get("/written?select=number&limit=1")
        except httpx.TransportError as error:
            told = type(error).__name__
        else:
            told = _told(response)
        self.log.reads[told] += 1
        self._note(began, answered=told == "200")

    async def _write(self, client: httpx.AsyncClient, number: int) -> None:
        began = time.monotonic()
        try:
            response = await client.post("/written", json={"number": number})
        except httpx.TransportError as error:
            told = type(error).__name__
        else:
            told = _told(response)
        if told == "201":
            self.log.acknowledged.add(number)
        else:
            self.log.unknown.add(number)
            self.log.refusals[told] += 1
        self._note(began, answered=told == "201")

    def _note(self, began: float, *, answered: bool) -> None:
        now = time.monotonic()
        self.log.slowest = max(self.log.slowest, now - began)
        if answered:
            self.log.answers.append(now)


def _told(response: httpx.Response) -> str:
    if response.is_success:
        return str(response.status_code)
    return f"{response.status_code} {response.json().get('code')}"


def broken_promises(
    log: Log, found: Counter[int], first: Sequence[float | None]
) -> Iterator[str]:
    """What is wrong with what the callers were told, and the numbers `found`."""
    failed = Counter(log.reads)
    del failed["200"]
    if failed:
        yield f"reads failed: {dict(failed)}"
    lost = [number for number in log.acknowledged if not found[number]]
    if lost:
        yield f"acknowledged but not there: {sorted(lost)}"
    twice = [number for number, times in found.items() if times > 1]
    if twice:
        yield f"there more than once: {sorted(twice)}"
    stray = found.keys() - log.acknowledged - log.unknown
    if stray:
        yield f"never sent: {sorted(stray)}"
    for seconds in first:
        if seconds is None or seconds > SOON:
            yield f"the first answer came {seconds} seconds after the start"


def restart(*, fast: int, immediate: int, rate: float, between: float) -> Verdict:
    """Restart a private PostgreSQL so often, `between` seconds apart, under `rate` requests
    a second."""
    with tempfile.TemporaryDirectory(prefix="restart-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        # A commit is acknowledged once it is out of the process; the machine does not crash.
        settings = {"synchronous_commit": "on"}
        with EmbeddedPostgres(scratch / "pg", durable=False, settings=settings) as database:
            asyncio.run(_execute(database.dsn, _SCHEMA))
            config = scratch / "restart.conf"
            config.write_text(
                f"db-uri = {json.dumps(database.dsn_for('postgres', 'restart_server'))}\n"
                'db-schemas = "public"\ndb-anon-role = "restart_caller"\ndb-pool = 10\n'
                'server-host = "127.0.0.1"\nserver-port = 0\nlog-level = "error"\n'
            )
            command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
            ways = [signal.SIGINT] * fast + [signal.SIGQUIT] * immediate
            with running(command) as server:
                return asyncio.run(_restart(database, server, ways, rate, between))


async def _restart(
    database: EmbeddedPostgres,
    server: ServerProcess,
    ways: Sequence[signal.Signals],
    rate: float,
    between: float,
) -> Verdict:
    load = Load(server.url, rate)
    log = load.log
    stops: list[float] = []
    starts: list[float] = []
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await asyncio.sleep(between)
        for way in ways:
            stops.append(time.monotonic())
            assert database.pid is not None
            os.kill(database.pid, way)
            await asyncio.to_thread(database.stop)
            await asyncio.to_thread(database.start)
            starts.append(time.monotonic())
            await asyncio.sleep(between)
        load.stop()
    seconds = time.monotonic() - began
    found = await _found(database.dsn)
    first = [_first_after(log.answers, start) for start in starts]
    away = [
        start - stop + (seconds or 0.0)
        for stop, start, seconds in zip(stops, starts, first, strict=True)
    ]
    return Verdict(
        reads=log.reads["200"],
        acknowledged=len(log.acknowledged),
        refusals=log.refusals,
        unknown_but_written=len(log.unknown & found.keys()),
        seconds=seconds,
        slowest=log.slowest,
        away=tuple(away),
        first=tuple(seconds or float("inf") for seconds in first),
        wrong=tuple(broken_promises(log, found, first)),
    )


def _first_after(answers: Sequence[float], start: float) -> float | None:
    return min((when - start for when in answers if when >= start), default=None)


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


async def _found(dsn: str) -> Counter[int]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("select number, count(*) from public.written group by 1")
    await connection.close()
    return Counter({row[0]: row[1] for row in rows})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.restart")
    parser.add_argument("--fast", type=int, default=5, help="fast restarts (5)")
    parser.add_argument("--immediate", type=int, default=5, help="immediate restarts (5)")
    parser.add_argument("--rate", type=float, default=200, help="requests a second (200)")
    parser.add_argument("--between", type=float, default=2, help="seconds between two (2)")
    options = parser.parse_args(arguments)
    verdict = restart(
        fast=options.fast,
        immediate=options.immediate,
        rate=options.rate,
        between=options.between,
    )
    print(
        f"{options.fast} fast and {options.immediate} immediate restarts under"
        f" {options.rate:g} requests/s for {verdict.seconds:.0f} s:"
        f" {verdict.reads} reads answered,"
        f" {verdict.acknowledged} writes acknowledged, {verdict.refusals.total()} not"
        f" ({dict(verdict.refusals)}; {verdict.unknown_but_written} of them done)"
    )
    print(
        f"first answer after the start: {max(verdict.first):.2f} s at worst; without an"
        f" answer for {max(verdict.away):.2f} s at worst; slowest request"
        f" {verdict.slowest:.2f} s; {len(verdict.wrong)} broken promises"
    )
    for wrong in verdict.wrong:
        print(wrong)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
