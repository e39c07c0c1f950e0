"""A report as a chart in SVG: a group of bars for each scenario and way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Final

from tests.bench.http_load import WAYS
from tests.bench.report import BY_HAND, POSTGREST, Line, Report

NAMES: Final = {POSTGREST: "PostgREST", BY_HAND: "FastAPI, by hand"}
"""What readers call the servers that are not edgerest."""

_WAYS: Final = {way.name: way.told for way in WAYS}
_WIDTH: Final = 960
_COLUMN: Final = _WIDTH // 2
_TITLE: Final = "Requests per second: edgerest beside others"
_TOP: Final = 82
_BAR: Final = 17
_GROUP: Final = 40  # besides its bars: its title, and the room below
_LABELS: Final = 126  # room for the names of servers
_LONGEST: Final = 190  # a bar, in pixels
_STYLE: Final = """
svg { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.page { fill: #ffffff; stroke: #d0d7de } text { fill: #1f2328 } .quiet { fill: #59636e }
.title { font-size: 17px; font-weight: 600 } .group { font-weight: 600 }
tspan { font-weight: 400 }
.edgerest { fill: #1a7f5a }
.postgrest { fill: #c77d2e } .fastapi { fill: #8c959f }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; stroke: #3d444d } text { fill: #e6edf3 } .quiet { fill: #9198a1 }
.edgerest { fill: #2ea57a }
.postgrest { fill: #d29045 } .fastapi { fill: #6e7681 }
}
"""


def as_svg(report: Report) -> str:
    """Bars of requests per second, each group to a scale of its own, with the ratio to
    PostgREST or, where that did not run, to pgbench."""
    groups = [
        (scenario, way, list(lines))
        for (scenario, way), lines in groupby(report.lines, lambda one: (one.scenario, one.way))
    ]
    left, right = _halves(groups)
    height = _TOP + max(map(_height, (left, right))) + 12
    drawn = [*_column(left, 0), *_column(right, _COLUMN)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
            f' width="{_WIDTH}" height="{height}" role="img">',
            f"<title>{_TITLE}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}"'
            ' rx="6"/>',
            f'<text class="title" x="16" y="28">{_TITLE}</text>',
            *_caption(report),
            *drawn,
            "</svg>\n",
        ]
    )


_Group = tuple[str, str, list[Line]]


def _caption(report: Report) -> Iterator[str]:
    beside = any(line.to_postgrest is not None for line in report.lines)
    ratio = "1.5x: so many times PostgREST's" if beside else "50%: of pgbench with the same SQL"
    said = report.conditions
    where = f"PostgreSQL {said.get('postgresql', '?')}, {said.get('cpus', '?')} processors"
    told = (
        f"edgerest: one process; x2: two. {ratio}. Each group has a scale of its own.",
        f"{where}, for load and database too. PostgREST keeps no answers: what"
        " is cached is beside its plain read.",
    )
    for place, line in enumerate(told):
        yield f'<text class="quiet" x="16" y="{47 + 17 * place}">{escape(line)}</text>'


def _height(groups: Sequence[_Group]) -> int:
    return sum(len(lines) * _BAR + _GROUP for *_, lines in groups)


def _halves(groups: Sequence[_Group]) -> tuple[Sequence[_Group], Sequence[_Group]]:
    """The groups in order, in two columns that differ the least."""
    cuts = range(len(groups) + 1)
    cut = min(cuts, key=lambda at: (max(_height(groups[:at]), _height(groups[at:])), -at))
    return groups[:cut], groups[cut:]


def _column(groups: Sequence[_Group], x: int) -> Iterator[str]:
    top = _TOP
    for scenario, way, lines in groups:
        told = f'{escape(scenario)} <tspan class="quiet">{escape(_WAYS.get(way, way))}</tspan>'
        yield f'<text class="group" x="{x + 16}" y="{top + 16}">{told}</text>'
        top += 24
        longest = max(line.rate for line in lines) or 1.0
        for line in lines:
            width = line.rate / longest * _LONGEST
            yield from _bar(line, x + _LABELS + 16, top, width)
            top += _BAR
        top += _GROUP - 24


def _bar(line: Line, x: int, top: int, width: float) -> Iterator[str]:
    kind = line.server.split()[0]
    name = NAMES.get(line.server, line.server)
    if line.to_postgrest is not None:
        ratio = f" · {line.to_postgrest:.1f}x"
    elif line.server == POSTGREST:
        ratio = ""
    else:
        ratio = f" · {line.to_pgbench:.0%}"
    where = f'x="{x - 8}" y="{top + 11}" text-anchor="end"'
    yield f'<text class="quiet" {where}>{escape(name)}</text>'
    yield f'<rect class="{kind}" x="{x}" y="{top}" width="{width:.1f}" height="13" rx="2"/>'
    yield f'<text x="{x + width + 6:.1f}" y="{top + 11}">{line.rate:,.0f}{ratio}</text>'
