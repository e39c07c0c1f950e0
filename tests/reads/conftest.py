"""The library of `schema.sql`, a server in front of it, and what SQL itself says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, StartEdge
from tests.http.processes import ServerProcess

SCHEMA = Path(__file__).parent / "schema.sql"

Rows = Callable[[str], list[dict[str, object]]]
"""The rows of a query as PostgreSQL writes them in JSON, read as Python values."""


@pytest.fixture(scope="session")
def library(make_database: MakeDatabase) -> str:
    """The name of a database with the library; nobody writes to it."""
    return make_database(SCHEMA)


@pytest.fixture(scope="session")
def library_settings(library: str, postgres: EmbeddedPostgres) -> dict[str, str | bool]:
    """The settings of a server in front of the library."""
    return {
        "db_uri": postgres.dsn_for(library, "authenticator"),
        "db_schemas": "lib",
        "db_aggregates_enabled": True,
        "db_plan_enabled": True,
    }


@pytest.fixture(scope="session")
def library_server(
    start_edge: StartEdge, library_settings: dict[str, str | bool]
) -> Iterator[ServerProcess]:
    """A server in front of the library."""
    with start_edge(**library_settings) as server:
        yield server
        assert server.exit_code is None, server.log
        assert "Traceback" not in server.log


@pytest.fixture(scope="session")
def reads(library_server: ServerProcess) -> Iterator[httpx.Client]:
    """A client of the library's server."""
    with httpx.Client(http1=False, http2=True, base_url=library_server.url) as client:
        yield client


@pytest.fixture(scope="session")
def rows_of(library: str, postgres: EmbeddedPostgres) -> Rows:
    """What a query answers when no proxy is in between."""
    dsn = postgres.dsn_for(library)

    async def fetch(sql: str) -> list[dict[str, object]]:
        connection = await asyncpg.connect(dsn, server_settings={"search_path": "lib, public"})
        try:
            text = await connection.fetchval(
                f"select coalesce(json_agg(answer), '[]') from ({sql}) as answer"
            )
        finally:
            await connection.close()
        rows: list[dict[str, object]] = json.loads(text)
        return rows

    return lambda sql: asyncio.run(fetch(sql))
