"""The body of a write or a function call, as far as it must be understood before SQL.

In: the body, its media type, the query's `columns` and the action. Out: a `Payload` and
the names of what it holds, or an `ApiError` PGRST102. JSON is checked and its keys are
read, but it goes to the database as the bytes that came.
"""

from __future__ import annotations

from codecs import BOM_UTF8, getincrementaldecoder
from typing import Final

import msgspec

from proxy.errors import ApiError, api_error
from proxy.request.csv_body import csv_to_json
from proxy.request.media_types import MediaType
from proxy.request.model import (
    Action,
    FormPayload,
    JsonPayload,
    Payload,
    QueryParams,
    RawPayload,
)
from proxy.request.query_string import decode_pairs

# Values are left as slices of the body: no Python object is made for them. Beside
# json.loads: six times as fast and a twentieth of the memory for 100,000 rows.
_any_value: Final = msgspec.json.Decoder(msgspec.Raw)
_any_rows: Final = msgspec.json.Decoder(list[msgspec.Raw])
_any_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

_NO_KEYS: Final[frozenset[str]] = frozenset()
_NO_ROWS: Final = JsonPayload(b"[]", _NO_KEYS, is_array=True)
_JSON_SPACES: Final = b" \t\r\n"
_PIECE: Final = 64 * 1024
_MOST_KEYS: Final = 10_000
"""A table has 1,600 columns at most, a function 100 arguments."""


def parse_payload(
    body: bytes, content_type: MediaType, query: QueryParams, action: Action
) -> tuple[Payload | None, frozenset[str]]:
    """The payload of an action that takes one, and the columns or arguments it names.

    `columns=` (POST and PATCH on relations, POST on functions) names them itself and
    leaves JSON unread. Raises `ApiError` PGRST102.
    """
    if action.kind not in ("create", "update", "upsert", "call"):
        return None, _NO_KEYS
    payload, keys = _read(body, content_type, query, action)
    if len(keys) > _MOST_KEYS:
        raise _too_many_keys()
    return payload, keys


def _read(
    body: bytes, content_type: MediaType, query: QueryParams, action: Action
) -> tuple[Payload, frozenset[str]]:
    columns = None if action.kind == "upsert" else query.columns
    is_call = action.kind == "call"
    kind = content_type.kind
    if kind == "json":
        payload = _json(body, columns, is_call=is_call)
        return payload, payload.keys
    if kind == "csv":
        # Spreadsheets begin a file with a byte order mark; it is no part of the first name.
        body = body.removeprefix(BOM_UTF8)
        _check_text(body)
        raw, keys = csv_to_json(body)
        return JsonPayload(raw, keys, is_array=True), keys
    if kind == "form":
        if body.count(b"&") + body.count(b";") > _MOST_KEYS:
            raise _too_many_keys()
        pairs = tuple((_text(key), _text(value or b"")) for key, value in decode_pairs(body))
        keys = frozenset(key for key, _ in pairs)
        if is_call:
            return FormPayload(pairs), keys
        return JsonPayload(msgspec.json.encode(dict(pairs)), keys, is_array=False), keys
    if is_call and kind in ("text", "xml", "octets"):
        if kind != "octets":
            _check_text(body)
        return RawPayload(body), _NO_KEYS
    raise _invalid(f"Content-Type not acceptable: {content_type.text}")


def _invalid(message: str) -> ApiError:
    return api_error("PGRST102", message=message)


def _too_many_keys() -> ApiError:
    return _invalid(f"The request body names more than {_MOST_KEYS} columns or arguments")


def _too_deep() -> ApiError:
    return _invalid("The request body is nested too deeply")


def _not_text() -> ApiError:
    return _invalid("The request body is not valid UTF-8")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _not_text() from None


def _check_text(body: bytes) -> None:
    """Refuses what is no UTF-8, piece by piece: decoded whole, a body can take four times
    its size."""
    if body.isascii():
        return
    decoder = getincrementaldecoder("utf-8")()
    pieces = memoryview(body)
    try:
        for at in range(0, len(body), _PIECE):
            decoder.decode(pieces[at : at + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _not_text() from None


def _json(body: bytes, columns: frozenset[str] | None, *, is_call: bool) -> JsonPayload:
    first = body.lstrip(_JSON_SPACES)[:1]
    if columns is not None:
        _check_text(body)
        _check_depth(body)
        return JsonPayload(body, columns, is_array=first == b"[")
    if not body and is_call:
        # A call without arguments; the database wants JSON all the same.
        return JsonPayload(b"{}", _NO_KEYS, is_array=False)
    _check_text(body)
    try:
        if first == b"{":
            return JsonPayload(body, frozenset(_any_object.decode(body)), is_array=False)
        if first == b"[":
            rows = _any_rows.decode(body)
            keys = _common_keys(rows)
            return JsonPayload(body, keys, is_array=True) if rows else _NO_ROWS
        _any_value.decode(body)
    except msgspec.DecodeError:
        raise _invalid("Empty or invalid json") from None
    except RecursionError:
        raise _too_deep() from None
    return _NO_ROWS


def _check_depth(body: bytes) -> None:
    """Refuses what is nested so deeply that the database would run out of stack, which is
    not the caller's error there; all else that is wrong with the JSON it tells better."""
    try:
        _any_value.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError:
        return


def _common_keys(rows: list[msgspec.Raw]) -> frozenset[str]:
    keys: frozenset[str] | None = None
    for row in rows:
        try:
            found = _any_object.decode(row).keys()
        except msgspec.ValidationError:
            raise _invalid("All object keys must match") from None
        if keys is None:
            keys = frozenset(found)
        elif keys != found:
            raise _invalid("All object keys must match")
    return keys or _NO_KEYS
