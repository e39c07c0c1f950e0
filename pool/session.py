"""One PostgreSQL session: asyncpg's connection, spoken to in fewer round trips.

In: an open asyncpg connection. Out: a `Session`, which runs statements whose arguments
travel as `codecs` says. This is the only module that touches asyncpg's private side, for
four things its public side does not offer:

* arguments in text form for every type, without introspection queries: the codec of each
  type is registered the moment a statement first needs it (`_protocol.prepare`,
  `_init_types`, `add_python_codec`);
* statements that return no rows travel ahead of another one instead of waiting for an
  answer of their own: their Bind and Execute messages go out in one write with the ones
  that asyncpg writes next (`pool.joining`, then `_protocol.bind_execute`).
  PostgreSQL runs them in order and, when one fails, skips the rest up to the Sync that
  ends the group, so nothing runs without what went ahead of it;
* no hidden second try: asyncpg's `fetch` may run a statement again by itself, which here
  would be without the settings that went ahead of it;
* a request to cancel is sent again while a session that is closed or brought back still
  runs something (`connect_utils._cancel`), and what asyncpg itself does about a cancelled
  query is waited for (`_protocol._wait_for_cancellation`).

tests/pool/test_session.py guards them against a change in asyncpg.

Bringing a cancelled session back
---------------------------------
A caller that goes leaves a query running. PostgreSQL is asked to cancel it, on a connection
of its own, and never says which query it hit. The danger is a request that comes late and
hits the next caller's. `recover` lets a session be used again only when that is ruled out:

1. Every request to cancel was followed by the end of its connection. The server ends it
   after it has sent the signal to the session's process (`ProcessCancelRequestPacket`): from
   then on the signal is pending there, not under way.
2. The cancelled group was answered whole (ReadyForQuery), and a transaction that it left
   open was rolled back.
3. After both, one more statement went well. A signal that is pending when a message is read
   is dropped by the process, which ignores it between two commands (`ProcessInterrupts`,
   `DoingCommandRead`), or else it hits that very statement; then another one must go well.
4. That statement was run by the process that the requests named. A pooler in between, whose
   own requests to the server we can't see the end of, gives itself away by another number.

Anything else, or a server that takes too long, and the session is closed as before. What a
recovered session keeps is what any used session keeps: its prepared statements, and the
leftovers that `pool.transaction` takes care of. It is worth it: 1,000 callers that go from a
pool of ten took 1.6 s and no new session; closed instead, 6.6 s and 1,019 of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import select
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from asyncpg import connect_utils
from asyncpg.protocol.protocol import BUILTIN_TYPE_OID_MAP, PreparedStatementState

from pool import codecs, wire
from pool.errors import ConnectionLost, DatabaseError, PoolError
from pool.model import Argument, IsolationLevel, Row, Statement
from pool.server_errors import ASYNCPG_ERRORS, database_error, is_servers
from pool.sqlstate import QUERY_CANCELED

# A statement no longer among the last so many, or the last so many characters, is forgotten,
# here and on the server, where a character takes some 30 bytes. A longer one is not kept.
_STATEMENTS: Final = 1000
_CHARACTERS: Final = 1_000_000
_LONGEST: Final = 16_000
_ASK_AGAIN: Final = (0.03, 0.05, 0.1, 0.2, 0.4)
"""Seconds between two requests to cancel what a session still runs. One that arrives between
two statements of a group is lost, and the next one would run on."""
_ASKING: Final = 1.0
"""Seconds a request to cancel may take."""
_OWN_PROCESS: Final = Statement("select pg_catalog.pg_backend_pid()")
_send_cancel_request: Any = connect_utils._cancel  # type: ignore[attr-defined]
_TRIES: Final = 3
_REPORTED: Final = (
    *("application_name", "client_encoding", "DateStyle", "IntervalStyle"),
    *("standard_conforming_strings", "TimeZone"),
)
_MOST_ARGUMENTS: Final = 32767


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement the server knows by name, and the types of its parameters."""

    state: PreparedStatementState[Any]
    oids: tuple[int, ...]


class Session:
    """One session with PostgreSQL; belongs to one task at a time.

    `default_isolation` is the isolation level of a transaction that names none, None when
    it isn't known. Methods that talk to the server raise `DatabaseError` when it answers
    with an error and `ConnectionLost` when it does not answer. `reported`: the settings that
    a client notices, as the server told them in the beginning. A session whose state is
    unknown, because an operation began and did not end in an answer, is `broken`: it must
    be closed and never used again.
    """

    def __init__(
        self, connection: asyncpg.Connection[asyncpg.Record], *, prepared_statements: bool
    ) -> None:
        private: Any = connection
        self._connection = connection
        self._protocol = private._protocol
        self._transport = private._transport
        self._poll = select.poll()
        self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._prepares = prepared_statements
        # Behind a pooler that multiplexes sessions a name may meet another session's.
        self._name_prefix = f"edgerest_{secrets.token_hex(4)}_"
        self._named = 0
        self._statements: OrderedDict[str, _Prepared] = OrderedDict()
        self._characters = 0
        self._ahead_names: dict[str, str] = {}
        self._to_close: list[str] = []
        self._busy = False
        # Whether messages were written whose group has no Sync yet.
        self._group_open = False
        self._cancelled = False
        self.default_isolation: IsolationLevel | None = None
        settings = self._protocol.get_settings()
        self.reported = tuple(
            (name, str(value))
            for name in _REPORTED
            if (value := getattr(settings, name, None)) is not None
        )
        for oid in BUILTIN_TYPE_OID_MAP:
            self._register(oid)

    @property
    def prepares(self) -> bool:
        """Whether statements are kept on the server from one transaction to the next."""
        return self._prepares

    @property
    def broken(self) -> bool:
        """Whether the session must be closed: gone, or in a state nobody knows."""
        return self._busy or self._connection.is_closed()

    @property
    def recoverable(self) -> bool:
        """Whether `recover` may bring back a session that is broken."""
        return self._cancelled and self._prepares and not self._connection.is_closed()

    @property
    def ended(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._connection.is_closed())

    @property
    def stale(self) -> bool:
        """Whether an idle session is gone, or has bytes waiting that no one asked for.

        The second shows that the server hung up before the event loop has read it.
        """
        return self.broken or bool(self._poll.poll(0))

    @property
    def in_transaction(self) -> bool:
        """Whether the server's last answer said that a transaction is open or failed."""
        return bool(self._protocol.is_in_transaction())

    @property
    def writes_by_default(self) -> bool:
        """Whether a transaction that names no access mode may write, as far as is known.

        PostgreSQL reports both settings since version 14.
        """
        settings = self._protocol.get_settings()
        return (
            getattr(settings, "default_transaction_read_only", None) == "off"
            and getattr(settings, "in_hot_standby", None) == "off"
        )

    @property
    def in_standby(self) -> bool:
        """Whether the server has said that it only replays another's writes.

        PostgreSQL reports it since version 14, and at once when it changes.
        """
        return getattr(self._protocol.get_settings(), "in_hot_standby", None) == "on"

    def condemn(self) -> None:
        """Have the session closed: it is of no use any more."""
        self._busy, self._cancelled = True, False

    @property
    def server_pid(self) -> int:
        """The process id of the server's side, as in pg_stat_activity."""
        return int(self._connection.get_server_pid())

    async def fetch(
        self, statement: Statement, *, ahead: Sequence[Statement] = ()
    ) -> Sequence[Row]:
        """Run the statements `ahead` and then `statement`; the rows of `statement`.

        The statements ahead must return no rows; their arguments are untyped text, bytes
        included. When one fails, nothing after it runs. One round trip when the server
        knows `statement`, two when not.
        """
        prepared = self._statements.get(statement.sql)
        messages, new_names = self._ahead_messages(ahead)
        reuses = prepared is not None or len(new_names) < len(ahead)
        if prepared is None:
            _refuse_unsendable(statement)
            args: Sequence[str | bytes | None] | None = None
        else:
            self._statements.move_to_end(statement.sql)
            args = codecs.encode(statement.args, prepared.oids)
        if self.broken:
            raise ConnectionLost("the connection to the database is closed")
        self._busy = True
        try:
            if messages:
                self._group_open = True
                self._transport.write_ahead(messages)
                self._to_close.clear()
            if prepared is None:
                self._group_open = True
                prepared = await self._prepare(statement.sql)
            if args is None:
                args = await self._encode_or_roll_back(statement, prepared)
            self._group_open = False
            rows: list[Row] = await self._protocol.bind_execute(
                prepared.state, args, "", 0, False, None
            )
        except ASYNCPG_ERRORS as error:
            self._group_open = False
            # Which of the new names got through to the server is not known.
            self._to_close += new_names.values()
            raise self._told(error, reuses=reuses) from error
        except asyncio.CancelledError:
            self._to_close += new_names.values()
            self._note_cancellation()
            raise
        self._busy = False
        self._ahead_names.update(new_names)
        return rows

    async def command(self, sql: str) -> str:
        """Run constant SQL text without arguments; the command tag of its last command."""
        self._busy = True
        try:
            tag = await self._protocol.query(sql, None)
        except ASYNCPG_ERRORS as error:
            raise self._told(error) from error
        except asyncio.CancelledError:
            self._note_cancellation()
            raise
        self._busy = False
        return str(tag)

    def _note_cancellation(self) -> None:
        # asyncpg ends the group when it is cancelled while it waits for an answer. Cancelled
        # between two answers of a group, it does not, and nothing would answer a ROLLBACK.
        self._cancelled = not self._group_open or self._protocol._is_cancelling()

    def forget_statements(self) -> None:
        """Have everything prepared anew: the schema has changed under the statements."""
        self._to_close += [known.state.name for known in self._statements.values()]
        self._to_close += self._ahead_names.values()
        self._statements.clear()
        self._characters = 0
        self._ahead_names.clear()

    def forget(self, texts: Iterable[str]) -> None:
        """Have these statements prepared anew."""
        for sql in texts:
            known = self._statements.pop(sql, None)
            if known is not None:
                self._characters -= len(sql)
                self._to_close.append(known.state.name)
            name = self._ahead_names.pop(sql, None)
            if name is not None:
                self._to_close.append(name)

    async def recover(self, timeout: float) -> bool:  # noqa: ASYNC109
        """Bring back a session whose operation was cancelled; whether that went well.

        Afterwards no query of it runs, no transaction is open, and no request to cancel is
        under way. When it did not go well within `timeout` seconds it must be closed.
        """
        try:
            async with asyncio.timeout(timeout):
                return self.recoverable and await self._recover()
        except (PoolError, TimeoutError, *ASYNCPG_ERRORS):
            return False

    async def _recover(self) -> bool:
        if not await self._await_cancelled_answer() or self._connection.is_closed():
            return False
        self._cancelled = self._group_open = self._busy = False
        for _ in range(_TRIES):
            try:
                if self.in_transaction:
                    await self.command("ROLLBACK")
                process = (await self.fetch(_OWN_PROCESS))[0][0]
            except DatabaseError as error:
                if error.sqlstate != QUERY_CANCELED or self.broken:
                    raise
            else:
                return bool(process == self.server_pid) and not self.in_transaction
        return False

    async def _await_cancelled_answer(self) -> bool:
        """Wait for the end of what was cancelled; False when a request to cancel may still be
        under way."""
        answered = asyncio.ensure_future(self._protocol._wait_for_cancellation())
        try:
            async for _ in _until_done(answered):
                if not await self._ask_to_cancel():
                    return False
            answered.result()
        finally:
            answered.cancel()
        return True

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109
        """End the session: cancel what it runs and say goodbye, or after `timeout` seconds
        cut it off."""
        goodbye = asyncio.ensure_future(self._say_goodbye(timeout))
        try:
            async for _ in _until_done(goodbye):
                await self._ask_to_cancel()
        finally:
            goodbye.cancel()

    async def _say_goodbye(self, seconds: float) -> None:
        with contextlib.suppress(*ASYNCPG_ERRORS, TimeoutError):
            await self._connection.close(timeout=seconds)

    async def _ask_to_cancel(self) -> bool:
        """Ask the server to cancel what runs; whether it has ended the conversation."""
        private: Any = self._connection
        try:
            async with asyncio.timeout(_ASKING):
                await _send_cancel_request(
                    loop=asyncio.get_running_loop(),
                    addr=private._addr,
                    params=private._params,
                    backend_pid=self._protocol.backend_pid,
                    backend_secret=self._protocol.backend_secret,
                )
        except (*ASYNCPG_ERRORS, TimeoutError):
            return False
        return True

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, soon after the connection has gone, however that happens."""
        self._connection.add_termination_listener(lambda _: callback())

    def terminate(self) -> None:
        """Cut the session off at once."""
        self._connection.terminate()

    def _ahead_messages(self, ahead: Sequence[Statement]) -> tuple[bytes, dict[str, str]]:
        """What to write ahead, and the names it gives to statements not known before."""
        messages: list[bytes] = []
        new_names: dict[str, str] = {}
        for statement in ahead:
            name = self._ahead_names.get(statement.sql)
            if name is None:
                name = self._new_name()
                messages.append(wire.parse(name, statement.sql))
                if self._prepares:
                    new_names[statement.sql] = name
            messages.append(wire.bind_and_execute(name, _arguments_ahead(statement.args)))
        closes = [wire.close(name) for name in self._to_close]
        return b"".join(closes + messages), new_names

    async def _prepare(self, sql: str) -> _Prepared:
        """Have the server parse `sql`, in the group that the messages ahead began."""
        name = self._new_name()
        try:
            state = await self._protocol.prepare(name, sql, None, record_class=asyncpg.Record)
        except asyncio.CancelledError:
            # Whether the server came to know it is not known.
            if self._prepares:
                self._to_close.append(name)
            raise
        for oid in state._init_types():
            self._register(oid)
        state._init_codecs()
        prepared = _Prepared(state, tuple(kind.oid for kind in state._get_parameters()))
        if self._prepares:
            self._keep(sql, prepared)
        return prepared

    def _keep(self, sql: str, prepared: _Prepared) -> None:
        if len(sql) > _LONGEST:
            self._to_close.append(prepared.state.name)
            return
        self._statements[sql] = prepared
        self._characters += len(sql)
        while len(self._statements) > _STATEMENTS or self._characters > _CHARACTERS:
            text, oldest = self._statements.popitem(last=False)
            self._characters -= len(text)
            self._to_close.append(oldest.state.name)

    async def _encode_or_roll_back(
        self, statement: Statement, prepared: _Prepared
    ) -> Sequence[str | bytes | None]:
        try:
            return codecs.encode(statement.args, prepared.oids)
        except DatabaseError:
            # The group is open on the server and can't be completed.
            await self.command("ROLLBACK")
            self._group_open = False
            raise

    def _new_name(self) -> str:
        if not self._prepares:
            return ""
        self._named += 1
        return f"{self._name_prefix}{self._named}"

    def _register(self, oid: int) -> None:
        self._protocol.get_settings().add_python_codec(
            oid,
            str(oid),
            "pg_catalog",
            [],
            "scalar",
            codecs.as_is,
            codecs.decoder(oid),
            codecs.wire_format(oid),
        )

    def _told(self, error: BaseException, *, reuses: bool = False) -> PoolError:
        """What `error` means; the session is fit for use again when the server told it.
        `reuses`: statements were used that had been prepared before."""
        if is_servers(error):
            # It comes with the news that the server is ready for the next query.
            self._busy = False
            return database_error(error, reuses=reuses)
        if is_servers(error.__cause__):
            # The server said why before it hung up.
            return database_error(error.__cause__)
        reason = "the connection to the database was lost"
        # What asyncpg says of its own state explains nothing.
        internal = isinstance(error, asyncpg.InternalClientError)
        return ConnectionLost(reason if internal else f"{reason}: {error}")


async def _until_done(task: asyncio.Future[Any]) -> AsyncIterator[None]:
    """Time and again, until `task` is done."""
    for pause in itertools.chain(_ASK_AGAIN, itertools.repeat(_ASK_AGAIN[-1])):
        if (await asyncio.wait({task}, timeout=pause))[0]:
            return
        yield


# The settings of requests by the same caller: the same arguments again and again. Keyed by
# all of them; at most so many, of at most so many bytes each.
_MOST_KNOWN: Final = 256
_LONGEST_KNOWN: Final = 8192
_known_arguments: dict[tuple[Argument, ...], bytes] = {}


def _arguments_ahead(args: tuple[Argument, ...]) -> bytes:
    """The arguments of a statement ahead, as its Bind message has them."""
    known = _known_arguments.get(args)
    if known is not None:
        return known
    encoded = wire.arguments(
        [arg if arg is None or isinstance(arg, bytes) else codecs.utf8(arg) for arg in args]
    )
    if len(encoded) <= _LONGEST_KNOWN:
        if len(_known_arguments) >= _MOST_KNOWN:
            _known_arguments.clear()
        _known_arguments[args] = encoded
    return encoded


def _refuse_unsendable(statement: Statement) -> None:
    # A NUL would end the SQL text in the middle of its message.
    if "\0" in statement.sql:
        raise DatabaseError("22021", 'invalid byte sequence for encoding "UTF8": 0x00')
    codecs.utf8(statement.sql)
    if len(statement.args) > _MOST_ARGUMENTS:
        message = f"a statement takes {_MOST_ARGUMENTS} arguments at most"
        raise DatabaseError("54000", message)
