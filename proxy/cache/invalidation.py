"""What happens around a write so that nobody is answered with what was before it.

In: the transactions of writes and the tags they may touch. Out: their outcomes, once every
level of the cache knows: the versions that the workers of this server share, Redis if there
is one, and, by a notification in the transaction itself, other servers.

The order matters. Redis first, then our own versions: what another worker fetches from Redis
in between is outdated by the second step. Both before the writer gets its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pool.errors import ConnectionLost, DatabaseError
from pool.model import Run, Transaction
from proxy.cache.notify import Announcements
from proxy.cache.versions import Versions

if TYPE_CHECKING:
    from proxy.cache.redis_store import RedisStore

Tags = frozenset[str] | None
"""What is touched; None is everything."""


class Invalidation:
    """The invalidation of one app. `shared` is its part of a Redis."""

    def __init__(
        self,
        versions: Versions,
        announcements: Announcements,
        shared: RedisStore | None = None,
    ) -> None:
        self.versions = versions
        self.announcements = announcements
        self.shared = shared

    def announced(self, transaction: Transaction, tags: Tags) -> Transaction:
        """A transaction that may touch `tags`, with what tells other servers of it."""
        announced = self.announcements.announce(transaction, tags)
        if announced.finish_when_abandoned:
            announced = replace(announced, when_finished=lambda: self._doubt(tags))
        return announced

    @contextmanager
    def in_doubt(self, tags: Tags) -> Iterator[None]:
        """Runs a transaction that may touch `tags` in the block. Where nobody knows whether
        it was committed, what was kept of them is not trusted."""
        try:
            yield
        except (ConnectionLost, asyncio.CancelledError):
            self._doubt(tags)
            raise
        except DatabaseError as error:
            if error.ends_session:
                self._doubt(tags)
            raise

    async def touch(self, tags: Tags) -> None:
        """`tags` were written, here."""
        if tags == frozenset():
            return
        try:
            if self.shared is not None:
                await self.shared.touch(tags)
        finally:
            if tags is None:
                self.versions.touch_all()
            else:
                self.versions.touch(tags)

    async def close(self) -> None:
        """Stop listening, and leave Redis."""
        await self.announcements.close()
        if self.shared is not None:
            await self.shared.close()

    async def purge(self, run: Run, tags: Tags) -> None:
        """Forget what was made of `tags`, here and elsewhere. Raises what `run` raises when
        the others could not be told."""
        await self.touch(tags)
        await run(Transaction(self.announcements.statement(tags), access="read write"))

    def _doubt(self, tags: Tags) -> None:
        if tags == frozenset():
            return
        self.versions.doubt(tags)
        # When it is committed after all, its announcement is news to us.
        self.announcements.disown()
        if self.shared is not None:
            self.shared.touch_soon(tags)
