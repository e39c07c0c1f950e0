"""The rounds of one scenario, sent in one way: pgbench and every server once in each.

In: the servers, running, and how often and long. Out: a `Line` for each server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pool.model import Transaction
from tests.bench.http_load import Driver, Load, Way, run_http
from tests.bench.report import BY_HAND, POSTGREST, Line, line_of
from tests.bench.scenarios import Scenario
from tests.bench.server import Contender, asked_of
from tests.bench.sql_load import run_pgbench

_PGBENCH: Final = "pgbench"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: so many rounds of so many seconds for each.

    `pool` is how many connections pgbench has, which are as many as each server has.
    """

    rounds: int
    seconds: int
    pool: int
    driver: Driver


def order_of(names: Sequence[str], number: int) -> list[str]:
    """The order of the round with this number, from 0: each once.

    Another one begins each time, and every second round goes backwards, so that nobody
    always comes after the same one, whose work may still be going on in the database.
    """
    step = -1 if number % 2 else 1
    return [names[(number + step * place) % len(names)] for place in range(len(names))]


def able_to(contenders: Sequence[Contender], scenario: Scenario, way: Way) -> list[Contender]:
    """Those that serve the scenario and speak the HTTP of this way."""
    return [
        one
        for one in contenders
        if way.http in one.http and (one.scenarios is None or scenario.name in one.scenarios)
    ]


def measure(
    scenario: Scenario,
    way: Way,
    transaction: Transaction,
    dsn: str,
    contenders: Sequence[Contender],
    effort: Effort,
    scratch: Path,
    tell: Callable[[str], None],
) -> list[Line]:
    """A line for each server that is able to; `tell` is given each round as it begins.

    pgbench runs `transaction` over `dsn`, to which the servers are connected too.
    """
    able = {contender.name: contender for contender in able_to(contenders, scenario, way)}
    asked = {name: asked_of(contender, scenario) for name, contender in able.items()}
    yardsticks: list[float] = []
    loads: dict[str, list[Load]] = {name: [] for name in able}
    for number in range(effort.rounds):
        tell(f"round {number + 1} of {effort.rounds}")
        for name in order_of([_PGBENCH, *able], number):
            if name == _PGBENCH:
                yardsticks.append(
                    run_pgbench(
                        transaction,
                        dsn,
                        clients=effort.pool,
                        seconds=effort.seconds,
                        scratch=scratch,
                    )
                )
                continue
            loads[name].append(
                run_http(
                    asked[name],
                    able[name].port,
                    effort.driver,
                    way,
                    seconds=effort.seconds,
                    scratch=scratch,
                )
            )
    return [
        line_of(
            scenario.name,
            way.name,
            name,
            runs,
            yardsticks,
            postgrest=loads.get(POSTGREST),
            by_hand=loads.get(BY_HAND),
        )
        for name, runs in loads.items()
    ]
