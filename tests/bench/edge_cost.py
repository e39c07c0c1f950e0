"""What the edge costs: `python -m tests.bench.edge_cost [--against CHECKOUT]`.

In: another checkout of edgerest with an environment in it. Out: for each way in, the server's
processor time for a request in microseconds and the requests a second, of all servers in one
run, which take turns: a scenario (`single row` unless others are named), over HTTP/2, over
HTTP/1.1, and over connections that are made for twenty requests.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.bench.__main__ import DATABASE, prepare
from tests.bench.connections import spent
from tests.bench.scenarios import SCENARIOS, SERVER_ROLE, Scenario
from tests.bench.server import Contender, edgerest, running

WAYS: Final = {
    "h2 16x4": ("--clients=16", "--max-concurrent-streams=4"),
    "h1 16": ("--clients=16", "--h1"),
    "short h2": ("--clients=32", "--max-concurrent-streams=4"),
    "short h1": ("--clients=32", "--h1"),
}
SHORT: Final = 32 * 20
"""Requests of a run with connections for twenty each."""


def measure(
    pid: int, port: int, scenario: Scenario, way: str, requests: int, scratch: Path
) -> tuple[float, float]:
    """Processor time of a request in microseconds, and requests a second. Raises ValueError
    when one was not answered."""
    targets, body = scratch / "targets", scratch / "body"
    targets.write_text(
        "".join(f"http://127.0.0.1:{port}{target}\n" for target in scenario.targets)
    )
    runs = max(1, requests // SHORT) if way.startswith("short") else 1
    once = SHORT if way.startswith("short") else requests
    command = ["h2load", *WAYS[way], f"--requests={once}", f"--input-file={targets}"]
    command += [f"--header={name}: {value}" for name, value in scenario.headers]
    if scenario.body is not None:
        body.write_bytes(scenario.body)
        command.append(f"--data={body}")
    before, began = spent(pid), time.perf_counter()
    for _ in range(runs):
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        if f" {once} succeeded" not in done.stdout or f" {once} 2xx" not in done.stdout:
            raise ValueError(done.stdout)
    took, used = time.perf_counter() - began, spent(pid) - before
    return used / once / runs * 1e6, once * runs / took


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all servers in turns and prints the medians."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.edge_cost", description=__doc__
    )
    parser.add_argument("--against", type=Path, help="another checkout, with .venv")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--only", action="append", choices=[each.name for each in SCENARIOS])
    options = parser.parse_args(arguments)
    asked = [each for each in SCENARIOS if each.name in (options.only or ["single row"])]
    cells = [(scenario, way) for scenario in asked for way in options.way or WAYS]
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        scratch.chmod(0o711)
        database = stack.enter_context(EmbeddedPostgres(scratch / "pg"))
        asyncio.run(prepare(database))
        dsn = database.dsn_for(DATABASE, SERVER_ROLE)

        def server(name: str, program: str | None = None) -> tuple[int, Contender]:
            folder = scratch / name
            folder.mkdir()
            contender = replace(edgerest(dsn, 1, pool=4, scratch=folder), name=name)
            if program is not None:
                contender = replace(contender, command=(program, *contender.command[1:]))
            return stack.enter_context(running(contender, scratch)), contender

        servers = [server("this")]
        if options.against is not None:
            program = str(options.against / ".venv" / "bin" / "edgerest")
            servers.append(server("other", program))
        for _ in range(options.rounds):
            for scenario, way in cells:
                for pid, contender in servers:
                    figures = measure(
                        pid, contender.port, scenario, way, options.requests, scratch
                    )
                    found[scenario.name, way, contender.name].append(figures)
            servers.reverse()
    for (asked_for, way, name), rounds in found.items():
        cost = statistics.median(each[0] for each in rounds)
        rate = statistics.median(each[1] for each in rounds)
        told = f"{asked_for:14} {way:10} {name:10}"
        print(f"{told} {cost:6.0f} us/request {rate:8.0f} requests/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
