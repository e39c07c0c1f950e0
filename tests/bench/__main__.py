"""`make bench`: requests per second beside pgbench with the same SQL, on this machine.

Starts a private PostgreSQL, loads schema.sql, serves it with edgerest (each engine, with one
and two workers) and loads it from loopback, over HTTP/2 and HTTP/1.1. With POSTGREST_BIN set,
PostgREST gets the same requests; with the extra `bench`, so does an endpoint written by hand.
Every round runs pgbench and each server once, so that whatever else the machine does falls
on all of them; medians over the rounds are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import asyncpg

from pool.embedded import EmbeddedError, EmbeddedPostgres
from pool.model import Transaction
from proxy.settings import load_settings
from tests.bench.http_load import WAYS, Load, Way, best_driver, run_http
from tests.bench.report import Line, as_json, as_svg, as_table, line_of, warning_of
from tests.bench.scenarios import SCENARIOS, SERVER_ROLE, Scenario
from tests.bench.server import (
    Contender,
    ServerError,
    edgerest,
    others,
    running,
)
from tests.bench.sql_load import PgbenchError, run_pgbench
from tests.bench.statements import transactions_of
from tests.ports import free_port

DATABASE = "bench"
_TOLERATED = 0.001
"""h2load counts a request that it cuts off at the end as failed now and then."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when requests failed."""
    options = _options(arguments)
    chosen = [one for one in SCENARIOS if not options.only or one.name in options.only]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        database = stack.enter_context(EmbeddedPostgres(scratch / "pg"))
        conditions = asyncio.run(prepare(database)) | {
            "python": platform.python_version(),
            "cpus": os.cpu_count() or 0,
            "driver": options.driver,
            "pool": options.pool,
            "delay": f"{options.delay:g} ms",
            "seconds": options.seconds,
            "rounds": options.rounds,
        }
        print(", ".join(f"{name} {value}" for name, value in conditions.items()), flush=True)
        dsn = database.dsn_for(DATABASE, SERVER_ROLE)
        if options.delay:
            dsn = stack.enter_context(_delayed(database, options.delay / 1000))
        contenders = [
            edgerest(dsn, engine, workers, pool=options.pool, scratch=scratch)
            for engine in options.engine
            for workers in options.workers
        ]
        if not options.alone:
            contenders += others(dsn, pool=options.pool, scratch=scratch)
        settings = load_settings(Path(contenders[0].command[-1]), {}).settings
        transactions = asyncio.run(transactions_of(settings, chosen))
        for contender in contenders:
            stack.enter_context(running(contender, scratch))
        lines: list[Line] = []
        for scenario in chosen:
            transaction = transactions[scenario.name]
            for way in _ways_of(scenario, options):
                lines += _measure(scenario, way, transaction, dsn, contenders, options, scratch)
    print(as_table(lines))
    if warning := warning_of(lines):
        print(warning, file=sys.stderr)
    if options.json:
        options.json.write_text(as_json(conditions, lines) + "\n")
    if options.svg:
        options.svg.write_text(as_svg(lines))
    return 1 if any(line.failed > _TOLERATED * line.answers for line in lines) else 0


def _ways_of(scenario: Scenario, options: argparse.Namespace) -> list[Way]:
    """All ways for the first scenario, HTTP/2 for the others, unless some are asked for."""
    if options.driver != "h2load":
        return [WAYS[0]]
    if options.way:
        return [way for way in WAYS if way.name in options.way]
    return list(WAYS) if scenario is SCENARIOS[0] else [WAYS[0]]


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


def _measure(
    scenario: Scenario,
    way: Way,
    transaction: Transaction,
    dsn: str,
    contenders: Sequence[Contender],
    options: argparse.Namespace,
    scratch: Path,
) -> list[Line]:
    yardsticks: list[float] = []
    able = [
        one
        for one in contenders
        if way.http in one.http and (one.scenarios is None or scenario.name in one.scenarios)
    ]
    loads: dict[str, list[Load]] = {contender.name: [] for contender in able}
    for number in range(1, options.rounds + 1):
        told = f"{scenario.name}, {way.name}: round {number} of {options.rounds}"
        print(told, file=sys.stderr)
        yardsticks.append(
            run_pgbench(
                transaction,
                dsn,
                clients=options.pool,
                seconds=options.seconds,
                scratch=scratch,
            )
        )
        for contender in able:
            loads[contender.name].append(
                run_http(
                    scenario,
                    contender.port,
                    options.driver,
                    way,
                    seconds=options.seconds,
                    scratch=scratch,
                )
            )
    return [
        line_of(
            scenario.name,
            way.name,
            name,
            loads[name],
            yardsticks,
            None if name == "postgrest" else loads.get("postgrest"),
        )
        for name in loads
    ]


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
    installed = ["hypercorn"]
    if importlib.util.find_spec("granian") is not None:
        installed.append("granian")
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each run (5)")
    parser.add_argument("--rounds", type=int, default=3, help="medians are over these (3)")
    parser.add_argument(
        "--way",
        action="append",
        choices=[way.name for way in WAYS],
        help="how requests are sent; may be given more than once",
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
        "--pool", type=int, default=8, help="database connections, pgbench's too (8)"
    )
    parser.add_argument(
        "--engine",
        action="append",
        choices=installed,
        help=f"may be given twice (default: {' and '.join(installed)})",
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
    options.engine = options.engine or installed
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
