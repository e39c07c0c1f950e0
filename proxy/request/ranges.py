"""Ranges of rows: the `Range` header, `limit` and `offset`, and how they combine.

A `Range` is an offset and a limit in rows (None: no limit). A limit below one means no
row; only `limit=0` may ask for that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proxy.errors import ApiError, api_error

_RANGE_HEADER: Final = re.compile(rb"([0-9]+)-([0-9]*)")
_INTEGER: Final = re.compile(
    r"([\s(]*+)(?:(-)\s*+)?"
    r"(?:0[xX]([0-9a-fA-F]++)|0[oO]([0-7]++)|0[bB]([01]++)|([0-9]++))([\s)]*+)"
)
_MOST_ROWS: Final = 2**63 - 1
"""PostgreSQL counts rows in a bigint."""


@dataclass(frozen=True, slots=True)
class Range:
    """Rows from `offset` on, at most `limit` of them. A negative limit marks an empty range."""

    offset: int = 0
    limit: int | None = None

    @property
    def last(self) -> int | None:
        """The index of the last row asked for, None when there is no end."""
        return None if self.limit is None else self.offset + self.limit - 1

    @property
    def is_empty(self) -> bool:
        return self.limit is not None and self.limit <= 0

    def intersect(self, other: Range) -> Range:
        """The rows both ranges ask for; `limit` is below one when there can't be any."""
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
    match = _RANGE_HEADER.fullmatch(value.strip())
    if match is None or len(value) > 40:
        return ALL_ROWS
    first, last = match.groups()
    offset = int(first)
    return Range(offset, int(last) - offset + 1 if last else None)


def read_integer(text: str) -> int | None:
    """The integer a `limit` or `offset` holds, None when it holds none.

    Takes what Haskell's `read` takes: a minus sign, base prefixes, parentheses, spaces.
    Beyond a bigint the number is the largest bigint.
    """
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    opening, sign, *digits, closing = match.groups()
    if opening.count("(") != closing.count(")"):
        return None
    for base, found in zip((16, 8, 2, 10), digits, strict=True):
        if found is not None:
            # Python refuses to convert more than 4,300 digits; 100 are past any bigint.
            significant = found.lstrip("0")[:100]
            number = min(int(significant or "0", base), _MOST_ROWS)
            return -number if sign else number
    return None


def range_of(limit: str | None, offset: str | None) -> Range:
    """The range that the texts of a `limit` and an `offset` make together.

    What is no integer asks for nothing in particular; but a limit that is none beside an
    offset leaves no rows (PostgREST's rule).
    """
    rows = None if limit is None else read_integer(limit)
    start = None if offset is None else read_integer(offset)
    if limit is None or offset is None:
        return Range(start or 0, rows)
    return Range(start or 0, rows or 0)


def combine_ranges(method: str, limits: Range, range_header: bytes | None) -> Range:
    """The root's range: `limits` (limit and offset) within the `Range` header's (GET
    and QUERY only).

    Raises `ApiError` PGRST103 for a range without rows that isn't `limit=0`, PGRST114 for
    a PUT with limits.
    """
    header = ALL_ROWS
    if method in ("GET", "QUERY") and range_header is not None:
        header = parse_range_header(range_header)
    # `limit=0` stands above everything; with an offset it is an empty range like others.
    if limits.last == -1:
        combined = NO_ROWS
    elif header.is_empty or limits.is_empty or (combined := header.intersect(limits)).is_empty:
        raise _not_satisfiable(header)
    if method == "PUT" and combined != ALL_ROWS:
        raise api_error("PGRST114")
    return combined


def _not_satisfiable(header: Range) -> ApiError:
    if header.is_empty:
        details = (
            "The lower boundary must be lower than or equal to the upper boundary in the"
            " Range header."
        )
    else:
        details = "Limit should be greater than or equal to zero."
    return api_error("PGRST103", details=details)
