"""One server replaced by the next under load, once; more by
`python -m tests.faults.rolling_restart`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.faults.rolling_restart import KINDS, rolling_restart


def test_no_request_is_lost(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    asyncio.run(execute(postgres.dsn, "create database rolling"))
    verdict = rolling_restart(postgres, "rolling", tmp_path, restarts=1, clients=4)
    assert (verdict.lost, verdict.logs, verdict.restarts) == ({}, [], 1)
    assert all(verdict.answered[kind] > 10 for kind in KINDS)
