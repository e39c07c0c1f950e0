"""No order depends on a process's hash seed: servers side by side make the same of all."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.http.processes import ROOT

_SEEDS = ("0", "1", "2", "3")


def test_whatever_is_made_is_the_same_in_all_processes(dependent_dsn: str) -> None:
    made = [
        subprocess.run(
            [sys.executable, "-m", "tests.cache.made", dependent_dsn],
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
