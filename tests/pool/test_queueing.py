"""Who waits, for how long, and who is told at once: the queue alone, and in a pool."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool import (
    ConnectionLost,
    DatabaseError,
    Pool,
    PoolOverloaded,
    PoolTimeout,
    Statement,
    Transaction,
)
from pool.deadline import cut_to, statement_timeout
from pool.queue import Queue, Waiter
from pool.service_rate import ServiceRate
from pool.stats import Waits
from tests.pool.conftest import Admin, MakePool
from tests.pool.relay import Relay
from tests.pool.virtual import Database, ModelSession, VirtualLoop
from tests.waiting import until

_PID = Transaction(Statement("select pg_backend_pid()"))


def sleeping(seconds: float) -> Transaction:
    return Transaction(Statement("select pg_sleep($1)", (str(seconds),)))


# -- times --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, seconds, expected",
    [
        ((), 1.5, "1500"),
        ((), 0.0001, "1"),
        ((), 1e12, "2147483647"),
        ((("statement_timeout", "0"),), 2, "2000"),
        ((("statement_timeout", "3s"),), 2, "2000"),
        ((("Statement_Timeout", "3 min"),), 2, "2000"),
        ((("statement_timeout", "1s"), ("statement_timeout", "1h")), 2, "2000"),
        ((("statement_timeout", "1h"), ("statement_timeout", "1s")), 2, None),
        ((("statement_timeout", "1500"),), 2, None),
        ((("statement_timeout", " 1.5s "),), 2, None),
        ((("statement_timeout", "soon"),), 2, None),
    ],
)
def test_the_time_left_limits_the_statement(
    given: tuple[tuple[str, str], ...], seconds: float, expected: str | None
) -> None:
    added = () if expected is None else (("statement_timeout", expected),)
    assert cut_to(given, seconds) == given + added


@given(st.floats(0.001, 1e6), st.sampled_from(["us", "ms", "s", "min", "h", "d", ""]))
def test_a_statement_is_never_given_more_than_is_left(seconds: float, unit: str) -> None:
    settings = (("statement_timeout", f"{seconds:.6f}{unit}"),)
    left = statement_timeout(cut_to(settings, 2.0))
    assert left is not None
    assert 0 < left <= 2.0 + 1e-9


# -- the queue ----------------------------------------------------------------------------


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def waiter(loop: asyncio.AbstractEventLoop, *, since: float = 0, until: float = 10) -> Waiter:
    return Waiter(loop.create_future(), since, until)


def test_those_in_the_background_come_last(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue(10)
    one, two, three, four = (waiter(loop, since=n) for n in range(4))
    one.background = three.background = True
    for each in (one, two, three, four):
        queue.add(each, each.since)
    assert (len(queue), queue.background, queue.oldest()) == (4, 2, 0)
    assert [queue.pop(5.0) for _ in range(5)] == [two, four, one, three, None]
    assert queue.oldest() is None


def test_those_who_have_gone_are_passed_over(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue(10)
    one, two = waiter(loop), waiter(loop)
    queue.add(one, 0.0)
    queue.add(two, 0.0)
    one.future.cancel()
    assert queue.pop(1.0) is two
    assert not queue.discard(two, 1.0)
    queue.put_first(two, 1.0)
    assert queue.discard(two, 1.0)
    assert len(queue) == 0


def served(rate: ServiceRate, start: float, *, per_second: int, seconds: int) -> float:
    for n in range(per_second * seconds):
        rate.serve(start + (n + 1) / per_second)
    return start + seconds


def test_a_rate_is_known_after_five_seconds_of_waiting() -> None:
    rate = ServiceRate()
    rate.begin(100.0)
    # Half as many while a crowd arrives: nobody is turned away for that.
    now = served(rate, 100.0, per_second=25, seconds=2)
    now = served(rate, now, per_second=50, seconds=2)
    assert rate.per_second() is None
    now = served(rate, now, per_second=50, seconds=5)
    assert rate.per_second() == pytest.approx(50, rel=0.05)
    # Faster is believed at once, slower when the faster times are forgotten.
    now = served(rate, now, per_second=200, seconds=2)
    assert rate.per_second() == pytest.approx(200, rel=0.05)
    now = served(rate, now, per_second=10, seconds=2)
    found = rate.per_second()
    assert found is not None
    assert found > 50
    now = served(rate, now, per_second=10, seconds=4)
    assert rate.per_second() == pytest.approx(10, rel=0.1)
    rate.end(now)
    rate.begin(now + 60)
    assert rate.per_second() is None


def test_time_in_which_nobody_waits_says_nothing() -> None:
    rate = ServiceRate()
    now = 0.0
    for _ in range(300):
        rate.begin(now)
        rate.serve(now + 0.02)
        rate.end(now + 0.02)
        now += 0.5
    assert rate.per_second() == pytest.approx(50, rel=0.05)


def test_the_hopeless_are_found_from_the_front(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue(1000)
    first = waiter(loop, until=1000)
    queue.add(first, 0.0)
    for n in range(60):
        other = waiter(loop, until=1000)
        queue.add(other, n / 10)
        queue.pop(n / 10)
    assert queue.estimate() == pytest.approx(0.2, rel=0.1)
    late = [waiter(loop, until=8) for _ in range(100)]
    for each in late:
        queue.add(each, 6.0)
    hopeless = [each for each, _ in queue.hopeless(6.0)]
    # In two seconds ten a second are served; half as many again is left for doubt.
    assert hopeless == late[-len(hopeless) :]
    assert 65 <= len(hopeless) <= 75


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_percentiles_are_right_to_a_fifth(waits: list[float]) -> None:
    gathered = Waits()
    for seconds in waits:
        gathered.add(seconds, 1.0)
    ordered = sorted(waits)
    for share, told in zip((0.5, 0.99), gathered.percentiles((0.5, 0.99), 1.0), strict=True):
        true = ordered[-(-int(share * 100) * len(ordered) // 100) - 1]
        assert true - 1e-9 <= told <= max(true * 1.2, 1.2e-4)


def test_percentiles_forget_after_a_minute() -> None:
    gathered = Waits()
    gathered.add(5.0, 0.0)
    gathered.unwaited += 3
    assert gathered.percentiles((0.5,), 1.0) == (0.0,)
    assert gathered.percentiles((1.0,), 1.0)[0] == pytest.approx(5, rel=0.2)
    gathered.add(1.0, 30.0)
    assert gathered.percentiles((1.0,), 45.0)[0] == pytest.approx(5, rel=0.2)
    assert gathered.percentiles((1.0,), 65.0)[0] == pytest.approx(1, rel=0.2)
    assert gathered.percentiles((1.0,), 200.0) == (0.0,)


# -- in a pool whose database answers when it is told to ------------------------------------


class Slow:
    """A pool of one, on a database that takes a second for everything."""

    def __init__(self, **options: object) -> None:
        self.loop = VirtualLoop()
        self.database = Database(self.loop, lambda: None, self._started)
        self.database.replies = True
        self.tasks: list[asyncio.Task[object]] = []
        # To check a session that has rested takes a second as well, and is not the subject.
        given = {"connect": self.database.connect, "check_delay": math.inf, **options}
        self.pool = Pool("host=h", size=1, **given)  # type: ignore[arg-type]

    def _started(self, session: ModelSession, sql: str) -> None:
        def answer() -> None:
            if session.running is not None and not session.running[1].done():
                session.running[1].set_result("rows")

        self.loop.call_later(1.0, answer)

    def ask(self, count: int = 1, **options: object) -> list[asyncio.Task[object]]:
        tx = replace(Transaction(Statement("x")), **options)  # type: ignore[arg-type]
        tasks: list[asyncio.Task[object]] = [
            self.loop.create_task(self.pool.run(tx)) for _ in range(count)
        ]
        self.tasks += tasks
        self.loop.settle()
        return tasks

    def close(self) -> None:
        closing = self.loop.create_task(self.pool.close(0))
        self.loop.advance(60)
        # Looked at, so that nothing is said about those that failed.
        assert all(task.done() for task in (*self.tasks, closing))
        errors(self.tasks)
        self.loop.close()


@pytest.fixture
def slow() -> Iterator[type[Slow]]:
    made: list[Slow] = []

    class Kept(Slow):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            made.append(self)

    yield Kept
    for each in made:
        each.close()


def errors(tasks: list[asyncio.Task[object]]) -> list[BaseException | None]:
    return [task.exception() for task in tasks if task.done()]


def test_a_full_queue_is_told_at_once(slow: type[Slow]) -> None:
    world = slow(max_waiting=3, acquire_timeout=100)
    world.ask()
    world.loop.advance(2)
    tasks = world.ask(10)
    refused = errors(tasks)
    assert [type(error) for error in refused] == [PoolOverloaded] * 6
    assert all(isinstance(e, PoolOverloaded) and e.retry_after == 1 for e in refused)
    world.loop.advance(10)
    assert errors(tasks)[:4] == [None] * 4


def test_nobody_in_the_background_takes_a_place_from_others(slow: type[Slow]) -> None:
    world = slow(max_waiting=2, acquire_timeout=100)
    (running,) = world.ask()
    one, two = world.ask(2, background=True)
    (third,) = world.ask(background=True)
    assert isinstance(third.exception(), PoolOverloaded)
    (urgent,) = world.ask()
    assert isinstance(two.exception(), PoolOverloaded)
    world.loop.advance(2.5)
    assert (running.done(), urgent.done(), one.done()) == (True, True, False)
    world.loop.advance(1)
    assert errors([running, urgent, one]) == [None] * 3


def test_whoever_can_not_be_served_in_time_is_told_so_early(slow: type[Slow]) -> None:
    world = slow(acquire_timeout=20)
    # Nothing is known yet: everybody may try.
    tasks = world.ask(100)
    assert not errors(tasks)
    # One in a second: once that is known, those who will not be served in the time left to
    # them, with half as much again for doubt, need not wait for it.
    world.loop.advance(15)
    late = [error for error in errors(tasks) if error is not None]
    assert {type(error) for error in late} == {PoolOverloaded}
    assert 60 <= len(late) <= 80
    (newcomer,) = world.ask(deadline=world.loop.now + 2)
    told = newcomer.exception()
    assert isinstance(told, PoolOverloaded)
    assert 1 <= told.retry_after <= 32
    world.loop.advance(15)
    # The queue has run down, and everybody is let in again.
    (newcomer,) = world.ask(deadline=world.loop.now + 2)
    world.loop.advance(3)
    assert newcomer.exception() is None


def test_a_deadline_limits_the_wait(slow: type[Slow]) -> None:
    world = slow(acquire_timeout=20)
    (running,) = world.ask()
    (soon,) = world.ask(deadline=world.loop.now + 0.3)
    (late,) = world.ask(deadline=world.loop.now - 1)
    assert isinstance(late.exception(), PoolTimeout)
    world.loop.advance(0.4)
    assert isinstance(soon.exception(), PoolTimeout)
    assert not running.done()


# -- in a pool on PostgreSQL ----------------------------------------------------------------


async def test_a_deadline_limits_the_statement(make_pool: MakePool) -> None:
    pool = make_pool(size=1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DatabaseError, match="57014"):
        await pool.run(replace(sleeping(30), deadline=began + 0.2))
    assert loop.time() - began < 3
    shown = Statement("select current_setting('statement_timeout')")
    outcome = await pool.run(Transaction(shown, deadline=loop.time() + 50))
    assert bytes(outcome.rows[0][0]) in (b"50s", *(b"%dms" % n for n in range(49_000, 50_001)))
    assert bytes((await pool.fetch(shown))[0][0]) == b"0"


async def test_ten_thousand_who_went_leave_nothing(make_pool: MakePool) -> None:
    pool = make_pool(size=1)
    running = asyncio.create_task(pool.run(sleeping(60)))

    async def busy() -> bool:
        return pool.stats.busy == 1

    await until(busy)
    tasks = [asyncio.create_task(pool.run(_PID)) for _ in range(10_000)]
    await asyncio.sleep(0)
    assert pool.stats.waiting == 10_000
    for task in (*tasks, running):
        task.cancel()
    await asyncio.gather(running, *tasks, return_exceptions=True)
    stats = pool.stats
    assert (stats.waiting, stats.cancelled_waiting, stats.cancelled_running) == (0, 10_000, 1)
    del tasks, task
    gc.collect()
    assert not [held for held in gc.get_objects() if isinstance(held, Waiter)]


async def test_pausing_lets_transactions_end_and_others_wait(
    make_pool: MakePool, admin: Admin
) -> None:
    pools = [make_pool(size=2) for _ in range(2)]
    first = [asyncio.create_task(pool.run(sleeping(0.2))) for pool in pools]
    await asyncio.sleep(0)
    assert await asyncio.gather(*(pool.pause(0.01) for pool in pools)) == [False, False] or all(
        pool.stats.busy == 0 for pool in pools
    )
    second = [asyncio.create_task(pool.run(_PID)) for pool in pools]
    assert await asyncio.gather(*(pool.pause(5) for pool in pools)) == [True, True]
    assert [pool.stats.paused for pool in pools] == [True, True]
    assert [pool.stats.waiting for pool in pools] == [2, 2] or all(t.done() for t in first)
    assert not any(task.done() for task in second)
    for pool in pools:
        pool.resume()
    await asyncio.gather(*first, *second)
    assert [pool.stats.paused for pool in pools] == [False, False]


async def test_reconnecting_replaces_every_session_unnoticed(make_pool: MakePool) -> None:
    pool = make_pool(size=3)

    async def process() -> int:
        tx = Transaction(Statement("select pg_backend_pid() from pg_sleep(0.05)"))
        return int((await pool.run(tx)).rows[0][0])

    before = await asyncio.gather(*(process() for _ in range(3)))
    running = asyncio.create_task(process())
    await asyncio.sleep(0.01)
    pool.reconnect()
    after = await asyncio.gather(*(process() for _ in range(9)))
    assert await running in before
    assert len({*before} | {*after}) == 6


@pytest.mark.parametrize("how", ["terminated", "cut"])
async def test_a_read_that_lost_its_connection_is_run_once_more(
    make_pool: MakePool, admin: Admin, relay: Relay, how: str
) -> None:
    pool = make_pool(relay.dsn(), size=3, application_name=f"again-{how}")
    await asyncio.gather(*(pool.run(sleeping(0.02)) for _ in range(3)))
    reading = asyncio.create_task(pool.run(sleeping(0.4)))
    writing = asyncio.create_task(pool.run(replace(sleeping(0.4), access="read write")))

    async def running() -> bool:
        found = await admin.fetchval(
            "select count(*) from pg_stat_activity"
            " where application_name = $1 and wait_event = 'PgSleep'",
            f"again-{how}",
        )
        return bool(found == 2)

    await until(running)
    if how == "cut":
        relay.cut()
    else:
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = $1",
            f"again-{how}",
        )
    assert (await reading).kept
    with pytest.raises((ConnectionLost, DatabaseError)):
        await writing
    stats = pool.stats
    assert stats.retries == 1
    assert stats.lost >= 2


async def test_the_statistics_tell_what_happened(make_pool: MakePool) -> None:
    pool = make_pool(size=1, acquire_timeout=0.3)
    await pool.run(_PID)
    running = asyncio.create_task(pool.run(sleeping(0.2)))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.run(replace(_PID, background=True)))
    await asyncio.sleep(0.02)
    now = pool.stats
    assert (now.open, now.busy, now.idle, now.connecting, now.closing) == (1, 1, 0, 0, 0)
    assert (now.waiting, now.waiting_background) == (1, 1)
    assert 0.01 < now.longest_wait < 1
    await asyncio.gather(running, waiting)
    now = pool.stats
    assert (now.transactions, now.connects, now.connect_failures) == (3, 1, 0)
    assert 0.1 < now.wait_p99 < 1
    assert now.longest_wait == 0
    assert (await pool.run(_PID)).waited == 0
