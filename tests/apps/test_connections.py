"""Connections that apps share: never more than pool-max-connections, and everybody's turn."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.settings import SettingsError, load_settings
from tests.apps.conftest import Config, Start

SHOP, BLOG = "shop.example.com", "blog.example.com"


def test_apps_share_connections(
    config: Config,
    start: Start,
    databases: list[str],
    postgres: EmbeddedPostgres,
) -> None:
    workers, total = 2, 3
    config.top |= {
        "server-workers": workers,
        "pool-max-connections": total,
        "db-pool": 5,
        "db-channel-enabled": False,
    }

    async def most_backends(until: asyncio.Event) -> int:
        connection, most = await asyncpg.connect(postgres.dsn), 0
        try:
            while not until.is_set():
                most = max(
                    most,
                    await connection.fetchval(
                        "select count(*) from pg_stat_activity where datname = any ($1)",
                        databases[:2],
                    ),
                )
                await asyncio.sleep(0.01)
        finally:
            await connection.close()
        return most

    async def ask() -> tuple[int, set[int]]:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        counting = asyncio.create_task(most_backends(done))
        with ThreadPoolExecutor(24) as aside:
            asked = [
                loop.run_in_executor(aside, server.get, host, "/rpc/wait?seconds=0.05")
                for host in (SHOP, BLOG) * 12
            ]
            answers = await asyncio.gather(*asked)
        done.set()
        return await counting, {answer.status_code for answer in answers}

    with start(config) as server:
        most, statuses = asyncio.run(ask())
    assert statuses == {200}
    assert 1 <= most <= total


@pytest.mark.parametrize(
    "text, problem",
    [
        ("server-workers=3\npool-max-connections=2", "2 are not enough for 3 workers"),
        ("db-pool-min=11", "db-pool-min: 11 is more than db-pool, which is 10"),
        (
            "server-workers=2\npool-max-connections=9\ndb-pool-min=5",
            "5 connections are to be kept open in each worker, which has 4 of",
        ),
        (
            'pool-max-connections=5\ndb-pool-min=3\n[apps.a]\ndb-uri="x"\n'
            '[apps.b]\ndb-uri="y"\nhosts="b"',
            "6 connections are to be kept open in each worker, which has 5 of",
        ),
        ("db-pool-weight=0", "db-pool-weight: '0' is not a number above 0"),
    ],
)
def test_connections_that_can_not_be_had(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "edge.conf"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_settings(file, {})
    assert problem in str(raised.value)
