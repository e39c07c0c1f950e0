"""How much useless talk a server listens to on one HTTP/2 connection.

In: what a peer sent that asks for nothing (pings, settings, priorities, empty or unknown
frames, window updates, streams it resets), what it was answered, and the time. Out: whether
to go on listening. Each such frame costs the server more than it costs the peer, so a flood
of them is a cheap attack (RFC 9113, 10.5; CVE-2019-9512 to 9518, CVE-2023-44487).
"""

from __future__ import annotations

from typing import Final

MOST: Final = 2000.0
"""Frames that a peer may send for nothing at a time."""
PER_SECOND: Final = 50.0
"""Frames a second that it may send for nothing always."""
WORTH: Final = 128
"""Bytes for which an update of a window is none for nothing, if so many were sent to the peer
and not given back before: clients update the windows of stream and connection for each KiB
(h2) or four (Go) that they have taken, long after it was sent when their own callers are slow.
Who asks for single bytes stays a flood (CVE-2019-9511)."""
PER_ANSWER: Final = 10.0
"""Frames for each response that it took to the end."""
RESET_COST: Final = 5.0
"""A stream that the peer resets has cost as much as so many other frames."""


class Patience:
    """A bucket of frames: useless ones drain it; time, and what the peer is sent, fill it."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = MOST
        self._at = now

    def spend(self, frames: float, now: float) -> bool:
        """Takes `frames` at `now` (seconds of any clock); False when there are no more."""
        self.earn((now - self._at) * PER_SECOND)
        self._at = now
        self._left -= frames
        return self._left >= 0

    def earn(self, frames: float) -> None:
        """Gives `frames` back."""
        self._left = min(MOST, self._left + frames)
