"""A bounded, fair, cancellable pool of sessions in front of one database.

In: `Transaction`s, from as many tasks as like. Out: their `Outcome`s, run on at most `size`
sessions. Everything happens in one event loop.

Invariants
----------
* There are `size` slots. A slot is in use (`_open`) from before its session is opened until
  after it is closed, so there are never more than `size` sessions.
* A slot in use has one owner: a task of `_connecting` that opens its session, the idle list
  `_idle`, the caller that runs a transaction, or a task of `_finishing` that runs it in the
  caller's stead (both in `_busy`), or a task of `_closing` that closes its session, or brings
  it back when its caller was cancelled. It passes from owner to owner without an await in
  between.
* Callers never connect: they queue, and a pool's task connects and serves the queue. So a
  caller that is cancelled takes nothing with it.
* The queue is first come, first served. A caller is in `_waiters` as long as nothing was
  given to it; one that is cancelled after something was given to it gives it on. Nobody
  queues while a session is idle.
* An idle session is outside a transaction and awaits no answer. A session whose state is
  unknown, because its caller was cancelled, its connection broke or its transaction did not
  end, is closed and never used again, unless `Session.recover` has found out its state.
* While the database is away (`_outage` is set), one task at a time tries to connect; and
  when no session is left either, all callers but the one that started it fail at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

from pool import transaction
from pool.connection import connect
from pool.dsn import Dsn, Source
from pool.errors import ConnectionFailed, ConnectionLost, PoolError, PoolTimeout
from pool.model import Outcome, Row, Statement, Transaction
from pool.outage import Outage, after_failure
from pool.session import Session

_GOODBYE: Final = 5.0
_RECOVERY: Final = 2.0


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What the pool is doing: sessions and callers now, and timeouts since the start.

    `size`: slots; `open`: slots in use, of sessions being opened or closed too; `idle`:
    sessions nobody uses; `waiting`: callers in the queue; `timeouts`: callers that gave up.
    """

    size: int
    open: int
    idle: int
    waiting: int
    timeouts: int


@dataclass(slots=True, eq=False)
class _Member:
    """A session of the pool; times are the event loop's, in seconds. `waited`: how long the
    caller that it was given to last had waited. `schema`: the number of the schema that its
    statements were prepared for."""

    session: Session
    expires_at: float
    schema: int
    idle_until: float = 0.0
    used: bool = False
    waited: float = 0.0


_Waiter = asyncio.Future[_Member]


class Pool:
    """Runs transactions on at most `size` sessions, which are opened when needed.

    `dsn`: as `pool.dsn` reads it, or what gives it; `ConnectionFailed` when it can't.
    `acquire_timeout`: seconds a caller waits for a session. `max_idle_time`,
    `max_lifetime`: seconds after which a session is closed, when nobody used it and in any
    case, but never in the middle of a transaction. `prepared_statements=False`: for a
    pooler in transaction mode between us and the database. `application_name`: unless the
    DSN says otherwise.
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
    ) -> None:
        if size < 1:
            raise ValueError("a pool has at least one connection")
        self._source = Source(dsn, application_name=application_name, env=os.environ)
        self._size = size
        self._acquire_timeout = acquire_timeout
        self._max_idle_time = max_idle_time
        self._max_lifetime = max_lifetime
        self._prepared_statements = prepared_statements
        self._open = 0
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._connecting: set[asyncio.Task[Session]] = set()
        self._idle: list[_Member] = []
        self._busy: set[_Member] = set()
        self._finishing: set[asyncio.Task[Outcome]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._timeouts = 0
        self._schema = 0
        self._outage: Outage | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._attempt: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def stats(self) -> PoolStats:
        """The numbers of this moment."""
        return PoolStats(
            self._size, self._open, len(self._idle), len(self._waiters), self._timeouts
        )

    async def open(self) -> None:
        """See that the database can be reached; `ConnectionFailed` when not.

        The pool can be used without it, and after it failed.
        """
        try:
            self._give_back(await self._acquire())
        except PoolTimeout as error:
            raise ConnectionFailed(
                f"the database did not answer within {error.seconds:g} seconds"
            ) from None

    async def run(self, tx: Transaction) -> Outcome:
        """Run `tx` on the next free session.

        Raises `PoolTimeout`, `ConnectionFailed`, `ConnectionLost` and `DatabaseError`. When
        the caller is cancelled, the statement is cancelled on the server as well, unless `tx`
        is one to `finish_when_abandoned`. A read is
        run a second time when the connection it was given had died unnoticed while idle; a
        write is never sent twice.
        """
        member = await self._acquire()
        if tx.finish_when_abandoned:
            return await self._finish_on(member, tx)
        may_have_died_idle = member.used and tx.access == "read only"
        try:
            return await self._run_on(member, tx)
        except ConnectionLost:
            if not may_have_died_idle:
                raise
        return await self._run_on(await self._acquire(), tx)

    async def fetch(self, statement: Statement) -> Sequence[Row]:
        """The rows of one read-only statement under the session's own role."""
        return (await self.run(Transaction(statement))).rows

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
        now = asyncio.get_running_loop().time()
        for member in (*self._idle, *self._busy):
            member.expires_at = now
        if self._sweep is not None:
            self._sweep.cancel()
        self._close_old()

    async def close(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Let running transactions end for up to `timeout` seconds, then cut them off.

        Callers in the queue and later ones get `ConnectionFailed`. All sessions are closed
        when this returns.
        """
        self._closed = True
        for timer in (self._sweep, self._attempt):
            if timer is not None:
                timer.cancel()
        for task in tuple(self._connecting):
            task.cancel()
        self._fail_waiters(_closed_error())
        while self._idle:
            self._retire(self._idle.pop())
        await self._wait_until_empty(timeout)
        for member in tuple(self._busy):
            member.session.terminate()
        await self._wait_until_empty(2 * _GOODBYE)

    async def _wait_until_empty(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._emptied.wait()

    # -- what a caller does ---------------------------------------------------------------

    async def _run_on(self, member: _Member, tx: Transaction) -> Outcome:
        waited = member.waited
        if member.schema != self._schema:
            member.schema = self._schema
            member.session.forget_statements()
        try:
            outcome = await transaction.run(member.session, tx)
        except PoolError as error:
            error.waited = waited
            raise
        finally:
            self._give_back(member)
        return replace(outcome, waited=waited) if waited else outcome

    async def _finish_on(self, member: _Member, tx: Transaction) -> Outcome:
        """`_run_on` in a task of the pool's, which outlives a caller that is cancelled."""
        task = asyncio.get_running_loop().create_task(self._run_on(member, tx))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return await asyncio.shield(task)

    async def _acquire(self) -> _Member:
        """A session for the caller's own; it must come back through `_give_back`."""
        if self._closed:
            raise _closed_error()
        if (member := self._take_idle()) is not None:
            member.waited = 0.0
            return member
        loop, since = asyncio.get_running_loop(), perf_counter()
        self._fail_if_away(loop.time())
        waiter: _Waiter = loop.create_future()
        self._waiters[waiter] = None
        self._connect_for_waiters()
        timer = loop.call_later(self._acquire_timeout, self._give_up, waiter)
        try:
            member = await waiter
            member.waited = perf_counter() - since
            return member
        except PoolError as error:
            error.waited = perf_counter() - since
            raise
        except asyncio.CancelledError:
            self._waiters.pop(waiter, None)
            if not waiter.cancelled() and waiter.exception() is None:
                # It was served in the very moment it was cancelled.
                self._give_back(waiter.result())
            raise
        finally:
            timer.cancel()

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter in self._waiters and not waiter.done():
            del self._waiters[waiter]
            self._timeouts += 1
            waiter.set_exception(PoolTimeout(self._acquire_timeout))

    def _give_back(self, member: _Member) -> None:
        self._busy.discard(member)
        member.used = True
        self._release(member)

    # -- what happens to a session --------------------------------------------------------

    def _release(self, member: _Member) -> None:
        """Pass a session nobody uses on, unless it must be closed."""
        session, now = member.session, asyncio.get_running_loop().time()
        expired = now >= member.expires_at or session.prepares != self._prepared_statements
        if session.recoverable and not (self._closed or expired):
            self._in_background(self._bring_back(member))
        elif self._closed or session.broken or session.in_transaction or expired:
            self._retire(member)
        else:
            self._offer(member, now)

    def _take_idle(self) -> _Member | None:
        """The session used last, so that those not needed get old enough to be closed."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            member = self._idle.pop()
            if not member.session.stale and now < member.expires_at:
                self._busy.add(member)
                return member
            self._retire(member)
        return None

    def _offer(self, member: _Member, now: float) -> None:
        """Give `member` to whoever has waited longest, or keep it idle."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                self._busy.add(member)
                waiter.set_result(member)
                return
        member.idle_until = now + self._max_idle_time
        self._idle.append(member)
        self._plan_sweep(now)

    def _retire(self, member: _Member) -> None:
        """Close the session and free its slot thereafter."""
        self._in_background(self._close(member.session))

    def _in_background(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _bring_back(self, member: _Member) -> None:
        """See that what a cancelled caller left behind is over, or close the session."""
        if await member.session.recover(_RECOVERY):
            self._release(member)
        else:
            await self._close(member.session)

    async def _close(self, session: Session) -> None:
        try:
            await session.close(_GOODBYE)
        finally:
            self._free_slot()
            self._connect_for_waiters()

    def _plan_sweep(self, now: float) -> None:
        if self._sweep is None and self._idle:
            due = min(min(m.idle_until, m.expires_at) for m in self._idle)
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(max(due - now, 0.0), self._close_old)

    def _close_old(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        old = [m for m in self._idle if now >= min(m.idle_until, m.expires_at)]
        for member in old:
            self._idle.remove(member)
            self._retire(member)
        self._plan_sweep(now)

    # -- how the pool grows ---------------------------------------------------------------

    def _connect_for_waiters(self) -> None:
        """Open as many sessions as the queue calls for and the slots and an outage allow."""
        loop = asyncio.get_running_loop()
        while not self._closed and self._open < self._size:
            if len(self._connecting) >= len(self._waiters):
                return
            if self._outage is not None:
                if self._connecting:
                    return
                if loop.time() < self._outage.retry_at:
                    self._plan_attempt(loop, self._outage.retry_at)
                    return
            self._take_slot()
            task = loop.create_task(
                connect(self._source, prepared_statements=self._prepared_statements)
            )
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _plan_attempt(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._attempt is not None:
            self._attempt.cancel()
        self._attempt = loop.call_at(when, self._connect_for_waiters)

    def _connected(self, task: asyncio.Task[Session]) -> None:
        """Take over what a connecting task has come to."""
        self._connecting.discard(task)
        now = asyncio.get_running_loop().time()
        try:
            session = task.result()
        except ConnectionFailed as failure:
            self._free_slot()
            self._note_failure(failure, now)
        except BaseException as error:
            self._free_slot()
            if not isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._outage = None
            self._release(_Member(session, now + self._max_lifetime, self._schema))
            self._connect_for_waiters()

    def _note_failure(self, failure: ConnectionFailed, now: float) -> None:
        self._outage = after_failure(self._outage, failure, now)
        if not (self._idle or self._busy or self._connecting):
            self._fail_waiters(self._outage.error(now))
        self._connect_for_waiters()

    def _take_slot(self) -> None:
        self._open += 1
        self._emptied.clear()

    def _free_slot(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._emptied.set()

    def _fail_if_away(self, now: float) -> None:
        if self._outage is None or self._idle or self._busy:
            return
        if self._connecting or now < self._outage.retry_at:
            raise self._outage.error(now)

    def _fail_waiters(self, error: ConnectionFailed) -> None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                # One exception each: a shared one would gather everybody's traceback.
                waiter.set_exception(
                    ConnectionFailed(error.reason, error.retry_after, sqlstate=error.sqlstate)
                )


def _closed_error() -> ConnectionFailed:
    return ConnectionFailed("the connection pool is closed")
