"""A few hundred operations through the lying proxy of `tests.faults.sdk`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from edge_client import EdgeClient
from tests.conftest import MakeToken
from tests.faults.sdk import DEADLINE, GRACE, run
from tests.http.processes import ServerProcess


@pytest.fixture
def jwt(edge: ServerProcess, token: MakeToken) -> Iterator[str]:
    made = token()["Authorization"].removeprefix("Bearer ")
    yield made
    with EdgeClient(edge.url, token=made) as db:
        db.table("customers").delete(returning="minimal").gt("id", 99).execute()


def test_nothing_is_lost_doubled_or_hung(edge: ServerProcess, jwt: str) -> None:
    tally, faults = asyncio.run(run(edge.host, edge.port, jwt, 400, seed=1))
    assert tally.wrong == []
    assert tally.longest < DEADLINE + GRACE
    # What can be repeated succeeds; of a plain insert it may stay open whether it was done.
    assert {failure.partition(":")[0] for failure in tally.failed} <= {"insert"}
    assert sum(tally.done.values()) > 380
    assert min(faults[kind] for kind in ("delayed", "duplicated", "killed after")) > 0
