"""What becomes of sessions whose callers went: they come back clean, or are closed."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from typing import Never

import pytest

from pool.connection import connect
from pool.dsn import parse_dsn
from pool.errors import DatabaseError
from pool.model import Statement, Transaction
from pool.session import Session
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import Admin, MakePool, execute, sessions_of, sleeping
from tests.pool.relay import Relay
from tests.waiting import until

_ONE = Statement("select 1")


async def cancelled(operation: Awaitable[object], after: float) -> None:
    """Begin `operation` and cancel it `after` seconds later, if it still runs."""
    task = asyncio.ensure_future(operation)
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def test_a_cancelled_session_comes_back_as_it_was(session: Session, admin: Admin) -> None:
    pid = session.server_pid
    doing = Statement("select set_config('edge.left', 'yes', false), pg_sleep(60)")
    begin = Statement("begin")
    task = asyncio.create_task(session.fetch(doing, ahead=[begin]))

    async def running() -> bool:
        active = "select wait_event = 'PgSleep' from pg_stat_activity where pid = $1"
        return bool(await admin.fetchval(active, pid))

    await until(running)
    task.cancel()
    await asyncio.wait({task})
    assert (session.broken, session.recoverable) == (True, True)
    assert await session.recover(5)
    assert (session.broken, session.recoverable, session.in_transaction) == (False,) * 3
    shown = Statement("select pg_backend_pid(), current_setting('edge.left', true)")
    assert tuple((await session.fetch(shown))[0]) in ((pid, None), (pid, b""))


async def test_a_cancelled_operation_leaves_no_task_behind(session: Session) -> None:
    for _ in range(3):
        await cancelled(session.fetch(Statement("select pg_sleep(60)")), 0.02)
        assert await session.recover(5)
    left = [
        task
        for task in gc.get_objects()
        if isinstance(task, asyncio.Task) and "Connection._cancel" in repr(task.get_coro())
    ]
    assert left == []


async def test_no_request_to_cancel_hits_a_later_statement(server: EmbeddedPostgres) -> None:
    """Cancelled at every moment of a group's life, also when it is over already."""
    target = parse_dsn(server.dsn, application_name="dice", env={})
    session, dice = await connect(target), random.Random(0)
    recovered = closed = 0
    for n in range(1000):
        statement = dice.choice(
            [
                Statement("select pg_sleep(0.0005)"),
                Statement("select 1"),
                Statement(f"select {n}, pg_sleep(0.0003)"),
            ]
        )
        ahead = [Statement("select where set_config('edge.n', $1, true) = ''", (str(n),))]
        ahead = dice.choice([[], ahead])
        await cancelled(session.fetch(statement, ahead=ahead), dice.uniform(0, 0.0015))
        if session.broken and await session.recover(5):
            recovered += 1
        elif session.broken:
            # Cancelled between two answers of a group, which nobody can end.
            closed += 1
            await session.close(5)
            session = await connect(target)
        # Whatever comes next runs through.
        assert (await session.fetch(_ONE, ahead=ahead))[0][0] == 1
        assert (await session.fetch(_ONE))[0][0] == 1
    await session.close(5)
    assert recovered > 100
    assert closed < recovered / 10


@pytest.mark.parametrize("prepared", [True, False])
async def test_a_storm_of_callers_that_go(
    make_pool: MakePool, admin: Admin, prepared: bool
) -> None:
    """1,000 of them: the pool has its full size, nobody is hit by another's cancellation,
    and few of the sessions had to be opened anew."""
    name, size = f"going-{prepared}", 5
    dice = random.Random(7)
    pool = make_pool(size=size, application_name=name, prepared_statements=prepared)
    kinds: list[Callable[[], Transaction]] = [
        lambda: Transaction(Statement("select pg_sleep(0.02)")),
        lambda: Transaction(Statement("select pg_sleep(0.005)"), keep=lambda rows: True),
        lambda: Transaction(Statement("select pg_sleep(30)"), access="read write"),
        lambda: Transaction(Statement(f"select {dice.random()}"), settings=(("role", "web"),)),
        lambda: Transaction(
            Statement("select set_config('edge.left', 'yes', false)"),
            settings=(("role", "web"), ("edge.n", "1")),
        ),
    ]
    seen: list[int] = []

    async def goes() -> None:
        await asyncio.sleep(dice.uniform(0, 1.5))
        async with asyncio.timeout(dice.uniform(0, 0.03)):
            await pool.run(dice.choice(kinds)())

    async def stays() -> Never:
        while True:
            shown = await pool.run(
                Transaction(Statement("select pg_backend_pid(), current_user::text"))
            )
            assert shown.rows[0][1] == b"postgres"
            seen.append(shown.rows[0][0])
            await asyncio.sleep(0.005)

    bystander = asyncio.create_task(stays())
    ends = await asyncio.gather(*(goes() for _ in range(1000)), return_exceptions=True)
    told = [end for end in ends if not isinstance(end, TimeoutError | None)]
    assert not told, told[:3]

    bystander.cancel()
    await asyncio.wait({bystander})
    # It was cancelled by us, and by nobody before.
    assert bystander.cancelled()
    assert len(seen) > 5

    async def quiet() -> bool:
        return pool.stats.open == pool.stats.idle

    await until(quiet)
    assert await sessions_of(admin, name) == await sessions_of(admin, name, "idle")
    # Nothing takes up a place: as many as ever find one at the same time.
    pid = Transaction(Statement("select pg_backend_pid(), pg_sleep(0.5)"))
    outcomes = await asyncio.gather(*(pool.run(pid) for _ in range(size)))
    assert len({outcome.rows[0][0] for outcome in outcomes}) == pool.stats.open == size
    stats = pool.stats
    went = stats.cancelled_running
    assert went > 20
    if prepared:
        # Closed instead, each would have had another opened. Some are, when PostgreSQL is
        # too busy to answer for seconds.
        assert stats.connects - size < went / 2
    else:
        assert stats.connects >= went


async def test_a_query_that_evades_is_asked_again(session: Session, admin: Admin) -> None:
    await admin.execute(
        """
        create or replace function public.evade() returns void language plpgsql as $$
        begin
            for n in 1..3 loop
                begin
                    perform pg_sleep(20);
                exception when query_canceled then null;
                end;
            end loop;
        end
        $$
        """
    )
    await cancelled(session.fetch(Statement("select public.evade()")), 0.2)
    assert await session.recover(5)
    assert (await session.fetch(_ONE))[0][0] == 1


async def test_a_session_that_cannot_be_asked_is_closed(
    relay: Relay, make_pool: MakePool, admin: Admin
) -> None:
    """Nothing is known of what runs when no request to cancel gets through."""
    pool = make_pool(relay.dsn(), size=1, application_name="unasked")
    await pool.fetch(_ONE)
    pid = (await pool.fetch(Statement("select pg_backend_pid()")))[0][0]
    task = asyncio.create_task(pool.run(Transaction(Statement("select pg_sleep(60)"))))

    async def running() -> bool:
        return await sleeping(admin, "unasked") == 1

    await until(running)
    relay.refuse()
    task.cancel()
    await asyncio.wait({task})

    async def gone() -> bool:
        return pool.stats.open == 0

    await until(gone)
    await admin.fetchval("select pg_terminate_backend($1)", pid)
    await relay.listen()
    assert (await pool.fetch(_ONE))[0][0] == 1


async def test_without_prepared_statements_nothing_is_brought_back(
    server: EmbeddedPostgres,
) -> None:
    """The pooler in between has its own way with requests to cancel."""
    target = parse_dsn(server.dsn, application_name="pooled", env={})
    session = await connect(target, prepared_statements=False)
    await cancelled(session.fetch(Statement("select pg_sleep(60)")), 0.1)
    assert session.broken
    assert not session.recoverable
    assert not await session.recover(1)
    await session.close(5)


async def test_a_cancelled_commit_is_whole_or_not_at_all(
    make_pool: MakePool, admin: Admin, server: EmbeddedPostgres
) -> None:
    """Whatever the moment, a caller that goes leaves its write done or undone."""
    await execute(server.dsn, "create table if not exists public.gone (n int, part int)")
    pool, dice = make_pool(size=3, application_name="commits"), random.Random(3)

    async def write(n: int) -> None:
        statement = Statement(
            "insert into public.gone select $1::int, part from generate_series(1, 50) part"
            " returning part",
            (str(n),),
        )
        tx = Transaction(statement, access="read write", keep=lambda rows: len(rows) == 50)
        async with asyncio.timeout(dice.uniform(0, 0.02)):
            await pool.run(tx)

    ends = await asyncio.gather(*(write(n) for n in range(300)), return_exceptions=True)
    assert not [end for end in ends if isinstance(end, DatabaseError)]

    async def calm() -> bool:
        return pool.stats.open == pool.stats.idle

    await until(calm)
    counts = await admin.fetch("select n, count(*) from public.gone group by n")
    assert {row["count"] for row in counts} <= {50}
    acknowledged = {n for n, end in enumerate(ends) if end is None}
    assert acknowledged <= {row["n"] for row in counts}


@pytest.mark.parametrize("closes", [False, True])
async def test_a_request_to_cancel_that_is_lost_is_made_again(
    relay: Relay, admin: Admin, closes: bool
) -> None:
    """Such as one that reaches the server between two statements of a group."""
    target = parse_dsn(relay.dsn(), application_name="again", env={})
    session = await connect(target)
    before = relay.connections
    relay.swallow(1)
    task = asyncio.create_task(session.fetch(Statement("select pg_sleep(60)")))

    async def running() -> bool:
        return await sleeping(admin, "again") == 1

    await until(running)
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(10):
        if closes:
            await session.close(5)
        else:
            assert await session.recover(5)
    # The first came to nothing; one after it has ended the query.
    assert relay.connections >= before + 2
    assert relay.swallowed == 1

    async def ended() -> bool:
        return await sessions_of(admin, "again", "active") == 0

    await until(ended)
    await session.close(5)
