"""A sample of the walk through the zoo; `python -m tests.zoo` takes all of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess
from tests.zoo import beside
from tests.zoo.by_hand import BY_HAND
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


def test_what_is_written_by_hand(zoo_server: ServerProcess, postgres: EmbeddedPostgres) -> None:
    found = list[str]()
    asyncio.run(walk(postgres.dsn_for("zoo"), zoo_server.url, BY_HAND, found.append))
    assert not found, "\n".join(found)


def test_two_servers_side_by_side(
    zoo_server: ServerProcess, postgres: EmbeddedPostgres
) -> None:
    """The server beside itself: no PostgREST is at hand wherever tests run."""
    taken = asyncio.run(planned(postgres.dsn_for("zoo"), 50))
    found = list[str]()
    met = asyncio.run(beside.compare(zoo_server.url, zoo_server.url, taken, found.append))
    assert not found, "\n".join(found)
    assert not met
    answers = httpx.Response(200, text="[]"), httpx.Response(201, text="[]")
    assert beside.between(answers[0], answers[0]) is None
    assert beside.between(*answers) == "200 [] / 201 []"
    assert beside.between(answers[0], httpx.Response(200, text="[1]")) == "[] / [1]"


def test_answers_are_what_postgresql_says(
    zoo_server: ServerProcess, postgres: EmbeddedPostgres
) -> None:
    dsn, found = postgres.dsn_for("zoo"), list[str]()
    taken = asyncio.run(planned(dsn, SAMPLE))
    assert len(taken) == SAMPLE
    asyncio.run(walk(dsn, zoo_server.url, taken, found.append))
    assert not found, "\n".join(found)
