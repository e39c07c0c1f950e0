"""A server in front of `schema.sql`, whose comments are cache policies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, MakeToken, StartEdge, execute
from tests.http.processes import ServerProcess

SCHEMA = Path(__file__).with_name("schema.sql")

Sql = Callable[[str], None]
"""Runs SQL as a superuser, beside the server."""


@pytest.fixture(scope="session")
def catalogue(make_database: MakeDatabase) -> str:
    """The name of a database with the schema of these tests."""
    return make_database(SCHEMA)


@pytest.fixture(scope="session")
def catalogue_server(
    start_edge: StartEdge,
    catalogue: str,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    admin = tmp_path_factory.mktemp("admin") / "sock"
    with start_edge(
        db_uri=postgres.dsn_for(catalogue, "authenticator"),
        db_schemas="api",
        admin_server_unix_socket=str(admin),
    ) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture
def catalogue_client(catalogue_server: ServerProcess) -> Iterator[httpx.Client]:
    """A client that sends nothing of its own accord."""
    with httpx.Client(base_url=catalogue_server.url) as client:
        client.headers.clear()
        yield client


@pytest.fixture
def anon(catalogue_server: ServerProcess) -> Iterator[httpx.Client]:
    """A client without a token, and without a wish for compression."""
    headers = {"accept-encoding": "identity"}
    with httpx.Client(base_url=catalogue_server.url, headers=headers) as client:
        yield client


@pytest.fixture
def ada(catalogue_server: ServerProcess, token: MakeToken) -> Iterator[httpx.Client]:
    """A client that may write."""
    headers = token("web_user", sub="ada") | {"accept-encoding": "identity"}
    with httpx.Client(base_url=catalogue_server.url, headers=headers) as client:
        yield client


@pytest.fixture
def bob(catalogue_server: ServerProcess, token: MakeToken) -> Iterator[httpx.Client]:
    """Another of the same role."""
    headers = token("web_user", sub="bob") | {"accept-encoding": "identity"}
    with httpx.Client(base_url=catalogue_server.url, headers=headers) as client:
        yield client


@pytest.fixture
def auditor(catalogue_server: ServerProcess, token: MakeToken) -> Iterator[httpx.Client]:
    """One of another role, with the name of `ada`."""
    headers = token("web_auditor", sub="ada") | {"accept-encoding": "identity"}
    with httpx.Client(base_url=catalogue_server.url, headers=headers) as client:
        yield client


@pytest.fixture
def sql(catalogue: str, postgres: EmbeddedPostgres) -> Sql:
    return lambda text: asyncio.run(execute(postgres.dsn_for(catalogue), text))
