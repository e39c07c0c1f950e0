"""The benchmark runs from end to end: one short round against a real server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.__main__ import main


def test_a_round_measures_answers_and_the_same_sql(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    asked = ["--only=insert", "--only=304", "--engine=hypercorn", "--workers=1", "--delay=1"]
    asked += ["--alone", "--driver=built-in"]
    asked += [f"--json={result}", f"--svg={tmp_path / 'chart.svg'}"]
    assert main(["--seconds=1", "--rounds=1", *asked]) == 0
    found = json.loads(result.read_text())
    assert found["conditions"]["driver"] == "built-in"
    insert, unchanged = found["results"]
    assert (insert["scenario"], insert["server"], insert["failed"]) == (
        "insert",
        "hypercorn",
        0,
    )
    assert min(insert["rate"], insert["pgbench"], insert["p50"]) > 0
    assert 2 <= insert["p50"] <= insert["p99"]
    # Nothing but a 304 counts as an answer to it.
    assert (unchanged["scenario"], unchanged["failed"]) == ("304", 0)
    assert unchanged["rate"] > 0
    assert "insert" in (tmp_path / "chart.svg").read_text()
