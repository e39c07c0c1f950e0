"""Clients that leave, a short run; the long one is `python -m tests.faults.disconnects`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.faults.disconnects import WAYS, disconnects_from


def test_queries_end_with_their_clients_and_leave_nothing(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    name = "disconnects"
    asyncio.run(execute(postgres.dsn, f"create database {name}"))
    # The long run holds the server to 200 ms; here others may keep the machine busy.
    verdict = disconnects_from(postgres, name, tmp_path, clients=60, size=6, within=3.0)
    assert verdict.wrong == []
    assert verdict.caught > 10
    assert [len(verdict.outlived[way]) for way in WAYS] == [20, 20, 20]
