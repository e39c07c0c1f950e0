"""Ranges of rows: `Range` header, `limit` and `offset`, combined.

A `Range` is an offset and a limit in rows (None: no limit).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RANGE_HEADER: Final = re.compile(rb"^([0-9]+)-([0-9]*)$")


@dataclass(frozen=True, slots=True)
class Range:
    """Rows from `offset` on, at most `limit` of them. A negative limit marks an empty range."""

    offset: int = 0
    limit: int | None = None

    @property
    def last(self) -> int | None:
        """The index of the last row asked for, None when there is no end."""
        return None if self.limit is None else self.offset + self.limit - 1

    def intersect(self, other: Range) -> Range:
        """The rows both ranges ask for; `limit` is below zero when there can't be any."""
        offset = max(self.offset, other.offset)
        lasts = [last for last in (self.last, other.last) if last is not None]
        return Range(offset, min(lasts) - offset + 1 if lasts else None)

    def capped(self, rows: int | None) -> Range:
        """This range with at most `rows` rows (db-max-rows)."""
        if rows is None or (self.limit is not None and self.limit <= rows):
            return self
        return Range(self.offset, rows)


ALL_ROWS: Final = Range()
NO_ROWS: Final = Range(0, 0)


def parse_range_header(value: bytes) -> Range:
    """The rows a `Range` header asks for; anything but `a-b` or `a-` asks for all of them.

    A header whose end lies before its start gives a range with a limit below one.
    """
    match = _RANGE_HEADER.match(value.strip())
    if match is None or len(value) > 40:
        return ALL_ROWS
    first, last = match.groups()
    offset = int(first)
    return Range(offset, int(last) - offset + 1 if last else None)
