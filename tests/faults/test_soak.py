"""Nothing is left of requests, a short run; the long one is `python -m tests.faults.soak`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.faults.soak import CHECKPOINTS, soak


def test_nothing_is_left_of_requests(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    asyncio.run(execute(postgres.dsn, "create database soak"))
    verdict = soak(postgres, "soak", tmp_path, requests=600)
    assert verdict.wrong == []
    assert len(verdict.held) == CHECKPOINTS
    assert {*verdict.ended} == {"plain", "cancelled", "error", "timeout"}
