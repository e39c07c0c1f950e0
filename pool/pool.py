"""A bounded, fair, cancellable pool of sessions in front of one database.

In: `Transaction`s, from as many tasks as like. Out: their `Outcome`s, run on at most `size`
sessions. Everything happens in one event loop. `pool.sessions` opens, keeps and closes the
sessions, `pool.queue` holds those who wait, `pool.budget` divides slots between pools, and
`pool.pace` the turns of the event loop.

Invariants
----------
* There are `size` slots for the pool, and as many as its budget's total for all pools that
  share it. A slot is in use from before its session is opened until after it is closed, so
  there are never more sessions than that.
* A slot in use has one owner: an attempt that opens its session, the idle list, the caller
  that runs a transaction, or a task that runs it in the caller's stead (both `busy`), a task
  that brings its session back when a caller was cancelled, or one that closes it. It passes
  from owner to owner without an await in between.
* Callers never connect: they queue, and an attempt of the pool's own serves the queue. So a
  caller that is cancelled takes nothing with it.
* The queue is first come, first served, those in the background last, and never longer than
  `max_waiting`. A caller is in it as long as nothing was given to it; one that is cancelled
  after something was given to it gives it on. Nobody queues while a session is idle, unless
  the pool is paused, or has the session in a moment: `pool.pace` serves a few waiters in one
  turn of the event loop, and newcomers queue behind those it has not come to.
* Everybody who waits is told something in the end: a session; `PoolTimeout` when the time is
  up; `PoolOverloaded` when it will not be enough, or was not though others were served all
  the while; `ConnectionFailed` when the database stays away or the pool is closed.
* An idle session is outside a transaction and awaits no answer. A session whose state is
  unknown, because its caller was cancelled, its connection broke or its transaction did not
  end, is closed and never used again, unless `Session.recover` has found out its state.
* While the database is away, one attempt at a time is made (beside one that may take its
  time). Callers wait for `outage_grace` seconds, then all fail at once until it is back;
  but nobody fails while the pool has another session.
* A write is given to PostgreSQL once. A read is when its connection broke once more, unless
  it has waited for its answer as long as it may.
* A session on which the server was silent for long is checked by the caller that it was given
  to, who owns it meanwhile. When it does not answer nothing was done, and no idle session is
  trusted any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, replace
from time import perf_counter
from typing import Final, Protocol

from pool import transaction
from pool.budget import Budget
from pool.connection import connect as connect_to_server
from pool.deadline import cut_to
from pool.dsn import Dsn
from pool.errors import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    NoAnswer,
    PoolError,
    PoolOverloaded,
    PoolTimeout,
)
from pool.model import Outcome, Row, Statement, Transaction
from pool.pace import Pace
from pool.queue import Queue, Waiter, too_long
from pool.session import Session
from pool.sessions import Member, Rules, Sessions, copy_of
from pool.source import Source
from pool.sqlstate import SERVER_GOES
from pool.stats import Counters, PoolStats, Waits

OUTAGE_GRACE: Final = 5.0
"""Seconds that callers wait for a database that is away, unless told otherwise."""

CHECK_DELAY: Final = 5.0
"""Seconds of silence after which a session is checked, unless told otherwise."""
_SIGN_OF_LIFE: Final = 2.0
"""Seconds that the server has to answer such a check."""
_LAST_GOODBYES: Final = 10.0
_REVIEW: Final = 1.0
"""Seconds between two looks for waiters that can't be served in time."""
_LONGEST_ADVICE: Final = 32
"""SQLSTATEs of a server that shuts down, has crashed or is not there yet."""


class Connect(Protocol):
    """What opens a session, or raises `ConnectionFailed`: `pool.connection.connect`."""

    def __call__(self, target: Source, *, prepared_statements: bool) -> Awaitable[Session]:
        """A new session with `target`."""


class Pool:
    """Runs transactions on at most `size` sessions, which are opened when needed.

    `dsn`: as `pool.dsn` reads it, or what gives it; `ConnectionFailed` when it can't.
    `acquire_timeout`: seconds a caller waits for a session. `max_idle_time`,
    `max_lifetime`: seconds after which a session is closed, when nobody used it and in any
    case, but never in the middle of a transaction. `prepared_statements=False`: for a
    pooler in transaction mode between us and the database. `application_name`: unless the
    DSN says otherwise.

    `min_size` sessions are kept open from the first use on. `max_waiting`: how many callers
    may queue. `budget` and `pace`: what the pool shares with others, its own when None;
    `weight` is its claim to the budget in proportion to theirs. `outage_grace`: seconds that
    callers wait for a database that is away. `check_delay`: a session on which the server has
    said nothing for so many seconds is checked before use (PgBouncer's `server_check_delay`);
    the network may have lost it without a word. `connect` opens the sessions.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        size: int = 10,
        acquire_timeout: float = 10.0,
        max_idle_time: float = 30.0,
        max_lifetime: float = 1800.0,
        prepared_statements: bool = True,
        application_name: str = "edgerest",
        min_size: int = 0,
        max_waiting: int = 10_000,
        budget: Budget | None = None,
        pace: Pace | None = None,
        weight: float = 1.0,
        outage_grace: float = OUTAGE_GRACE,
        check_delay: float = CHECK_DELAY,
        connect: Connect = connect_to_server,
    ) -> None:
        if size < 1:
            raise ValueError("a pool has at least one connection")
        if not 0 <= min_size <= size:
            raise ValueError("min_size lies between 0 and the pool's size")
        if not 0 < weight < math.inf:
            raise ValueError("a pool's weight is a positive number")
        self._source = Source(dsn, application_name=application_name, env=os.environ)
        self._connect = connect
        self._acquire_timeout = acquire_timeout
        self._check_delay = check_delay
        self._prepared_statements = prepared_statements
        self._schema = 0
        self._shut = False
        self._review: asyncio.TimerHandle | None = None
        self._finishing: set[asyncio.Task[Outcome]] = set()
        self._counters = Counters()
        self._waits = Waits()
        self._queue = Queue(max_waiting)
        self._sessions = Sessions(
            self._open_session,
            Rules(size, min_size, weight, max_idle_time, max_lifetime, outage_grace),
            budget or Budget(size),
            pace or Pace(),
            self._queue,
            self._counters,
            self._fail_waiters,
        )

    @property
    def database(self) -> str:
        """Which database it is, as far as the DSN tells (see `pool.dsn.Target.database`)."""
        return self._source.target.database

    @property
    def stats(self) -> PoolStats:
        """The numbers of this moment; to be asked for in the pool's event loop."""
        now = asyncio.get_running_loop().time()
        sessions, queue = self._sessions, self._queue
        oldest = queue.oldest()
        p50, p95, p99 = self._waits.percentiles((0.5, 0.95, 0.99), now)
        return PoolStats(
            **asdict(self._counters),
            size=sessions.rules.size,
            open=sessions.open,
            idle=len(sessions.idle),
            waiting=len(queue),
            min_size=sessions.rules.min_size,
            connecting=sessions.connecting,
            busy=len(sessions.busy),
            closing=sessions.closing,
            recovering=sessions.recovering,
            debt=sessions.debt,
            waiting_background=queue.background,
            longest_wait=0.0 if oldest is None else now - oldest,
            wait_p50=p50,
            wait_p95=p95,
            wait_p99=p99,
            breaker=sessions.breaker(now),
            paused=sessions.paused,
        )

    @property
    def away(self) -> bool:
        """Whether the database was found to be away, however lately."""
        return self._sessions.breaker(asyncio.get_running_loop().time()) != "closed"

    def look(self) -> bool:
        """Whether the database lets us in, as far as is known; looks for one that is away."""
        now = asyncio.get_running_loop().time()
        if self._sessions.breaker(now) == "closed":
            return True
        self._sessions.asked_at = now
        self._sessions.grow()
        return self._sessions.breaker(now) != "open"

    def doubt(self) -> None:
        """Somebody else has lost the server: check each session before it is used."""
        self._sessions.doubt()

    async def open(self) -> None:
        """See that the database can be reached; `ConnectionFailed` when not.

        The pool can be used without it, and after it failed.
        """
        self._sessions.begin()
        try:
            async with asyncio.timeout(self._acquire_timeout):
                await self._sessions.first()
        except TimeoutError:
            raise ConnectionFailed(
                f"the database did not answer within {self._acquire_timeout:g} seconds"
            ) from None

    async def run(self, tx: Transaction) -> Outcome:
        """Run `tx` on the next free session.

        Raises `PoolOverloaded`, `PoolTimeout`, `ConnectionFailed`, `ConnectionLost` and
        `DatabaseError`. When the caller is cancelled, the statement is cancelled on the server
        as well, unless `tx` is one to `finish_when_abandoned`. A read is run a second time
        when its connection broke or the server was about to go; a write is never sent twice.
        """
        now = asyncio.get_running_loop().time()
        member = self._take(now)
        if member is None:
            member = await self._wait(tx)
        else:
            member.waited = 0.0
            self._waits.unwaited += 1
        while now - member.heard_at >= self._check_delay and not await self._answers(member):
            member = await self._acquire(tx)
        if tx.finish_when_abandoned:
            return await self._finish_on(member, tx)
        try:
            return await self._run_on(member, tx)
        except (ConnectionLost, DatabaseError) as error:
            if isinstance(error, DatabaseError) and not _server_goes(error):
                raise
            # Those that are idle may be as dead, and notice as late.
            self._sessions.distrust()
            again = tx.access == "read only" and not isinstance(error, NoAnswer)
            if not again or self._sessions.closed:
                raise
        self._counters.retries += 1
        return await self._run_on(await self._acquire(tx), tx)

    async def fetch(self, statement: Statement) -> Sequence[Row]:
        """The rows of one read-only statement under the session's own role."""
        return (await self.run(Transaction(statement))).rows

    # -- what is done to the pool as a whole ----------------------------------------------

    def forget_statements(self) -> None:
        """The schema has changed: from now on, have everything prepared anew.

        PostgreSQL notices by itself when a statement's result has changed, but not when a
        parameter should have another type than when the statement was prepared.
        """
        self._schema += 1

    def use_prepared_statements(self, prepares: bool) -> None:
        """Change `prepared_statements`: sessions that are otherwise are used no more."""
        if prepares != self._prepared_statements:
            self._prepared_statements = prepares
            self.reconnect()

    def reconnect(self) -> None:
        """Replace every session, as soon as nobody uses it; callers notice nothing."""
        self._sessions.outdate(asyncio.get_running_loop().time())

    async def pause(self, timeout: float = math.inf) -> bool:  # noqa: ASYNC109
        """Let transactions begin no more, and wait until none runs.

        True when none runs any more, False when some still do after `timeout` seconds. Either
        way callers queue until `resume`, for as long as they would wait for a session.
        """
        self._shut = self._sessions.paused = True
        self._queue.stand_still(asyncio.get_running_loop().time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if timeout == math.inf else timeout):
                await self._sessions.quiet()
        return not self._sessions.busy

    def resume(self) -> None:
        """Let transactions begin again."""
        if self._sessions.paused and not self._sessions.closed:
            now = asyncio.get_running_loop().time()
            self._shut = False
            self._queue.go_on(now)
            self._sessions.resume()

    async def close(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Let running transactions end for up to `timeout` seconds, then cut them off.

        Callers in the queue and later ones get `ConnectionFailed`. All sessions are closed
        when this returns.
        """
        self._shut = True
        self._sessions.close()
        self._fail_waiters(_closed_error())
        await self._wait_until_empty(timeout)
        for member in tuple(self._sessions.busy):
            member.session.terminate()
        await self._wait_until_empty(_LAST_GOODBYES)
        self._sessions.leave()

    async def _wait_until_empty(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._sessions.quiet(empty=True)

    def _open_session(self) -> Awaitable[Session]:
        return self._connect(self._source, prepared_statements=self._prepared_statements)

    # -- what a caller does ---------------------------------------------------------------

    async def _run_on(self, member: Member, tx: Transaction) -> Outcome:
        waited = member.waited
        if member.schema != self._schema:
            member.schema = self._schema
            member.session.forget_statements()
        try:
            if tx.deadline is not None:
                tx = self._with_time_left(tx, tx.deadline)
            self._counters.transactions += 1
            outcome = await transaction.run(member.session, tx)
        except PoolError as error:
            error.waited = waited
            raise
        except asyncio.CancelledError:
            self._counters.cancelled_running += 1
            raise
        finally:
            self._sessions.release(member, asyncio.get_running_loop().time())
        return replace(outcome, waited=waited) if waited else outcome

    async def _finish_on(self, member: Member, tx: Transaction) -> Outcome:
        """`_run_on` in a task of the pool's, which outlives a caller that is cancelled."""
        task = asyncio.get_running_loop().create_task(self._run_on(member, tx))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda _: tx.when_finished())
            raise

    def _with_time_left(self, tx: Transaction, deadline: float) -> Transaction:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            self._counters.timeouts += 1
            raise PoolTimeout(0.0)
        settings = cut_to(tx.settings, left)
        return tx if settings is tx.settings else replace(tx, settings=settings)

    async def _answers(self, member: Member) -> bool:
        """Whether the server still answers on a session; it is given back when not."""
        fit = False
        try:
            async with asyncio.timeout(_SIGN_OF_LIFE):
                await member.session.command("select")
            fit = True
        except (PoolError, TimeoutError):
            member.session.condemn()
            self._sessions.distrust()
        finally:
            if not fit:
                self._sessions.release(member, asyncio.get_running_loop().time())
        return fit

    def _take(self, now: float) -> Member | None:
        """An idle session that nobody waits for."""
        return None if self._shut or self._queue else self._sessions.take(now)

    async def _acquire(self, tx: Transaction) -> Member:
        """A session for the caller's own; it must come back through `release`."""
        now = asyncio.get_running_loop().time()
        member = self._take(now)
        if member is None:
            return await self._wait(tx)
        member.waited = 0.0
        return member

    async def _wait(self, tx: Transaction) -> Member:
        if self._sessions.closed:
            raise _closed_error()
        loop, began = asyncio.get_running_loop(), perf_counter()
        now = loop.time()
        waiter = self._queue_up(tx, loop, now)
        timer = loop.call_at(waiter.until, self._give_up, waiter)
        try:
            while True:
                member = await waiter.future
                if not member.session.broken:
                    break
                # It died on the way here, and nothing was sent on it.
                self._sessions.release(member, loop.time())
                waiter.future = loop.create_future()
                self._queue.put_first(waiter, loop.time())
                # The timer may have rung while the waiter was not in the queue.
                timer.cancel()
                timer = loop.call_at(waiter.until, self._give_up, waiter)
                self._sessions.serve_soon()
            member.waited = perf_counter() - began
            self._waits.add(member.waited, loop.time())
            return member
        except PoolError as error:
            error.waited = perf_counter() - began
            raise
        except asyncio.CancelledError:
            self._counters.cancelled_waiting += 1
            if not self._queue.discard(waiter, loop.time()):
                self._pass_on(waiter.future)
            raise
        finally:
            timer.cancel()
            # A cancelled future keeps the traceback, which keeps this frame: were the future
            # to be found in it, nobody could free the three.
            del waiter

    def _pass_on(self, given: asyncio.Future[Member]) -> None:
        """Take back what was given to a caller in the very moment it was cancelled."""
        if not given.cancelled() and given.exception() is None:
            self._sessions.release(given.result(), asyncio.get_running_loop().time())

    def _queue_up(self, tx: Transaction, loop: asyncio.AbstractEventLoop, now: float) -> Waiter:
        """A place in the queue, unless it is known to be of no use."""
        sessions = self._sessions
        patience = self._acquire_timeout
        if tx.deadline is not None:
            patience = min(patience, tx.deadline - now)
            if patience <= 0:
                self._counters.timeouts += 1
                raise PoolTimeout(0.0)
        sessions.asked_at = now
        away = sessions.away(now)
        if away is not None:
            raise away
        self._refuse_the_hopeless(patience, tx.background, now)
        waiter = Waiter(loop.create_future(), now, now + patience, tx.background)
        self._queue.add(waiter, now)
        if self._review is None:
            self._review = loop.call_later(_REVIEW, self._shed_the_hopeless)
        sessions.begin()
        sessions.grow()
        return waiter

    def _give_up(self, waiter: Waiter) -> None:
        now = asyncio.get_running_loop().time()
        if self._queue.discard(waiter, now) and not waiter.future.done():
            self._counters.timeouts += 1
            self._waits.add(now - waiter.since, now)
            # Others were served all the while: it is the number of callers.
            expected = None if self._shut else self._queue.estimate()
            waiter.future.set_exception(
                PoolTimeout(waiter.until - waiter.since)
                if expected is None
                else _overloaded("no connection came free in time", expected, 0.0)
            )

    # -- whom it does not let wait --------------------------------------------------------

    def _refuse_the_hopeless(self, patience: float, background: bool, now: float) -> None:
        queue = self._queue
        expected = None if self._shut else queue.estimate(background=background)
        if len(queue) >= queue.limit:
            displaced = None if background else queue.make_room(now)
            if displaced is None:
                self._counters.sheds += 1
                raise _overloaded("the queue for a connection is full", expected, 0.0)
            self._shed(displaced, "the queue for a connection is full", expected)
        if expected is not None and too_long(expected, patience):
            self._counters.sheds += 1
            raise _overloaded("no connection will come free in time", expected, patience)

    def _shed_the_hopeless(self) -> None:
        """Look through the queue, time and again as long as somebody waits."""
        loop, self._review = asyncio.get_running_loop(), None
        if not self._queue:
            return
        self._review = loop.call_later(_REVIEW, self._shed_the_hopeless)
        if self._shut:
            return
        now = loop.time()
        for waiter, expected in self._queue.hopeless(now):
            self._queue.discard(waiter, now)
            self._shed(waiter, "no connection will come free in time", expected)

    def _shed(self, waiter: Waiter, reason: str, expected: float | None) -> None:
        if not waiter.future.done():
            self._counters.sheds += 1
            waiter.future.set_exception(_overloaded(reason, expected, 0.0))

    def _fail_waiters(self, error: ConnectionFailed) -> None:
        now = asyncio.get_running_loop().time()
        for waiter in self._queue.drain(now):
            waiter.future.set_exception(copy_of(error))


def _server_goes(error: DatabaseError) -> bool:
    return error.ends_session and error.sqlstate in SERVER_GOES


def _closed_error() -> ConnectionFailed:
    return ConnectionFailed("the connection pool is closed")


def _overloaded(reason: str, expected: float | None, allowed: float) -> PoolOverloaded:
    """Come again when the queue has become as short as it must be."""
    seconds = 1 if expected is None else math.ceil(expected - allowed)
    return PoolOverloaded(reason, min(max(seconds, 1), _LONGEST_ADVICE))
