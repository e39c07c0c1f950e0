"""A write that goes on without its caller outdates what it touches when it ends."""

from __future__ import annotations

import asyncio

import pytest

from pool import Pool, Statement, Transaction
from proxy.cache import versions
from proxy.cache.invalidation import Invalidation
from proxy.cache.notify import Announcements
from proxy.cache.versions import Versions
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.waiting import until

TAGS = frozenset(("api.items",))


async def test_a_write_that_takes_long_is_not_forgotten(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SETTLED", 0.05)
    known = Versions()
    silent = Announcements("c", known, lambda: None, speaks=False)
    invalidation = Invalidation(known, silent)
    pool = Pool(postgres.dsn, size=1)
    slow = Transaction(
        Statement("select pg_sleep(0.6)"), access="read write", finish_when_abandoned=True
    )
    try:

        async def write() -> None:
            announced = invalidation.announced(slow, TAGS)
            with invalidation.in_doubt(TAGS):
                await pool.run(announced)

        writing = asyncio.create_task(write())

        async def running() -> bool:
            return pool.stats.busy == 1

        await until(running)
        await asyncio.sleep(0.1)
        writing.cancel()
        await asyncio.wait((writing,))
        await asyncio.sleep(0.1)
        meanwhile = known.vector(TAGS)
        assert known.unchanged(TAGS, meanwhile)

        async def outdated() -> bool:
            return not known.unchanged(TAGS, meanwhile)

        await until(outdated)
    finally:
        await pool.close()
