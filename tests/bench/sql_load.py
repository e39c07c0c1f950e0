"""The yardstick: pgbench running the statements that one request makes.

In: a `Transaction`, as the server would give it to the pool. Out: transactions per second.
pgbench prepares each statement once per connection and sends its values as bind
parameters, as the server does; the script is the transaction's own SQL text with `$1`
written as the pgbench variable `:v1`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pool.model import Argument, Statement, Transaction
from proxy.cli.demo.private_postgres import EmbeddedError, find_binaries

# Quoted text is passed over: what looks like a parameter in it is none.
_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<number>\d+)""", re.VERBOSE
)
_VARIABLE: Final = re.compile(r"(?<!:):[A-Za-z_]")
_TPS: Final = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


class PgbenchError(Exception):
    """pgbench can't be had or did not do its work; the message says why."""


def find_pgbench() -> Path:
    """The pgbench on PATH, of the private PostgreSQL's package, or of Debian's."""
    on_path = shutil.which("pgbench")
    if on_path:
        return Path(on_path)
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    with contextlib.suppress(EmbeddedError):
        places.insert(0, find_binaries())
    for place in places:
        if os.access(place / "pgbench", os.X_OK):
            return place / "pgbench"
    raise PgbenchError("pgbench was found neither on PATH nor beside a PostgreSQL server")


def script_of(transaction: Transaction) -> tuple[str, dict[str, str]]:
    """The pgbench script of a transaction, and the values of its variables."""
    values: dict[str, str] = {}
    isolation = transaction.isolation
    level = "" if isolation is None else f"ISOLATION LEVEL {isolation}, "
    lines = [f"BEGIN {level}{transaction.access}"]
    lines += [_inline(statement, values) for statement in _statements(transaction)]
    lines.append("ROLLBACK" if transaction.rollback else "COMMIT")
    return "".join(f"{line};\n" for line in lines), values


def _statements(transaction: Transaction) -> Iterator[Statement]:
    if transaction.settings:
        calls, args = [], []
        for name, value in transaction.settings:
            args += [name, value]
            calls.append(f"set_config(${len(args) - 1}, ${len(args)}, true)")
        yield Statement(f"select {', '.join(calls)}", tuple(args))
    if transaction.before is not None:
        yield transaction.before
    yield transaction.statement
    if transaction.after is not None:
        yield transaction.after
    if transaction.rollback:
        yield Statement("SET CONSTRAINTS ALL IMMEDIATE")


def _inline(statement: Statement, values: dict[str, str]) -> str:
    first = len(values)

    def variable(found: re.Match[str]) -> str:
        number = found["number"]
        return found[0] if number is None else f":v{first + int(number)}"

    if _VARIABLE.search(statement.sql):
        raise PgbenchError(f"pgbench would read a variable in: {statement.sql}")
    for number, value in enumerate(statement.args, first + 1):
        values[f"v{number}"] = _text(value)
    return _TOKEN.sub(variable, statement.sql).strip().removesuffix(";")


def _text(value: Argument) -> str:
    if value is None:
        # A variable that pgbench takes from its command line is always text.
        raise PgbenchError("a statement with a NULL parameter can't be given to pgbench")
    return value.decode() if isinstance(value, bytes) else value


def run_pgbench(
    transaction: Transaction, dsn: str, *, clients: int, seconds: int, scratch: Path
) -> float:
    """Transactions per second over `clients` connections to `dsn`."""
    script, values = script_of(transaction)
    path = scratch / "pgbench.sql"
    path.write_text(script)
    command = [str(find_pgbench()), "--no-vacuum", "--protocol=prepared", f"--file={path}"]
    command += [f"--client={clients}", f"--time={seconds}"]
    for name, value in values.items():
        command.append(f"--define={name}={value}")
    done = subprocess.run(
        [*command, dsn], capture_output=True, text=True, check=False, timeout=seconds + 60
    )
    found = _TPS.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise PgbenchError(f"pgbench failed: {done.stderr.strip() or done.stdout.strip()}")
    return float(found[1])
