"""The benchmark runs from end to end: one short round against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.__main__ import main


def test_a_round_measures_answers_and_the_same_sql(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    asked = ["--only=insert", "--engine=hypercorn", "--workers=1", "--driver=built-in"]
    asked += ["--alone", "--delay=1", f"--json={result}", f"--svg={tmp_path / 'chart.svg'}"]
    assert main(["--seconds=1", "--rounds=1", *asked]) == 0
    found = json.loads(result.read_text())
    assert found["conditions"]["driver"] == "built-in"
    (line,) = found["results"]
    assert (line["scenario"], line["engine"], line["failed"]) == ("insert", "hypercorn", 0)
    assert min(line["rate"], line["pgbench"], line["p50"]) > 0
    assert 2 <= line["p50"] <= line["p99"]
    assert "insert" in (tmp_path / "chart.svg").read_text()
