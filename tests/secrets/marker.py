"""A password that is known again in any text, in whole or in part."""

from __future__ import annotations

from typing import Final

MARKER: Final = "Zq7XvK3wJ9pYt2Lm"
"""No four letters of it stand in a word."""
LEAST: Final = 4
"""So many characters of it, one after the other, are a part."""


def found_in(text: str) -> list[str]:
    """The parts of the marker that `text` holds, whatever their case."""
    small = text.lower()
    parts = (MARKER[at : at + LEAST] for at in range(len(MARKER) - LEAST + 1))
    return [part for part in parts if part.lower() in small]
