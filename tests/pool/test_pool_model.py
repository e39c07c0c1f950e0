"""The pool's invariants, held against whatever may happen in whatever order.

Three pools share a budget in a world of `tests.pool.virtual`; hypothesis makes callers come
and go, connections succeed, fail, hang and break, and time pass. After every step what the
pools say of themselves is compared with what the database saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pool import (
    Budget,
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    Outcome,
    Pool,
    PoolOverloaded,
    PoolStats,
    PoolTimeout,
    Statement,
    Transaction,
)
from pool.pace import Pace
from tests.pool.virtual import Database, ModelSession, VirtualLoop

_TOTAL = 4
_PATIENCE = 8.0
_QUEUE = 6
_EXPECTED = (ConnectionFailed, ConnectionLost, DatabaseError, PoolOverloaded, PoolTimeout)
_POOLS = st.integers(0, 2)


@dataclass(eq=False)
class Call:
    """One transaction that somebody asked for."""

    pool: int
    tx: Transaction
    order: int
    until: float
    task: asyncio.Task[Outcome]
    starts: int = 0
    waiting: bool = True


class PoolModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.budget = Budget(_TOTAL)
        # The slowest there is, so that the pools meet in it.
        pace = Pace(1)
        self.databases = [
            Database(self.loop, self.check_limits, self.check_start) for _ in range(3)
        ]
        shapes = ((4, 1, 1.0), (3, 0, 2.0), (2, 0, 1.0))
        self.shapes = shapes
        self.pools = [
            Pool(
                "host=h",
                size=size,
                min_size=min_size,
                weight=weight,
                budget=self.budget,
                pace=pace,
                acquire_timeout=_PATIENCE,
                max_waiting=_QUEUE,
                max_idle_time=3.0,
                max_lifetime=20.0,
                connect=database.connect,
            )
            for (size, min_size, weight), database in zip(shapes, self.databases, strict=True)
        ]
        self.calls: list[Call] = []
        self.orders = 0
        self.closed: set[int] = set()

    # -- what may happen ------------------------------------------------------------------

    @rule(
        pool=_POOLS,
        count=st.integers(1, 3),
        writes=st.booleans(),
        background=st.booleans(),
        left=st.none() | st.floats(0.5, 5),
        finishes=st.booleans(),
    )
    def come(
        self,
        pool: int,
        count: int,
        writes: bool,
        background: bool,
        left: float | None,
        finishes: bool,
    ) -> None:
        for _ in range(count):
            self.orders += 1
            tx = Transaction(
                Statement(f"call {self.orders}"),
                access="read write" if writes else "read only",
                deadline=None if left is None else self.loop.now + left,
                background=background,
                finish_when_abandoned=writes and finishes,
            )
            task = self.loop.create_task(self.pools[pool].run(tx))
            until = self.loop.now + min(_PATIENCE, _PATIENCE if left is None else left)
            self.calls.append(Call(pool, tx, self.orders, until, task))
        self.settle()

    @precondition(lambda self: any(self.running()))
    @rule(which=st.integers(0, 9), said=st.sampled_from(["rows", "rows", "rows", "42601"]))
    def answer(self, which: int, said: str) -> None:
        running = list(self.running())
        session, _ = running[which % len(running)]
        assert session.running is not None
        session.running[1].set_result(said)
        self.settle()

    @precondition(lambda self: any(self.running()) and any(c.waiting for c in self.calls))
    @rule(which=st.integers(0, 9), turns=st.integers(1, 6))
    def go_as_it_is_served(self, which: int, turns: int) -> None:
        running = list(self.running())
        session, call = running[which % len(running)]
        assert session.running is not None
        session.running[1].set_result("rows")
        for _ in range(turns):
            self.loop.turn()
        waiting = [c for c in self.calls if c.waiting and c.pool == call.pool]
        for first in sorted(waiting, key=lambda c: (c.tx.background, c.order))[:1]:
            first.task.cancel()
            first.waiting = False
        self.settle()

    @precondition(lambda self: any(self.running()))
    @rule(which=st.integers(0, 9), says_why=st.booleans())
    def break_off(self, which: int, says_why: bool) -> None:
        running = list(self.running())
        session, call = running[which % len(running)]
        # A read that is run again queues up anew.
        self.orders += 1
        call.order, call.waiting = self.orders, call.tx.access == "read only"
        call.until = max(call.until, self.loop.now + _PATIENCE)
        if says_why:
            assert session.running is not None
            session.running[1].set_result("57P01")
        else:
            session.hang_up()
        self.settle()

    @precondition(lambda self: any(database.sessions for database in self.databases))
    @rule(which=st.integers(0, 9))
    def lose_an_idle_one(self, which: int) -> None:
        sessions = [s for d in self.databases for s in d.sessions if s.running is None]
        if sessions:
            sessions[which % len(sessions)].hang_up()
            self.settle()

    @precondition(lambda self: any(database.attempts for database in self.databases))
    @rule(
        which=st.integers(0, 9),
        said=st.sampled_from(["", "", "", "silence", "53300", "57P03", "28P01"]),
    )
    def connect(self, which: int, said: str) -> None:
        attempts = [a for d in self.databases for a in d.attempts if not a.done()]
        if attempts:
            attempts[which % len(attempts)].set_result(said)
            self.settle()

    @precondition(lambda self: self.unfinished())
    @rule(which=st.integers(0, 99))
    def go(self, which: int) -> None:
        unfinished = self.unfinished()
        call = unfinished[which % len(unfinished)]
        call.task.cancel()
        call.waiting = False
        self.settle()

    @rule(seconds=st.sampled_from([0.005, 0.03, 0.3, 0.7, 1.3, 4.0]))
    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self.settle()

    @rule(pool=_POOLS)
    def pause(self, pool: int) -> None:
        if pool not in self.closed:
            pausing = self.loop.create_task(self.pools[pool].pause(0.01))
            self.loop.advance(0.02)
            assert pausing.result() == (self.pools_stats(pool).busy == 0)
            self.settle()

    @rule(pool=_POOLS)
    def resume(self, pool: int) -> None:
        self.within(self.pools[pool].resume)

    @rule(pool=_POOLS)
    def reconnect(self, pool: int) -> None:
        self.within(self.pools[pool].reconnect)

    @rule(pool=_POOLS, fails=st.booleans())
    def recover(self, pool: int, fails: bool) -> None:
        self.databases[pool].fails_to_recover = fails

    @rule(pool=_POOLS, replies=st.booleans())
    def reply(self, pool: int, replies: bool) -> None:
        self.databases[pool].replies = replies

    @precondition(lambda self: len(self.calls) > 15)
    @rule(pool=_POOLS)
    def close(self, pool: int) -> None:
        if pool not in self.closed:
            self.closed.add(pool)
            closing = self.loop.create_task(self.pools[pool].close(0.1))
            self.loop.advance(1)
            assert closing.done()
            assert self.databases[pool].count == 0
            self.settle()

    # -- what must hold -------------------------------------------------------------------

    def check_limits(self) -> None:
        """Whenever a connection begins: there are never too many."""
        counts = [database.count for database in self.databases]
        assert sum(counts) <= _TOTAL
        for (size, _, _), count in zip(self.shapes, counts, strict=True):
            assert count <= size

    def check_start(self, session: ModelSession, sql: str) -> None:
        """Whenever a transaction begins: it is its turn, and a write's only one."""
        call = next(c for c in self.calls if c.tx.statement.sql == sql)
        assert session in self.databases[call.pool].sessions
        assert not self.pools_stats(call.pool).paused
        assert call.pool not in self.closed
        call.starts += 1
        assert call.starts <= (2 if call.tx.access == "read only" else 1)
        for other in self.calls:
            # One that outlives its caller begins a turn of the loop after it got a session.
            begins_at_once = not other.tx.finish_when_abandoned
            waits = other.waiting and not other.task.done()
            if waits and begins_at_once and other.pool == call.pool:
                key = (other.tx.background, other.order)
                assert key >= (call.tx.background, call.order)
        call.waiting = False

    @invariant()
    def the_pools_know_what_there_is(self) -> None:
        for n, database in enumerate(self.databases):
            stats = self.pools_stats(n)
            assert stats.open == database.count
            parts = stats.connecting + stats.idle + stats.busy + stats.recovering
            assert stats.open == parts + stats.closing
            assert stats.open <= stats.size
            assert stats.busy == len([s for s in database.sessions if s.running])
        assert self.budget.used == sum(database.count for database in self.databases)
        assert self.budget.used <= _TOTAL

    @invariant()
    def nobody_is_forgotten(self) -> None:
        for n in range(3):
            stats = self.pools_stats(n)
            waiting = [c for c in self.calls if c.pool == n and c.waiting]
            assert stats.waiting == len(waiting) <= _QUEUE
            assert stats.waiting_background == sum(c.tx.background for c in waiting)
            assert all(call.until > self.loop.now - 1e-6 for call in waiting)
            if not stats.paused:
                assert not (waiting and stats.idle)
        for call in self.calls:
            if call.task.done() and not call.task.cancelled():
                assert isinstance(call.task.exception(), (*_EXPECTED, type(None)))

    @invariant()
    def the_first_pool_keeps_its_own(self) -> None:
        stats = self.pools_stats(0)
        if stats.breaker == "closed" and not stats.connect_failures and 0 not in self.closed:
            others = sum(database.count for database in self.databases[1:])
            assert others <= _TOTAL - stats.min_size

    def teardown(self) -> None:
        try:
            self.all_are_served_in_the_end()
        finally:
            closing = [self.loop.create_task(pool.close(0)) for pool in self.pools]
            self.loop.advance(60)
            used = self.budget.used
            counts = [database.count for database in self.databases]
            self.loop.close()
            asyncio.set_event_loop(None)
        assert all(task.done() for task in closing)
        assert used == 0
        assert counts == [0, 0, 0]

    def all_are_served_in_the_end(self) -> None:
        for n in range(3):
            self.within(self.pools[n].resume)
        for database in self.databases:
            database.replies = True
            for attempt in database.attempts:
                if not attempt.done():
                    attempt.set_result("")
        # Of a database that is away the grace may end before the next attempt.
        away = {n for n in range(3) if self.pools_stats(n).breaker != "closed"}
        asked = {call: call.until for call in self.calls if call.waiting}
        for _ in range(60):
            self.settle()
            for session, _ in self.running():
                assert session.running is not None
                session.running[1].set_result("rows")
            self.loop.advance(0.1)
            self.the_pools_know_what_there_is()
        for call, until in asked.items():
            assert call.task.done()
            failure = call.task.exception()
            if until > self.loop.now and failure is not None:
                assert isinstance(failure, ConnectionFailed)
                assert call.pool in away
        self.loop.advance(_PATIENCE)
        assert not self.unfinished()

    # -- short ways -----------------------------------------------------------------------

    def running(self) -> Iterator[tuple[ModelSession, Call]]:
        for database in self.databases:
            for session in database.sessions:
                if session.running is not None and not session.running[1].done():
                    sql = session.running[0]
                    call = next(c for c in self.calls if c.tx.statement.sql == sql)
                    if not call.task.done() or call.tx.finish_when_abandoned:
                        yield session, call

    def unfinished(self) -> list[Call]:
        return [call for call in self.calls if not call.task.done()]

    def settle(self) -> None:
        self.loop.settle()
        for call in self.calls:
            call.waiting = call.waiting and not call.task.done()

    def within(self, act: Callable[[], None]) -> None:
        self.loop.call_soon(act)
        self.settle()

    def pools_stats(self, n: int) -> PoolStats:
        async def ask() -> PoolStats:
            return self.pools[n].stats

        if self.loop.is_running():
            return self.pools[n].stats
        return self.loop.run_until_complete(ask())


TestPoolModel = PoolModel.TestCase
TestPoolModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
