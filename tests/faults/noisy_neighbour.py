"""A quiet pool beside a noisy one on the same budget: `python -m tests.faults.noisy_neighbour`.

Pool A has 2,000 transactions in flight all the time; pool B is asked ten times a second. What
is told: B's latency alone and beside A, and the ratio of the two p99. 1 when the ratio is
above the goal, or anything failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from pool import Budget, Pool, Statement, Transaction
from pool.pace import PER_TURN, Pace
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.engines.collector import out_of_the_way

GOAL: Final = 3.0
_QUERY: Final = Transaction(
    Statement("select json_agg(n)::text from generate_series(1, 20) as n"),
    settings=(("search_path", "public"),),
)


@dataclass(frozen=True, slots=True)
class Latencies:
    """What a number of transactions took, in milliseconds."""

    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """B alone and beside A, of which so many transactions a second were run meanwhile."""

    alone: Latencies
    beside: Latencies
    noise: float
    most_sessions: int

    @property
    def ratio(self) -> float:
        """How many times longer B's p99 is beside A."""
        return self.beside.p99 / self.alone.p99


async def compare(
    dsn: str, *, total: int, in_flight: int, rate: float, seconds: float
) -> Comparison:
    """B alone for `seconds`, then beside A for as long; `total` connections for both."""
    budget, pace = Budget(total), Pace(PER_TURN)
    quiet = Pool(dsn, size=total, budget=budget, pace=pace, application_name="quiet")
    noisy = Pool(
        dsn,
        size=total,
        budget=budget,
        pace=pace,
        application_name="noisy",
        max_waiting=2 * in_flight,
    )
    noise: list[asyncio.Task[None]] = []
    try:
        await asyncio.gather(quiet.open(), noisy.open())
        alone = await _ask(quiet, rate, seconds)
        stop = asyncio.Event()
        noise += [asyncio.create_task(_keep_asking(noisy, stop)) for _ in range(in_flight)]
        await asyncio.sleep(1)
        before, began = noisy.stats.transactions, asyncio.get_running_loop().time()
        beside = await _ask(quiet, rate, seconds)
        took = asyncio.get_running_loop().time() - began
        done = noisy.stats.transactions - before
        used = budget.used
        stop.set()
        await asyncio.gather(*noise)
    finally:
        for task in noise:
            task.cancel()
        await asyncio.gather(quiet.close(), noisy.close())
    return Comparison(alone, beside, done / took, used)


async def _keep_asking(pool: Pool, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await pool.run(_QUERY)


async def _ask(pool: Pool, rate: float, seconds: float) -> Latencies:
    """Ask `rate` times a second, whether or not the former answer has come."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    tasks = []
    for n in range(int(rate * seconds)):
        await asyncio.sleep(began + n / rate - loop.time())
        tasks.append(asyncio.create_task(_timed(pool)))
    taken = sorted(await asyncio.gather(*tasks))
    return Latencies(
        *(1000 * taken[int(share * (len(taken) - 1))] for share in (0.5, 0.99, 1.0))
    )


async def _timed(pool: Pool) -> float:
    began = time.perf_counter()
    await pool.run(_QUERY)
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when the ratio is above the goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.noisy_neighbour")
    parser.add_argument("--total", type=int, default=10, help="connections for both (10)")
    parser.add_argument("--in-flight", type=int, default=2000, help="of the noisy one (2000)")
    parser.add_argument("--rate", type=float, default=10, help="of the quiet one, 1/s (10)")
    parser.add_argument("--seconds", type=float, default=15, help="alone and beside (15)")
    parser.add_argument("--dsn", help="a server to use instead of a private one")
    options = parser.parse_args(arguments)

    def run(dsn: str) -> Comparison:
        # As in a server.
        with out_of_the_way(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(
                compare(
                    dsn,
                    total=options.total,
                    in_flight=options.in_flight,
                    rate=options.rate,
                    seconds=options.seconds,
                )
            )

    if options.dsn:
        found = run(options.dsn)
    else:
        with (
            tempfile.TemporaryDirectory(prefix="noisy-") as directory,
            EmbeddedPostgres(Path(directory), durable=False) as server,
        ):
            found = run(server.dsn)
    for name, it in (("alone", found.alone), ("beside the noisy one", found.beside)):
        print(f"{name}: p50 {it.p50:.1f} ms, p99 {it.p99:.1f} ms, worst {it.worst:.1f} ms")
    print(
        f"the noisy one: {options.in_flight} in flight, {found.noise:.0f} transactions/s;"
        f" {found.most_sessions} of {options.total} connections in use"
    )
    print(f"p99 ratio: {found.ratio:.2f} (goal: at most {GOAL:g})")
    return 0 if found.ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
