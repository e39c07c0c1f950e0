"""What a process holds for its clients: bodies that arrive, answers that wait to be taken.

In: bytes, as they come and go. Out: nothing, or a refusal when the sum would exceed its bound.

One request is a `Held`. While it waits for its client it can be made to give way: when there
is no room, those go that have held most for longest (bytes times seconds since their client
last got on), so that nobody keeps the others out by sending slowly or not reading. A small
body that comes at once is never among them. What runs in the database stays; so that large
bodies which run don't shut out small ones, they may take all but a reserve.

The bound is one of what was received, not of what was announced. Not counted: the engine's
buffers, which its windows bound, and copies that are made on the way to the database.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from proxy.errors import ApiError, api_error
from proxy.http.time_limits import Limit

MOST: Final = 128 * 1024 * 1024
REQUEST: Final = 32 * 1024
"""Bytes that a request takes beside its headers and body, with what is left of it when it is
refused."""
SMALL: Final = 64 * 1024
"""Bytes of a body that may take from the reserve."""
RESERVED: Final = 16
"""One part in so many is the reserve. As much is cleared at a time, for to find out who is to
go takes longer the more there are."""
STEP: Final = 16 * 1024
"""Bytes by which a client must get on to count as one that does."""
STALLED: Final = 1.0
"""Seconds that a client must have taken nothing before an answer is given up for another."""


class InFlight:
    """What all requests of a process hold, at most `most` bytes. Only those give way whose
    client has not got on for `stalled` seconds."""

    def __init__(
        self,
        most: int = MOST,
        stalled: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.most = most
        self.reserve = most // RESERVED
        """Bytes that large bodies leave to small ones."""
        self.bytes = 0
        self.waiting: dict[Held, None] = {}
        self.shared: dict[int, int] = {}
        """How many hold each of the answers, by its id."""
        self.clock = clock
        self._stalled = stalled

    @property
    def largest_body(self) -> int:
        """The bytes of the largest body that there can be room for, headers beside it."""
        return self.most - 2 * self.reserve

    def make_room(self, most: int, newcomer: Held) -> bool:
        """Whether the sum is at most `most`, after others gave way if that helps."""
        now = self.clock()
        slow = [held for held in self.waiting if now - held.since >= self._stalled]
        slow.sort(key=lambda held: held.size * (now - held.since), reverse=True)
        if newcomer in slow:
            place = slow.index(newcomer)
            # What comes to a small body shows that it gets on: any other goes before it.
            del slow[place : place + 1 if newcomer.small else None]
        if self.bytes - sum([held.size for held in slow]) > most:
            return False
        for held in slow:
            if self.bytes <= most - self.reserve:
                break
            held.give_way()
        return self.bytes <= most


class Held:
    """What one request holds, until `release`.

    `size` in bytes; an answer counts in full, even where several are sent the same one.
    `since`: when its client last got on. `gave_way`: it was ended for lack of room.
    """

    __slots__ = ("_answer", "_in_flight", "_limit", "_progress", "gave_way", "since", "size")

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._limit: Limit | None = None
        self._answer: bytes | None = None
        self._progress = 0
        self.size = 0
        self.since = in_flight.clock()
        self.gave_way = False

    @property
    def small(self) -> bool:
        """Whether it may take from the reserve."""
        return self.size <= SMALL + REQUEST

    def grow(self, count: int) -> None:
        """It holds `count` bytes more. Raises `ApiError` EDGE531 when there is no room."""
        pot = self._in_flight
        self.size += count
        pot.bytes += count
        if pot.bytes > pot.most - pot.reserve:
            most = pot.most if self.small else pot.most - pot.reserve
            if pot.bytes > most and not pot.make_room(most, self):
                raise no_room()
        self._progress += count
        if self._progress >= STEP:
            self.got_on(0)

    def carry(self, answer: bytes) -> bool:
        """It holds its answer; whether there was room for more. So one answer may be larger
        than all are to be."""
        pot = self._in_flight
        had_room = pot.bytes < pot.most or pot.make_room(pot.most - 1, self)
        users = pot.shared.get(id(answer), 0)
        pot.shared[id(answer)] = users + 1
        if not users:
            pot.bytes += len(answer)
        self._answer = answer
        self.size += len(answer)
        return had_room

    def got_on(self, count: int) -> None:
        """The client has sent or taken `count` bytes."""
        self._progress += count
        if self._progress >= STEP:
            self._progress = 0
            self.since = self._in_flight.clock()

    def wait(self, limit: Limit) -> None:
        """From now on it waits for its client: it gives way by the end of `limit`."""
        self._limit = limit
        self.since = self._in_flight.clock()
        self._in_flight.waiting[self] = None

    def go_on(self) -> None:
        """It does not wait for its client any more."""
        self._in_flight.waiting.pop(self, None)
        self._limit = None

    def give_way(self) -> None:
        """It ends for lack of room."""
        limit = self._limit
        self.gave_way = True
        self.release()
        if limit is not None:
            limit.expire()

    def release(self) -> None:
        """It holds nothing any more. May be called twice."""
        pot, answer = self._in_flight, self._answer
        pot.waiting.pop(self, None)
        self._limit = None
        if answer is None:
            pot.bytes -= self.size
        else:
            users = pot.shared.pop(id(answer)) - 1
            if users:
                pot.shared[id(answer)] = users
            else:
                pot.bytes -= len(answer)
        self._answer = None
        self.size = 0


def no_room() -> ApiError:
    """The refusal."""
    return api_error("EDGE531", headers=((b"retry-after", b"2"),))
