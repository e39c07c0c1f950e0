"""A caller's wait for a session ends, whatever happens to the session it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pool import Outcome, Pool, PoolTimeout, Statement, Transaction
from tests.pool.virtual import Database, VirtualLoop

_PATIENCE = 8.0


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


def test_one_whose_session_breaks_as_its_time_runs_out_waits_no_longer(
    loop: VirtualLoop,
) -> None:
    database = Database(loop, lambda: None, lambda _session, _sql: None, replies=True)
    pool = Pool("host=h", size=1, acquire_timeout=_PATIENCE, connect=database.connect)

    def come() -> asyncio.Task[Outcome]:
        task = loop.create_task(pool.run(Transaction(Statement("select 1"))))
        loop.settle()
        return task

    first = come()
    database.replies = False
    (session,) = database.sessions
    assert session.running is not None
    second = come()
    loop.advance(_PATIENCE - 0.001)
    # In one turn the first comes back, the second is given its session, and then is late.
    loop.now += 0.002
    session.running[1].set_result("rows")
    loop.turn()
    assert (first.done(), second.done()) == (True, False)
    session.hang_up()
    loop.advance(0.1)
    assert second.done()
    with pytest.raises(PoolTimeout):
        second.result()
    loop.run_until_complete(pool.close())
