"""Ten thousand requests at once onto ten connections: `python -m tests.faults.many_callers`.

h2load (of nghttp2) sends them over 500 HTTP/2 connections, 20 in flight on each; the server
is `edgerest serve` on a private PostgreSQL. Each must be answered 200, or 503 with a
Retry-After. What is told: how many of which status, the rate, and the most memory that the
server took. 1 when there was any other answer, or none.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from pool.embedded import EmbeddedPostgres
from tests.bench.__main__ import DATABASE, prepare
from tests.bench.scenarios import SERVER_ROLE
from tests.bench.server import edgerest, running

_TARGET: Final = "/clients?id=eq.1"


@dataclass(frozen=True, slots=True)
class Crowd:
    """What became of the requests; `memory` is the server's peak, in MiB, `seconds` from the
    first request to the last answer."""

    statuses: dict[int, int]
    unanswered: int
    seconds: float
    memory: float
    served_after: bool

    @property
    def well(self) -> bool:
        """Whether each was answered as it should be, and the server serves on."""
        return not self.unanswered and {*self.statuses} <= {200, 503} and self.served_after


def crowd(engine: str, *, requests: int, connections: int, streams: int, pool: int) -> Crowd:
    """Send the requests to a server of this engine with so many database connections."""
    with tempfile.TemporaryDirectory(prefix="crowd-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            asyncio.run(prepare(database))
            dsn = database.dsn_for(DATABASE, SERVER_ROLE)
            contender = edgerest(dsn, engine, 1, pool=pool, scratch=scratch)
            port = contender.port
            with running(contender, scratch) as process:
                statuses, seconds = _send(port, scratch, requests, connections, streams)
                memory = _peak_memory(process)
                after = httpx.get(f"http://127.0.0.1:{port}{_TARGET}", timeout=10)
    return Crowd(
        dict(statuses),
        requests - statuses.total(),
        seconds,
        memory,
        after.status_code == 200,
    )


def _send(
    port: int, scratch: Path, requests: int, connections: int, streams: int
) -> tuple[Counter[int], float]:
    log = scratch / "h2load.log"
    command = ["h2load", f"--requests={requests}", f"--clients={connections}"]
    command += [f"--max-concurrent-streams={streams}", f"--log-file={log}"]
    command += ["--connection-active-timeout=60", f"http://127.0.0.1:{port}{_TARGET}"]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    took = time.monotonic() - began
    # Each line: when it started, the status, how long it took.
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    return Counter(int(status) for _, status, _ in lines if int(status) > 0), took


def _peak_memory(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when an answer was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.many_callers")
    parser.add_argument("--requests", type=int, default=10_000, help="at once (10000)")
    parser.add_argument("--connections", type=int, default=500, help="of HTTP/2 (500)")
    parser.add_argument("--streams", type=int, default=20, help="on each of them (20)")
    parser.add_argument("--pool", type=int, default=10, help="database connections (10)")
    parser.add_argument("--engine", action="append", choices=["hypercorn", "granian"])
    options = parser.parse_args(arguments)
    if shutil.which("h2load") is None:
        parser.error("h2load (of nghttp2) is not installed")
    well = True
    for engine in options.engine or ["hypercorn", "granian"]:
        found = crowd(
            engine,
            requests=options.requests,
            connections=options.connections,
            streams=options.streams,
            pool=options.pool,
        )
        well = well and found.well
        statuses = ", ".join(f"{n} times {s}" for s, n in sorted(found.statuses.items()))
        print(
            f"{engine}: {statuses or 'no answer'}; {found.unanswered} unanswered;"
            f" {options.requests / found.seconds:.0f} requests/s;"
            f" peak memory {found.memory:.0f} MiB"
        )
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
