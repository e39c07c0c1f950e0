"""A database in which most things depend on others in some way, and plans over it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pool import Pool
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.plan.model import Plan
from proxy.plan.planner import PlanRules, plan_request
from proxy.plan.read import ReadRules
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.model import HttpRequest
from proxy.schema_cache.load import CacheOptions, load_schema_cache
from proxy.schema_cache.model import SchemaCache
from tests.conftest import MakeDatabase

MakePlan = Callable[..., Plan]

_RULES = PlanRules(read=ReadRules(aggregates_enabled=True))


@pytest.fixture(scope="session")
def dependent_dsn(make_database: MakeDatabase, postgres: EmbeddedPostgres) -> str:
    """A database with dependencies.sql."""
    return postgres.dsn_for(make_database(Path(__file__).with_name("dependencies.sql")))


@pytest.fixture(scope="session")
def dependent(dependent_dsn: str) -> SchemaCache:
    """Its schema cache, with its facts."""
    return asyncio.run(load(dependent_dsn))


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for tests that change roles, which are those of all its databases."""
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-rights-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        yield server


async def load(dsn: str, schema: str = "api") -> SchemaCache:
    """The schema cache of `schema`, with its facts."""
    pool = Pool(dsn, size=1)
    try:
        return await load_schema_cache(pool, CacheOptions((schema,), (), with_facts=True))
    finally:
        await pool.close()


@pytest.fixture(scope="session")
def plan(dependent: SchemaCache) -> MakePlan:
    """The plan for a request on that database."""

    def make(target: str, method: str = "GET", body: str = "", prefer: str = "") -> Plan:
        path, _, query = target.encode().partition(b"?")
        headers = ((b"prefer", prefer.encode()),) if prefer else ()
        http = HttpRequest(method, path, query, headers, body.encode())
        request = read_api_request(http, RequestRules(schemas=("api",)))
        return plan_request(request, dependent, _RULES).plan

    return make
