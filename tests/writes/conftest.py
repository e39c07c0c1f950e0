"""A server in front of `schema.sql`, and clients that may write there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, MakeToken, StartEdge
from tests.http.processes import ServerProcess

SCHEMA = Path(__file__).with_name("schema.sql")


@pytest.fixture(scope="session")
def stockroom(make_database: MakeDatabase, postgres: EmbeddedPostgres) -> str:
    """The name of a database with the schema of these tests."""
    return make_database(SCHEMA)


@pytest.fixture(scope="session")
def stock_server(
    start_edge: StartEdge, stockroom: str, postgres: EmbeddedPostgres
) -> Iterator[ServerProcess]:
    with start_edge(
        db_uri=postgres.dsn_for(stockroom, "authenticator"),
        db_schemas="api",
        db_tx_end="commit-allow-override",
        db_plan_enabled=True,
        server_max_body=4_000_000,
    ) as server:
        yield server
        assert server.exit_code is None, server.log
        assert "Traceback" not in server.log


@pytest.fixture
def client(stock_server: ServerProcess, token: MakeToken) -> Iterator[httpx.Client]:
    """A client of the role web_user, over HTTP/1.1."""
    headers = token("web_user", sub="ada")
    with httpx.Client(base_url=stock_server.url, headers=headers, timeout=60) as client:
        yield client
