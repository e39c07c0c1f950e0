"""How long to leave a database alone that can't be reached, and when to stop waiting for it.

In: the failures to connect, in the order they happened. Out: an `Outage`, a value: when the
next attempt is due, whether callers should still wait, and what to tell those who ask once
they should not. Attempts stay close together (one a second at most), because one attempt
costs the database next to nothing and its return should be noticed at once; the advice to
callers, who come in thousands, grows up to 32 seconds. Times are in seconds on one monotonic
clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pool.errors import ConnectionFailed

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_LONGEST_ADVICE: Final = 32


@dataclass(frozen=True, slots=True)
class Outage:
    """The database is away since `since`; the next attempt is due at `retry_at`. `refused`:
    it answers, and waiting will not change what it says."""

    since: float
    failures: int
    retry_at: float
    reason: str
    sqlstate: str | None
    refused: bool = False

    def lasts(self, now: float, grace: float) -> bool:
        """Whether callers should no longer wait: it has lasted for `grace` seconds, or waiting
        would be in vain."""
        return self.refused or now >= self.since + grace

    def error(self, now: float) -> ConnectionFailed:
        """What to tell a caller at the time `now`."""
        return ConnectionFailed(self.reason, self._advice(now), sqlstate=self.sqlstate)

    def _advice(self, now: float) -> int:
        # 1, 2, 4, ... seconds: the largest power of two the outage has lasted.
        lasted = max(int(now - self.since), 1)
        return min(1 << (lasted.bit_length() - 1), _LONGEST_ADVICE)


def after_failure(
    before: Outage | None,
    failure: ConnectionFailed,
    now: float,
    *,
    began: float | None = None,
    alive: bool = False,
    known: bool = False,
) -> Outage:
    """The outage as it stands when an attempt has failed at the time `now`.

    `began`: when the attempt began. `alive`: other sessions go on, so that the outage, if it
    is one, begins now. `known`: the database has let this user in before, so that a refusal
    may pass: a password is being rotated.
    """
    failures = before.failures + 1 if before is not None else 1
    pause = min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE)
    since = now if began is None or alive else began
    return Outage(
        since=before.since if before is not None and not alive else since,
        failures=failures,
        retry_at=now + pause,
        reason=failure.reason,
        sqlstate=failure.sqlstate,
        refused=failure.refused and not known,
    )
