"""A world to run pools in: an event loop whose time passes when told, and a database whose
every answer a test decides. The pools, queue and budget in it are the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pool.errors import ConnectionFailed, ConnectionLost, DatabaseError
from pool.model import Row, Statement
from pool.session import Session
from pool.source import Source


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still but for `advance`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def turn(self) -> None:
        """Run what can run, and not what follows from it."""
        self.call_soon(self.stop)
        self.run_forever()

    def settle(self) -> None:
        """Run all that can run now."""
        private = cast("Any", self)
        for _ in range(10_000):
            if not private._ready and not self._due() <= self.now:
                return
            self.turn()
        raise AssertionError("the loop does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, from timer to timer."""
        end = self.now + seconds
        self.settle()
        while (due := self._due()) <= end:
            self.now = max(due, self.now)
            self.settle()
        self.now = end
        self.settle()

    def _due(self) -> float:
        """When the next timer is due."""
        scheduled = cast("Any", self)._scheduled
        return min((t.when() for t in scheduled if not t.cancelled()), default=float("inf"))


class ModelSession(Session):
    """A session with a database that answers when the test says so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gone = False
        self._waits = False
        self._callbacks: list[Callable[[], None]] = []
        self.default_isolation = None
        self.reported = ()
        self.running: tuple[str, asyncio.Future[str]] | None = None

    @property
    def prepares(self) -> bool:
        return True

    @property
    def broken(self) -> bool:
        return self._waits or self._gone

    @property
    def ended(self) -> bool:
        return self._gone

    @property
    def stale(self) -> bool:
        return self.broken

    @property
    def recoverable(self) -> bool:
        return self._waits and not self._gone

    @property
    def in_transaction(self) -> bool:
        return False

    @property
    def in_standby(self) -> bool:
        return False

    @property
    def writes_by_default(self) -> bool:
        return True

    async def fetch(
        self, statement: Statement, *, ahead: Sequence[Statement] = ()
    ) -> Sequence[Row]:
        assert not self.broken
        assert self.running is None
        self._database.started(self, statement.sql)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.running = (statement.sql, answer)
        self._waits = True
        try:
            said = await answer
        finally:
            self.running = None
        if said == "lost":
            raise ConnectionLost("lost")
        self._waits = False
        if said == "57P01":
            self.hang_up()
        if said != "rows":
            raise DatabaseError(said, "no", severity="FATAL" if self._gone else "ERROR")
        return ()

    async def recover(self, timeout: float) -> bool:  # noqa: ASYNC109
        await asyncio.sleep(0.02)
        if self._gone or self._database.fails_to_recover:
            return False
        self._waits = False
        return True

    def forget_statements(self) -> None:
        pass

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109
        self.hang_up()
        await asyncio.sleep(0.01)
        self._database.sessions.remove(self)

    def terminate(self) -> None:
        self.hang_up()

    def on_end(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def hang_up(self) -> None:
        """The connection breaks, whoever does it."""
        if self._gone:
            return
        self._gone = True
        for callback in self._callbacks:
            self._database.loop.call_soon(callback)
        if self.running is not None and not self.running[1].done():
            self.running[1].set_result("lost")


@dataclass(eq=False)
class Database:
    """What one pool connects to; `limits` is called whenever a connection is begun."""

    loop: VirtualLoop
    limits: Callable[[], None]
    started: Callable[[ModelSession, str], None]
    attempts: list[asyncio.Future[str]] = field(default_factory=list)
    sessions: list[ModelSession] = field(default_factory=list)
    fails_to_recover: bool = False
    replies: bool = False
    """Whether attempts succeed by themselves."""

    async def connect(self, target: Source, *, prepared_statements: bool) -> ModelSession:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.attempts.append(answer)
        self.limits()
        if self.replies:
            answer.set_result("")
        try:
            said = await answer
        finally:
            self.attempts.remove(answer)
        if said:
            raise ConnectionFailed("no", sqlstate=None if said == "silence" else said)
        session = ModelSession(self)
        self.sessions.append(session)
        return session

    @property
    def count(self) -> int:
        """How many connections there are, those that begin or end included."""
        return len(self.attempts) + len(self.sessions)
