"""What tests of the whole share: a private PostgreSQL, databases in it, and the server in
front of the sample shop of `http/schema.sql`, as a process of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import asyncpg
import httpx
import hypothesis
import jwt
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.http.processes import ServerProcess, running
from tests.roles import ROLES

# Every server that a test starts would compile the packages anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says more about what else the machine does.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

SECRET = "a secret for tests that is long enough"
SHOP = Path(__file__).parent / "http" / "schema.sql"

Setting = str | int | float | bool
StartEdge = Callable[..., AbstractContextManager[ServerProcess]]
MakeToken = Callable[..., dict[str, str]]
MakeDatabase = Callable[[Path], str]
"""Loads a file of SQL into a fresh database; returns its name."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test run's own, with the roles that schemas grant to."""
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        asyncio.run(execute(server.dsn, ROLES))
        yield server


@pytest.fixture(scope="session")
def make_database(postgres: EmbeddedPostgres) -> MakeDatabase:
    """How to come by a database with a given content."""
    numbers = itertools.count(1)

    def make(schema: Path) -> str:
        name = f"test_{next(numbers)}"
        asyncio.run(execute(postgres.dsn, f'create database "{name}"'))
        asyncio.run(execute(postgres.dsn_for(name), schema.read_text()))
        return name

    return make


async def execute(dsn: str, sql: str) -> None:
    """Run `sql` as a superuser."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def shop(make_database: MakeDatabase) -> str:
    """The name of a database with the sample shop; whoever writes cleans up."""
    return make_database(SHOP)


@pytest.fixture(scope="session")
def start_edge(
    shop: str, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> StartEdge:
    """Starts a server on the shop, its settings given by keyword: `db_pool=1`."""

    @contextmanager
    def start(**given: Setting) -> Iterator[ServerProcess]:
        settings: dict[str, Setting] = {
            "db-uri": postgres.dsn_for(shop, "authenticator"),
            "db-schemas": "api, audit",
            "db-anon-role": "web_anon",
            "jwt-secret": SECRET,
            "server-host": "127.0.0.1",
            "server-port": 0,
            # All databases of the tests have their roles in common: others change them.
            "cache-rights-interval": 86400,
        }
        settings |= {name.replace("_", "-"): value for name, value in given.items()}
        config = tmp_path_factory.mktemp("edge") / "edge.conf"
        config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
        command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
        with running(command) as server:
            yield server

    return start


@pytest.fixture(scope="session")
def edge(
    start_edge: StartEdge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server with default settings, shared by all tests of the session."""
    admin = tmp_path_factory.mktemp("admin") / "sock"
    with start_edge(admin_server_unix_socket=str(admin)) as server:
        yield server
        assert server.exit_code is None, server.log
        assert "Traceback" not in server.log


@pytest.fixture
def http(edge: ServerProcess) -> Iterator[httpx.Client]:
    """A client of `edge`: HTTP/2 with prior knowledge, anonymous."""
    with httpx.Client(http1=False, http2=True, base_url=edge.url) as client:
        yield client


@pytest.fixture(scope="session")
def token() -> MakeToken:
    """The headers of a request by `role`; further claims by keyword."""

    def make(role: str = "web_user", **claims: object) -> dict[str, str]:
        payload = {"role": role, "exp": int(time.time()) + 600, **claims}
        return {"Authorization": f"Bearer {jwt.encode(payload, SECRET, 'HS256')}"}

    return make
