"""The pool against a real server: bounds, order, time, cancellation, outages."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pool import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    Pool,
    PoolStats,
    PoolTimeout,
    Statement,
    Transaction,
)
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import Admin, MakePool, execute, sessions_of
from tests.pool.relay import Relay
from tests.waiting import until

_PID = Statement("select pg_backend_pid()")


def sleeping(seconds: float) -> Transaction:
    return Transaction(Statement("select pg_sleep($1)", (str(seconds),)))


async def pid_of(pool: Pool) -> int:
    return int((await pool.fetch(_PID))[0][0])


def seen(pool: Pool) -> PoolStats:
    """The pool's sessions and callers of this moment, without what was gathered so far."""
    now = pool.stats
    return PoolStats(
        size=now.size,
        open=now.open,
        idle=now.idle,
        waiting=now.waiting,
        timeouts=now.timeouts,
    )


class Gate:
    """Transactions that end when the test says so: they wait for an advisory lock."""

    def __init__(self, admin: Admin, key: int) -> None:
        self._admin = admin
        self._key = key
        self.wait = Transaction(
            Statement("select pg_advisory_xact_lock_shared($1)", (str(key),))
        )

    async def shut(self) -> None:
        await self._admin.execute(f"select pg_advisory_lock({self._key})")

    async def open(self) -> None:
        await self._admin.execute(f"select pg_advisory_unlock({self._key})")

    async def blocked(self, count: int) -> bool:
        found = await self._admin.fetchval(
            "select count(*) from pg_locks where locktype = 'advisory' and objid = $1"
            " and not granted",
            self._key,
        )
        return bool(found == count)


@pytest.fixture
async def gate(admin: Admin) -> AsyncIterator[Gate]:
    gate = Gate(admin, random.randrange(1, 2**31))
    await gate.shut()
    yield gate
    await admin.execute("select pg_advisory_unlock_all()")


async def test_the_pool_opens_what_it_needs_and_no_more_than_its_size(
    make_pool: MakePool, admin: Admin, gate: Gate
) -> None:
    pool = make_pool(size=3, application_name="bounded")
    assert seen(pool) == PoolStats(size=3, open=0, idle=0, waiting=0, timeouts=0)
    await pool.open()
    assert seen(pool) == PoolStats(size=3, open=1, idle=1, waiting=0, timeouts=0)
    tasks = [asyncio.create_task(pool.run(gate.wait)) for _ in range(20)]
    await until(lambda: gate.blocked(3))
    assert seen(pool) == PoolStats(size=3, open=3, idle=0, waiting=17, timeouts=0)
    assert await sessions_of(admin, "bounded") == 3
    await gate.open()
    await asyncio.gather(*tasks)
    assert seen(pool) == PoolStats(size=3, open=3, idle=3, waiting=0, timeouts=0)
    assert await sessions_of(admin, "bounded") == 3


async def test_first_come_first_served(make_pool: MakePool, gate: Gate) -> None:
    pool = make_pool(size=1)
    served: list[int] = []

    async def caller(n: int) -> None:
        await pool.run(Transaction(_PID))
        served.append(n)

    holder = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: gate.blocked(1))
    callers = [asyncio.create_task(caller(n)) for n in range(50)]
    await asyncio.sleep(0)
    assert pool.stats.waiting == 50
    for n in range(0, 50, 7):
        callers[n].cancel()
    await gate.open()
    # A newcomer does not overtake those who wait.
    callers.append(asyncio.create_task(caller(50)))
    await asyncio.gather(holder, *callers, return_exceptions=True)
    assert served == [n for n in range(51) if n % 7 or n >= 50]


async def test_whoever_waits_too_long_is_told_so(make_pool: MakePool, gate: Gate) -> None:
    pool = make_pool(size=1, acquire_timeout=0.05)
    await pool.open()
    holder = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: gate.blocked(1))
    late = await asyncio.gather(
        *(pool.run(gate.wait) for _ in range(3)), return_exceptions=True
    )
    assert [type(error) for error in late] == [PoolTimeout] * 3
    assert seen(pool) == PoolStats(size=1, open=1, idle=0, waiting=0, timeouts=3)
    await gate.open()
    await holder
    assert await pool.fetch(Statement("select 1"))


async def test_the_session_used_last_is_used_next(make_pool: MakePool, gate: Gate) -> None:
    pool = make_pool(size=3)
    tasks = [asyncio.create_task(pool.run(gate.wait)) for _ in range(3)]
    await until(lambda: gate.blocked(3))
    await gate.open()
    await asyncio.gather(*tasks)
    assert pool.stats.idle == 3
    assert len({await pid_of(pool) for _ in range(10)}) == 1


async def test_sessions_nobody_uses_are_closed(
    make_pool: MakePool, admin: Admin, gate: Gate
) -> None:
    pool = make_pool(size=3, max_idle_time=0.1, application_name="idle")
    tasks = [asyncio.create_task(pool.run(gate.wait)) for _ in range(3)]
    await until(lambda: gate.blocked(3))
    assert await sessions_of(admin, "idle") == 3
    await gate.open()
    await asyncio.gather(*tasks)

    async def none_left() -> bool:
        return await sessions_of(admin, "idle") == 0 == pool.stats.open

    await until(none_left)
    assert await pid_of(pool)


async def test_no_session_outlives_its_lifetime(make_pool: MakePool) -> None:
    pool = make_pool(size=1, max_lifetime=0.1)
    used: set[int] = set()

    async def renewed() -> bool:
        used.add(await pid_of(pool))
        return len(used) >= 3

    await until(renewed)
    # A long transaction is let end, and its session is closed thereafter.
    await pool.run(sleeping(0.2))
    last = await pid_of(pool)
    assert last not in used


async def test_a_cancelled_caller_leaves_no_trace(make_pool: MakePool, gate: Gate) -> None:
    pool = make_pool(size=1)
    holder = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: gate.blocked(1))
    waiting = asyncio.create_task(pool.run(gate.wait))
    await asyncio.sleep(0)
    assert pool.stats.waiting == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert seen(pool) == PoolStats(size=1, open=1, idle=0, waiting=0, timeouts=0)
    await gate.open()
    await holder


async def test_a_caller_cancelled_as_it_is_served_gives_the_session_on(
    make_pool: MakePool,
) -> None:
    pool = make_pool(size=1)
    pid = await pid_of(pool)
    held = await pool._acquire(Transaction(_PID))
    first, second = (asyncio.create_task(pid_of(pool)) for _ in range(2))
    await asyncio.sleep(0)
    # Between being served and running again there is just this moment.
    pool._sessions.release(held, asyncio.get_running_loop().time())
    first.cancel()
    assert await second == pid
    assert first.cancelled()
    assert seen(pool) == PoolStats(size=1, open=1, idle=1, waiting=0, timeouts=0)


async def test_a_cancelled_query_is_cancelled_on_the_server(
    make_pool: MakePool, admin: Admin, gate: Gate
) -> None:
    pool = make_pool(size=1, application_name="cancelled")
    task = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: gate.blocked(1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def freed() -> bool:
        return pool.stats.idle == 1 and await sessions_of(admin, "cancelled", "active") == 0

    await until(freed)
    assert await pool.fetch(Statement("select 1"))


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_of_cancellations_leaves_the_pool_whole(
    make_pool: MakePool, admin: Admin, seed: int
) -> None:
    name = f"storm-{seed}"
    dice = random.Random(seed)
    pool = make_pool(size=5, application_name=name)
    kinds = [
        Transaction(Statement("select pg_sleep(0.002)")),
        Transaction(Statement("select pg_sleep(0.005)"), keep=lambda rows: True),
        Transaction(Statement("select 1 / 0"), settings=(("role", "reader"),)),
        Transaction(
            Statement("select 1"), settings=(("role", "reader"),), after=Statement("select 2")
        ),
        sleeping(30),
    ]

    async def caller() -> None:
        async with asyncio.timeout(dice.uniform(0, 0.15)):
            while True:
                await pool.run(dice.choice(kinds))

    ends = await asyncio.gather(*(caller() for _ in range(200)), return_exceptions=True)
    assert {type(end) for end in ends} <= {TimeoutError, DatabaseError}

    async def calm() -> bool:
        settled = pool.stats.waiting == 0 and pool.stats.open == pool.stats.idle
        return settled and await sessions_of(admin, name, "active") == 0

    await until(calm)
    pids = set(await asyncio.gather(*(slow_pid(pool) for _ in range(5))))
    assert len(pids) == 5
    assert seen(pool) == PoolStats(size=5, open=5, idle=5, waiting=0, timeouts=0)
    assert await sessions_of(admin, name) == 5
    roles = set(await asyncio.gather(*(role_of(pool) for _ in range(20))))
    assert roles == {"postgres"}


async def slow_pid(pool: Pool) -> int:
    tx = Transaction(Statement("select pg_backend_pid() from pg_sleep(0.25)"))
    return int((await pool.run(tx)).rows[0][0])


async def role_of(pool: Pool) -> str:
    return str((await pool.fetch(Statement("select current_user")))[0][0])


async def test_terminated_sessions_are_replaced(
    make_pool: MakePool, admin: Admin, gate: Gate
) -> None:
    pool = make_pool(size=3, application_name="terminated")
    writing = replace(gate.wait, access="read write")
    busy = [asyncio.create_task(pool.run(writing)) for _ in range(2)]
    await until(lambda: gate.blocked(2))
    idle = await pid_of(pool)
    await admin.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where application_name = 'terminated'"
    )
    # The idle one is replaced unnoticed; also for a write.
    write = Transaction(_PID, access="read write")
    assert (await pool.run(write)).rows[0][0] != idle
    for task in busy:
        with pytest.raises(DatabaseError) as caught:
            await task
        assert caught.value.sqlstate == "57P01"

    async def settled() -> bool:
        return pool.stats.open == pool.stats.idle <= 1

    await until(settled)


async def test_a_session_that_died_unnoticed_is_not_used(
    make_pool: MakePool, server: EmbeddedPostgres
) -> None:
    pool = make_pool(size=1)
    pid = await pid_of(pool)
    terminate = execute(server.dsn, f"select pg_terminate_backend({pid}, 5000)")
    thread = threading.Thread(target=asyncio.run, args=(terminate,))
    thread.start()
    # The event loop stands still meanwhile, and has heard nothing of it.
    thread.join()
    write = Transaction(_PID, access="read write")
    assert (await pool.run(write)).rows[0][0] != pid


async def test_a_read_is_tried_again_when_its_idle_connection_was_dead(
    make_pool: MakePool, relay: Relay
) -> None:
    pool = make_pool(relay.dsn(), size=1)
    await pid_of(pool)
    # The network swallows what is sent and then resets: the client can't know before.
    relay.hold()
    read = asyncio.create_task(pid_of(pool))
    await asyncio.sleep(0.01)
    relay.cut()
    relay.flow()
    assert await read
    assert relay.connections == 2


async def test_a_write_is_never_sent_twice(make_pool: MakePool, relay: Relay) -> None:
    pool = make_pool(relay.dsn(), size=1)
    await pid_of(pool)
    relay.hold()
    write = asyncio.create_task(pool.run(Transaction(_PID, access="read write")))
    await asyncio.sleep(0.01)
    relay.cut()
    relay.flow()
    with pytest.raises(ConnectionLost):
        await write
    assert relay.connections == 1
    assert await pid_of(pool)


async def test_statements_are_prepared_anew_when_the_schema_has_changed(
    make_pool: MakePool, admin: Admin
) -> None:
    """A statement keeps the types that its parameters had when it was prepared."""
    pool = make_pool(size=2)
    await admin.execute("create table narrow (id int)")
    by_id = Statement("select count(*) from narrow where id = $1", ("3000000000",))
    try:
        for _ in range(2):
            with pytest.raises(DatabaseError, match="22003"):
                await asyncio.gather(pool.fetch(by_id), slow_pid(pool))
        await admin.execute("alter table narrow alter id type bigint")
        pool.forget_statements()
        found = await asyncio.gather(*(pool.fetch(by_id) for _ in range(4)))
        assert [rows[0][0] for rows in found] == [0, 0, 0, 0]
    finally:
        await admin.execute("drop table narrow")


async def test_a_short_outage_is_waited_out(make_pool: MakePool, relay: Relay) -> None:
    pool = make_pool(relay.dsn(), size=3)
    await pool.open()
    await relay.go_away()
    reads = [asyncio.create_task(pid_of(pool)) for _ in range(20)]
    write = Transaction(_PID, access="read write")
    writes = [asyncio.create_task(pool.run(write)) for _ in range(20)]

    async def missed() -> bool:
        return pool.stats.breaker == "waiting" and pool.stats.connect_failures >= 2

    await until(missed)
    assert pool.stats.waiting == 40
    await relay.listen()
    async with asyncio.timeout(2):
        await asyncio.gather(*reads, *writes)
    assert pool.stats.breaker == "closed"


async def test_a_long_outage_fails_fast_and_ends_by_itself(
    make_pool: MakePool, relay: Relay
) -> None:
    pool = make_pool(relay.dsn(), size=3, outage_grace=0.3)
    await pool.open()
    await relay.go_away()
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(ConnectionFailed) as caught:
        await pool.run(Transaction(_PID))
    assert 0.25 < loop.time() - started < 2
    assert caught.value.retry_after == 1
    assert caught.value.waited > 0.2
    assert pool.stats.breaker == "open"
    started = loop.time()
    storm = await asyncio.gather(
        *(pool.run(Transaction(_PID)) for _ in range(500)), return_exceptions=True
    )
    assert loop.time() - started < 1
    assert {type(error) for error in storm} == {ConnectionFailed}
    assert pool.stats.waiting == 0
    # Nobody asks any more, and the way back is found all the same.
    await relay.listen()
    back = loop.time()

    async def found() -> bool:
        return pool.stats.idle == 1

    await until(found)
    assert loop.time() - back < 2
    assert await pid_of(pool)


async def test_a_database_that_refuses_is_not_waited_for(
    make_pool: MakePool, server: EmbeddedPostgres
) -> None:
    pool = make_pool(server.dsn_for("nowhere"))
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(ConnectionFailed) as caught:
        await pool.run(Transaction(_PID))
    assert caught.value.sqlstate == "3D000"
    assert caught.value.refused
    assert loop.time() - started < 2


async def test_in_silence_attempts_go_on_and_take_two_slots_at_most(
    make_pool: MakePool, relay: Relay
) -> None:
    pool = make_pool(relay.dsn(), size=5, outage_grace=30)
    relay.hold()
    reads = [asyncio.create_task(pid_of(pool)) for _ in range(20)]
    most = 0

    async def tried_again() -> bool:
        nonlocal most
        most = max(most, pool.stats.open)
        return relay.connections >= 3

    await until(tried_again)
    assert most == 2
    relay.flow()
    async with asyncio.timeout(2):
        await asyncio.gather(*reads)
    assert pool.stats.breaker == "closed"


async def test_a_server_that_takes_no_more_sessions_is_no_outage_for_those_there_are(
    make_pool: MakePool, admin: Admin, gate: Gate, server: EmbeddedPostgres
) -> None:
    await admin.execute("drop role if exists few; create role few login connection limit 1")
    pool = make_pool(server.dsn_for(user="few"), size=5)
    holder = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: gate.blocked(1))
    others = [asyncio.create_task(pid_of(pool)) for _ in range(10)]

    async def refused() -> bool:
        return pool.stats.open == 1 and pool.stats.waiting == 10

    await until(refused)
    await gate.open()
    assert len(set(await asyncio.gather(*others))) == 1
    await holder
    await pool.close()
    await admin.execute("drop role few")


async def test_a_pool_that_could_not_grow_grows_when_it_can(
    make_pool: MakePool, relay: Relay, gate: Gate
) -> None:
    pool = make_pool(relay.dsn(), size=4)
    tasks = [asyncio.create_task(pool.run(gate.wait))]
    await until(lambda: gate.blocked(1))
    relay.refuse()
    tasks += [asyncio.create_task(pool.run(gate.wait)) for _ in range(4)]

    async def refused() -> bool:
        return pool._sessions.outage is not None and pool.stats.open == 1

    await until(refused)
    relay.hold()
    await relay.listen()

    async def trying() -> bool:
        return relay.connections == 2

    # Nobody comes or goes: the pool tries again by itself, on one connection.
    await until(trying)
    tasks += [asyncio.create_task(pool.run(gate.wait)) for _ in range(4)]
    await asyncio.sleep(0)
    assert seen(pool) == PoolStats(size=4, open=2, idle=0, waiting=8, timeouts=0)
    relay.flow()
    await until(lambda: gate.blocked(4))
    await gate.open()
    await asyncio.gather(*tasks)


async def test_a_session_left_in_a_transaction_is_closed(
    make_pool: MakePool, admin: Admin
) -> None:
    def keep(rows: object) -> bool:
        raise asyncio.CancelledError

    pool = make_pool(size=1)
    pid = await pid_of(pool)
    statement = Statement("insert into api.ledger (note) values ('left')")
    with pytest.raises(asyncio.CancelledError):
        await pool.run(Transaction(statement, access="read write", keep=keep))
    assert await pid_of(pool) != pid
    assert await admin.fetchval("select count(*) from api.ledger where note = 'left'") == 0


async def test_a_restarted_server_is_found_again(
    make_pool: MakePool, own_server: EmbeddedPostgres
) -> None:
    pool = make_pool(own_server.dsn, size=3, outage_grace=60, acquire_timeout=60)
    await asyncio.gather(*(slow_pid(pool) for _ in range(3)))
    reading = asyncio.create_task(pool.run(sleeping(3600)))
    stopping = asyncio.create_task(asyncio.to_thread(own_server.stop))
    reads = []
    while not stopping.done():
        reads.append(asyncio.create_task(pid_of(pool)))
        await asyncio.wait([stopping], timeout=0.02)
    await asyncio.to_thread(own_server.start)
    async with asyncio.timeout(2):
        await asyncio.gather(*reads)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_opening_says_why_it_fails(make_pool: MakePool, server: EmbeddedPostgres) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await make_pool("host=/nonexistent user=u").open()
    assert caught.value.sqlstate is None
    pool = make_pool(server.dsn_for("nowhere"))
    with pytest.raises(ConnectionFailed) as caught:
        await pool.open()
    assert caught.value.sqlstate == "3D000"


async def test_closing_lets_transactions_end(make_pool: MakePool, gate: Gate) -> None:
    pool = make_pool(size=1)
    running = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: gate.blocked(1))
    queued = asyncio.create_task(pool.run(gate.wait))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close())
    with pytest.raises(ConnectionFailed, match="closed"):
        await queued
    with pytest.raises(ConnectionFailed, match="closed"):
        await pool.run(gate.wait)
    assert not closing.done()
    await gate.open()
    await closing
    assert (await running).kept
    assert pool.stats.open == 0


async def test_closing_cuts_off_what_does_not_end(
    make_pool: MakePool, admin: Admin, gate: Gate
) -> None:
    pool = make_pool(size=2, application_name="closing")
    running = asyncio.create_task(pool.run(gate.wait))
    await until(lambda: gate.blocked(1))
    await pool.close(0.05)
    with pytest.raises(ConnectionLost):
        await running
    assert pool.stats.open == 0


async def test_closing_stops_an_attempt_to_connect(make_pool: MakePool, relay: Relay) -> None:
    pool = make_pool(relay.dsn(), size=1)
    relay.hold()
    opening = asyncio.create_task(pool.open())

    async def connecting() -> bool:
        return relay.connections == 1

    await until(connecting)
    await pool.close(0.05)
    with pytest.raises(ConnectionFailed, match="closed"):
        await opening
    assert pool.stats.open == 0


async def test_closing_stops_an_attempt_that_has_not_begun(make_pool: MakePool) -> None:
    pool = make_pool(size=1)
    opening = asyncio.create_task(pool.open())
    await asyncio.sleep(0)
    assert pool.stats.open == 1
    async with asyncio.timeout(1):
        await pool.close()
    with pytest.raises(ConnectionFailed, match="closed"):
        await opening
    assert pool.stats.open == 0


def test_a_pool_has_a_size() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Pool("host=h", size=0)
