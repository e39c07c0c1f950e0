"""What a kept answer is worth: `python -m tests.bench.cached`.

Serves the benchmark's table and a view of it that has a cache policy, and loads, in turn on
each engine, single rows from the database, the same rows from the cache, and a conditional
request that is answered 304. Medians over the rounds are printed, with their ratio to the
read; a request that was not answered as expected makes the exit status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg
import httpx

from pool.embedded import EmbeddedPostgres
from tests.bench.http_load import Load, Way, best_driver, run_http
from tests.bench.scenarios import SERVER_ROLE, Scenario
from tests.bench.server import edgerest, running

_VIEW: Final = """
create view bench.kept with (security_invoker) as select * from bench.clients;
comment on view bench.kept is '@cache max-age=600 scope=public';
grant select on bench.kept to bench_anon;
"""
_ROWS: Final = range(1, 101)
READ: Final = Scenario("single row", tuple(f"/clients?id=eq.{n}" for n in _ROWS))
HIT: Final = Scenario("hit", tuple(f"/kept?id=eq.{n}" for n in _ROWS))
NOT_MODIFIED: Final = Scenario("304", ("/kept?id=eq.1",), wanted="304")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 when a request failed."""
    options = _options(arguments)
    failed = 0
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        scratch.chmod(0o711)
        database = stack.enter_context(EmbeddedPostgres(scratch / "pg"))
        asyncio.run(_prepare(database.dsn))
        driver = best_driver()
        print(f"driver {driver}, {options.seconds} s a run, {options.rounds} rounds")
        for engine in options.engine:
            dsn = database.dsn_for("postgres", SERVER_ROLE)
            contender = edgerest(dsn, engine, 1, pool=8, scratch=scratch)
            with running(contender, scratch):
                failed += _measure(engine, contender.port, options, scratch)
    return 1 if failed else 0


def _measure(engine: str, port: int, options: argparse.Namespace, scratch: Path) -> int:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for target in HIT.targets:
            client.get(target).raise_for_status()
        tag = client.get(NOT_MODIFIED.targets[0], headers={"accept-encoding": "identity"})
    conditional = replace(NOT_MODIFIED, headers=(("if-none-match", tag.headers["etag"]),))
    loads: dict[str, list[Load]] = {}
    for _ in range(options.rounds):
        for scenario in (READ, HIT, conditional):
            load = run_http(
                scenario,
                port,
                best_driver(),
                Way("h2", options.connections, options.streams),
                seconds=options.seconds,
                scratch=scratch,
            )
            loads.setdefault(scenario.name, []).append(load)
    read = median(load.rate for load in loads[READ.name])
    for name, runs in loads.items():
        rate = median(load.rate for load in runs)
        p99 = median(load.p99 for load in runs)
        print(f"{engine:10} {name:11} {rate:9.0f}/s  p99 {p99:6.2f} ms  x{rate / read:.1f}")
    return sum(load.failed for runs in loads.values() for load in runs)


async def _prepare(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(Path(__file__).with_name("schema.sql").read_text())
        await connection.execute(_VIEW)
        await connection.execute("analyze")
    finally:
        await connection.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="of each run (3)")
    parser.add_argument("--rounds", type=int, default=3, help="medians are over these (3)")
    parser.add_argument("--connections", type=int, default=4, help="HTTP/2 connections (4)")
    parser.add_argument("--streams", type=int, default=8, help="in flight on each (8)")
    parser.add_argument(
        "--engine", action="append", choices=["hypercorn", "granian"], help="default: both"
    )
    options = parser.parse_args(arguments)
    options.engine = options.engine or ["hypercorn", "granian"]
    return options


if __name__ == "__main__":
    sys.exit(main())
