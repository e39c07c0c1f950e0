"""What the newest look at a database's rights has seen, shared by all workers of a server.

In: the name of a database. Out: its `Look`, the same in all processes forked later. Each lies
in four numbers of shared memory; which four is settled under a lock, once per app and process,
so that no two databases are ever taken for one. Reading and writing needs none: a stamp is
written before the time of its look, and read after it.
"""

from __future__ import annotations

import fcntl
import mmap
import tempfile
import time
import weakref
from hashlib import blake2b
from typing import Final

_PLACES: Final = 4096
_WORDS: Final = 4
_NAME, _STAMP, _LOOKED_AT, _TAKEN_UNTIL = range(_WORDS)
_TICKS: Final = 1_000_000
"""Times are microseconds of the monotonic clock, which processes have in common."""


class Look:
    """The newest look at one database. Stamps are 64 bits and never 0."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def newest(self) -> tuple[float, int]:
        """When it began (monotonic, seconds; 0 for never), and the stamp that it saw."""
        looked_at = self._words[_LOOKED_AT]
        return looked_at / _TICKS, self._words[_STAMP]

    def differs(self, stamp: int) -> bool:
        """Whether this is not what the newest look has seen."""
        return bool(self._words[_STAMP] != stamp)

    def publish(self, began: float, stamp: int) -> None:
        """Tell of a look, unless there is a newer one."""
        ticks = int(began * _TICKS)
        if ticks > self._words[_LOOKED_AT]:
            self._words[_STAMP] = stamp
            self._words[_LOOKED_AT] = ticks

    def take(self, seconds: float) -> bool:
        """Whether it is one's turn to look; others then leave it for so long. Two that ask at
        the very same time may both look, which costs a look."""
        now = time.monotonic()
        if self._words[_TAKEN_UNTIL] > now * _TICKS:
            return False
        self._words[_TAKEN_UNTIL] = int((now + seconds) * _TICKS)
        return True

    def give_back(self) -> None:
        """The look is over, well or not."""
        self._words[_TAKEN_UNTIL] = 0


class Looks:
    """The looks at all databases of a server; of those beyond the 4,096th each process
    has its own."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, _PLACES * _WORDS * 8)).cast("Q")
        self._lock = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with this object
        weakref.finalize(self, self._lock.close)

    def of(self, database: str) -> Look:
        """The look at the database of this name."""
        digest = blake2b(database.encode(), digest_size=8).digest()
        name = int.from_bytes(digest, "big") or 1
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            for number in range(_PLACES):
                place = (name + number) % _PLACES * _WORDS
                if self._words[place] in (0, name):
                    self._words[place] = name
                    return Look(self._words[place : place + _WORDS])
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return Look(memoryview(bytearray(_WORDS * 8)).cast("Q"))
