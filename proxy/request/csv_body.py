"""CSV with a header line (RFC 4180, blank lines ignored), as JSON objects of strings.

In: the body of a request. Out: the JSON array and the names its objects have in common,
or an `ApiError` PGRST102.
"""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from proxy.errors import ApiError, api_error

_FIELD: Final = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')
_LONE_RETURN: Final = re.compile(r"\r(?!\n)")
_SHOWN_LENGTH: Final = 100


def csv_to_json(text: str) -> tuple[bytes, frozenset[str]]:
    """A JSON array of objects, and their keys: `NULL` is null, all else a string.

    Fields beyond the header are dropped; lines may be short when all of them are.
    Raises `ApiError` PGRST102.
    """
    header, at = _record(text, 0)
    if at == len(text) and not text.endswith(("\n", "\r")):
        raise _parse_error("not enough input", "")
    rows = _rows(text, at)
    if not rows:
        return b"[]", frozenset()
    # Names may repeat, so lines of different lengths can still have the same keys.
    sizes = dict.fromkeys(min(len(row), len(header)) for row in rows)
    keys, *others = (frozenset(header[:size]) for size in sizes)
    if any(other != keys for other in others):
        raise api_error("PGRST102", message="All lines must have same number of fields")
    objects = [
        {
            name: None if value == "NULL" else value
            for name, value in zip(header, row, strict=False)
        }
        for row in rows
    ]
    return msgspec.json.encode(objects), keys


def _rows(text: str, at: int) -> list[list[str]]:
    if '"' not in text and not _LONE_RETURN.search(text, at):
        lines = text[at:].replace("\r\n", "\n").split("\n")
        return [line.split(",") for line in lines if line]
    rows = []
    while at < len(text):
        row, after = _record(text, at)
        if text[after - 1] == "\r":
            raise _parse_error("endOfInput", text[after - 1 :])
        at = after
        if row != [""]:
            rows.append(row)
    return rows


def _record(text: str, at: int) -> tuple[list[str], int]:
    """The fields of the line at `at`, and where the next one begins."""
    fields = []
    while True:
        match = _FIELD.match(text, at)
        if match is None:
            raise _parse_error("endOfInput", text[at:])
        quoted, plain, separator = match.groups()
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        at = match.end()
        if separator != ",":
            return fields, at


def _parse_error(expected: str, rest: str) -> ApiError:
    truncated = len(rest) > _SHOWN_LENGTH
    shown = f"{rest[:_SHOWN_LENGTH]} (truncated)" if truncated else json.dumps(rest)
    return api_error("PGRST102", message=f"parse error ({expected}) at {shown}")
