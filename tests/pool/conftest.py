"""A PostgreSQL for the pool's tests, and short ways to it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from pool import Pool
from pool.connection import connect
from pool.dsn import Dsn, parse_dsn
from pool.session import Session
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.relay import Relay

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_SCHEMA = """
create role web login;
create role reader;
create role writer;
grant reader, writer to web;
create schema api;
grant usage on schema api to web, reader, writer;
create table api.ledger (id serial primary key, note text not null unique,
                         twin int references api.ledger (id) deferrable initially deferred);
grant select on api.ledger to reader;
grant all on api.ledger to writer;
grant all on all sequences in schema api to writer;
"""


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="edgerest-test-") as directory:
        server = EmbeddedPostgres(
            Path(directory), durable=False, settings={"max_connections": "60"}
        )
        with server:
            asyncio.run(execute(server.dsn, _SCHEMA))
            yield server


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


@pytest.fixture
async def admin(server: EmbeddedPostgres) -> AsyncIterator[Admin]:
    """A superuser's connection that has nothing to do with the code under test."""
    connection = await asyncpg.connect(
        server.dsn, server_settings={"application_name": "admin"}
    )
    yield connection
    await connection.close()


@pytest.fixture
async def session(server: EmbeddedPostgres) -> AsyncIterator[Session]:
    session = await connect(parse_dsn(server.dsn, application_name="session", env={}))
    yield session
    await session.close(5)


@pytest.fixture
async def web(server: EmbeddedPostgres) -> AsyncIterator[Session]:
    """A session of the role `web`, which may become `reader` or `writer`."""
    dsn = server.dsn_for(user="web")
    session = await connect(parse_dsn(dsn, application_name="web", env={}))
    yield session
    await session.close(5)


MakePool = Callable[..., Pool]


@pytest.fixture
async def make_pool(server: EmbeddedPostgres) -> AsyncIterator[MakePool]:
    """Makes pools with an application name of their own, and closes them."""
    pools: list[Pool] = []

    def make(dsn: Dsn | None = None, **options: object) -> Pool:
        options.setdefault("application_name", f"pool-{secrets.token_hex(4)}")
        pool = Pool(dsn or server.dsn, **options)  # type: ignore[arg-type]
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        await pool.close(0)
        assert pool.stats.open == 0


async def sessions_of(admin: Admin, application_name: str, state: str | None = None) -> int:
    """How many of the application's sessions the server knows, in `state` if given."""
    found = await admin.fetchval(
        "select count(*) from pg_stat_activity where application_name = $1"
        " and ($2::text is null or state = $2)",
        application_name,
        state,
    )
    return int(found)


async def sleeping(admin: Admin, application_name: str) -> int:
    """How many of the application's sessions run `pg_sleep`. One that is active may still be
    parsing it, and then a request to cancel finds nothing that takes long."""
    found = await admin.fetchval(
        "select count(*) from pg_stat_activity"
        " where application_name = $1 and wait_event = 'PgSleep'",
        application_name,
    )
    return int(found)


@pytest.fixture
async def relay(server: EmbeddedPostgres) -> AsyncIterator[Relay]:
    """A relay in front of the server, through which round trips can be counted."""
    async with Relay(f"{server.socket_directory}/.s.PGSQL.{server.port}") as relay:
        yield relay


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, to stop and start."""
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        yield server
