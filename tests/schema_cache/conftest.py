"""A PostgreSQL with a schema that has a bit of everything, and the cache of it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from pool import Pool
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.schema_cache.load import CacheOptions, load_schema_cache
from proxy.schema_cache.model import QualifiedName, SchemaCache

Load = Callable[..., SchemaCache]


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def load(server: EmbeddedPostgres) -> Load:
    """The cache of a new database after running `sql` in it."""
    databases = 0

    async def load_from(dsn: str, options: CacheOptions) -> SchemaCache:
        pool = Pool(dsn, size=1)
        try:
            return await load_schema_cache(pool, options)
        finally:
            await pool.close()

    def load(sql: str, *schemas: str, user: str = "postgres", **options: object) -> SchemaCache:
        nonlocal databases
        databases += 1
        name = f"schema_cache_{databases}"
        asyncio.run(execute(server.dsn, f"create database {name}"))
        asyncio.run(execute(server.dsn_for(name), sql))
        chosen = CacheOptions(schemas or ("api",), **options)  # type: ignore[arg-type]
        return asyncio.run(load_from(server.dsn_for(name, user), chosen))

    return load


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


@pytest.fixture(scope="session")
def cache(load: Load) -> SchemaCache:
    """The cache of schema.sql, schema `api` exposed and `internal` in the search path."""
    sql = Path(__file__).with_name("schema.sql").read_text()
    return load(sql, "api", extra_search_path=("internal", "missing"))


def api(name: str) -> QualifiedName:
    return QualifiedName("api", name)
