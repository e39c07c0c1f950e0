"""`make bench`: requests per second beside pgbench with the same SQL, on this machine.

Starts a private PostgreSQL, loads schema.sql, serves it with edgerest and loads it over
HTTP/2 from loopback. Every round runs pgbench and each engine once per scenario, so that
whatever else the machine does falls on all of them; medians over the rounds are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import asyncpg

from pool.embedded import EmbeddedError, EmbeddedPostgres
from pool.model import Transaction
from proxy.settings import load_settings
from tests.bench.http_load import Load, best_driver, run_http
from tests.bench.report import Line, as_json, as_table, line_of
from tests.bench.scenarios import SCENARIOS, SERVER_ROLE, Scenario
from tests.bench.server import ServerError, running_server, write_config
from tests.bench.sql_load import PgbenchError, run_pgbench
from tests.bench.statements import transactions_of

DATABASE = "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a request failed."""
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
            "connections": options.connections,
            "streams": options.streams,
            "pool": options.pool,
            "seconds": options.seconds,
            "rounds": options.rounds,
        }
        print(", ".join(f"{name} {value}" for name, value in conditions.items()), flush=True)
        dsn = database.dsn_for(DATABASE, SERVER_ROLE)
        configs = [
            write_config(dsn, engine, pool=options.pool, scratch=scratch)
            for engine in options.engine
        ]
        served = [load_settings(config, {}).settings for config in configs]
        transactions = asyncio.run(transactions_of(served[0], chosen))
        ports: dict[str, int] = {}
        for config, settings in zip(configs, served, strict=True):
            stack.enter_context(running_server(config, settings.server_port))
            ports[settings.server_engine] = settings.server_port
        lines: list[Line] = []
        for scenario in chosen:
            lines += _measure(
                scenario, transactions[scenario.name], dsn, ports, options, scratch
            )
    print(as_table(lines))
    if options.json:
        options.json.write_text(as_json(conditions, lines) + "\n")
    return 1 if any(line.failed for line in lines) else 0


def _measure(
    scenario: Scenario,
    transaction: Transaction,
    dsn: str,
    ports: dict[str, int],
    options: argparse.Namespace,
    scratch: Path,
) -> list[Line]:
    yardsticks: list[float] = []
    loads: dict[str, list[Load]] = {engine: [] for engine in ports}
    for number in range(1, options.rounds + 1):
        print(f"{scenario.name}: round {number} of {options.rounds}", file=sys.stderr)
        yardsticks.append(
            run_pgbench(
                transaction,
                dsn,
                clients=options.pool,
                seconds=options.seconds,
                scratch=scratch,
            )
        )
        for engine, port in ports.items():
            loads[engine].append(
                run_http(
                    scenario,
                    port,
                    options.driver,
                    connections=options.connections,
                    streams=options.streams,
                    seconds=options.seconds,
                    scratch=scratch,
                )
            )
    return [line_of(scenario.name, engine, loads[engine], yardsticks) for engine in ports]


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
    parser.add_argument("--connections", type=int, default=4, help="HTTP/2 connections (4)")
    parser.add_argument(
        "--streams", type=int, default=8, help="requests in flight on each connection (8)"
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
    options = parser.parse_args(arguments)
    options.engine = options.engine or installed
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (EmbeddedError, PgbenchError, ServerError) as error:
        sys.exit(str(error))
