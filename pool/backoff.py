"""How long to wait before trying again: twice as long each time, up to a longest pause."""

from __future__ import annotations

from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """`first`, twice that, and so on, then `longest` for ever; in seconds."""
    pause = first
    while True:
        yield min(pause, longest)
        pause = min(2 * pause, longest)
