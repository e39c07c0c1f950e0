"""What clients of PostgREST said when they were recorded is answered as it was then.

`record.py` made the exchanges with the programs of `drivers/`, against this server; every
answer was looked at. Clients: postgrest-js 2.109, ra-data-postgrest 2.5, @refinedev/supabase
6.0, @auth/supabase-adapter 1.11, vue-postgrest 1.3, pypgrest 0.2,
langgraph-checkpoint-supabase 0.1.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.clients.record import EXCHANGES, SCHEMA, SETTINGS, exchange
from tests.conftest import StartEdge, execute

RECORDED = sorted(EXCHANGES.glob("*.json"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_a_client_is_answered_as_ever(
    postgres: EmbeddedPostgres, start_edge: StartEdge, recorded: Path
) -> None:
    name = f"client_{recorded.stem}"
    asyncio.run(execute(postgres.dsn, f"create database {name}"))
    asyncio.run(execute(postgres.dsn_for(name), SCHEMA.read_text()))
    exchanges: list[dict[str, Any]] = json.loads(recorded.read_text())
    assert exchanges
    with (
        start_edge(
            **{key.replace("-", "_"): value for key, value in SETTINGS.items()},
            db_uri=postgres.dsn_for(name, "authenticator"),
        ) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        for known in exchanges:
            asked = {key: known[key] for key in ("method", "target", "headers", "body")}
            assert exchange(client, asked) == known
            assert known["status"] < 500
