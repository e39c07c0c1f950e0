"""A server on the schema of `schema.sql`, and one on the demo's."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pool import Pool
from proxy.cli.demo import data
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, StartEdge, execute
from tests.http.processes import ServerProcess

OPENAPI_31 = "application/vnd.oai.openapi+json;version=3.1"
Document = dict[str, Any]


def description(server: ServerProcess, accept: str = OPENAPI_31, **headers: str) -> Document:
    """What the server says of itself to the caller."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx.get(server.url, headers={"Accept": accept, **named})
    assert response.status_code == 200, response.text
    found: Document = response.json()
    return found


@pytest.fixture(scope="package")
def types_uri(make_database: MakeDatabase, postgres: EmbeddedPostgres) -> str:
    """Where the database of `schema.sql` is."""
    name = make_database(Path(__file__).with_name("schema.sql"))
    return postgres.dsn_for(name, "authenticator")


@pytest.fixture(scope="package")
def types(types_uri: str, start_edge: StartEdge) -> Iterator[ServerProcess]:
    """A server on it, which exposes both schemas."""
    with start_edge(db_uri=types_uri, db_schemas="api, other") as server:
        yield server


@pytest.fixture(scope="package")
def demo_uri(postgres: EmbeddedPostgres) -> str:
    """Where a database with the demo's schema is."""
    # Packages that run in one process may ask for it one after the other.
    name = f"openapi_demo_{secrets.token_hex(4)}"

    async def fill() -> None:
        await execute(postgres.dsn, f'create database "{name}"')
        pool = Pool(postgres.dsn_for(name), size=1)
        try:
            await data.load(pool, 100, lambda _: None)
        finally:
            await pool.close()

    asyncio.run(fill())
    return postgres.dsn_for(name, data.CONNECTING_ROLE)
