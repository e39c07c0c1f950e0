"""No order depends on a process's hash seed: servers side by side make the same of all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pool.embedded import EmbeddedPostgres
from tests.conftest import MakeDatabase
from tests.http.processes import ROOT

_SEEDS = ("0", "1", "2", "3")


def test_whatever_is_made_is_the_same_in_all_processes(
    make_database: MakeDatabase, postgres: EmbeddedPostgres
) -> None:
    dsn = postgres.dsn_for(make_database(Path(__file__).with_name("dependencies.sql")))
    made = [
        subprocess.run(
            [sys.executable, "-m", "tests.cache.made", dsn],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.splitlines()
        for seed in _SEEDS
    ]
    first, *others = made
    assert len(first) > 500
    assert any("LIMIT" in line for line in first)
    for other in others:
        assert [pair for pair in zip(first, other, strict=True) if pair[0] != pair[1]] == []
