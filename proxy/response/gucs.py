"""The response GUCs: status and headers that SQL sets for its own answer.

PostgREST docs: "Transactions", "Response Headers" and "Response Status Code". Raises
PGRST111 and PGRST112 (500) when what SQL set is no header list or no status.
"""

from __future__ import annotations

import json
import re
from typing import Final

from proxy.errors import api_error
from proxy.request.model import Headers
from proxy.response.header_line import header_line

_STATUS: Final = re.compile(r"\d+")


def guc_headers(value: str | None) -> Headers:
    """The headers of `response.headers`: a JSON array of `{"name": "value"}` objects.

    Names and values that would not be one header line (RFC 9110 section 5.5) are refused,
    so that data can't write headers of its own.
    """
    if value is None:
        return ()
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        raise api_error("PGRST111") from None
    if not isinstance(items, list):
        raise api_error("PGRST111")
    return tuple(_guc_header(item) for item in items)


def _guc_header(item: object) -> tuple[bytes, bytes]:
    if not isinstance(item, dict) or len(item) != 1:
        raise api_error("PGRST111")
    ((name, value),) = item.items()
    if not isinstance(value, str):
        raise api_error("PGRST111")
    try:
        return header_line(name, value)
    except ValueError:
        raise api_error("PGRST111") from None


def guc_status(value: str | None) -> int | None:
    """The status of `response.status`, None when it was not set."""
    if value is None:
        return None
    digits = _STATUS.match(value)
    if digits is None or not 200 <= int(digits.group()[:6]) <= 999:
        raise api_error("PGRST112")
    return int(digits.group())


def with_overriding(headers: Headers, chosen: Headers) -> Headers:
    """`headers` and the ones SQL chose, which win by name."""
    names = {name.lower() for name, _ in chosen}
    return tuple(header for header in headers if header[0].lower() not in names) + chosen


def with_overrides(
    status: int, headers: Headers, status_guc: str | None, headers_guc: str | None
) -> tuple[int, Headers]:
    """The answer's status and headers after SQL had its say."""
    return (
        guc_status(status_guc) or status,
        with_overriding(headers, guc_headers(headers_guc)),
    )
