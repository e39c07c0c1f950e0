"""A network that takes everything and passes nothing on: real PostgreSQL behind a relay that
acknowledges and holds, in each of the phases that a session goes through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from pool import ConnectionFailed, ConnectionLost, Pool, PoolError, PoolTimeout
from pool.connection import connect
from pool.dsn import parse_dsn
from pool.errors import NoAnswer
from pool.listener import Listener
from pool.model import Statement, Transaction
from tests.pool.conftest import Admin, MakePool, sleeping
from tests.pool.relay import Relay
from tests.waiting import until

_ONE: Final = Transaction(Statement("select 1"))
_WRITE: Final = Transaction(
    Statement("insert into api.ledger (note) values ($1)", ("silence",)), access="read write"
)
_BOUND: Final = 30.0
"""Far beyond what is promised, far below what TCP would take."""


async def _fill(pool: Pool, count: int) -> None:
    """Have `count` idle sessions."""
    nap = Transaction(Statement("select pg_sleep(0.2)"))
    await asyncio.gather(*(pool.run(nap) for _ in range(count)))
    assert pool.stats.idle == count


@pytest.mark.parametrize("tx", [_ONE, _WRITE], ids=["read", "write"])
async def test_idle_sessions_are_checked_and_all_given_up_at_the_first_silence(
    make_pool: MakePool, relay: Relay, admin: Admin, tx: Transaction
) -> None:
    pool = make_pool(relay.dsn(), size=4, check_delay=0, outage_grace=1)
    await _fill(pool, 4)
    await admin.execute("delete from api.ledger")
    relay.hold()
    async with asyncio.timeout(_BOUND):
        with pytest.raises(ConnectionFailed):
            await pool.run(tx)
    assert pool.stats.idle == 0
    relay.flow()

    async def served() -> bool:
        try:
            await pool.run(_ONE)
        except ConnectionFailed:
            return False
        return True

    await until(served, seconds=_BOUND)
    # Nothing was sent, so nothing is done later either.
    assert await admin.fetchval("select count(*) from api.ledger") == 0


async def test_sessions_lost_while_idle_are_replaced_and_callers_notice_nothing(
    make_pool: MakePool, relay: Relay
) -> None:
    pool = make_pool(relay.dsn(), size=3, check_delay=0)
    await _fill(pool, 3)
    before = relay.connections
    relay.lose()
    async with asyncio.timeout(_BOUND):
        outcome = await pool.run(_ONE)
    assert (len(outcome.rows), pool.stats.retries) == (1, 0)
    assert relay.connections > before


async def test_a_fresh_session_is_not_checked(make_pool: MakePool, relay: Relay) -> None:
    pool = make_pool(relay.dsn(), size=1, check_delay=3600)
    await pool.run(_ONE)
    turns = relay.turns
    await pool.run(_ONE)
    assert relay.turns == turns + 1
    pool.doubt()
    await pool.run(_ONE)
    assert relay.turns == turns + 3


@pytest.mark.parametrize("access", ["read only", "read write"])
async def test_a_query_is_given_up_once_and_in_the_documented_time(
    make_pool: MakePool, relay: Relay, admin: Admin, access: str
) -> None:
    pool = make_pool(relay.dsn(), size=1, application_name="silent-query")
    nap = Transaction(
        Statement("select pg_sleep(0.5)"),
        access=access,  # type: ignore[arg-type]
        settings=(("statement_timeout", "2s"),),
    )
    running = asyncio.create_task(pool.run(nap))

    async def asleep() -> bool:
        return await sleeping(admin, "silent-query") == 1

    await until(asleep)
    relay.hold()
    began = asyncio.get_running_loop().time()
    with pytest.raises(NoAnswer):
        async with asyncio.timeout(_BOUND):
            await running
    assert pool.stats.retries == 0
    # 7 seconds for what reads; COMMIT has 2 of its own. It can't be earlier; how much later,
    # a busy machine decides, but a second try would take as long again.
    assert asyncio.get_running_loop().time() - began < 14
    relay.flow()


async def test_what_the_listener_learns_the_pool_learns(
    make_pool: MakePool, relay: Relay
) -> None:
    pool = make_pool(relay.dsn(), size=2, check_delay=3600, outage_grace=1)
    await _fill(pool, 2)
    listening = asyncio.Event()

    def lost() -> None:
        pool.doubt()
        listening.clear()

    listener = Listener(
        relay.dsn(),
        "silence",
        on_message=lambda _: None,
        on_listening=listening.set,
        on_loss=lost,
        heartbeat=0.3,
    )
    listener.start()
    await listening.wait()
    relay.lose()
    async with asyncio.timeout(_BOUND):
        while listening.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        outcome = await pool.run(_ONE)
    assert len(outcome.rows) == 1
    await listener.close()


async def _connect(make_pool: MakePool, relay: Relay) -> None:
    relay.hold()
    await make_pool(relay.dsn(), size=1, outage_grace=1).run(_ONE)


async def _connect_alone(make_pool: MakePool, relay: Relay) -> None:
    relay.hold()
    dsn = relay.dsn() + "&connect_timeout=1"
    await connect(parse_dsn(dsn, application_name="alone", env={}))


async def _cancel(make_pool: MakePool, relay: Relay) -> None:
    pool = make_pool(relay.dsn(), size=1, acquire_timeout=8, outage_grace=1)
    await pool.run(_ONE)
    running = asyncio.create_task(pool.run(Transaction(Statement("select pg_sleep(60)"))))
    while not pool.stats.busy:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    relay.hold()
    running.cancel()
    await asyncio.wait((running,))
    await pool.run(_ONE)


@pytest.mark.parametrize("phase", [_connect, _connect_alone, _cancel])
async def test_silence_is_told_in_a_bounded_time(
    make_pool: MakePool,
    relay: Relay,
    phase: Callable[[MakePool, Relay], Awaitable[None]],
) -> None:
    async with asyncio.timeout(_BOUND):
        with pytest.raises((ConnectionFailed, ConnectionLost, PoolTimeout)) as told:
            await phase(make_pool, relay)
    assert isinstance(told.value, PoolError)
    relay.flow()


async def test_an_outage_is_told_to_the_operator_once(
    make_pool: MakePool, admin: Admin, server: object, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.execute("create role one_only login connection limit 0")
    dsn = server.dsn_for(user="one_only")  # type: ignore[attr-defined]
    pool = make_pool(dsn, size=2, outage_grace=0.2)
    assert pool.look()

    async def turned_away() -> bool:
        with pytest.raises(ConnectionFailed):
            await pool.run(_ONE)
        return not pool.look()

    await until(turned_away)
    for _ in range(3):
        with pytest.raises(ConnectionFailed):
            await pool.run(_ONE)
    said = [r.getMessage() for r in caplog.records if "no connection" in r.getMessage()]
    assert said == [
        'There is no connection to the database: too many connections for role "one_only"'
    ]
    await admin.execute("alter role one_only connection limit 5")

    async def back() -> bool:
        # Asking is what has it looked for.
        return pool.look() and pool.stats.open > 0

    await until(back)
    await pool.run(_ONE)
    await pool.close(0)
    await admin.execute("drop role one_only")
