"""The demo's database for tests, smaller than the demo itself."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

import asyncpg
import pytest

from pool.pool import Pool
from proxy.cli.demo import data
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess

ADA = 1
"""The demo's own user, member of projects 1 and 2: the claim `user_id`."""


def load_demo(postgres: EmbeddedPostgres, name: str, tasks: int) -> None:
    """A database called `name` with the demo's schema and so many tasks.

    Skips the test on PostgreSQL 14: there the demo's views would show what their owner sees.
    """
    if asyncio.run(_major(postgres)) < 15:
        pytest.skip("the demo's views are security_invoker, which came with PostgreSQL 15")
    asyncio.run(_load(postgres, name, tasks))


async def _major(postgres: EmbeddedPostgres) -> int:
    connection = await asyncpg.connect(postgres.dsn)
    try:
        return int(connection.get_server_version().major)
    finally:
        await connection.close()


async def _load(postgres: EmbeddedPostgres, name: str, tasks: int) -> None:
    await execute(postgres.dsn, f'create database "{name}"')
    pool = Pool(postgres.dsn_for(name), size=1)
    try:
        await data.load(pool, tasks, lambda _: None)
    finally:
        await pool.close()


def serve_demo(
    start_edge: StartEdge, postgres: EmbeddedPostgres, name: str, **settings: str | bool | int
) -> AbstractContextManager[ServerProcess]:
    """A server with the demo's settings in front of that database."""
    return start_edge(
        db_uri=postgres.dsn_for(name, data.CONNECTING_ROLE),
        db_schemas=data.SCHEMA,
        db_extra_search_path="",
        db_anon_role=data.ANONYMOUS_ROLE,
        db_aggregates_enabled=True,
        **settings,
    )
