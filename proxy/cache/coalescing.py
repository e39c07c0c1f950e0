"""Request coalescing: identical reads share one query, whoever comes while it is under way
waits for it.

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
from typing import TYPE_CHECKING, Final

from proxy.auth.model import Identity
from proxy.cache.applied import Place
from proxy.cache.key import Key, whole_claims
from proxy.cache.scope_check import covers, is_of_one_token
from proxy.cache.versions import Vector, Versions
from proxy.lineage.dependencies import Dependencies

if TYPE_CHECKING:
    from proxy.cache.representation import Representation

_LOOK: Final = 0.2
"""Seconds between two looks at whether the database is there, while an answer is awaited in
whose place a kept one would do."""


class Flight:
    """One answer being made since `began` (monotonic, seconds), to be kept in `place`.

    `tags` and `vector`: the tables its query reads and their versions right before it; None
    as long as it has not begun, or when they are not known. `stamp`: their versions in Redis.
    `alone`: it is for whoever asked first. `claims`: the `whole_claims` that it is for, where
    it is for one token alone; None for all with its key, as long as its query has not begun,
    too.
    `background`: its query is made when nobody waits for one, so nobody should wait for it."""

    def __init__(self, place: Place, *, background: bool = False) -> None:
        self.place = place
        self.began = time.monotonic()
        self.tags: frozenset[str] | None = None
        self.vector: Vector = ()
        self.stamp: tuple[bytes, ...] | None = None
        self.alone = False
        self.claims: bytes | None = None
        self.background = background
        self.waiting = 0
        self.task: asyncio.Task[Representation] | None = None

    def depends_on(self, found: Dependencies, versions: Versions) -> None:
        """Its query is about to begin, and depends on what was `found`. If that is more than
        the policy's scope tells apart, as with an embedded table that has row security, the
        answers for others with the same key differ."""
        self.tags = None if found.unknown else found.tags
        self.alone = self.tags is None or not covers(self.place.policy.scope, found.traits)
        self.claims = None
        if is_of_one_token(found.traits):
            self.claims = whole_claims(self.place.identity)
        self.vector = () if self.tags is None else versions.vector(self.tags)

    def is_for(self, identity: Identity) -> bool:
        """Whether its answer may be `identity`'s, who has the same key; what it depends on
        may not be known yet."""
        return self.claims is None or self.claims == whole_claims(identity)


class Flights:
    """The answers being made now, at most one of them joinable per key."""

    def __init__(self, is_current: Callable[[Flight], bool]) -> None:
        self._is_current = is_current
        self._flights: dict[Key, Flight] = {}
        self._tasks: set[asyncio.Task[Representation]] = set()

    def find(self, key: Key) -> Flight | None:
        """The flight that a request for `key` may join, if there is one."""
        flight = self._flights.get(key)
        return flight if flight is not None and self._is_current(flight) else None

    def begin(self, place: Place, *, background: bool = False) -> Flight:
        """A flight to be joined from now on; `run` makes its answer."""
        flight = self._flights[place.key] = Flight(place, background=background)
        return flight

    def run(self, flight: Flight, making: Coroutine[None, None, Representation]) -> None:
        """Make the answer of `flight`, which has just begun."""
        task = flight.task = asyncio.get_running_loop().create_task(making)
        self._tasks.add(task)

        def landed(task: asyncio.Task[Representation]) -> None:
            self._tasks.discard(task)
            self._forget(flight)
            if not task.cancelled():
                # Those who wait have it too; without them nobody would have looked.
                task.exception()

        task.add_done_callback(landed)

    async def wait(
        self, flight: Flight, is_away: Callable[[], bool] | None = None
    ) -> Representation | None:
        """The flight's answer; None once `is_away` says that the database is not there."""
        task = flight.task
        assert task is not None
        flight.waiting += 1
        try:
            if is_away is None:
                return await asyncio.shield(task)
            while not task.done() and not is_away():
                await asyncio.wait((task,), timeout=_LOOK)
            return task.result() if task.done() else None
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not task.done():
                self._forget(flight)
                task.cancel()

    def _forget(self, flight: Flight) -> None:
        if self._flights.get(flight.place.key) is flight:
            del self._flights[flight.place.key]

    def part(self) -> None:
        """Let nobody join what is under way."""
        self._flights.clear()

    async def close(self) -> None:
        """Cancel what is under way, and wait for it to end."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
