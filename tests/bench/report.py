"""What was measured, as a value: made of rounds, written to and read from JSON, and as text
for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from tests.bench.http_load import Load

NOISY: Final = 0.15
"""By how much the same pgbench run may differ from round to round, as a share of the least."""

EDGEREST: Final = "edgerest"
POSTGREST: Final = "postgrest"
BY_HAND: Final = "fastapi"


@dataclass(frozen=True, slots=True)
class Line:
    """One scenario, sent in one way to one server: medians over the rounds.

    `rate` in requests per second, `p50` and `p99` in milliseconds, `pgbench` in
    transactions per second. The ratios are medians of each round's: of its rate to its
    pgbench, to PostgREST's rate and to that of the endpoint written by hand; None where that
    did not run, or is the line's own. `spread` is how far the pgbench runs were apart, as a
    share of the slowest. `failed` is summed up over the rounds.
    """

    scenario: str
    way: str
    server: str
    rate: float
    p50: float
    p99: float
    pgbench: float
    to_pgbench: float
    to_postgrest: float | None
    to_by_hand: float | None
    spread: float
    failed: int


@dataclass(frozen=True, slots=True)
class Report:
    """The lines, and under which conditions they were measured."""

    conditions: Mapping[str, str | int]
    lines: tuple[Line, ...]


def line_of(
    scenario: str,
    way: str,
    server: str,
    loads: Sequence[Load],
    yardsticks: Sequence[float],
    *,
    postgrest: Sequence[Load] | None = None,
    by_hand: Sequence[Load] | None = None,
) -> Line:
    """The medians over the rounds; each load is set beside the others of its own round."""
    return Line(
        scenario,
        way,
        server,
        rate=median(load.rate for load in loads),
        p50=median(load.p50 for load in loads),
        p99=median(load.p99 for load in loads),
        pgbench=median(yardsticks),
        to_pgbench=median(
            load.rate / yardstick for load, yardstick in zip(loads, yardsticks, strict=True)
        ),
        to_postgrest=None if server == POSTGREST else _ratio(loads, postgrest),
        to_by_hand=None if server == BY_HAND else _ratio(loads, by_hand),
        spread=max(yardsticks) / min(yardsticks) - 1,
        failed=sum(load.failed for load in loads),
    )


def _ratio(loads: Sequence[Load], others: Sequence[Load] | None) -> float | None:
    """None as well where the others answered nothing: there is no ratio to that."""
    if others is None or any(other.rate == 0 for other in others):
        return None
    return median(load.rate / other.rate for load, other in zip(loads, others, strict=True))


def as_table(lines: Sequence[Line]) -> str:
    """A table for the terminal."""
    head = ("scenario", "way", "server", "req/s", "p50 ms", "p99 ms", "pgbench", "of pgbench")
    rows = [(*head, "to PostgREST", "to by-hand", "failed")]
    rows += [
        (
            line.scenario,
            line.way,
            line.server,
            f"{line.rate:,.0f}",
            f"{line.p50:.2f}",
            f"{line.p99:.2f}",
            f"{line.pgbench:,.0f}",
            f"{line.to_pgbench:.0%}",
            "" if line.to_postgrest is None else f"{line.to_postgrest:.2f}x",
            "" if line.to_by_hand is None else f"{line.to_by_hand:.2f}x",
            str(line.failed),
        )
        for line in lines
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < 3 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def warning_of(lines: Sequence[Line]) -> str | None:
    """What to say when the machine did other things meanwhile: the yardstick itself moved."""
    noisy = {line.scenario: line.spread for line in lines if line.spread > NOISY}
    if not noisy:
        return None
    return (
        "Too noisy to tell: the same pgbench run differed by up to"
        f" {max(line.spread for line in lines):.0%} between rounds ({', '.join(noisy)})."
        " Measure again on a quiet machine, or with more rounds."
    )


def as_json(report: Report) -> str:
    """The whole report; `report_in` reads it again."""
    results = [asdict(line) for line in report.lines]
    return json.dumps({"conditions": dict(report.conditions), "results": results}, indent=2)


def report_in(text: str) -> Report:
    """What `as_json` wrote."""
    found = json.loads(text)
    return Report(found["conditions"], tuple(Line(**line) for line in found["results"]))
