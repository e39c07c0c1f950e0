"""One primary and its read replicas: which of them runs a transaction.

In: `Transaction`s, as for a `Pool`. Out: their `Outcome`s. Writes go to the primary. A
read-only transaction goes to the least busy replica that is fit for it, or else to the
primary; one that a replica did not answer is run once more on the primary, which is safe
because it changed nothing. Without replicas everything is the primary's, at no cost.

A replica is fit when a check that is no older than the last one says so: it is in recovery,
belongs to the primary's cluster, and is at most `max_lag` seconds behind. One task checks
them all, the primary first, every second, on a session of its own for each, so that a busy
pool delays no check. A replica that fails a check, or a read, is not used until it passes
one; reads that were waiting for it when the check failed go to the primary at once.

Reading one's own writes: an `Outcome` of a write has a `position`, a token for the caller to
keep. A read with that token in `after_position` goes to a replica only when the last check
saw it at or past that position. A token that is none, or another cluster's, is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pool.connection import connect
from pool.dsn import Dsn
from pool.errors import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    PoolError,
    PoolOverloaded,
    StandbyServer,
)
from pool.model import Outcome, Row, Statement, Transaction
from pool.pool import Pool
from pool.replication import LogHistory, make_token, read_lsn, read_token
from pool.session import Session
from pool.source import Source
from pool.sqlstate import PRIMARY_MAY_DIFFER, QUERY_CANCELED
from pool.stats import PoolStats

logger = logging.getLogger(__name__)

_STATE: Final = Statement(
    "select pg_catalog.pg_is_in_recovery(), system_identifier::text,"
    " case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()"
    " else pg_catalog.pg_current_wal_flush_lsn() end::text"
    " from pg_catalog.pg_control_system()"
)
_PATIENCE: Final = 2.0
"""Seconds a server has to answer a check, opening a session included."""
_GOODBYE: Final = 1.0
_UNCHECKED: Final = "it has not been checked yet"

MakePool = Callable[[Dsn], Pool]


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """What a replica is doing. `fit`: whether it may be given reads, and otherwise the
    `reason`; `lag`: seconds it is behind, None when that isn't known; `reads` that it was
    given since the start, of which the primary had to answer `retried`."""

    pool: PoolStats
    fit: bool
    reason: str
    lag: float | None
    reads: int
    retried: int


@dataclass(slots=True, eq=False)
class _Server:
    """A server that is checked, on a session of its own."""

    source: Source
    session: Session | None = None

    async def ask(self) -> tuple[bool, str, int | None]:
        """Whether it is in recovery, its cluster, its position. Raises `PoolError`, also when
        the answer takes too long."""
        try:
            async with asyncio.timeout(_PATIENCE):
                if self.session is None:
                    self.session = await connect(self.source)
                in_recovery, cluster, position = (await self.session.fetch(_STATE))[0]
        except TimeoutError:
            self.hang_up()
            raise ConnectionLost(f"no answer within {_PATIENCE:g} seconds") from None
        except PoolError:
            self.hang_up()
            raise
        lsn = read_lsn(bytes(position).decode()) if position is not None else None
        return bool(in_recovery), bytes(cluster).decode(), lsn

    def hang_up(self) -> None:
        if self.session is not None:
            self.session.terminate()
            self.session = None


@dataclass(slots=True, eq=False)
class _Replica:
    """A replica's pool and what is known of it; `scopes` are those of its running reads."""

    uri: str = field(repr=False)
    pool: Pool
    server: _Server
    reason: str = _UNCHECKED
    replayed: int = 0
    lag: float | None = None
    reads: int = 0
    retried: int = 0
    scopes: set[asyncio.Timeout] = field(default_factory=set)

    @property
    def fit(self) -> bool:
        return not self.reason

    def judge(self, reason: str) -> None:
        """It is fit when there is no `reason` why not."""
        if reason and self.reason in ("", _UNCHECKED):
            logger.warning("A read replica is not used: %s", reason)
        elif self.reason and not reason:
            logger.info("A read replica is used")
        self.reason = reason

    def give_up_reads(self) -> None:
        now = asyncio.get_running_loop().time()
        while self.scopes:
            self.scopes.pop().reschedule(now)


class Backends:
    """Runs transactions on a primary and on the replicas in `read_uris`.

    `primary` is the caller's, who opens and closes it; `primary_dsn` is where it is.
    `make_pool` makes the pool of a replica and may raise `ConnectionFailed`; `dsn_of` tells
    what a URI of `read_uris` stands for, itself by default. `max_lag`: seconds a replica may be
    behind. `interval`: seconds between two checks.
    """

    def __init__(
        self,
        primary: Pool,
        primary_dsn: Dsn,
        make_pool: MakePool,
        *,
        read_uris: Sequence[str] = (),
        max_lag: float = 10.0,
        interval: float = 1.0,
        dsn_of: Callable[[str], Dsn] = str,
        application_name: str = "edgerest",
    ) -> None:
        self._primary = primary
        self._dsn_of = dsn_of
        self._make_pool = make_pool
        self._application_name = application_name
        self._interval = interval
        self._max_lag = max_lag
        self._primary_server = _Server(self._source(primary_dsn))
        self._history = LogHistory(max_lag + 2 * interval)
        self._cluster = ""
        self._replicas: list[_Replica] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._started = False
        self._paused = False
        for uri in read_uris:
            self._add(uri)

    @property
    def primary(self) -> Pool:
        """The pool of the server that accepts writes."""
        return self._primary

    @property
    def replicas(self) -> tuple[ReplicaStats, ...]:
        """The numbers of this moment, in the order of the URIs."""
        return tuple(
            ReplicaStats(r.pool.stats, r.fit, r.reason, r.lag, r.reads, r.retried)
            for r in self._replicas
        )

    def start(self) -> None:
        """Begin to check the replicas, in the background."""
        self._started = True
        if self._replicas and self._watch is None:
            self._watch = asyncio.create_task(self._watch_for_ever())

    async def close(self) -> None:
        """Close the replicas' pools, waiting for what runs on them."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait((self._watch,))
            self._watch = None
        self._primary_server.hang_up()
        while self._replicas:
            self._part_with(self._replicas.pop())
        if self._leaving:
            await asyncio.wait(self._leaving)

    def use(self, read_uris: Sequence[str], max_lag: float) -> None:
        """Have these replicas from now on; those that stay go on as they are."""
        if max_lag != self._max_lag:
            self._max_lag = max_lag
            self._history = LogHistory(max_lag + 2 * self._interval)
        for replica in tuple(self._replicas):
            if replica.uri not in read_uris:
                self._replicas.remove(replica)
                self._part_with(replica)
        for uri in read_uris:
            if all(replica.uri != uri for replica in self._replicas):
                self._add(uri)
        if self._started:
            self.start()

    async def pause(self, timeout: float) -> bool:  # noqa: ASYNC109
        """Let transactions begin no more, on no server, as `Pool.pause` does."""
        self._paused = True
        pools = (self._primary, *(replica.pool for replica in self._replicas))
        return all(await asyncio.gather(*(pool.pause(timeout) for pool in pools)))

    def resume(self) -> None:
        """Let transactions begin again."""
        self._paused = False
        for pool in (self._primary, *(replica.pool for replica in self._replicas)):
            pool.resume()

    def reconnect(self) -> None:
        """Replace all sessions, as `Pool.reconnect` does."""
        for pool in (self._primary, *(replica.pool for replica in self._replicas)):
            pool.reconnect()

    def forget_statements(self) -> None:
        """As for each pool: the schema has changed."""
        self._primary.forget_statements()
        for replica in self._replicas:
            replica.pool.forget_statements()

    def use_prepared_statements(self, prepares: bool) -> None:
        """As for each pool."""
        self._primary.use_prepared_statements(prepares)
        for replica in self._replicas:
            replica.pool.use_prepared_statements(prepares)

    async def run(self, tx: Transaction) -> Outcome:
        """Run `tx` where it belongs. Raises as `Pool.run`."""
        if not self._replicas:
            return await self._run_on_primary(tx)
        if tx.access == "read only":
            replica = self._fit_for(tx)
            outcome = None if replica is None else await self._read(replica, tx)
            return await self._run_on_primary(tx) if outcome is None else outcome
        outcome = await self._run_on_primary(replace(tx, locates=True))
        return replace(outcome, position=self._token(outcome.position))

    async def fetch(self, statement: Statement) -> Sequence[Row]:
        """The rows of one read-only statement, from the primary."""
        return await self._primary.fetch(statement)

    # -- where a transaction goes ---------------------------------------------------------

    async def _run_on_primary(self, tx: Transaction) -> Outcome:
        try:
            return await self._primary.run(tx)
        except StandbyServer:
            # It was the primary, or was taken for one. Nothing was done; the one that is the
            # primary now is found by connecting anew.
            self._primary.reconnect()
        return await self._primary.run(tx)

    def _fit_for(self, tx: Transaction) -> _Replica | None:
        """The least busy replica that has replayed what `tx` must see."""
        if tx.on_primary or tx.isolation == "serializable":
            # The latter is not possible during recovery.
            return None
        if self._paused:
            # It waits where everything waits.
            return None
        token = tx.after_position
        after = (token and read_token(token, self._cluster)) or 0
        fit = [r for r in self._replicas if r.fit and r.replayed >= after]
        return min(fit, key=lambda r: len(r.scopes), default=None)

    async def _read(self, replica: _Replica, tx: Transaction) -> Outcome | None:
        """What the replica answers; None when the primary should be asked instead."""
        replica.reads += 1
        scope = asyncio.timeout(None)
        try:
            async with scope:
                replica.scopes.add(scope)
                return await replica.pool.run(tx)
        except DatabaseError as error:
            if not _only_here(error):
                raise
        except (ConnectionFailed, ConnectionLost) as error:
            replica.judge(str(error))
        except (PoolOverloaded, TimeoutError):
            pass
        finally:
            replica.scopes.discard(scope)
        replica.retried += 1
        return None

    def _token(self, position: str | None) -> str | None:
        lsn = None if position is None else read_lsn(position)
        return None if lsn is None or not self._cluster else make_token(self._cluster, lsn)

    # -- the replicas ---------------------------------------------------------------------

    def _source(self, dsn: Dsn) -> Source:
        return Source(dsn, application_name=self._application_name, env=os.environ)

    def _add(self, uri: str) -> None:
        try:
            dsn = self._dsn_of(uri)
            server = _Server(self._source(dsn))
            replica = _Replica(uri, self._make_pool(dsn), server)
        except ConnectionFailed as error:
            logger.warning("A read replica can't be used: %s", error)
            return
        self._replicas.append(replica)

    def _part_with(self, replica: _Replica) -> None:
        replica.server.hang_up()
        task = asyncio.get_running_loop().create_task(replica.pool.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _watch_for_ever(self) -> None:
        while self._replicas:
            try:
                await self._check_primary()
                checks = (self._check(replica) for replica in tuple(self._replicas))
                await asyncio.gather(*checks)
            except Exception:
                # What was found out last must not stand for ever.
                logger.exception("The read replicas can't be checked")
                for replica in self._replicas:
                    replica.judge("it can't be checked")
            await asyncio.sleep(self._interval)
        self._primary_server.hang_up()
        self._watch = None

    async def _check_primary(self) -> None:
        with contextlib.suppress(PoolError):
            in_recovery, cluster, position = await self._primary_server.ask()
            if in_recovery or position is None:
                # Ask whoever is the primary now.
                self._primary_server.hang_up()
                return
            if cluster != self._cluster:
                self._cluster = cluster
                self._history.clear()
            self._history.note(asyncio.get_running_loop().time(), position)

    async def _check(self, replica: _Replica) -> None:
        try:
            in_recovery, cluster, position = await replica.server.ask()
        except PoolError as error:
            replica.lag = None
            replica.judge(str(error))
            replica.give_up_reads()
            return
        replica.replayed = position or 0
        replica.lag = self._history.lag(asyncio.get_running_loop().time(), replica.replayed)
        if cluster != self._cluster:
            replica.judge(
                "it is not a replica of the primary"
                if self._cluster
                else "the primary has not been reached yet"
            )
        elif not in_recovery:
            replica.judge("it is no replica: it accepts writes")
        elif replica.lag is None or replica.lag > self._max_lag:
            replica.judge(f"it is more than {self._max_lag:g} seconds behind")
        else:
            replica.judge("")


def _only_here(error: DatabaseError) -> bool:
    """Whether the primary may well answer what a replica refused."""
    if error.sqlstate == QUERY_CANCELED:
        # Otherwise it was a time limit, which must not be granted twice.
        return "conflict with recovery" in error.message
    return error.sqlstate.startswith(PRIMARY_MAY_DIFFER)
