"""The pool's invariants once more, against PostgreSQL: what the model of `test_pool_model`
makes of the database's answers is here the database's own doing. Fewer and shorter runs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pool import (
    Budget,
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    Outcome,
    Pool,
    PoolOverloaded,
    PoolTimeout,
    Statement,
    Transaction,
)
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import execute
from tests.waiting import until

T = TypeVar("T")

_SIZES = (3, 2)
_TOTAL = 4
_EXPECTED = (ConnectionFailed, ConnectionLost, DatabaseError, PoolOverloaded, PoolTimeout)
_POOLS = st.integers(0, len(_SIZES) - 1)
_COUNT = "select count(*) from pg_stat_activity where application_name like $1 || '%'"
_KILL = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name like $1 || '%' order by backend_start limit 1
"""


class RealPool(RuleBasedStateMachine):
    """Two pools on one budget."""

    dsn: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.name = f"real-{secrets.token_hex(4)}"
        self.budget = Budget(_TOTAL)
        self.pools = [
            Pool(
                self.dsn,
                size=size,
                budget=self.budget,
                acquire_timeout=5,
                max_waiting=8,
                application_name=f"{self.name}-{n}",
            )
            for n, size in enumerate(_SIZES)
        ]
        self.calls: list[asyncio.Task[Outcome]] = []
        self.writes: dict[str, asyncio.Task[Outcome]] = {}
        self.admin = self.within(asyncpg.connect(self.dsn))

    @rule(pool=_POOLS, seconds=st.sampled_from([0.0, 0.005, 20.0]), count=st.integers(1, 4))
    def read(self, pool: int, seconds: float, count: int) -> None:
        statement = Statement(f"select pg_sleep({seconds})")
        for _ in range(count):
            self.come(pool, Transaction(statement))

    @rule(pool=_POOLS, seconds=st.sampled_from([0.0, 0.02]), finishes=st.booleans())
    def write(self, pool: int, seconds: float, finishes: bool) -> None:
        note = secrets.token_hex(8)
        sql = f"insert into api.real select $1 from pg_sleep({seconds}) returning note"
        tx = Transaction(
            Statement(sql, (note,)), access="read write", finish_when_abandoned=finishes
        )
        self.come(pool, tx)
        self.writes[note] = self.calls[-1]

    @rule(pool=_POOLS)
    def fail(self, pool: int) -> None:
        self.come(pool, Transaction(Statement("select 1 / 0")))

    @rule(which=st.integers(0, 9))
    def go(self, which: int) -> None:
        unfinished = [call for call in self.calls if not call.done()]
        if unfinished:
            unfinished[which % len(unfinished)].cancel()

    @rule()
    def kill(self) -> None:
        self.within(self.admin.execute(_KILL, self.name))

    @rule(pool=_POOLS)
    def reconnect(self, pool: int) -> None:
        async def act() -> None:
            self.pools[pool].reconnect()

        self.within(act())

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01]))
    def wait(self, seconds: float) -> None:
        self.within(asyncio.sleep(seconds))

    @invariant()
    def there_are_never_too_many(self) -> None:
        async def few() -> bool:
            return bool(await self.admin.fetchval(_COUNT, self.name) <= _TOTAL)

        async def look() -> tuple[int, list[tuple[int, int, int]]]:
            # A process that was ended may be seen for a moment after its last word.
            await until(few)
            stats = [pool.stats for pool in self.pools]
            told = [
                (s.open, s.connecting + s.idle + s.busy + s.recovering + s.closing, s.size)
                for s in stats
            ]
            return self.budget.used, told

        used, told = self.within(look())
        assert used == sum(open_ for open_, _, _ in told) <= _TOTAL
        assert all(open_ == parts <= size for open_, parts, size in told)

    def teardown(self) -> None:
        try:
            self.within(self.all_end_as_they_should())
        finally:
            self.runner.close()

    async def all_end_as_they_should(self) -> None:
        for call in self.calls:
            if call not in self.writes.values():
                call.cancel()
        ends = await asyncio.gather(*self.calls, return_exceptions=True)
        wrong = [
            e for e in ends if not isinstance(e, (Outcome, asyncio.CancelledError, *_EXPECTED))
        ]
        # Whatever happened, the pools serve.
        for pool, size in zip(self.pools, _SIZES, strict=True):
            nap = Transaction(Statement("select pg_sleep(0.01)"))
            await asyncio.gather(*(pool.run(nap) for _ in range(size)))
        await asyncio.gather(*(pool.close() for pool in self.pools))

        async def gone() -> bool:
            return not await self.admin.fetchval(_COUNT, self.name)

        await until(gone)
        rows = await self.admin.fetch("select note, count(*) from api.real group by note")
        await self.admin.close()
        written = {row["note"]: row["count"] for row in rows}
        assert not wrong
        assert self.budget.used == 0
        for note, call in self.writes.items():
            acknowledged = not call.cancelled() and call.exception() is None
            assert written.get(note, 0) <= 1
            assert written.get(note, 0) == 1 or not acknowledged

    def come(self, pool: int, tx: Transaction) -> None:
        self.calls.append(self.runner.get_loop().create_task(self.pools[pool].run(tx)))
        self.within(asyncio.sleep(0))

    def within(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


def test_what_the_pools_say_is_what_postgresql_sees(server: EmbeddedPostgres) -> None:
    asyncio.run(execute(server.dsn, "create table api.real (note text not null)"))
    RealPool.dsn = server.dsn
    run_state_machine_as_test(
        RealPool,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
