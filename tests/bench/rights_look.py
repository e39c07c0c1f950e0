"""What a look at rights costs PostgreSQL: `python -m tests.bench.rights_look`.

In a PostgreSQL of its own with 5,000 tables of ten columns, 500 policies and 50 roles. Times
are those that PostgreSQL's process spends on a processor, for a user who is no superuser.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import asyncpg

from proxy.cache.rights import stamp_sql
from proxy.cli.demo.private_postgres import EmbeddedPostgres

_ROUNDS: Final = 100
_ROLES: Final = """
do $$ begin
  create role looker login noinherit;
  for n in 1..50 loop
    execute format('create role r%s', n);
    execute format('grant r%s to looker', n);
  end loop;
end $$;
create schema api;
"""
_TABLES: Final = """
do $$ begin
  for n in {first}..{last} loop
    execute format('create table api.t%s (id int primary key, a text, b text, c text not null,'
      ' d int, e int, f timestamptz, g jsonb, h text, i text)', n);
    execute format('grant select on api.t%s to r1, r2', n);
    if n % 10 = 0 then
      execute format('grant update (a, b) on api.t%s to r3', n);
      execute format('alter table api.t%s enable row level security', n);
      execute format('create policy own on api.t%s using (a = current_user)', n);
    end if;
  end loop;
end $$;
"""


def _spent(pid: int) -> float:
    """The milliseconds that a process has had of a processor (Linux: proc(5), schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


async def _measured(database: EmbeddedPostgres, tables: int) -> tuple[float, float]:
    """Milliseconds of a look, and of one that finds that nothing was committed meanwhile."""
    admin = await asyncpg.connect(database.dsn)
    await admin.execute(_ROLES)
    for first in range(1, tables + 1, 100):
        made = _TABLES.replace("{first}", str(first))
        await admin.execute(made.replace("{last}", str(min(first + 99, tables))))
    await admin.execute("vacuum analyze")
    await admin.close()
    looker = await asyncpg.connect(database.dsn_for("postgres", "looker"))
    sql = stamp_sql(looker.get_server_version().major * 10000)
    try:
        pid = looker.get_server_pid()
        known = await looker.fetchval(sql, "")
        times = []
        for moment in ("", known):
            before = _spent(pid)
            for _ in range(_ROUNDS):
                await looker.fetchrow(sql, moment)
            times.append((_spent(pid) - before) / _ROUNDS)
    finally:
        await looker.close()
    return times[0], times[1]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", type=int, default=5000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="rights-look-") as scratch,
        EmbeddedPostgres(Path(scratch), durable=False) as database,
    ):
        whole, unchanged = asyncio.run(_measured(database, options.tables))
    print(
        f"{options.tables} tables: {whole:.1f} ms a look, {unchanged:.2f} ms when nothing was"
        f" committed since the last one (of {_ROUNDS})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
