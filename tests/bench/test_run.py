"""The benchmark runs from end to end: one short round against a real server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.server import Contender, running
from tests.ports import free_port

_ONE_REQUEST = """
import http.server, sys
handler = http.server.SimpleHTTPRequestHandler
with http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), handler) as server:
    server.handle_request()
sys.exit("that was it")
"""


def test_a_round_measures_answers_and_the_same_sql(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    asked = ["--only=insert", "--only=304", "--workers=1", "--delay=1"]
    asked += ["--alone", "--driver=built-in"]
    asked += [f"--json={result}", f"--svg={tmp_path / 'chart.svg'}"]
    assert main(["--seconds=1", "--rounds=1", *asked]) == 0
    found = json.loads(result.read_text())
    assert found["conditions"]["driver"] == "built-in"
    insert, unchanged = found["results"]
    assert (insert["scenario"], insert["server"], insert["failed"]) == (
        "insert",
        "edgerest",
        0,
    )
    assert min(insert["rate"], insert["pgbench"], insert["p50"]) > 0
    assert 2 <= insert["p50"] <= insert["p99"]
    # Nothing but a 304 counts as an answer to it.
    assert (unchanged["scenario"], unchanged["failed"]) == ("304", 0)
    assert unchanged["rate"] > 0
    assert "insert" in (tmp_path / "chart.svg").read_text()


def test_a_server_that_ends_by_itself_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    mayfly = Contender("mayfly", (sys.executable, "-c", _ONE_REQUEST, str(port)), port)
    with running(mayfly, tmp_path, target="/") as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    told = capsys.readouterr().err
    assert told.startswith("mayfly had ended with 1; its log:")
    assert told.endswith("that was it\n\n")
