"""What the pages show is what was measured."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.chart import as_svg
from tests.bench.http_load import Load
from tests.bench.pages import PAGES, ROOT, publish, read, with_figures
from tests.bench.report import Line, Report, line_of

SVG = "{http://www.w3.org/2000/svg}"


def lines_of(scenario: str, way: str, **rates: float) -> list[Line]:
    """A line for each server, so many requests per second each; pgbench did 1,000."""
    loads = {server: [Load(rate, 1.25, 9.5, 0)] for server, rate in rates.items()}
    rivals = {"postgrest": loads.get("postgrest"), "by_hand": loads.get("fastapi")}
    return [
        line_of(scenario, way, server, load, [1000], **rivals) for server, load in loads.items()
    ]


READ = lines_of("single <row>", "h2 16x4", edgerest=1500, postgrest=500)
PLAIN = lines_of("single <row>", "h1 16", edgerest=1200, postgrest=600, fastapi=2400)
ALONE = lines_of("insert", "h2 16x4", edgerest=250)


def report_of(*groups: Sequence[Line]) -> Report:
    return Report({"postgresql": "18.6", "cpus": 2}, tuple(chain(*groups)))


REPORT = report_of(READ, PLAIN, ALONE)


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_agree_with_what_was_measured(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text == with_figures(page, text, read()), "python -m tests.bench.pages writes it"


def test_the_chart_agrees_with_what_was_measured() -> None:
    report, chart = read(), ROOT / "docs/benchmarks.svg"
    if report is None:
        assert not chart.exists()
    else:
        assert chart.read_text(encoding="utf-8") == as_svg(report)


def test_figures_come_into_the_pages_and_go_again(tmp_path: Path) -> None:
    for page in PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / page, tmp_path / page)
    publish(REPORT, tmp_path)
    assert read(tmp_path) == REPORT
    told = (tmp_path / "docs/benchmarks.md").read_text()
    assert "| request | edgerest | PostgREST | FastAPI, by hand | pgbench |" in told
    assert "| single <row>, h2 16x4 | 1,500 (3.0x) | 500 |  | 1,000 |" in told
    assert "| single <row>, h1 16 | 1,200 (2.0x) | 600 | 2,400 | 1,000 |" in told
    assert "| insert, h2 16x4 | 1.2 / 9.5 |" in told
    assert "| single <row>, h1 16 | 120% | 60% | 240% |" in told
    assert "| single <row>, h1 16 | 0.50x | 0.25x |\n\n<!--" in told
    assert "postgresql 18.6, cpus 2. No request failed." in told
    sizing = (tmp_path / "docs/sizing.md").read_text()
    assert "| single <row>, h2 16x4 | 1,500 | 1.2 | 9.5 | 150% |" in sizing
    assert "PostgREST" not in sizing
    assert "docs/benchmarks.svg" in (tmp_path / "README.md").read_text()
    for page in PAGES:
        with_them = (tmp_path / page).read_text()
        without = with_figures(page, with_them, None)
        assert without == with_figures(page, (ROOT / page).read_text(), None)
        assert with_figures(page, without, REPORT) == with_them


@pytest.mark.parametrize("text", ["", "<!-- figures -->\n<!-- end of figures -->\n" * 2])
def test_a_page_has_one_place_for_figures(text: str) -> None:
    with pytest.raises(ValueError, match="place"):
        with_figures("docs/sizing.md", text, REPORT)


@pytest.mark.parametrize("report", [REPORT, report_of(READ), report_of()])
def test_the_chart_has_a_bar_for_each_line(report: Report) -> None:
    root = ET.fromstring(as_svg(report))  # noqa: S314 (our own)
    drawn = [bar for bar in root.iter(f"{SVG}rect") if bar.attrib["class"] != "page"]
    assert len(drawn) == len(report.lines)
    bottom = float(root.attrib["height"])
    assert all(float(bar.attrib["y"]) + float(bar.attrib["height"]) < bottom for bar in drawn)


def test_bars_are_to_scale_within_their_group() -> None:
    root = ET.fromstring(as_svg(REPORT))  # noqa: S314 (our own)
    drawn = [bar for bar in root.iter(f"{SVG}rect") if bar.attrib["class"] != "page"]
    widths = [float(bar.attrib["width"]) for bar in drawn]
    longest = widths[0]
    assert [round(width / longest, 2) for width in widths] == [1, 0.33, 0.5, 0.25, 1, 1]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    titles = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert "single <row> HTTP/2, 16 connections with 4 streams" in titles
    assert {"1,500 · 3.0x", "500", "2,400 · 4.0x", "250 · 25%"} <= set(texts)
