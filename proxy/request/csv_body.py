"""CSV with a header line (RFC 4180, blank lines ignored), as JSON objects of strings.

In: the body of a request. Out: the JSON array and the names its objects have in common,
or an `ApiError` PGRST102 or EDGE413. Read in pieces, each byte a fixed number of times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from itertools import accumulate
from typing import Final

import msgspec

from proxy.errors import ApiError, api_error
from proxy.request.pieces import PIECE, Between, nothing

MOST_NAMES: Final = 10_000
"""Names in a body. A table has 1,600 columns at most, a function 100 arguments."""

_FIELD: Final = re.compile(rb'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n]*+))(,|\r\n|\n|\r|\Z)')
_LONE_RETURN: Final = re.compile(rb"\r(?!\n)")
_SHOWN_LENGTH: Final = 100
_SHOWN_BYTES: Final = 4 * (_SHOWN_LENGTH + 1)
_MOST_GROWTH: Final = 16
_ALWAYS_ALLOWED: Final = 8 * 1024 * 1024
"""Every line repeats all names: the JSON may have so many times the size of the body, or so
many bytes."""

_Row = list[str | None]


def csv_to_json(body: bytes, between: Between = nothing) -> tuple[bytes, frozenset[str]]:
    """A JSON array of objects, and their keys: `NULL` is null, all else a string.

    `body` is UTF-8. Fields beyond the header are dropped; lines may be short when all of
    them are. No more than the body, the array and a piece are in memory. `between` is called
    between pieces; what it raises ends the reading. Raises `ApiError` PGRST102, and EDGE413
    when the array would be too large.
    """
    header, at = _record(body, 0, MOST_NAMES)
    if at == len(body) and not body.endswith((b"\n", b"\r")):
        raise _parse_error("not enough input", body, at)
    if len(header) > MOST_NAMES:
        raise too_many_names()
    encode = msgspec.json.Encoder().encode
    lengths = [0, *accumulate(len(encode(name)) for name in header)]
    most = max(_MOST_GROWTH * len(body), _ALWAYS_ALLOWED)
    array = BytesIO()
    # Names may repeat, so lines of different lengths can still have the same keys.
    keys_of_size: dict[int, frozenset[str]] = {}
    for rows in _Lines(body, at, len(header)):
        sizes = {min(len(row), len(header)) for row in rows}
        for size in sizes.difference(keys_of_size):
            keys_of_size[size] = frozenset(header[:size])
        between()
        if len(set(keys_of_size.values())) > 1:
            continue  # What is wrong further on is told first.
        if array.tell() + len(rows) * lengths[min(sizes)] > most:
            details = f"As JSON, its lines have more than {most} bytes"
            raise api_error("EDGE413", details=details, hint="Send fewer lines at once")
        array.write(b"," if array.tell() else b"[")
        objects = encode([dict(zip(header, row, strict=False)) for row in rows])
        array.write(memoryview(objects)[1:-1])
    if not keys_of_size:
        return b"[]", frozenset()
    keys, *others = set(keys_of_size.values())
    if others:
        raise api_error("PGRST102", message="All lines must have same number of fields")
    array.write(b"]")
    return array.getvalue(), keys


def too_many_names() -> ApiError:
    """The refusal of a body with more than `MOST_NAMES`."""
    message = f"The request body names more than {MOST_NAMES} columns or arguments"
    return api_error("PGRST102", message=message)


class _Lines:
    """The lines from `at` on that are not blank, some at a time. Of fields beyond `width`,
    what remains of a line may be one."""

    def __init__(self, body: bytes, at: int, width: int) -> None:
        self._body = body
        self._at = at
        self._width = width
        self._quote = self._return = at - 1

    def __iter__(self) -> Iterator[list[_Row]]:
        size = len(self._body)
        while self._at < size:
            rows: list[_Row] = []
            until = self._at + PIECE
            while self._at < min(until, size):
                plain = self._plain_until()
                rows += self._one() if plain <= self._at else self._plain(min(plain, until))
            if rows:
                yield rows

    def _plain_until(self) -> int:
        """The end of the lines that hold neither quotes nor a carriage return alone."""
        body, at = self._body, self._at
        # Each is looked for once, not once for every line before it.
        if self._quote < at:
            found = body.find(b'"', at)
            self._quote = len(body) if found < 0 else found
        if self._return < at:
            lone = _LONE_RETURN.search(body, at)
            self._return = len(body) if lone is None else lone.start()
        special = min(self._quote, self._return)
        return special if special == len(body) else body.rfind(b"\n", at, special) + 1

    def _plain(self, until: int) -> Iterator[_Row]:
        """The plain lines to that which ends at `until` or behind it."""
        end = self._body.find(b"\n", until - 1)
        end = len(self._body) if end < 0 else end
        text = self._body[self._at : end].decode()
        self._at = end + 1
        lines = text.replace("\r\n", "\n").removesuffix("\r").split("\n")
        rows = [line.split(",", self._width) for line in lines if line]
        return map(_with_nulls if "NULL" in text else list[str | None], rows)

    def _one(self) -> Iterator[_Row]:
        row, after = _record(self._body, self._at, self._width)
        if self._body[after - 1 : after] == b"\r":
            raise _parse_error("endOfInput", self._body, after - 1)
        self._at = after
        return iter(() if row == [""] else (_with_nulls(row),))


def _with_nulls(row: list[str]) -> _Row:
    return [None if value == "NULL" else value for value in row]


def _record(body: bytes, at: int, width: int) -> tuple[list[str], int]:
    """The fields of the line at `at`, at most one beyond `width`, and where the next line
    begins."""
    fields: list[str] = []
    while True:
        match = _FIELD.match(body, at)
        if match is None:
            raise _parse_error("endOfInput", body, at)
        quoted, plain, separator = match.groups()
        if len(fields) <= width:
            field: bytes = plain if quoted is None else quoted.replace(b'""', b'"')
            fields.append(field.decode())
        at = match.end()
        if separator != b",":
            return fields, at


def _parse_error(expected: str, body: bytes, at: int) -> ApiError:
    start = body[at : at + _SHOWN_BYTES].decode(errors="ignore")
    truncated = len(start) > _SHOWN_LENGTH
    shown = f"{start[:_SHOWN_LENGTH]} (truncated)" if truncated else json.dumps(start)
    return api_error("PGRST102", message=f"parse error ({expected}) at {shown}")
