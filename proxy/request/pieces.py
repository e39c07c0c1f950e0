"""Large texts are read in pieces: what is called between two of them may end the reading.

Reading goes on beside the event loop, in threads that can't be stopped from outside; and one
call into C keeps all others waiting for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PIECE: Final = 64 * 1024
"""Bytes; a piece takes some milliseconds at worst."""

Between = Callable[[], None]


def nothing() -> None:
    """What is called when nobody wants to end the reading."""
