"""Embedding costs PostgreSQL what it would cost with SQL written by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.bench.embed_cost import measure
from tests.conftest import MakeDatabase


def test_our_plan_is_as_cheap_as_one_by_hand(
    make_database: MakeDatabase, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.sql"
    empty.write_text("select 1")
    dsn = postgres.dsn_for(make_database(empty))
    _, (ours, *by_hand) = asyncio.run(measure(dsn, rounds=1))
    assert ours.cost <= 1.02 * min(one.cost for one in by_hand)
