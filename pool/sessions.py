"""The sessions of one pool: opened when needed, kept while used, closed when not.

In: a queue of waiters, and sessions that callers give back. Out: sessions for the waiters,
first come, first served. What a session is allowed is decided here; what callers are told is
the pool's affair. Invariants stand at the top of pool/pool.py.

Connecting is careful with a database that may be away. Until it has answered, one attempt is
made, not as many as callers wait. One that takes longer than a second while there is no other
session counts as a failure, though the first such one may go on until its own time is up, for
a database that needs long; later ones are cut off for the next. So there is an attempt at
least once in about a second, and at most two slots are spent on a database that is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pool.budget import Budget, Claim
from pool.errors import ConnectionFailed
from pool.outage import Outage, after_failure
from pool.pace import Pace
from pool.queue import Queue
from pool.session import Session
from pool.stats import Breaker, Counters

logger = logging.getLogger(__name__)

_GOODBYE: Final = 5.0
_SHORT_GOODBYE: Final = 1.0
_RECOVERY: Final = 2.0
"""Seconds that a session may take to come back when its caller went."""
_SLOW: Final = 1.0
"""Seconds after which an attempt to connect is no longer expected to succeed."""
_SPARE: Final = 0.5
"""Seconds without use after which a session is better off with another pool."""
_PROVEN: Final = 10.0
"""Seconds for which a database that answered is expected to answer again."""
_ASKED: Final = 60.0
"""Seconds after the last caller during which a database that is away is looked for."""
_SWEEP: Final = 0.05
"""Seconds between two sweeps at least."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a pool's sessions are held to; times in seconds, as `pool.pool.Pool` tells."""

    size: int
    min_size: int
    weight: float
    max_idle_time: float
    max_lifetime: float
    grace: float


@dataclass(slots=True, eq=False)
class Member:
    """A session of the pool; times are the event loop's, in seconds. `waited`: how long the
    caller that it was given to last had waited. `schema`: the number of the schema that its
    statements were prepared for. `heard_at`: when the server last answered on it."""

    session: Session
    expires_at: float
    schema: int = 0
    idle_since: float = 0.0
    waited: float = 0.0
    heard_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class _Attempt:
    began: float
    look: asyncio.TimerHandle


@dataclass(slots=True)
class _Timers:
    """What is to be done later: close old sessions, try to connect, stop waiting."""

    sweep: asyncio.TimerHandle | None = None
    retry: asyncio.TimerHandle | None = None
    give_up: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        for timer in (self.sweep, self.retry, self.give_up):
            if timer is not None:
                timer.cancel()
        self.sweep = self.retry = self.give_up = None


@dataclass(slots=True, eq=False)
class Sessions:
    """The sessions of a pool, and their part of a budget.

    `connect` opens one or raises `ConnectionFailed`; `fail` is called with the reason when
    callers need not wait any longer.
    """

    connect: Callable[[], Awaitable[Session]]
    rules: Rules
    budget: Budget
    pace: Pace
    queue: Queue
    counters: Counters
    fail: Callable[[ConnectionFailed], None]
    debt: int = 0
    idle: list[Member] = field(default_factory=list)
    busy: set[Member] = field(default_factory=set)
    paused: bool = False
    closed: bool = False
    outage: Outage | None = None
    asked_at: float = -math.inf
    """When a caller last found no session."""
    _attempts: dict[asyncio.Future[Session], _Attempt] = field(default_factory=dict)
    _patient: asyncio.Future[Session] | None = None
    _recovering: dict[asyncio.Task[bool], Member] = field(default_factory=dict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    _timers: _Timers = field(default_factory=_Timers)
    _begun: bool = False
    _told_of_outage: bool = False
    _granted_at: float = 0.0
    _connected_at: float = -math.inf
    _outdated_at: float = -math.inf
    _openers: list[asyncio.Future[None]] = field(default_factory=list)
    _quiet: list[asyncio.Future[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget.join(self, self.rules.min_size)

    # -- what is there --------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Slots in use."""
        return (
            len(self._attempts)
            + len(self.idle)
            + len(self.busy)
            + len(self._recovering)
            + len(self._closing)
        )

    @property
    def connecting(self) -> int:
        """Sessions being opened."""
        return len(self._attempts)

    @property
    def recovering(self) -> int:
        """Sessions whose caller went, on their way back."""
        return len(self._recovering)

    @property
    def closing(self) -> int:
        """Sessions being closed."""
        return len(self._closing)

    @property
    def alive(self) -> bool:
        """Whether there is a session that can be or is used."""
        return bool(self.idle or self.busy or self._recovering)

    def breaker(self, now: float) -> Breaker:
        """Whether callers wait for a database that is away."""
        if self.outage is None or self.alive:
            return "closed"
        return "open" if self.outage.lasts(now, self.rules.grace) else "waiting"

    def away(self, now: float) -> ConnectionFailed | None:
        """What to tell a newcomer who need not wait: nothing as long as there is a session or
        the outage is young, or when nobody has looked lately."""
        outage = self.outage
        if outage is None or self.alive or not outage.lasts(now, self.rules.grace):
            return None
        return outage.error(now) if self._attempts or now < outage.retry_at else None

    # -- from owner to owner --------------------------------------------------------------

    def take(self, now: float) -> Member | None:
        """The session used last, so that those not needed get old enough to be closed."""
        while self.idle:
            member = self.idle.pop()
            stale = member.session.stale
            if not stale and now < member.expires_at:
                self.busy.add(member)
                return member
            self.counters.lost += stale
            self.retire(member)
        return None

    def release(self, member: Member, now: float) -> None:
        """Pass a session nobody uses on, unless it must be closed."""
        session = member.session
        self.busy.discard(member)
        member.heard_at = now
        if (
            session.broken
            or session.in_transaction
            or now >= member.expires_at
            or (self.debt and self.budget.collect(self))
        ):
            if session.recoverable and now < member.expires_at:
                self._bring_back(member)
            else:
                self.counters.lost += session.ended and not self.closed
                self.retire(member)
        else:
            self.offer(member, now)
        if self._quiet and not self.busy:
            self._tell_quiet()

    def offer(self, member: Member, now: float) -> None:
        """Give `member` to whoever is first in the queue, in this turn or later, or keep it."""
        if self.queue and not self.paused:
            if not self.pace.step():
                self.pace.wait(self)
            elif self._give(member, now):
                return
        self._keep(member, now)

    def serve(self) -> bool | None:
        """Give an idle session to whoever is first in the queue, as `pool.pace` asks for."""
        now = asyncio.get_running_loop().time()
        if not self.queue or self.paused or (member := self.take(now)) is None:
            return None
        self.busy.discard(member)
        if self._give(member, now):
            return bool(self.queue and self.idle)
        self._keep(member, now)
        return None

    def _give(self, member: Member, now: float) -> bool:
        waiter = self.queue.pop(now)
        if waiter is None:
            return False
        self.busy.add(member)
        waiter.future.set_result(member)
        return True

    def _keep(self, member: Member, now: float) -> None:
        member.idle_since = now
        self.idle.append(member)
        if self._timers.sweep is None:
            self._plan_sweep(now)
        if self.budget.contested:
            self.budget.plan_soon()

    def _bring_back(self, member: Member) -> None:
        """See that what a caller that went left behind is over."""
        task = asyncio.get_running_loop().create_task(member.session.recover(_RECOVERY))
        self._recovering[task] = member
        task.add_done_callback(self._has_recovered)

    def _has_recovered(self, task: asyncio.Task[bool]) -> None:
        member = self._recovering.pop(task)
        if not task.cancelled() and task.exception() is None and task.result():
            self.release(member, asyncio.get_running_loop().time())
        else:
            self.doubt()
            self.retire(member)

    def retire(self, member: Member, goodbye: float = _GOODBYE) -> None:
        """Close the session, which belongs to nobody else any more."""
        task = asyncio.get_running_loop().create_task(member.session.close(goodbye))
        self._closing.add(task)
        task.add_done_callback(self._has_closed)

    def _has_closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        self.budget.put_back(self)
        self.grow()
        self._tell_quiet()
        if not task.cancelled():
            task.result()

    # -- what happens to those that are there ---------------------------------------------

    def begin(self) -> None:
        """Keep `min_size` sessions from now on."""
        if not self._begun:
            self._begun = True
            self.grow()

    def distrust(self) -> None:
        """A session broke without a word: those that lie idle may have gone the same way."""
        while self.idle:
            self.retire(self.idle.pop(), _SHORT_GOODBYE)

    def doubt(self) -> None:
        """The network may be gone: those that lie idle are checked before they are used."""
        for member in self.idle:
            member.heard_at = -math.inf

    def outdate(self, now: float) -> None:
        """Have every session replaced, as soon as nobody uses it."""
        self._outdated_at = now
        for member in (*self.busy, *self._recovering.values()):
            member.expires_at = now
        while self.idle:
            self.retire(self.idle.pop())

    def resume(self) -> None:
        """The end of `paused`: serve those who wait."""
        self.paused = False
        self.serve_soon()

    def serve_soon(self) -> None:
        """See to a queue that nobody else sees to."""
        self.pace.wait(self)
        self.grow()

    def close(self) -> None:
        """Open none any more, and close those that nobody uses."""
        self.closed = True
        self._timers.cancel()
        for attempt in tuple(self._attempts):
            attempt.cancel()
        error = ConnectionFailed("the connection pool is closed")
        self._tell_openers(error)
        self.outdate(asyncio.get_running_loop().time())

    def leave(self) -> None:
        """Give up the part of the budget, and of the pace."""
        self.pace.leave(self)
        self.budget.leave(self)

    async def quiet(self, *, empty: bool = False) -> None:
        """Until no session is used, or until there is none any more (`empty`)."""
        while self.open if empty else self.busy:
            told = asyncio.get_running_loop().create_future()
            self._quiet.append(told)
            await told

    def _tell_quiet(self) -> None:
        for told in self._quiet:
            if not told.done():
                told.set_result(None)
        self._quiet.clear()

    def _has_ended(self, member: Member) -> None:
        """The connection is gone. Whoever uses it will notice."""
        if member in self.idle:
            self.idle.remove(member)
            self.counters.lost += 1
            self.retire(member)

    def _plan_sweep(self, now: float) -> None:
        if self.idle and self._timers.sweep is None and not self.closed:
            due = min(self._end_of(member) for member in self.idle)
            loop = asyncio.get_running_loop()
            self._timers.sweep = loop.call_later(max(due - now, _SWEEP), self._close_old)

    def _end_of(self, member: Member) -> float:
        return min(member.idle_since + self.rules.max_idle_time, member.expires_at)

    def _close_old(self) -> None:
        self._timers.sweep = None
        now = asyncio.get_running_loop().time()
        usable = len(self.idle) + len(self.busy) + len(self._recovering)
        needless = usable - self.rules.min_size
        for member in tuple(self.idle):
            too_old = now >= member.expires_at
            if too_old or (needless > 0 and now >= self._end_of(member)):
                needless -= 1
                self.idle.remove(member)
                self.retire(member)
            elif needless <= 0:
                # One of the least there are to be: looked at again after the same time.
                member.idle_since = now
        self._plan_sweep(now)

    # -- as a part of a budget ------------------------------------------------------------

    def claim(self, now: float, held: int) -> Claim:
        """What these sessions are worth, and what they lack."""
        spare = sum(now - member.idle_since >= _SPARE for member in self.idle)
        slow = len(self._slow_attempts(now))
        reserve = self.rules.min_size
        if self.outage is not None and not self.alive:
            reserve = min(reserve, 1)
        return Claim(
            held=held,
            wanted=self.wanted(now),
            closing=len(self._closing),
            idle=len(self.idle) + slow,
            spare=spare + slow,
            size=self.rules.size,
            reserve=reserve,
            weight=self.rules.weight,
            granted_at=self._granted_at,
            waiting_since=self.queue.oldest(),
        )

    def grant(self) -> None:
        """Open a session in a slot that was taken."""
        loop = asyncio.get_running_loop()
        self._granted_at = loop.time()
        attempt: asyncio.Future[Session] = asyncio.ensure_future(self.connect())
        look = loop.call_later(_SLOW, self._look_at, attempt)
        self._attempts[attempt] = _Attempt(self._granted_at, look)
        attempt.add_done_callback(self._has_connected)

    def give(self) -> None:
        """Close the session that was idle for longest, or break off a slow attempt."""
        if self.idle:
            self.retire(self.idle.pop(0))
            return
        slow = self._slow_attempts(asyncio.get_running_loop().time())
        if slow:
            slow[-1].cancel()

    def _slow_attempts(self, now: float) -> Sequence[asyncio.Future[Session]]:
        """Those that better make way for other pools: all but the first of the slow ones."""
        slow = [task for task, it in self._attempts.items() if now - it.began >= _SLOW]
        return slow[1:]

    # -- how sessions are opened ----------------------------------------------------------

    def wanted(self, now: float) -> int:
        """How many sessions to open now, if there are slots."""
        if self.paused or self.closed:
            return 0
        outage, fresh = self.outage, len(self._attempts)
        if outage is not None and self._patient is not None:
            fresh -= 1
        need = max(len(self.queue) - len(self.idle), len(self._openers)) - fresh
        if self._begun:
            usable = len(self.idle) + len(self.busy) + len(self._recovering)
            need = max(need, self.rules.min_size - usable - fresh)
        room = self.rules.size - self.open
        if outage is not None:
            if now < outage.retry_at:
                return 0
            if not self.alive and now - self.asked_at < _ASKED:
                need = max(need, 1)
            room = min(room, 1 - fresh)
        elif not self.alive and now - self._connected_at >= _PROVEN:
            room = min(room, 1 - fresh)
        return max(min(need, room), 0)

    def grow(self) -> None:
        """Open as many sessions as are called for and there are slots."""
        now = asyncio.get_running_loop().time()
        while self.wanted(now) > 0 and self.budget.take(self):
            self.grant()

    async def first(self) -> None:
        """Until there is a session; raises `ConnectionFailed` when the next attempt fails."""
        if self.closed:
            raise ConnectionFailed("the connection pool is closed")
        if self.alive:
            return
        opener: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._openers.append(opener)
        self.grow()
        try:
            await opener
        finally:
            with contextlib.suppress(ValueError):
                self._openers.remove(opener)

    def _has_connected(self, task: asyncio.Future[Session]) -> None:
        """Take over what an attempt has come to."""
        attempt = self._attempts.pop(task)
        attempt.look.cancel()
        if task is self._patient:
            self._patient = None
        now = asyncio.get_running_loop().time()
        if task.cancelled():
            self._did_not_connect()
            return
        error = task.exception()
        if error is None:
            self._take_in(task.result(), attempt.began, now)
        elif isinstance(error, ConnectionFailed):
            self.counters.connect_failures += 1
            self._note_failure(error, attempt.began, now)
            self._tell_openers(error)
            self._did_not_connect()
        else:
            self._did_not_connect()
            raise error

    def _take_in(self, session: Session, began: float, now: float) -> None:
        self.counters.connects += 1
        self._connected_at = now
        self.outage = None
        if self._told_of_outage:
            self._told_of_outage = False
            logger.warning("The database lets us in again")
        for timer in (self._timers.retry, self._timers.give_up):
            if timer is not None:
                timer.cancel()
        member = Member(session, now + self.rules.max_lifetime)
        session.on_end(lambda: self._has_ended(member))
        if self.closed or began < self._outdated_at:
            self.retire(member)
        else:
            self.release(member, now)
        self._tell_openers(None)
        self.grow()

    def _did_not_connect(self) -> None:
        self.budget.put_back(self)
        self.grow()
        self._tell_quiet()

    def _look_at(self, task: asyncio.Future[Session]) -> None:
        """An attempt takes long."""
        if self.alive or task.done():
            return
        loop = asyncio.get_running_loop()
        began = self._attempts[task].began
        failure = ConnectionFailed(f"the database did not answer within {_SLOW:g} seconds")
        if self._patient is None:
            self._patient = task
        else:
            self.counters.connect_failures += 1
            task.cancel()
        self._note_failure(failure, began, loop.time())

    def _note_failure(self, failure: ConnectionFailed, began: float, now: float) -> None:
        alive = self.alive
        known = self.counters.connects > 0
        outage = after_failure(self.outage, failure, now, began=began, alive=alive, known=known)
        self.outage = outage
        loop = asyncio.get_running_loop()
        timers = self._timers
        if timers.retry is not None:
            timers.retry.cancel()
        # A hair later, so that rounding does not make it too early.
        timers.retry = loop.call_at(outage.retry_at + 0.001, self.grow)
        if alive:
            return
        if outage.lasts(now, self.rules.grace):
            self._turn_away(outage, now)
        else:
            if timers.give_up is not None:
                timers.give_up.cancel()
            end = outage.since + self.rules.grace + 0.001
            timers.give_up = loop.call_at(end, self._give_up)

    def _give_up(self) -> None:
        now = asyncio.get_running_loop().time()
        outage = self.outage
        if outage is not None and not self.alive and outage.lasts(now, self.rules.grace):
            self._turn_away(outage, now)

    def _turn_away(self, outage: Outage, now: float) -> None:
        """Let nobody wait any longer, and say why: once for each outage."""
        if not self._told_of_outage:
            self._told_of_outage = True
            logger.error("There is no connection to the database: %s", outage.reason)
        self.fail(outage.error(now))

    def _tell_openers(self, error: ConnectionFailed | None) -> None:
        for opener in self._openers:
            if opener.done():
                continue
            if error is None:
                opener.set_result(None)
            else:
                opener.set_exception(copy_of(error))
        self._openers.clear()


def copy_of(error: ConnectionFailed) -> ConnectionFailed:
    """One exception for each caller: a shared one would gather everybody's traceback."""
    return ConnectionFailed(error.reason, error.retry_after, sqlstate=error.sqlstate)
