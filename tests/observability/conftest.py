"""A database for the tests of what the server tells about itself, and ways to ask it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, StartEdge
from tests.http.processes import ServerProcess

Serve = Callable[..., AbstractContextManager[ServerProcess]]
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def database(make_database: MakeDatabase, postgres: EmbeddedPostgres) -> str:
    """The DSN of the database, for the server."""
    name = make_database(Path(__file__).with_name("schema.sql"))
    return postgres.dsn_for(name, "authenticator")


@pytest.fixture(scope="session")
def serve(start_edge: StartEdge, database: str) -> Serve:
    """Starts a server on that database, with further settings by keyword."""
    return partial(start_edge, db_uri=database, db_schemas="api")


@pytest.fixture
def ask_admin(tmp_path: Path) -> Ask:
    """Asks the admin server on `tmp_path / "admin"`."""

    def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
        transport = httpx.HTTPTransport(uds=str(tmp_path / "admin"))
        with httpx.Client(base_url="http://admin", transport=transport) as client:
            return client.request(method, path, headers=headers)

    return ask
