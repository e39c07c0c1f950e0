"""What has been written since: a version for every tag, shared by all workers of a server.

In: the tags (tables) of a read, before its query runs; the tags of a write, once it is
committed. Out: a vector of versions to keep with an answer, and whether it still holds.
An answer is stored only if its vector is unchanged after the query, and served only as long
as it is; so one whose query began before a write's commit is never stored after it.

The versions lie in memory (`Slots`) that processes forked later share: a writer has changed
them before it gets its answer, whichever worker the next read goes to. Each slot holds a
random number, not a count: of two processes that write one at the same time neither can undo
the other's change, and no lock is needed. Until when a slot is in doubt stands elsewhere, so
that nobody who changes the version can take it back. The tags of all databases share slots by
their hash, so that an app which comes later, in whichever worker, finds its own; that costs at
most a needless miss. A worker that dies may have committed what it could tell nobody of:
whoever sees it die has to say so (`Slots.doubt_all`).
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from proxy.cache.looks import Looks

SLOTS: Final = 1 << 16
SETTLED: Final = 10.0
"""Seconds after which a transaction whose end nobody waits for is taken to be over."""
SETTLED_AFTER_DEATH: Final = 60.0
"""The same for those of a process that has died: nobody asked to have them cancelled."""

_SERVER: Final = 0
"""The slot that is of all databases; nobody's tags are there."""
_DOUBTED: Final = -1
"""Stands in a vector for the version of what was in doubt: no slot ever has it."""

Vector = tuple[int, ...]
"""The versions of some tags at one moment."""


@lru_cache(maxsize=8192)
def _places(names: tuple[str, ...], tags: frozenset[str]) -> tuple[int, ...]:
    """Where the versions of `tags` are under each of these names; the same in all
    processes."""
    return tuple(sorted({_slot(name, tag) for name in names for tag in tags}))


def _slot(*names: str) -> int:
    # No name has this character (PostgreSQL docs, "Identifiers and Key Words").
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % (SLOTS - 1)


class Slots:
    """The memory of a server's versions, and until when they are in doubt, in milliseconds
    of the monotonic clock. `identity`: the server's own, a random text. `looks`: what was
    last seen of the rights in its databases."""

    def __init__(self) -> None:
        self.versions = memoryview(mmap.mmap(-1, SLOTS * 8)).cast("Q")
        self.doubts = memoryview(mmap.mmap(-1, SLOTS * 8)).cast("Q")
        self.identity = secrets.token_hex(8)
        self.looks = Looks()

    def change(self, slot: int) -> None:
        """What was made of it no longer holds."""
        self.versions[slot] = secrets.randbits(64)

    def doubt(self, slot: int, seconds: float) -> None:
        """Neither does what is made of it in the next so many seconds."""
        until = int((time.monotonic() + seconds) * 1000)
        self.doubts[slot] = max(self.doubts[slot], until)
        # Last: who finds the new version finds the doubt, too.
        self.change(slot)

    def doubt_all(self) -> None:
        """A process has died: whatever it had begun to write may still be committed, and
        nothing holds for `SETTLED_AFTER_DEATH` seconds."""
        self.doubt(_SERVER, SETTLED_AFTER_DEATH)


class Versions:
    """The versions of an app's tags, which it has in common with all that have its name or
    say alike where their database is: its kind in other workers, the one that it replaces
    when `db-uri` is written otherwise, and its neighbours on the database.

    No vector holds that was taken while a write that nobody waits for any more may still be
    committed (`doubt`). Nor does any while `trusted` is false, which concerns this process
    alone: while it can't hear of writes elsewhere.
    """

    def __init__(self, slots: Slots | None = None, database: str = "", app: str = "") -> None:
        self._slots = slots or Slots()
        self._versions = self._slots.versions
        self._names = (f"database {database}", f"app {app}")
        self._everything = tuple(_slot(name) for name in self._names)
        own = f"{self._slots.identity}\0{database}".encode()
        self.identity = hashlib.blake2b(own, digest_size=8).hexdigest()
        """What tells who uses them from others on the same database."""
        self.look = self._slots.looks.of(database)
        """The newest look at the rights in the database."""
        self.trusted = True

    def _all_of(self, tags: frozenset[str]) -> tuple[int, ...]:
        """The slots of the server, of everything, and of `tags`."""
        return (_SERVER, *self._everything, *_places(self._names, tags))

    def vector(self, tags: frozenset[str]) -> Vector:
        """The versions of `tags` now; take it before the query that depends on them."""
        return tuple([self._version(slot) for slot in self._all_of(tags)])

    def _version(self, slot: int) -> int:
        version, doubt = self._versions[slot], self._slots.doubts[slot]
        return _DOUBTED if doubt and doubt > time.monotonic() * 1000 else version

    def unchanged(self, tags: frozenset[str], vector: Vector) -> bool:
        """Whether an answer made at `vector` may be stored, or served, now."""
        return self.trusted and self.unwritten(tags, vector)

    def unwritten(self, tags: frozenset[str], vector: Vector) -> bool:
        """Whether nothing is known to have been written since `vector`. While writes
        elsewhere can't be heard of, as when the database is away, that is all one can say."""
        versions = self._versions
        for slot, version in zip(self._all_of(tags), vector, strict=True):
            if versions[slot] != version:
                return False
        return True

    def touch(self, tags: Iterable[str]) -> None:
        """`tags` were written: what was made of them before no longer holds."""
        for slot in _places(self._names, frozenset(tags)):
            self._slots.change(slot)

    def touch_all(self) -> None:
        """Nothing made before holds any longer."""
        for slot in self._everything:
            self._slots.change(slot)

    def doubt(self, tags: frozenset[str] | None) -> None:
        """`tags` (None: everything) may be written any moment, by a transaction whose end
        will not be heard of: nothing made of them holds for `SETTLED` seconds."""
        for slot in self._everything if tags is None else _places(self._names, tags):
            self._slots.doubt(slot, SETTLED)
