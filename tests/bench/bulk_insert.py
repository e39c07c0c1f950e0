"""What a bulk insert costs: time, and the memory of the server at its peak.

Run as `python -m tests.bench.bulk_insert`. Starts a private PostgreSQL and, for each way of
sending the rows, a fresh server, sends one request and reads the server's peak resident set
from /proc (Linux only). The figure beside it is how often the body's size fits into what the
request added to the peak.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.http.processes import running

_SCHEMA: Final = """
create role bulk_server login noinherit;
create role bulk_user;
grant bulk_user to bulk_server;
create table public.readings (
    id integer primary key, sensor text, place text, unit text default 'K',
    value numeric, flags integer
);
grant select, insert, delete on public.readings to bulk_user;
"""
_TIMEOUT: Final = 120.0  # seconds, for one request


@dataclass(frozen=True, slots=True)
class Case:
    """One way to send the rows."""

    name: str
    query: str = ""
    content_type: str = "application/json"
    prefer: str = "return=minimal"
    place: str = "the hall"


CASES: Final = (
    Case("JSON"),
    Case("JSON, not ASCII", place="der Flügel"),
    Case("JSON, columns=", query="?columns=id,sensor,place,unit,value,flags"),
    Case("JSON, missing=default", prefer="missing=default"),
    Case("CSV", content_type="text/csv"),
    Case("CSV, not ASCII", content_type="text/csv", place="der Flügel"),
    Case("CSV, quoted", content_type="text/csv", place='"the hall, left"'),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """`seconds` for the request, sizes in bytes; `before` and `peak` are resident sets."""

    body: int
    before: int
    peak: int
    seconds: float

    @property
    def copies(self) -> float:
        return (self.peak - self.before) / self.body


def body_of(case: Case, rows: int) -> bytes:
    """A body with that many rows, about 100 bytes each in JSON."""
    if case.content_type == "text/csv":
        lines = (f"{n},sensor-{n % 97},{case.place},K,{n}.5,{n % 8}\n" for n in range(rows))
        return ("id,sensor,place,unit,value,flags\n" + "".join(lines)).encode()
    objects = (
        f'{{"id":{n},"sensor":"sensor-{n % 97}","place":"{case.place}","unit":"K",'
        f'"value":{n}.5,"flags":{n % 8}}}'
        for n in range(rows)
    )
    return f"[{','.join(objects)}]".encode()


def measure(case: Case, rows: int, dsn: str, scratch: Path) -> Cost:
    """The cost of one request to a fresh server. Raises RuntimeError when it fails."""
    body = body_of(case, rows)
    settings = {
        "db-uri": dsn,
        "db-schemas": "public",
        "db-anon-role": "bulk_user",
        "server-host": "127.0.0.1",
        "server-port": 0,
        "server-max-body": len(body),
    }
    config = scratch / "bulk.conf"
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
    with running(command) as server, httpx.Client(base_url=server.url) as client:
        client.get("/readings?limit=1").raise_for_status()
        before = _memory(server.pid, "VmRSS")
        began = time.perf_counter()
        response = client.post(
            f"/readings{case.query}",
            content=body,
            headers={"Content-Type": case.content_type, "Prefer": case.prefer},
            timeout=_TIMEOUT,
        )
        seconds = time.perf_counter() - began
        peak = _memory(server.pid, "VmHWM")
        if response.status_code != 201:
            raise RuntimeError(f"{case.name}: {response.status_code} {response.text}")
        kept = client.head("/readings", headers={"Prefer": "count=exact"})
        if not kept.headers["content-range"].endswith(f"/{rows}"):
            raise RuntimeError(f"{case.name}: {kept.headers['content-range']}")
        client.delete("/readings", timeout=_TIMEOUT).raise_for_status()
    return Cost(len(body), before, peak, seconds)


def _memory(pid: int, name: str) -> int:
    """A size in /proc/PID/status, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name} of process {pid}")


def costs(rows: int, cases: Sequence[Case] = CASES) -> Iterator[tuple[Case, Cost]]:
    """Each case and what it cost."""
    with tempfile.TemporaryDirectory(prefix="bulk-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            asyncio.run(_prepare(database.dsn))
            dsn = database.dsn_for("postgres", "bulk_server")
            for case in cases:
                yield case, measure(case, rows, dsn, scratch)


async def _prepare(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_SCHEMA)
    finally:
        await connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every case and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bulk_insert")
    parser.add_argument("--rows", type=int, default=100_000, help="in one request (100000)")
    options = parser.parse_args(arguments)
    print(f"{options.rows} rows; sizes in MB")
    print(f"{'':24}{'body':>8}{'before':>8}{'peak':>8}{'bodies':>8}{'seconds':>9}")
    for case, cost in costs(options.rows):
        sizes = "".join(f"{n / 1e6:8.1f}" for n in (cost.body, cost.before, cost.peak))
        print(f"{case.name:24}{sizes}{cost.copies:8.1f}{cost.seconds:9.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
