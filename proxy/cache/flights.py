"""Identical reads share one query: whoever comes while it is under way waits for it.

In: a key and what makes its answer. Out: that answer, made once. It is made in a task of its
own, so that the departure of whoever asked first does not concern the others; when nobody
waits any more it is cancelled, and with it the query. One in the background has nobody
waiting from the start and is brought to its end.

Someone who comes after a write must not get an answer whose query began before it: a flight
is only joined while `is_current` says so. Nor must anybody get what was made for another:
that a key may be shared is only certain once it is known what the query depends on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from proxy.auth.model import Identity
from proxy.cache.dependencies import Dependencies
from proxy.cache.key import Key, whole_claims
from proxy.cache.policy import Scope
from proxy.cache.safety import covers, is_of_one_token
from proxy.cache.versions import Vector, Versions
from proxy.schema_cache.node_trees import Trait

T = TypeVar("T")


class Flight(Generic[T]):
    """One answer being made since `began` (monotonic, seconds). `tags` and `vector`: the
    tables its query reads and their versions right before it; None as long as it has not
    begun, or when they are not known.
    `traits`: what else it depends on. `blind`: its query has begun, and nobody can tell
    whether what was written since concerns it. `alone`: it is for whoever asked first.
    `claims`: the `whole_claims` that it is for, where it is for one token alone; None for all
    with its key, as long as its query has not begun, too.
    `background`: its query is made when nobody waits for one, so nobody should wait for it."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.tags: frozenset[str] | None = None
        self.traits: frozenset[Trait] = frozenset()
        self.vector: Vector = ()
        self.blind = False
        self.alone = False
        self.claims: bytes | None = None
        self.background = False
        self.waiting = 0
        self.task: asyncio.Task[T] | None = None

    def depends_on(
        self,
        found: Dependencies,
        versions: Versions,
        scope: Scope,
        identity: Identity,
    ) -> None:
        """Its query, which is `identity`'s, is about to begin, and depends on what was
        `found`. If that is more than `scope` tells apart, as with an embedded table that has
        row security, the answers for others with the same key differ."""
        self.traits = found.traits
        self.tags = None if found.unknown else found.tags
        self.blind = self.tags is None
        self.alone = self.blind or not covers(scope, found.traits)
        self.claims = whole_claims(identity) if is_of_one_token(found.traits) else None
        self.vector = () if self.tags is None else versions.vector(self.tags)

    def is_for(self, identity: Identity) -> bool:
        """Whether its answer may be `identity`'s, who has the same key; what it depends on
        may not be known yet."""
        return self.claims is None or self.claims == whole_claims(identity)


class Flights(Generic[T]):
    """The answers being made now, at most one of them joinable per key."""

    def __init__(self, is_current: Callable[[Flight[T]], bool]) -> None:
        self._is_current = is_current
        self._flights: dict[Key, Flight[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    def find(self, key: Key) -> Flight[T] | None:
        """The flight that a request for `key` may join, if there is one."""
        flight = self._flights.get(key)
        return flight if flight is not None and self._is_current(flight) else None

    def start(
        self, key: Key, make: Callable[[Flight[T]], Coroutine[None, None, T]]
    ) -> Flight[T]:
        """Begin to make the answer for `key`."""
        flight: Flight[T] = Flight()
        task = asyncio.get_running_loop().create_task(make(flight))
        flight.task = task
        self._flights[key] = flight
        self._tasks.add(task)

        def landed(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            self._forget(key, flight)
            if not task.cancelled():
                # Those who wait have it too; without them nobody would have looked.
                task.exception()

        task.add_done_callback(landed)
        return flight

    async def wait(self, key: Key, flight: Flight[T]) -> T:
        """The flight's answer."""
        assert flight.task is not None
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()

    def _forget(self, key: Key, flight: Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def part(self) -> None:
        """Let nobody join what is under way."""
        self._flights.clear()

    async def close(self) -> None:
        """Cancel what is under way, and wait for it to end."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
