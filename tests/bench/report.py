"""What was measured: as text for the terminal, JSON for a machine, a chart for the docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from statistics import median
from typing import Final

from tests.bench.http_load import Load

NOISY: Final = 0.15
"""By how much the same pgbench run may differ from round to round, as a share of the least."""


@dataclass(frozen=True, slots=True)
class Line:
    """One scenario, sent in one way to one contender: medians over the rounds.

    `rate` in requests per second, `p50` and `p99` in milliseconds, `pgbench` in
    transactions per second, `ratio` the median of each round's rate over its pgbench,
    `beside` that of its rate over PostgREST's where that ran, `spread` how far the pgbench
    runs were apart, as a share of the slowest. `failed` is summed up over the rounds, as are
    `answers`, for each second of a round.
    """

    scenario: str
    way: str
    engine: str
    rate: float
    p50: float
    p99: float
    pgbench: float
    ratio: float
    spread: float
    failed: int
    answers: float
    beside: float | None = None


def line_of(
    scenario: str,
    way: str,
    engine: str,
    loads: Sequence[Load],
    yardsticks: Sequence[float],
    postgrest: Sequence[Load] | None = None,
) -> Line:
    """The medians of as many rounds as there are loads, each beside its own pgbench run."""
    return Line(
        scenario,
        way,
        engine,
        rate=median(load.rate for load in loads),
        p50=median(load.p50 for load in loads),
        p99=median(load.p99 for load in loads),
        pgbench=median(yardsticks),
        ratio=median(
            load.rate / yardstick for load, yardstick in zip(loads, yardsticks, strict=True)
        ),
        spread=max(yardsticks) / min(yardsticks) - 1,
        failed=sum(load.failed for load in loads),
        answers=sum(load.rate for load in loads),
        beside=None
        if postgrest is None
        else median(
            load.rate / max(other.rate, 1e-9)
            for load, other in zip(loads, postgrest, strict=True)
        ),
    )


def as_table(lines: Sequence[Line]) -> str:
    """A table for the terminal."""
    head = ("scenario", "way", "server", "req/s", "p50 ms", "p99 ms", "pgbench", "ratio")
    rows = [(*head, "to PostgREST", "failed")]
    rows += [
        (
            line.scenario,
            line.way,
            line.engine,
            f"{line.rate:,.0f}",
            f"{line.p50:.2f}",
            f"{line.p99:.2f}",
            f"{line.pgbench:,.0f}",
            f"{line.ratio:.0%}",
            "" if line.beside is None else f"{line.beside:.2f}x",
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
    noisy = sorted({line.scenario for line in lines if line.spread > NOISY})
    if not noisy:
        return None
    worst = max(line.spread for line in lines)
    return (
        f"Too noisy to tell: the same pgbench run differed by up to {worst:.0%} between"
        f" rounds ({', '.join(noisy)}). Measure again on a quiet machine, or with more rounds."
    )


def as_json(conditions: dict[str, str | int], lines: Sequence[Line]) -> str:
    """The same with the conditions it was measured under."""
    return json.dumps(
        {"conditions": conditions, "results": [asdict(line) for line in lines]}, indent=2
    )


_ROW: Final = 18
_LEFT: Final = 240
_WIDTH: Final = 760


def as_svg(lines: Sequence[Line]) -> str:
    """A bar for each line: its rate as a share of what pgbench does with the same SQL."""
    height = _ROW * (len(lines) + 2)
    longest = max((line.ratio for line in lines), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - 130) / longest
    bars = []
    for number, line in enumerate(lines, 2):
        top = number * _ROW
        label = escape(f"{line.scenario}, {line.way}, {line.engine}")
        told = f"{line.ratio:.0%} ({line.rate:,.0f}/s)"
        width = line.ratio * scale
        bars.append(
            f'<text x="{_LEFT - 8}" y="{top}" text-anchor="end">{label}</text>'
            f'<rect x="{_LEFT}" y="{top - 10}" width="{width:.1f}" height="12" fill="#3b7"/>'
            f'<text x="{_LEFT + width + 6:.1f}" y="{top}">{told}</text>'
        )
    title = "Requests per second, as a share of pgbench with the same SQL"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="8" y="{_ROW - 2}" font-weight="bold">{title}</text>'
        f"{''.join(bars)}</svg>\n"
    )
