"""Ten thousand requests at once onto ten connections: `python -m tests.faults.many_callers`.

h2load (of nghttp2) sends them over 500 HTTP/2 connections, 20 in flight on each; the server
is `edgerest serve` on a private PostgreSQL. Each must be answered 200, or 503. What is told:
how many of which status, the rate, the most memory that the server took, and how long those
that were served took at most: were it far less than the 10 seconds that a request may wait,
others were turned away that could have been served. h2load shows no headers, so a thousand
requests onto a short queue are sent by a client of our own: of these each 503 must have a
Retry-After. 1 when there was any other answer, or none.
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

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.bench.__main__ import DATABASE, prepare
from tests.bench.scenarios import SERVER_ROLE
from tests.bench.server import edgerest, running
from tests.faults.clients import Answer, Http2

_TARGET: Final = "/clients?id=eq.1"
_SHORT_QUEUE: Final = 50
_SERVED: Final = "served"
_TURNED_AWAY: Final = "turned away"


@dataclass(frozen=True, slots=True)
class Crowd:
    """What became of the requests; `memory` is the server's peak, in MiB, `seconds` from the
    first request to the last answer, `longest` the most that one took which was served.
    `turned_away`: how many of our own client's were, as they should be; `wrong` describes its
    other answers."""

    statuses: dict[int, int]
    unanswered: int
    seconds: float
    longest: float
    memory: float
    served_after: bool
    turned_away: int
    wrong: dict[str, int]

    @property
    def well(self) -> bool:
        """Whether each was answered as it should be, and the server serves on."""
        told = self.turned_away > 0 and not self.wrong
        answered = not self.unanswered and {*self.statuses} <= {200, 503}
        return answered and self.served_after and told


def crowd(*, requests: int, connections: int, streams: int, pool: int) -> Crowd:
    """Send the requests to a server with so many database connections."""
    with tempfile.TemporaryDirectory(prefix="crowd-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            asyncio.run(prepare(database))
            dsn = database.dsn_for(DATABASE, SERVER_ROLE)
            contender = edgerest(dsn, 1, pool=pool, scratch=scratch)
            port = contender.port
            with running(contender, scratch) as process:
                began = time.monotonic()
                took = _send(port, scratch, requests, connections, streams)
                seconds = time.monotonic() - began
                memory = _peak_memory(process)
                after = httpx.get(f"http://127.0.0.1:{port}{_TARGET}", timeout=10)
            settings = f"db-pool-max-waiting = {_SHORT_QUEUE}\n"
            contender = edgerest(dsn, 1, pool=pool, scratch=scratch, settings=settings)
            with running(contender, scratch):
                told = asyncio.run(_burst(contender.port))
    statuses = Counter(status for status, _ in took)
    turned_away = told.pop(_TURNED_AWAY, 0)
    del told[_SERVED]
    return Crowd(
        dict(statuses),
        requests - statuses.total(),
        seconds,
        max((took for status, took in took if status == 200), default=0.0),
        memory,
        after.status_code == 200,
        turned_away,
        dict(told),
    )


async def _burst(port: int) -> Counter[str]:
    """What a thousand requests at once are told."""
    several = [await Http2.connect("127.0.0.1", port) for _ in range(20)]
    asked = [connection.request("GET", _TARGET) for connection in several for _ in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for connection in several:
        connection.abort()
    return Counter(_told(answer) for answer in answers)


def _told(answer: Answer | BaseException) -> str:
    if isinstance(answer, BaseException):
        return repr(answer)
    after = answer.headers.get("retry-after", "")
    if answer.status == 503 and after.isdigit() and int(after) >= 1:
        return _TURNED_AWAY
    return _SERVED if answer.status == 200 else f"{answer.status}, Retry-After: {after!r}"


def _send(
    port: int, scratch: Path, requests: int, connections: int, streams: int
) -> list[tuple[int, float]]:
    """The status of each answer, and how many seconds it took."""
    log = scratch / "h2load.log"
    command = ["h2load", f"--requests={requests}", f"--clients={connections}"]
    command += [f"--max-concurrent-streams={streams}", f"--log-file={log}"]
    command += ["--connection-active-timeout=60", f"http://127.0.0.1:{port}{_TARGET}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    # Each line: when it started, the status, how many microseconds it took.
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    return [(int(status), int(took) / 1e6) for _, status, took in lines if int(status) > 0]


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
    options = parser.parse_args(arguments)
    if shutil.which("h2load") is None:
        parser.error("h2load (of nghttp2) is not installed")
    well = True
    found = crowd(
        requests=options.requests,
        connections=options.connections,
        streams=options.streams,
        pool=options.pool,
    )
    well = well and found.well
    statuses = ", ".join(f"{n} times {s}" for s, n in sorted(found.statuses.items()))
    print(
        f"{statuses or 'no answer'}; {found.unanswered} unanswered;"
        f" {options.requests / found.seconds:.0f} requests/s;"
        f" those served took {found.longest:.1f} s at most;"
        f" peak memory {found.memory:.0f} MiB"
    )
    wrong = ", ".join(f"{n} times {what}" for what, n in sorted(found.wrong.items()))
    print(
        f"of 1000 onto a queue of {_SHORT_QUEUE}, {found.turned_away} were told"
        f" when to come again; {wrong or 'none was told anything else but 200'}",
        flush=True,
    )
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
