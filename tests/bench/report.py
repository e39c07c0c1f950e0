"""What was measured, as text for the terminal and as JSON for a machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from tests.bench.http_load import Load


@dataclass(frozen=True, slots=True)
class Line:
    """One scenario on one engine: medians over the rounds.

    `rate` in requests per second, `p50` and `p99` in milliseconds, `pgbench` in
    transactions per second, `ratio` the median of each round's rate over its pgbench.
    `failed` is summed up over the rounds.
    """

    scenario: str
    engine: str
    rate: float
    p50: float
    p99: float
    pgbench: float
    ratio: float
    failed: int


def line_of(
    scenario: str, engine: str, loads: Sequence[Load], yardsticks: Sequence[float]
) -> Line:
    """The medians of as many rounds as there are loads, each beside its own pgbench run."""
    return Line(
        scenario,
        engine,
        rate=median(load.rate for load in loads),
        p50=median(load.p50 for load in loads),
        p99=median(load.p99 for load in loads),
        pgbench=median(yardsticks),
        ratio=median(
            load.rate / yardstick for load, yardstick in zip(loads, yardsticks, strict=True)
        ),
        failed=sum(load.failed for load in loads),
    )


def as_table(lines: Sequence[Line]) -> str:
    """A table for the terminal."""
    rows = [("scenario", "engine", "req/s", "p50 ms", "p99 ms", "pgbench", "ratio", "failed")]
    rows += [
        (
            line.scenario,
            line.engine,
            f"{line.rate:,.0f}",
            f"{line.p50:.2f}",
            f"{line.p99:.2f}",
            f"{line.pgbench:,.0f}",
            f"{line.ratio:.0%}",
            str(line.failed),
        )
        for line in lines
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def as_json(conditions: dict[str, str | int], lines: Sequence[Line]) -> str:
    """The same with the conditions it was measured under."""
    return json.dumps(
        {"conditions": conditions, "results": [asdict(line) for line in lines]}, indent=2
    )
