"""Hear what the database announces: LISTEN on a connection of its own.

In: where the database is, and a channel. Out: calls in the event loop that started it:
`on_message` with the payload of each notification, `on_listening` whenever listening has
begun, `on_loss` when it has ended, and `on_return` when it has begun after a time in which
notifications went unheard. PostgreSQL keeps nothing for those who are away, so whoever
depends on the channel must then look for itself (PostgreSQL docs, "LISTEN").

One task owns the connection. It connects, waits until the connection is lost, and connects
again, for ever, pausing longer and longer. Only a server that accepts writes can listen, so
among several hosts the one to write to is chosen whatever the DSN prefers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from pool.backoff import pauses
from pool.connection import dial_source
from pool.dsn import Dsn
from pool.errors import ConnectionFailed, ConnectionLost
from pool.model import Row, Statement
from pool.server_errors import ASYNCPG_ERRORS
from pool.source import Source

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_GOODBYE: Final = 1.0
_FAILURES: Final = (*ASYNCPG_ERRORS, TimeoutError)

# LISTEN can fail for ever with "could not access status of transaction" on account of old
# entries of PostgreSQL's queue; asking for its usage drops them (PostgREST issue 3147).
_DROP_OLD_ENTRIES: Final = "select pg_catalog.pg_notification_queue_usage()"


class Listener:
    """Listens on `channel`, from `start` to `close`.

    `dsn` as `pool.dsn` reads it, or what gives it; `ConnectionFailed` when it can't.
    `heartbeat`: seconds of silence after which the server is asked for a sign of life, and
    seconds it may take to give one. The callbacks must not raise.
    """

    def __init__(
        self,
        dsn: Dsn,
        channel: str,
        *,
        on_message: Callable[[str], None],
        on_return: Callable[[], None] = lambda: None,
        on_listening: Callable[[], None] = lambda: None,
        on_loss: Callable[[], None] = lambda: None,
        heartbeat: float = 30.0,
        application_name: str = "edgerest",
    ) -> None:
        self._source = Source(dsn, application_name=application_name, env=os.environ)
        self._channel = channel
        self._on_message = on_message
        self._on_return = on_return
        self._on_listening = on_listening
        self._on_loss = on_loss
        self._heartbeat = heartbeat
        self._listening = False
        self._connection: Any = None
        # A connection does one thing at a time.
        self._asking = asyncio.Lock()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Whether notifications are heard now."""
        return self._listening

    def start(self) -> None:
        """Begin, in the background."""
        self._task = asyncio.create_task(self._listen_for_ever())

    async def first_attempt(self) -> None:
        """Wait until the first attempt is over, well or not.

        When it went well, all that is announced from then on is heard.
        """
        await self._tried.wait()

    async def fetch(self, statement: Statement, timeout: float) -> Sequence[Row]:  # noqa: ASYNC109
        """The rows of a statement on the listener's own connection, which nobody waits for.

        Raises ConnectionLost when it is not there, or gives no answer for so many seconds.
        """
        try:
            async with asyncio.timeout(timeout), self._asking:
                if not self._listening:
                    raise ConnectionLost("not listening")
                return list(await self._connection.fetch(statement.sql, *statement.args))
        except _FAILURES as error:
            raise ConnectionLost(str(error) or "the database did not answer") from error

    async def close(self) -> None:
        """Stop listening; takes a second at most."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _listen_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        waits, was_away, told = pauses(_FIRST_PAUSE, _LONGEST_PAUSE), False, ""
        while True:
            began = loop.time()
            try:
                async with self._listening_connection() as (connection, lost):
                    began, told = loop.time(), ""
                    logger.info('Listening on channel "%s"', self._channel)
                    if was_away:
                        self._on_return()
                    await self._until_lost(connection, lost)
                reason = "the connection was lost"
            except ConnectionFailed as error:
                reason = error.reason
            except _FAILURES as error:
                reason = str(error) or "the database did not answer"
            was_away = True
            self._tried.set()
            if reason != told:
                logger.warning('Not listening on channel "%s": %s', self._channel, reason)
                told = reason
            if loop.time() - began > _LONGEST_PAUSE:
                waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
            await asyncio.sleep(next(waits))

    @contextlib.asynccontextmanager
    async def _listening_connection(self) -> AsyncIterator[tuple[Any, asyncio.Event]]:
        """A connection that listens, and the event of its end."""
        connection: Any = await dial_source(self._source, server_kind="read-write")
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            async with asyncio.timeout(self._source.target.connect_timeout):
                await connection.fetch(_DROP_OLD_ENTRIES)
                await connection.add_listener(self._channel, self._heard)
            self._connection, self._listening = connection, True
            self._on_listening()
            self._tried.set()
            yield connection, lost
        finally:
            if self._listening:
                self._listening = False
                self._on_loss()
            with contextlib.suppress(*_FAILURES):
                await connection.close(timeout=_GOODBYE)

    async def _until_lost(self, connection: Any, lost: asyncio.Event) -> None:
        while not lost.is_set():
            try:
                async with asyncio.timeout(self._heartbeat):
                    await lost.wait()
            except TimeoutError:
                async with self._asking:
                    await connection.fetch("select 1", timeout=self._heartbeat)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._on_message(str(payload))
