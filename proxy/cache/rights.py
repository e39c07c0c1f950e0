"""Whether the rights that kept answers were made under still hold: one cheap look a second.

In: a way to ask the database, and where the workers of a server share what was seen
(`proxy.cache.looks`). Out: the stamp of the rights in force, or None as long as nothing is
known of them. A look reads the stamp of all that decides who may see what: see `_DECIDING`.

Rows of catalogs are told apart by the transaction that made them (xmin) rather than by their
content, so that what is taken away and given back between two looks, or the other way round,
leaves another stamp, and nothing that was read meanwhile is taken for good. (Only a privilege
on a column that has no other leaves none when it is given and taken within one interval.)
VACUUM, ANALYZE and CREATE INDEX change rows in place and leave xmin as it is; temporary
objects are left out.

Two things hold. Whoever sees another stamp than the look before changes all versions of the
database first and tells of its look then, so nothing that was made before that change is ever
used again, by any worker or app. And what is kept is used only while a look that began no
longer ago than `interval` has seen the very stamp under which the schema cache was read, as
it decides who may share an answer.

A look is made when something that is kept, or under way for another, is about to be used, or
a new answer to be called public, and the last one is too old; all who need it wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

from pool.errors import PoolError
from pool.model import Statement
from proxy.cache.versions import Versions
from proxy.schema_cache.queries import VERSION

logger = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that who needs a look waits for it, and that no other is tried after one failed."""
_TURN: Final = 0.002
"""Seconds between two glances at whether another worker has looked."""

_PARAMETER_PRIVILEGES: Final = 150000
_BY_XMIN: Final = "xmin"

# What decides rights: catalog, what tells the versions of a row apart, the row's place, and
# which rows. Columns have rights of their own only where they have an ACL. A materialized
# view gets another xmin with every REFRESH, and pg_authid is not for everybody to read: both
# go by their content. What default privileges, types, languages and CONNECT say is looked at
# when objects are made, or before.
_DECIDING: Final = (
    ("pg_class", _BY_XMIN, "oid", "relkind in ('r','p','v','f','S') and relpersistence <> 't'"),
    ("pg_class", "concat_ws(' ', relowner, relacl, reloptions)", "oid", "relkind = 'm'"),
    ("pg_attribute", _BY_XMIN, "(attrelid::bigint << 16) + attnum", "attacl is not null"),
    ("pg_proc", _BY_XMIN, "oid", "true"),
    ("pg_namespace", _BY_XMIN, "oid", "nspname !~ '^pg_(toast_)?temp_'"),
    ("pg_policy", _BY_XMIN, "oid", "true"),
    ("pg_auth_members", _BY_XMIN, "(roleid::bigint << 32) + member::bigint", "true"),
    (
        "pg_roles",
        "concat_ws(' ', rolname, rolsuper, rolinherit, rolbypassrls)",
        "oid",
        "true",
    ),
    (
        "pg_db_role_setting",
        _BY_XMIN,
        "(setdatabase::bigint << 32) + setrole::bigint",
        "setdatabase in (0, (select oid from pg_database where datname = current_database()))",
    ),
    ("pg_database", _BY_XMIN, "oid", "datname = current_database()"),
    ("pg_foreign_server", _BY_XMIN, "oid", "true"),
    ("pg_user_mappings", "concat_ws(' ', srvid, umuser)", "umid", "true"),
)
# The queries of views and what else is rewritten; those of temporary views are nobody's.
_REWRITES: Final = """
(select concat(count(*), ':', sum(hashtextextended(w.xmin::text, w.oid::bigint)))
from pg_rewrite w join pg_class c on c.oid = w.ev_class where c.relpersistence <> 't')"""
_SUM: Final = """
(select concat(count(*), ':', sum(hashtextextended(({1})::text, ({2})::bigint)))
from {0} where {3})"""
_PARAMETERS: Final = ("pg_parameter_acl", _BY_XMIN, "oid", "true")

# What was added and taken away again leaves nothing in a catalog but counters, of rows that
# were inserted, updated and deleted; PostgreSQL tells them some seconds later.
_COUNTED: Final = ("pg_authid", "pg_auth_members", "pg_policy", "pg_db_role_setting")
_COUNTERS: Final = ", ".join(
    f"pg_stat_get_tuples_{what}('pg_catalog.{catalog}'::regclass)"
    for catalog in _COUNTED
    for what in ("inserted", "updated", "deleted")
)
_ALWAYS: Final = f"pg_postmaster_start_time(), {_COUNTERS}"
# Nothing has changed while this has not: which transactions are over, in which server.
_MOMENT: Final = f"concat_ws(' ', pg_current_snapshot(), pg_backend_pid(), {_ALWAYS})"

Rows = Sequence[Any]
Ask = Callable[[Statement], Awaitable[Rows]]
"""Runs a statement that reads. Raises PoolError."""


def stamp_sql(server_version: int) -> str:
    """The statement for a server of this `server_version_num`: the moment, and what the rights
    of that moment add up to; null if the moment is the one given as $1."""
    known = server_version >= _PARAMETER_PRIVILEGES
    deciding = (*_DECIDING, *((_PARAMETERS,) if known else ()))
    sums = [_SUM.format(*each) for each in deciding]
    seen = ",\n".join((_ALWAYS, _REWRITES, *sums))
    # A CASE computes the sums only if they are asked for.
    return (
        "select moment, case when moment <> $1 then concat_ws(' ', "  # noqa: S608 -- ours
        f"{seen}) end from (select {_MOMENT} as moment offset 0) as now"
    )


class Rights:
    """Of one app, in one process. `versions` has the look that is shared with all who use
    the same database; `on_change` is called when a look has found that the schema cache was
    read under other rights, at each look until it has been read anew (`use`)."""

    def __init__(
        self,
        ask: Ask,
        versions: Versions,
        on_change: Callable[[], object] = lambda: None,
        interval: float = 1.0,
    ) -> None:
        self.interval = interval
        """Seconds that a look is good for."""
        self.until = -math.inf
        """What is kept may be used before this (monotonic, seconds)."""
        self.in_use: int | None = None
        """The stamp under which the schema cache in use was read; None: nothing is kept."""
        self.looks = 0
        self.changes = 0
        self._ask = ask
        self._versions = versions
        self._shared = versions.look
        self._on_change = on_change
        self._sql = ""
        self._newest = "", 0
        self._seen: int | None = None
        self._looked_at = -math.inf
        self._next_try = -math.inf
        self._looking: asyncio.Task[None] | None = None
        self._told = False

    def use(self, stamp: int | None) -> None:
        """The schema cache in use was read under this stamp, which `read` has given before;
        None: nothing is kept."""
        self.in_use = stamp
        self._judge()

    def known(self) -> bool:
        """Whether what is kept may be used at this moment."""
        return time.monotonic() < self.until

    async def holding(self, deadline: float | None = None) -> int | None:
        """The stamp under which what is kept may be used now; looks first if that is not
        known. None when it may not be used, or nobody can tell in time, which is until the
        `deadline` (monotonic, seconds) at the latest."""
        asked = time.monotonic()
        if asked < self.until:
            return self.in_use
        if self.in_use is None:
            return None
        since, patience = asked - self.interval, asked + PATIENCE
        if deadline is not None:
            patience = min(patience, deadline)
        while self._looked_at < since:
            now = time.monotonic()
            if now >= patience or now < self._next_try:
                return None
            if self._looking is None:
                self._looking = asyncio.create_task(self._look_once(since))
            # Who is cancelled, or out of patience, leaves the look to the others.
            await asyncio.wait((self._looking,), timeout=patience - now)
        return self.in_use if self._seen == self.in_use else None

    async def read(self) -> int:
        """Look now. Returns the stamp; what is read from now on is of it, or of a later one.
        Raises PoolError."""
        began = time.monotonic()
        stamp = await self._stamp()
        self.looks += 1
        if self._shared.differs(stamp):
            # First: whoever finds the new look finds that nothing from before it holds.
            self._versions.touch_all()
        self._shared.publish(began, stamp)
        self._adopt()
        return stamp

    async def close(self) -> None:
        """End a look under way."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    # --- a look -----------------------------------------------------------------------------

    async def _look_once(self, since: float) -> None:
        try:
            await self._look(since)
        finally:
            self._looking = None

    async def _look(self, since: float) -> None:
        """See that there is a look that began after `since`, by whichever worker."""
        longest = max(PATIENCE, self.interval)
        while True:
            self._adopt()
            if self._looked_at >= since:
                return
            if self._shared.take(longest):
                break
            await asyncio.sleep(_TURN)
        try:
            async with asyncio.timeout(longest):
                await self.read()
        except (PoolError, TimeoutError) as error:
            self._next_try = time.monotonic() + PATIENCE
            if not self._told:
                reason = str(error) or "the database did not answer"
                logger.warning("Nothing is answered from the cache: %s", reason)
            self._told = True
        else:
            self._told = False
        finally:
            self._shared.give_back()

    async def _stamp(self) -> int:
        if not self._sql:
            self._sql = stamp_sql(int(_text((await self._ask(Statement(VERSION)))[0][0])))
        moment, stamp = self._newest
        row = (await self._ask(Statement(self._sql, (moment,))))[0]
        if row[1] is not None:
            digest = blake2b(_text(row[1]).encode(), digest_size=8).digest()
            # Zero stands for no look at all.
            stamp = int.from_bytes(digest, "big") or 1
            self._newest = _text(row[0]), stamp
        return stamp

    def _adopt(self) -> None:
        """Take over the newest look of all workers."""
        looked_at, stamp = self._shared.newest()
        if looked_at <= self._looked_at:
            return
        if self._seen is not None and self._seen != stamp:
            self.changes += 1
            logger.info("Rights have changed: nothing that was kept is used any more")
        self._looked_at, self._seen = looked_at, stamp
        self._judge()
        if self.in_use is not None and self.in_use != stamp:
            self._on_change()

    def _judge(self) -> None:
        holds = self.in_use is not None and self._seen == self.in_use
        self.until = self._looked_at + self.interval if holds else -math.inf


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
