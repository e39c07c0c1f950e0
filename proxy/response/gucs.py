"""The response GUCs: status and headers that SQL sets for its own answer.

PostgREST docs: "Transactions", "Response Headers" and "Response Status Code". Raises
PGRST111 and PGRST112 (500) when what SQL set is no header list or no status.
"""

from __future__ import annotations

import json
import re
from typing import Final

from proxy.errors import api_error
from proxy.response.model import Headers

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
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
    except ValueError:
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
    header = name.encode(errors="replace"), value.encode(errors="replace").strip()
    if _TOKEN.fullmatch(header[0]) is None or _FIELD_VALUE.fullmatch(header[1]) is None:
        raise api_error("PGRST111")
    return header


def guc_status(value: str | None) -> int | None:
    """The status of `response.status`, None when it was not set."""
    if value is None:
        return None
    digits = _STATUS.match(value)
    if digits is None or not 200 <= int(digits.group()[:6]) <= 999:
        raise api_error("PGRST112")
    return int(digits.group())


def with_overrides(
    status: int, headers: Headers, status_guc: str | None, headers_guc: str | None
) -> tuple[int, Headers]:
    """The answer's status and headers after SQL had its say; its headers win by name."""
    own = guc_headers(headers_guc)
    names = {name.lower() for name, _ in own}
    kept = tuple(header for header in headers if header[0].lower() not in names)
    return guc_status(status_guc) or status, kept + own
