"""How many of those who wait are served in one turn of the event loop, and whose.

In: pools that have a session for a waiter. Out: their turns, one waiter at a time, in turn.

A loop that has more to do than it can runs as many transactions at once as there are
connections, and finds all of them answered whenever it looks: one turn then makes that many
answers, and everything else, another pool's request at each of its steps, waits for it. A few
at a time keep the database as busy, for its answers were only lying there, and the turns
short. A loop that has time for more turns so quickly that nobody notices.

It is for pools that others have to be spared from: many short turns cost more than few long
ones, up to a fifth of what a busy server can do, and a single app has nobody to spare.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from typing import Final, Protocol

PER_TURN: Final = 2
"""Waiters that are given a session in one turn, of all pools together, where they are of
several apps."""
UNLIMITED: Final = sys.maxsize


class Server(Protocol):
    """A pool, as its pace sees it."""

    def serve(self) -> bool | None:
        """Give a session to a waiter. Whether there may be more to do; None when there was
        nothing."""


class Pace:
    """The pace of all pools in one event loop: so many waiters `per_turn`."""

    def __init__(self, per_turn: int = UNLIMITED) -> None:
        self._per_turn = self._left = per_turn
        self._line: OrderedDict[Server, None] = OrderedDict()
        self._due = False

    def limit(self, per_turn: int) -> None:
        """Change `per_turn`, from the next turn on."""
        self._per_turn = per_turn
        self._left = 0
        self._see_to_next_turn()

    def step(self) -> bool:
        """Whether a waiter may be served now; if not, `wait` for it."""
        if self._per_turn == UNLIMITED:
            return True
        if self._left <= 0 or self._line:
            return False
        self._left -= 1
        self._see_to_next_turn()
        return True

    def wait(self, server: Server) -> None:
        """Have `server.serve` called when it is its turn."""
        self._line[server] = None
        self._see_to_next_turn()

    def leave(self, server: Server) -> None:
        """Forget `server`."""
        self._line.pop(server, None)

    def _see_to_next_turn(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        self._left = self._per_turn
        while self._line and self._left > 0:
            server, _ = self._line.popitem(last=False)
            more = server.serve()
            if more is None:
                continue
            self._left -= 1
            if more:
                self._line[server] = None
        if self._line or self._left < self._per_turn:
            self._see_to_next_turn()
