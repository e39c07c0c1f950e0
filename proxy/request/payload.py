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
from proxy.request.csv_body import MOST_NAMES, csv_to_json, too_many_names
from proxy.request.json_body import (
    check_depth,
    check_json,
    names_of_object,
    names_of_rows,
)
from proxy.request.media_types import MediaType
from proxy.request.model import (
    Action,
    FormPayload,
    JsonPayload,
    Payload,
    QueryParams,
    RawPayload,
)
from proxy.request.pieces import PIECE, Between, nothing
from proxy.request.query_string import decode_pairs

_NO_KEYS: Final[frozenset[str]] = frozenset()
_NO_ROWS: Final = JsonPayload(b"[]", _NO_KEYS, is_array=True)
_JSON_SPACES: Final = b" \t\r\n"
_TAKING: Final = frozenset(("create", "update", "upsert", "call"))
_ANYWHERE: Final = frozenset(("json", "csv", "form"))
_RAW: Final = frozenset(("text", "xml", "octets"))


def parse_payload(
    body: bytes,
    content_type: MediaType,
    query: QueryParams,
    action: Action,
    between: Between = nothing,
) -> tuple[Payload | None, frozenset[str]]:
    """The payload of an action that takes one, and the columns or arguments it names.

    `columns=` (POST and PATCH on relations, POST on functions) names them itself and
    leaves JSON unread. `between` is called between the pieces that a body is read in; what
    it raises ends that. Raises `ApiError` PGRST102 and EDGE413.
    """
    if action.kind not in _TAKING:
        return None, _NO_KEYS
    payload, keys = _read(body, content_type, query, action, between)
    if len(keys) > MOST_NAMES:
        raise too_many_names()
    return payload, keys


def _read(
    body: bytes,
    content_type: MediaType,
    query: QueryParams,
    action: Action,
    between: Between,
) -> tuple[Payload, frozenset[str]]:
    columns = None if action.kind == "upsert" else query.columns
    is_call = action.kind == "call"
    kind = content_type.kind
    if kind == "json":
        payload = _json(body, columns, between, is_call=is_call)
        return payload, payload.keys
    if kind == "csv":
        # Spreadsheets begin a file with a byte order mark; it is no part of the first name.
        body = body.removeprefix(BOM_UTF8)
        _check_text(body)
        raw, keys = csv_to_json(body, between)
        return JsonPayload(raw, keys, is_array=True), keys
    if kind == "form":
        if body.count(b"&") + body.count(b";") > MOST_NAMES:
            raise too_many_names()
        try:
            pairs = tuple([(key, value or "") for key, value in decode_pairs(body)])
        except UnicodeDecodeError:
            raise _not_text() from None
        keys = frozenset(key for key, _ in pairs)
        if is_call:
            return FormPayload(pairs), keys
        return JsonPayload(msgspec.json.encode(dict(pairs)), keys, is_array=False), keys
    problem = content_type_problem(content_type, action)
    if problem is not None:
        raise problem
    if kind != "octets":
        _check_text(body)
    return RawPayload(body), _NO_KEYS


def content_type_problem(content_type: MediaType, action: Action) -> ApiError | None:
    """PGRST102 if an action can't do anything with a body of this media type."""
    kind = content_type.kind
    fits = kind in _ANYWHERE or (action.kind == "call" and kind in _RAW)
    if fits or action.kind not in _TAKING:
        return None
    return _invalid(f"Content-Type not acceptable: {content_type.text}")


def _invalid(message: str) -> ApiError:
    return api_error("PGRST102", message=message)


def _not_text() -> ApiError:
    return _invalid("The request body is not valid UTF-8")


def _check_text(body: bytes) -> None:
    """Refuses what is no UTF-8, piece by piece: decoded whole, a body can take four times
    its size."""
    if body.isascii():
        return
    decoder = getincrementaldecoder("utf-8")()
    pieces = memoryview(body)
    try:
        for at in range(0, len(body), PIECE):
            decoder.decode(pieces[at : at + PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _not_text() from None


def _json(
    body: bytes, columns: frozenset[str] | None, between: Between, *, is_call: bool
) -> JsonPayload:
    first = body.lstrip(_JSON_SPACES)[:1]
    if first == BOM_UTF8[:1] and body.startswith(BOM_UTF8):
        # A parser may ignore it (RFC 8259, 8.1); PostgREST's refuses it, without the hint.
        hint = "JSON has no byte order mark before it; send it without"
        raise api_error("PGRST102", message="Empty or invalid json", hint=hint)
    if columns is not None:
        _check_text(body)
        check_depth(body)
        return JsonPayload(body, columns, is_array=first == b"[")
    if not body and is_call:
        # A call without arguments; the database wants JSON all the same.
        return JsonPayload(b"{}", _NO_KEYS, is_array=False)
    _check_text(body)
    if first == b"{":
        return JsonPayload(body, names_of_object(body), is_array=False)
    if first == b"[":
        names = names_of_rows(body, between)
        return _NO_ROWS if names is None else JsonPayload(body, names, is_array=True)
    check_json(body)
    return _NO_ROWS
