"""A quiet app beside a noisy one in one process: `python -m tests.faults.noisy_apps`.

Both are served by one `edgerest serve` on ten database connections that they share. h2load (of
nghttp2) keeps 2,000 requests to app A in flight over 100 HTTP/2 connections; app B is asked
ten times a second over a connection of its own. What is told: B's latency alone and beside A,
and the ratio of the two p99, the median over some rounds. 1 when that is above the goal, or B
was answered anything but 200. `tests.faults.noisy_neighbour` measures the pools alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.bench.__main__ import DATABASE, prepare
from tests.bench.scenarios import SECRET, SERVER_ROLE
from tests.bench.server import edgerest, running
from tests.faults.clients import Http2
from tests.faults.noisy_neighbour import GOAL, Latencies

_TARGET: Final = "/clients?id=eq.1"
_SETTLED: Final = 2.0
"""Seconds that A is asked before B's latency counts."""


@dataclass(frozen=True, slots=True)
class Round:
    """B alone and beside A, which was answered so many times a second meanwhile; `wrong`
    counts B's answers other than 200."""

    alone: Latencies
    beside: Latencies
    noise: float
    wrong: int

    @property
    def ratio(self) -> float:
        """How many times longer B's p99 is beside A."""
        return self.beside.p99 / self.alone.p99


def compare(
    *,
    total: int,
    connections: int,
    streams: int,
    rate: float,
    seconds: float,
    rounds: int,
) -> list[Round]:
    """Ask B for `seconds` alone and as long beside A, `rounds` times."""
    with tempfile.TemporaryDirectory(prefix="noisy-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            asyncio.run(prepare(database))
            dsn = database.dsn_for(DATABASE, SERVER_ROLE)
            settings = f"pool-max-connections = {total}\n{_app('a', dsn)}{_app('b', dsn)}"
            contender = edgerest(dsn, 1, pool=total, scratch=scratch, settings=settings)
            port, found = contender.port, []
            with running(contender, scratch, target=f"/b{_TARGET}"):
                for _ in range(rounds):
                    alone, wrong = asyncio.run(_ask(port, rate, seconds))
                    with _noise(port, connections, streams, seconds) as report:
                        time.sleep(_SETTLED)
                        beside, wrong_beside = asyncio.run(_ask(port, rate, seconds))
                    found.append(Round(alone, beside, _rate_in(report), wrong + wrong_beside))
    return found


def _app(name: str, dsn: str) -> str:
    secret = json.dumps(SECRET)
    return (
        f'[apps.{name}]\npath-prefix = "/{name}"\ndb-uri = {json.dumps(dsn)}\n'
        f"jwt-secret = {secret}\n"
    )


@contextmanager
def _noise(port: int, connections: int, streams: int, seconds: float) -> Iterator[list[str]]:
    """Requests to A, as long as it takes; the lines of h2load's report, thereafter."""
    command = ["h2load", f"--clients={connections}", f"--max-concurrent-streams={streams}"]
    command += [f"--duration={seconds + _SETTLED:g}", f"http://127.0.0.1:{port}/a{_TARGET}"]
    load = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    report: list[str] = []
    try:
        yield report
        report += load.communicate(timeout=60)[0].splitlines()
    finally:
        load.kill()
        load.wait()


def _rate_in(report: Sequence[str]) -> float:
    """Answers a second: `finished in 9.00s, 1234.56 req/s, 1.23MB/s`."""
    line = next(line for line in report if line.startswith("finished in"))
    return float(line.split(", ")[1].split()[0])


async def _ask(port: int, rate: float, seconds: float) -> tuple[Latencies, int]:
    """Ask B `rate` times a second, whether or not the former answer has come; how many
    answers were not 200."""
    loop = asyncio.get_running_loop()
    connection = await Http2.connect("127.0.0.1", port)

    async def timed() -> tuple[float, int]:
        began = time.perf_counter()
        answer = await connection.request("GET", f"/b{_TARGET}")
        return time.perf_counter() - began, answer.status

    # The first one is a connection's, and on the server perhaps a pool's, beginning.
    await timed()
    began = loop.time()
    tasks = []
    for n in range(int(rate * seconds)):
        await asyncio.sleep(began + n / rate - loop.time())
        tasks.append(asyncio.create_task(timed()))
    answers = await asyncio.gather(*tasks)
    connection.abort()
    taken = sorted(1000 * took for took, _ in answers)
    at = (taken[int(share * (len(taken) - 1))] for share in (0.5, 0.99, 1.0))
    return Latencies(*at), sum(status != 200 for _, status in answers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a ratio is above the goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.noisy_apps")
    parser.add_argument("--total", type=int, default=10, help="connections for both (10)")
    parser.add_argument("--connections", type=int, default=100, help="of HTTP/2 to A (100)")
    parser.add_argument("--streams", type=int, default=20, help="on each of them (20)")
    parser.add_argument("--rate", type=float, default=10, help="of B, 1/s (10)")
    parser.add_argument("--seconds", type=float, default=15, help="alone and beside (15)")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts (3)")
    options = parser.parse_args(arguments)
    if shutil.which("h2load") is None:
        parser.error("h2load (of nghttp2) is not installed")
    well = True
    rounds = compare(
        total=options.total,
        connections=options.connections,
        streams=options.streams,
        rate=options.rate,
        seconds=options.seconds,
        rounds=options.rounds,
    )
    for it in rounds:
        for name, took in (("alone", it.alone), ("beside A", it.beside)):
            print(
                f"B {name}: p50 {took.p50:.1f} ms, p99 {took.p99:.1f} ms,"
                f" worst {took.worst:.1f} ms"
            )
        print(
            f"A {options.connections * options.streams} in flight,"
            f" {it.noise:.0f} answers/s; {it.wrong} of B's were not 200;"
            f" p99 ratio {it.ratio:.2f}",
            flush=True,
        )
    ratio = statistics.median(it.ratio for it in rounds)
    print(f"median p99 ratio {ratio:.2f} (goal: at most {GOAL:g})", flush=True)
    well = well and ratio <= GOAL and not any(it.wrong for it in rounds)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
