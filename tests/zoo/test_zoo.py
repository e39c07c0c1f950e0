"""A sample of the walk through the zoo; `python -m tests.zoo` takes all of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from pool.embedded import EmbeddedPostgres
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess
from tests.zoo.run import SETTINGS, planned, walk
from tests.zoo.schema import SCHEMA

SAMPLE = int(os.environ.get("ZOO_STEPS", "500"))
"""How many steps are taken."""


@pytest.fixture(scope="module")
def zoo_server(start_edge: StartEdge, postgres: EmbeddedPostgres) -> Iterator[ServerProcess]:
    asyncio.run(execute(postgres.dsn, "create database zoo"))
    asyncio.run(execute(postgres.dsn_for("zoo"), SCHEMA))
    settings = {name.replace("-", "_"): value for name, value in SETTINGS.items()}
    with start_edge(db_uri=postgres.dsn_for("zoo", "authenticator"), **settings) as server:
        yield server
        assert "Traceback" not in server.log


def test_answers_are_what_postgresql_says(
    zoo_server: ServerProcess, postgres: EmbeddedPostgres
) -> None:
    dsn, found = postgres.dsn_for("zoo"), list[str]()
    taken = asyncio.run(planned(dsn, SAMPLE))
    assert len(taken) == SAMPLE
    asyncio.run(walk(dsn, zoo_server.url, taken, found.append))
    assert not found, "\n".join(found)
