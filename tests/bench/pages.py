"""The figures in the pages that show them: `python -m tests.bench.pages` after docs/bench.json.

In: docs/bench.json, which `make bench ARGS=--docs` writes. Out: docs/benchmarks.svg, and the
text between the markers `figures` of README.md, docs/benchmarks.md and docs/sizing.md, so that
they are read where the pages are read: in the repository as on the site.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench.chart import NAMES, as_svg
from tests.bench.report import (
    BY_HAND,
    EDGEREST,
    POSTGREST,
    Line,
    Report,
    as_json,
    report_in,
    warning_of,
)

ROOT: Final = Path(__file__).parents[2]
_FIGURES: Final = re.compile(
    r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL
)
_NONE: Final = "Nothing was measured yet; `make bench ARGS=--docs` writes its figures here."


def read(root: Path = ROOT) -> Report | None:
    """What docs/bench.json holds; None where there is none."""
    file = root / "docs/bench.json"
    return report_in(file.read_text(encoding="utf-8")) if file.exists() else None


def publish(report: Report, root: Path = ROOT) -> None:
    """Write the report to docs/, and its figures into the pages."""
    (root / "docs/bench.json").write_text(as_json(report) + "\n", encoding="utf-8")
    (root / "docs/benchmarks.svg").write_text(as_svg(report), encoding="utf-8")
    for page in PAGES:
        file = root / page
        file.write_text(with_figures(page, file.read_text("utf-8"), report), encoding="utf-8")


def with_figures(page: str, text: str, report: Report | None) -> str:
    """The page with the report's figures. Raises ValueError where it has no place for them."""
    figures = _NONE if report is None else PAGES[page](report)
    written, places = _FIGURES.subn(lambda _: f"\n{figures}\n\n", text)
    if places != 1:
        raise ValueError(f"{page} has {places} places for figures instead of one")
    return written


def _in_readme(report: Report) -> str:
    chart = "[![requests per second](docs/benchmarks.svg)](docs/benchmarks.md)"
    return "\n\n".join(part for part in (chart, warning_of(report.lines)) if part)


def _in_benchmarks(report: Report) -> str:
    parts = [
        "![requests per second](benchmarks.svg)",
        _conditions(report),
        "Requests per second, and how many times PostgREST's:",
        _matrix(report, _rate, _pgbench),
        "As a share of pgbench's with the SQL of the request; for what is cached, with the SQL"
        " that is saved:",
        _matrix(report, lambda line: f"{line.to_pgbench:.0%}"),
        "Latency in milliseconds, p50 / p99:",
        _matrix(report, lambda line: f"{line.p50:.1f} / {line.p99:.1f}"),
    ]
    beside = tuple(line for line in report.lines if line.to_by_hand is not None)
    if beside:
        parts += [
            "How many times the rate of the endpoint by hand:",
            _matrix(replace(report, lines=beside), lambda line: f"{line.to_by_hand:.2f}x"),
        ]
    return "\n\n".join(parts)


def _in_sizing(report: Report) -> str:
    rows = [
        [
            f"{line.scenario}, {line.way}",
            f"{line.rate:,.0f}",
            f"{line.p50:.1f}",
            f"{line.p99:.1f}",
            f"{line.to_pgbench:.0%}",
        ]
        for line in report.lines
        if line.server == EDGEREST
    ]
    head = ["request", "a second", "p50 ms", "p99 ms", "of pgbench"]
    return f"{_table(head, rows, left=1)}\n\n{_conditions(report)}"


PAGES: Final[Mapping[str, Callable[[Report], str]]] = {
    "README.md": _in_readme,
    "docs/benchmarks.md": _in_benchmarks,
    "docs/sizing.md": _in_sizing,
}
"""The pages with figures, and what each shows."""


def _conditions(report: Report) -> str:
    said = ", ".join(f"{name} {value}" for name, value in report.conditions.items())
    failed = sum(line.failed for line in report.lines)
    parts = [f"Measured with {said}.", warning_of(report.lines)]
    parts.append(f"{failed} requests failed." if failed else "No request failed.")
    return " ".join(part for part in parts if part)


def _matrix(
    report: Report,
    cell: Callable[[Line], str],
    pgbench: Callable[[Line], str] | None = None,
) -> str:
    """A row for each scenario and way, a column for each server, and one for pgbench."""
    servers = list(dict.fromkeys(line.server for line in report.lines))
    cells: dict[tuple[str, str], dict[str, Line]] = {}
    for line in report.lines:
        cells.setdefault((line.scenario, line.way), {})[line.server] = line
    rows = []
    for (scenario, way), found in cells.items():
        row = [f"{scenario}, {way}"]
        row += [cell(found[server]) if server in found else "" for server in servers]
        if pgbench is not None:
            row.append(pgbench(next(iter(found.values()))))
        rows.append(row)
    head = ["request", *(NAMES.get(server, server) for server in servers)]
    return _table([*head, "pgbench"] if pgbench is not None else head, rows, left=1)


def _rate(line: Line) -> str:
    shown = f"{line.rate:,.0f}"
    if line.to_postgrest is None or line.server in (POSTGREST, BY_HAND):
        return shown
    return f"{shown} ({line.to_postgrest:.1f}x)"


def _pgbench(line: Line) -> str:
    return f"{line.pgbench:,.0f}"


def _table(head: list[str], rows: list[list[str]], left: int) -> str:
    rule = ["---" if index < left else "---:" for index in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def main() -> int:
    """Write the pages anew from docs/bench.json; 1 where there is none."""
    report = read()
    if report is None:
        print("there is no docs/bench.json: make bench ARGS=--docs", file=sys.stderr)
        return 1
    publish(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
