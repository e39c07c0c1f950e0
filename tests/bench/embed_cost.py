"""What embedding costs PostgreSQL: our statement beside ones written by hand.

Run as `python -m tests.bench.embed_cost`. Starts a private PostgreSQL, asks the server's
own code for the SQL of an embed of 100 parents with 20 children each, and prints the
planner's total cost and the median time of it and of two hand-written equivalents: one
with a lateral subquery as a person would write it, one that builds objects key by key.
Times are of whole round trips to PostgreSQL, taken in turn so that whatever else the
machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pool import Pool
from pool.model import Statement, Transaction
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.settings import Settings
from tests.bench.scenarios import Scenario
from tests.bench.statements import transactions_of

_SCHEMA: Final = """
create schema shelf;
create table shelf.boxes (id int primary key, name text not null, colour text);
create table shelf.items (
  id int primary key,
  box_id int not null references shelf.boxes,
  title text not null,
  weight numeric(8, 2) not null
);
insert into shelf.boxes select i, 'Box ' || i, 'blue' from generate_series(1, 2000) i;
insert into shelf.items
  select i, 1 + i % 2000, 'Item ' || i, i % 97 from generate_series(1, 40000) i;
create index on shelf.items (box_id);
"""

_TARGET: Final = "/boxes?select=id,name,items(id,title,weight)&order=id&limit=100"

BY_HAND: Final = {
    "lateral, by hand": """
select count(*), coalesce(json_agg(page), '[]')
from (
  select box.id, box.name, coalesce(own.items, '[]') as items
  from shelf.boxes as box
  left join lateral (
    select json_agg(item) as items
    from (
      select id, title, weight from shelf.items where box_id = box.id
    ) as item
  ) as own on true
  order by box.id
  limit 100
) as page""",
    "objects, by hand": """
select count(*), coalesce(json_agg(page), '[]')
from (
  select box.id, box.name, (
    select coalesce(
      json_agg(json_build_object('id', id, 'title', title, 'weight', weight)), '[]')
    from shelf.items where box_id = box.id
  ) as items
  from shelf.boxes as box
  order by box.id
  limit 100
) as page""",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A statement's total cost, as the planner reckons it, and its median time in ms."""

    name: str
    cost: float
    milliseconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embed_cost")
    parser.add_argument("--rounds", type=int, default=200, help="how often each one is run")
    parser.add_argument("--sql", action="store_true", help="print our statement too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="embed-") as scratch:
        Path(scratch).chmod(0o711)
        with EmbeddedPostgres(Path(scratch) / "pg", durable=False) as postgres:
            sql, lines = asyncio.run(measure(postgres.dsn, options.rounds))
    if options.sql:
        print(sql, end="\n\n")
    for line in lines:
        print(f"{line.name:<20} cost {line.cost:10.2f}   {line.milliseconds:7.2f} ms")
    return 0


async def measure(dsn: str, rounds: int) -> tuple[str, list[Measured]]:
    """Our statement's text, and what it and those by hand cost in the database `dsn`."""
    pool = Pool(dsn, size=1)
    try:
        for command in _SCHEMA.split(";"):
            if command.strip():
                await pool.run(Transaction(Statement(command), access="read write"))
        await pool.run(Transaction(Statement("analyze shelf.boxes, shelf.items"), "read write"))
        ours = (await _our_statement(dsn)).statement
        statements = {"edgerest": ours} | {
            name: Statement(sql) for name, sql in BY_HAND.items()
        }
        costs = {name: await _cost(pool, one) for name, one in statements.items()}
        times = await _times(pool, statements, rounds)
    finally:
        await pool.close()
    return ours.sql, [Measured(name, costs[name], times[name]) for name in statements]


async def _our_statement(dsn: str) -> Transaction:
    settings = Settings(db_uri=dsn, db_schemas=("shelf",), db_anon_role="postgres")
    scenario = Scenario("embed", (_TARGET,))
    return (await transactions_of(settings, [scenario]))[scenario.name]


async def _cost(pool: Pool, statement: Statement) -> float:
    explained = Statement(f"explain (format json) {statement.sql}", statement.args)
    (plan,) = json.loads((await pool.fetch(explained))[0][0])
    return float(plan["Plan"]["Total Cost"])


async def _times(
    pool: Pool, statements: Mapping[str, Statement], rounds: int
) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(rounds):
        for name, statement in statements.items():
            begun = time.perf_counter()
            await pool.fetch(statement)
            taken[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
