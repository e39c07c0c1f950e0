"""The demo's database: its schema and rows, loaded once and kept.

In: a pool of the private PostgreSQL's superuser and the number of tasks. Out: a loaded
database. The stages are the files of `schema/`, in order. Each is one DO statement, so it
is loaded whole or not at all; the last act is to write down what was loaded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pool.model import Statement, Transaction
from pool.pool import Pool

SCHEMA: Final = "api"
ANONYMOUS_ROLE: Final = "web_anon"
USER_ROLE: Final = "web_user"
CONNECTING_ROLE: Final = "authenticator"

_STAGES: Final = Path(__file__).parent / "schema"
_HAS_MARK: Final = Statement("select to_regclass('internal.loaded') is not null")
_READ_MARK: Final = Statement("select mark from internal.loaded")
_ADD_MARK: Final = "create table internal.loaded (mark) as select $1::text"


def stages() -> tuple[Path, ...]:
    """The SQL files, in the order of loading."""
    return tuple(sorted(_STAGES.glob("*.sql")))


def mark_of(rows: int) -> str:
    """What a database loaded from these files with so many tasks is known by."""
    digest = hashlib.sha256()
    for stage in stages():
        digest.update(stage.read_bytes())
    return f"{rows} tasks, schema {digest.hexdigest()[:16]}"


async def is_loaded(pool: Pool, rows: int) -> bool:
    """Whether the database holds just what `load` would make. Raises `PoolError`."""
    if not (await pool.fetch(_HAS_MARK))[0][0]:
        return False
    return [bytes(row[0]).decode() for row in await pool.fetch(_READ_MARK)] == [mark_of(rows)]


async def load(pool: Pool, rows: int, report: Callable[[str], None]) -> None:
    """Make the database anew with `rows` tasks; what was there is dropped.

    `report` is told of each stage when it is done. Raises `PoolError`.
    """
    for stage in stages():
        begun = time.monotonic()
        await pool.run(
            Transaction(
                _as_one_statement(stage.read_text(encoding="utf-8")),
                access="read write",
                settings=(("demo.rows", str(rows)), ("client_min_messages", "warning")),
            )
        )
        title = stage.stem.partition("_")[2].replace("_", " ")
        report(f"  {title:<24} {time.monotonic() - begun:5.1f} s")
    await pool.run(Transaction(Statement(_ADD_MARK, (mark_of(rows),)), access="read write"))


def _as_one_statement(script: str) -> Statement:
    """Our own script as a DO statement, for which a transaction has room."""
    return Statement(f"do $stage$ begin\n{script}\nend $stage$")
