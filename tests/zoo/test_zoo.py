"""A sample of the walk through the zoo; `ZOO_STEPS=0` takes all of it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator

import asyncpg
import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess
from tests.zoo.compare import differences
from tests.zoo.schema import SCHEMA
from tests.zoo.walk import steps

SAMPLE: int | None = int(os.environ.get("ZOO_STEPS", "400")) or None
"""How many steps are taken; 0 for all."""


@pytest.fixture(scope="module")
def zoo_server(start_edge: StartEdge, postgres: EmbeddedPostgres) -> Iterator[ServerProcess]:
    asyncio.run(execute(postgres.dsn, "create database zoo"))
    asyncio.run(execute(postgres.dsn_for("zoo"), SCHEMA))
    with start_edge(
        db_uri=postgres.dsn_for("zoo", "authenticator"),
        db_schemas="zoo",
        db_tx_end="commit-allow-override",
        csv_plain_backslashes=True,
    ) as server:
        yield server
        assert "Traceback" not in server.log


async def walk(dsn: str, url: str, most: int | None) -> tuple[int, list[str]]:
    """How many steps were taken, at most so many at random, and what was wrong."""
    connection = await asyncpg.connect(dsn)
    try:
        taken = [step async for step in steps(connection)]
        await connection.execute("set role web_anon; set search_path = zoo, public")
        if most is not None:
            taken = random.sample(taken, min(most, len(taken)))
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            found = [text async for text in differences(client, connection, taken)]
    finally:
        await connection.close()
    return len(taken), found


def test_answers_are_what_postgresql_says(
    zoo_server: ServerProcess, postgres: EmbeddedPostgres
) -> None:
    count, found = asyncio.run(walk(postgres.dsn_for("zoo"), zoo_server.url, SAMPLE))
    assert count == (SAMPLE or count) > 0
    assert not found, "\n".join(found)
