"""`make bench`: requests per second beside pgbench with the same SQL, on this machine.

Starts a private PostgreSQL, loads schema.sql, serves it with edgerest (with one and two
workers) and loads it from loopback, over HTTP/2 and HTTP/1.1. With POSTGREST_BIN set,
PostgREST gets the same requests; with the extra `bench`, so does an endpoint written by hand.
Every round runs pgbench and each server once, in changing order, so that whatever else the
machine does falls on all of them; medians over the rounds are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncpg

from proxy.cli.demo.private_postgres import EmbeddedError, EmbeddedPostgres
from proxy.settings import load_settings
from tests.bench.chart import as_svg
from tests.bench.http_load import WARM_UP, WAYS, Way, best_driver
from tests.bench.pages import publish
from tests.bench.report import Line, Report, as_json, as_table, warning_of
from tests.bench.rounds import Effort, able_to, measure
from tests.bench.scenarios import SCENARIOS, SERVER_ROLE, Scenario
from tests.bench.server import (
    Contender,
    ServerError,
    edgerest,
    others,
    postgrest_version,
    running,
)
from tests.bench.sql_load import PgbenchError
from tests.bench.statements import transactions_of
from tests.ports import free_port

DATABASE = "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when requests failed."""
    options = _options(arguments)
    effort = Effort(options.rounds, options.seconds, options.pool, options.driver)
    cells = [
        (scenario, way)
        for scenario in SCENARIOS
        if not options.only or scenario.name in options.only
        for way in _ways_of(scenario, options)
    ]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        database = stack.enter_context(EmbeddedPostgres(scratch / "pg"))
        conditions = asyncio.run(prepare(database)) | _conditions(options)
        print(", ".join(f"{name} {value}" for name, value in conditions.items()), flush=True)
        dsn = database.dsn_for(DATABASE, SERVER_ROLE)
        if options.delay:
            dsn = stack.enter_context(_delayed(database, options.delay / 1000))
        contenders = [
            edgerest(dsn, workers, pool=options.pool, scratch=scratch)
            for workers in options.workers
        ]
        if not options.alone:
            contenders += others(dsn, pool=options.pool, scratch=scratch)
        settings = load_settings(Path(contenders[0].command[-1]), {}).settings
        chosen = list(dict.fromkeys(scenario for scenario, _ in cells))
        transactions = asyncio.run(transactions_of(settings, chosen))
        for contender in contenders:
            stack.enter_context(running(contender, scratch))
        _say(f"about {_minutes(cells, contenders, effort):.0f} min")
        lines: list[Line] = []
        for number, (scenario, way) in enumerate(cells, 1):
            cell = f"{number}/{len(cells)} {scenario.name}, {way.name}"
            lines += measure(
                scenario,
                way,
                transactions[scenario.name],
                dsn,
                contenders,
                effort,
                scratch,
                partial(_say, cell),
            )
    _tell(Report(conditions, tuple(lines)), options)
    return 1 if any(line.failed for line in lines) else 0


def _say(*told: str) -> None:
    print(*told, sep=": ", file=sys.stderr, flush=True)


def _tell(report: Report, options: argparse.Namespace) -> None:
    print(as_table(report.lines))
    if options.rounds < 2:
        _say("One round can't tell noise from a result.")
    if warning := warning_of(report.lines):
        _say(warning)
    if options.json:
        options.json.write_text(as_json(report) + "\n")
    if options.svg:
        options.svg.write_text(as_svg(report))
    if options.docs:
        publish(report)


def _ways_of(scenario: Scenario, options: argparse.Namespace) -> list[Way]:
    """Those that are asked for, or else the scenario's own."""
    if options.driver != "h2load":
        return [WAYS[0]]
    return [way for way in WAYS if way.name in (options.way or scenario.ways)]


def _minutes(
    cells: Sequence[tuple[Scenario, Way]], contenders: Sequence[Contender], effort: Effort
) -> float:
    runs = sum(len(able_to(contenders, scenario, way)) for scenario, way in cells)
    seconds = runs * (effort.seconds + WARM_UP) + len(cells) * effort.seconds
    return effort.rounds * seconds / 60


def _conditions(options: argparse.Namespace) -> dict[str, str | int]:
    """What the figures depend on, the database apart."""
    return {
        **({} if options.alone else postgrest_version()),
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 0,
        **_processor(),
        "driver": options.driver,
        "pool": options.pool,
        "delay": f"{options.delay:g} ms",
        "seconds": options.seconds,
        "rounds": options.rounds,
        "on": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _processor() -> dict[str, str]:
    """What Linux calls it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {"cpu": name} if (name := next(named, "")) else {}


@contextmanager
def _delayed(database: EmbeddedPostgres, seconds: float) -> Iterator[str]:
    """The DSN of the database behind a network that takes so long, each way."""
    port = free_port()
    behind = next(
        path for path in (database.socket_directory or Path()).glob(".s.PGSQL.*[0-9]")
    )
    module = [sys.executable, "-m", "tests.bench.delay", str(port), str(behind), str(seconds)]
    process = subprocess.Popen(module)
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        yield f"postgresql://{SERVER_ROLE}@127.0.0.1:{port}/{DATABASE}?sslmode=disable"
    finally:
        process.terminate()
        process.wait()


async def prepare(database: EmbeddedPostgres) -> dict[str, str | int]:
    """Load the schema into a database of its own; say what server it is."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(f"create database {DATABASE}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(database.dsn_for(DATABASE))
    try:
        script = Path(__file__).with_name("schema.sql").read_text()
        await connection.execute(script)
        await connection.execute("vacuum analyze")
        version: str = await connection.fetchval("show server_version")
    finally:
        await connection.close()
    return {"postgresql": version}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each run (5)")
    parser.add_argument("--rounds", type=int, default=3, help="medians are over these (3)")
    parser.add_argument(
        "--way",
        action="append",
        choices=[way.name for way in WAYS],
        help="how requests are sent; may be given more than once (default: the scenario's)",
    )
    parser.add_argument(
        "--workers", type=int, action="append", help="may be given twice (default: 1 and 2)"
    )
    parser.add_argument(
        "--delay", type=float, default=0, help="milliseconds to the database, each way (0)"
    )
    parser.add_argument(
        "--alone", action="store_true", help="neither PostgREST nor the endpoint by hand"
    )
    parser.add_argument(
        "--docs", action="store_true", help="write the results into the documentation too"
    )
    parser.add_argument(
        "--pool", type=int, default=10, help="connections of each server and of pgbench (10)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[scenario.name for scenario in SCENARIOS],
        help="a scenario; may be given more than once",
    )
    parser.add_argument(
        "--driver",
        choices=["h2load", "built-in"],
        default=best_driver(),
        help="what sends the requests (h2load where it is installed)",
    )
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    parser.add_argument("--svg", type=Path, help="draw the results into this file too")
    options = parser.parse_args(arguments)
    options.workers = options.workers or [1, 2]
    if options.driver != "h2load":
        print(
            "h2load is not installed (Debian: apt install nghttp2-client): the built-in client"
            " speaks HTTP/2 over lasting connections only, and is slower than the server",
            file=sys.stderr,
        )
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EmbeddedError, PgbenchError, ServerError) as error:
        sys.exit(str(error))
