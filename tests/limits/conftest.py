"""A database of things that take their time, servers in front of it, and a look inside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, StartEdge
from tests.http.processes import ServerProcess

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Serve = Callable[..., AbstractContextManager[ServerProcess]]

_RUNNING = """
select count(*) from pg_stat_activity
where usename = 'limits_server' and datname = current_database() and state <> 'idle'
"""


@pytest.fixture(scope="session")
def naps(make_database: MakeDatabase) -> str:
    """The name of the database."""
    return make_database(Path(__file__).parent / "schema.sql")


@pytest.fixture(scope="session")
def serve(start_edge: StartEdge, postgres: EmbeddedPostgres, naps: str) -> Serve:
    """Starts a server in front of it, with settings by keyword."""

    def start(**given: Any) -> AbstractContextManager[ServerProcess]:
        return start_edge(
            db_uri=postgres.dsn_for(naps, "limits_server"),
            db_schemas="api",
            db_anon_role="limits_anon",
            **given,
        )

    return start


@pytest.fixture
async def admin(postgres: EmbeddedPostgres, naps: str) -> AsyncIterator[Admin]:
    """A superuser's connection that has nothing to do with the code under test."""
    connection = await asyncpg.connect(postgres.dsn_for(naps))
    yield connection
    await connection.close()


@pytest.fixture
def running(admin: Admin) -> Callable[[], Awaitable[int]]:
    """How many statements the servers run right now."""

    async def count() -> int:
        return int(await admin.fetchval(_RUNNING))

    return count
