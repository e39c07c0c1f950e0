"""CSV with a header line (RFC 4180, blank lines ignored), as JSON objects of strings.

In: the body of a request. Out: the JSON array and the names its objects have in common,
or an `ApiError` PGRST102.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Final

import msgspec

from proxy.errors import ApiError, api_error

_FIELD: Final = re.compile(rb'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')
_LONE_RETURN: Final = re.compile(rb"\r(?!\n)")
_SHOWN_LENGTH: Final = 100
_LONGEST_CHARACTER: Final = 4  # bytes in UTF-8


def csv_to_json(body: bytes) -> tuple[bytes, frozenset[str]]:
    """A JSON array of objects, and their keys: `NULL` is null, all else a string.

    `body` is UTF-8. Fields beyond the header are dropped; lines may be short when all of
    them are. Row by row, so that no more than the body and the array are in memory. Raises
    `ApiError` PGRST102.
    """
    header, at = _record(body, 0)
    if at == len(body) and not body.endswith((b"\n", b"\r")):
        raise _parse_error("not enough input", b"")
    encode = msgspec.json.Encoder().encode
    array = BytesIO()
    # Names may repeat, so lines of different lengths can still have the same keys.
    keys_of_size: dict[int, frozenset[str]] = {}
    for row in _rows(body, at):
        keys_of_size.setdefault(min(len(row), len(header)), frozenset(header[: len(row)]))
        values = (None if value == "NULL" else value for value in row)
        array.write(b"," if array.tell() else b"[")
        array.write(encode(dict(zip(header, values, strict=False))))
    if not keys_of_size:
        return b"[]", frozenset()
    keys, *others = keys_of_size.values()
    if any(other != keys for other in others):
        raise api_error("PGRST102", message="All lines must have same number of fields")
    array.write(b"]")
    return array.getvalue(), keys


def _rows(body: bytes, at: int) -> Iterator[list[str]]:
    if b'"' not in body and not _LONE_RETURN.search(body, at):
        yield from _plain_rows(body, at)
        return
    while at < len(body):
        row, after = _record(body, at)
        if body[after - 1 : after] == b"\r":
            raise _parse_error("endOfInput", body[after - 1 :])
        at = after
        if row != [""]:
            yield row


def _plain_rows(body: bytes, at: int) -> Iterator[list[str]]:
    """The lines of a body without quotes."""
    while at < len(body):
        end = body.find(b"\n", at)
        line = body[at:] if end < 0 else body[at:end].removesuffix(b"\r")
        at = len(body) if end < 0 else end + 1
        if line:
            yield line.decode().split(",")


def _record(body: bytes, at: int) -> tuple[list[str], int]:
    """The fields of the line at `at`, and where the next one begins."""
    fields = []
    while True:
        match = _FIELD.match(body, at)
        if match is None:
            raise _parse_error("endOfInput", body[at:])
        quoted, plain, separator = match.groups()
        field: bytes = plain if quoted is None else quoted.replace(b'""', b'"')
        fields.append(field.decode())
        at = match.end()
        if separator != b",":
            return fields, at


def _parse_error(expected: str, rest: bytes) -> ApiError:
    start = rest[: _LONGEST_CHARACTER * (_SHOWN_LENGTH + 1)].decode(errors="ignore")
    truncated = len(start) > _SHOWN_LENGTH
    shown = f"{start[:_SHOWN_LENGTH]} (truncated)" if truncated else json.dumps(start)
    return api_error("PGRST102", message=f"parse error ({expected}) at {shown}")
