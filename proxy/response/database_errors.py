"""What PostgreSQL and the pool report, in the caller's language.

In: the fields of a PostgreSQL error, or an error of the pool. Out: an `ApiError`. The
statuses are PostgREST's (docs, "Errors from PostgreSQL"), as are the two SQLSTATEs by
which SQL chooses its own answer: `PTxyz` for a status, `PGRST` for everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pool.errors import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    PoolError,
    PoolOverloaded,
    PoolTimeout,
)
from proxy.errors import ApiError, api_error
from proxy.request.model import Headers
from proxy.response.header_line import header_line

_LOST_PLUS: Final = re.compile(r':\d\d(?:\.\d+)? \d\d(?::?\d\d)?"$')
"""The end of PostgreSQL's words about a time whose zone lost its sign: `12:00:00 02:00"`."""


def pool_error(error: PoolError, *, authenticated: bool) -> ApiError:
    """The answer to whatever the pool raised. `authenticated`: the role isn't the
    anonymous one. What the pool knows of addresses and users is not passed on."""
    match error:
        case DatabaseError():
            return database_error(
                error.sqlstate,
                error.message,
                error.detail,
                error.hint,
                authenticated=authenticated,
            )
        case PoolTimeout():
            return api_error("PGRST003")
        case PoolOverloaded():
            return api_error("EDGE529", headers=_retry_after(error.retry_after))
        case ConnectionFailed():
            return api_error(
                "PGRST000",
                details=_refused_because(error.sqlstate),
                headers=_retry_after(error.retry_after),
            )
        case ConnectionLost():
            return api_error(
                "PGRST001",
                details="The connection to the database broke while it was in use."
                " Whether the transaction was committed is not known.",
                headers=_retry_after(1),
            )
        case _:
            return api_error("PGRSTX00")


def database_error(
    sqlstate: str,
    message: str,
    detail: str | None = None,
    hint: str | None = None,
    *,
    authenticated: bool,
) -> ApiError:
    """The answer to an error that PostgreSQL raised: its own words, a fitting status."""
    if sqlstate == "PGRST":
        return _raised_response(message, detail)
    status = _status_of(sqlstate, message, authenticated)
    headers: Headers = ()
    if status == 401:
        headers = ((b"www-authenticate", b"Bearer"),)
    elif status == 503:
        headers = _retry_after(1)
    return ApiError(
        sqlstate,
        status,
        message,
        details=detail,
        hint=hint or _own_hint(sqlstate, message),
        headers=headers,
        reason=_reason_phrase(message) if sqlstate.startswith("PT") else None,
    )


def _own_hint(sqlstate: str, message: str) -> str | None:
    if sqlstate == "22007" and _LOST_PLUS.search(message):
        return "In a URL + stands for a space; write it as %2B"
    return None


def _retry_after(seconds: int) -> Headers:
    return ((b"retry-after", b"%d" % seconds),)


# --- statuses -----------------------------------------------------------------------------


def _cardinality_violation(message: str, authenticated: bool) -> int:
    # The extension pg-safeupdate raises it for the caller's missing filter.
    return 400 if message.endswith("requires a WHERE clause") else 500


def _invalid_parameter(message: str, authenticated: bool) -> int:
    unknown_role = message.startswith("role") and message.endswith("does not exist")
    return 401 if unknown_role else 400


def _undefined_function(message: str, authenticated: bool) -> int:
    # A server without XML support can't make the media type asked for.
    return 406 if message.startswith("function xmlagg(") else 404


def _insufficient_privilege(message: str, authenticated: bool) -> int:
    return 403 if authenticated else 401


@dataclass(frozen=True, slots=True)
class SqlstateStatus:
    """The HTTP status of the SQLSTATEs that begin with `prefix`; a function decides by the
    message and by whether the role is not the anonymous one."""

    prefix: str
    status: int | Callable[[str, bool], int]
    meaning: str


SQLSTATE_STATUSES: Final = tuple(
    SqlstateStatus(*row)
    for row in (
        # The first prefix that fits decides, so a code stands before its class.
        ("08", 503, "connection exception"),
        ("09", 500, "triggered action exception"),
        ("0L", 403, "invalid grantor"),
        ("0P", 403, "invalid role specification"),
        (
            "21000",
            _cardinality_violation,
            "cardinality violation: 400 when pg-safeupdate misses a filter, else 500",
        ),
        (
            "22023",
            _invalid_parameter,
            "invalid parameter value: 401 when the token's role does not exist, else 400",
        ),
        ("23503", 409, "foreign key violation"),
        ("23505", 409, "unique violation"),
        ("25006", 405, "read only transaction"),
        ("25", 500, "invalid transaction state"),
        ("28", 403, "invalid authorization"),
        ("2D", 500, "invalid transaction termination"),
        ("38", 500, "external routine exception"),
        ("39", 500, "external routine invocation exception"),
        ("3B", 500, "savepoint exception"),
        ("40", 500, "transaction rollback"),
        (
            "42501",
            _insufficient_privilege,
            "insufficient privilege: 403, for the anonymous role 401",
        ),
        (
            "42883",
            _undefined_function,
            "undefined function: 406 when it is XML that the server lacks, else 404",
        ),
        ("42P01", 404, "undefined table"),
        ("42P17", 500, "infinite recursion"),
        ("53400", 500, "configuration limit exceeded"),
        ("53", 503, "insufficient resources"),
        # PostgREST answers 500 to the whole class; these two a caller can bring about alone,
        # by asking for too much in one request.
        ("54011", 400, "too many columns"),
        ("54023", 400, "too many arguments"),
        ("54", 500, "program limit exceeded"),
        ("55", 500, "object not in prerequisite state"),
        ("57P01", 503, "admin shutdown"),
        ("57", 500, "operator intervention"),
        ("58", 500, "system error"),
        ("F0", 500, "configuration file error"),
        ("HV", 500, "foreign data wrapper error"),
        ("P0001", 400, "RAISE without a code"),
        ("P0", 500, "PL/pgSQL error"),
        ("XX", 500, "internal error"),
    )
)
_CHOSEN_STATUS: Final = re.compile(r"PT([2-9][0-9]{2})")


def _status_of(sqlstate: str, message: str, authenticated: bool) -> int:
    if sqlstate.startswith("PT"):
        chosen = _CHOSEN_STATUS.fullmatch(sqlstate)
        return int(chosen[1]) if chosen else 500
    for row in SQLSTATE_STATUSES:
        if sqlstate.startswith(row.prefix):
            status = row.status
            return status if isinstance(status, int) else status(message, authenticated)
    return 400


def _reason_phrase(text: str) -> str:
    """`text` as one line of printable characters, which is all a status line can hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


# --- errors that an old schema cache explains ---------------------------------------------

_OUTDATED: Final = frozenset(
    {
        *("PGRST200", "PGRST202", "PGRST204", "PGRST205"),
        "22003",  # written as a column's former type
        "22P02",  # likewise
        "3F000",  # no such schema
        "42703",  # no such column
        "42704",  # no such type
        "42804",  # a column's type is another
        "42809",  # a relation's kind is another
        "42846",  # a column's type is another
        "42883",  # no such function
        "42P01",  # no such relation
        "42P10",  # no such key for ON CONFLICT
    }
)
_LOST_IN_CATALOG: Final = ("cache lookup failed for ", "could not open relation with OID ")


def may_be_outdated(error: ApiError) -> bool:
    """Whether a newer schema cache could make the request succeed, or fail otherwise."""
    return error.code in _OUTDATED or is_catalog_race(error)


def is_catalog_race(error: ApiError) -> bool:
    """Whether something was dropped in the middle of the statement that used it; run
    again, the statement fails as it should."""
    return error.code == "XX000" and error.message.startswith(_LOST_IN_CATALOG)


# --- RAISE SQLSTATE 'PGRST' ---------------------------------------------------------------

_MESSAGE_HINT: Final = (
    "MESSAGE must be a JSON object with obligatory keys: 'code', 'message'"
    " and optional keys: 'details', 'hint'."
)
_DETAIL_HINT: Final = (
    "DETAIL must be a JSON object with obligatory keys: 'status', 'headers'"
    " and optional key: 'status_text'."
)


def _raised_response(message: str, detail: str | None) -> ApiError:
    try:
        body = _object(message)
        code, text = _text(body["code"]), _text(body["message"])
        details, hint = _optional_text(body, "details"), _optional_text(body, "hint")
    except (KeyError, ValueError):
        wrong = f"Invalid JSON value for MESSAGE: '{message}'"
        return api_error("PGRST121", details=wrong, hint=_MESSAGE_HINT)
    if detail is None:
        wrong = "DETAIL is missing in the RAISE statement"
        return api_error("PGRST121", details=wrong, hint=_DETAIL_HINT)
    try:
        head = _object(detail)
        status = _final_status(head["status"])
        reason = _optional_text(head, "status_text")
        headers = _header_lines(head["headers"])
    except (KeyError, ValueError):
        wrong = f"Invalid JSON value for DETAIL: '{detail}'"
        return api_error("PGRST121", details=wrong, hint=_DETAIL_HINT)
    return ApiError(
        code,
        status,
        text,
        details=details,
        hint=hint,
        headers=headers,
        reason=None if reason is None else _reason_phrase(reason),
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def _optional_text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    return None if value is None else _text(value)


def _final_status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not (200 <= value <= 999 and value == int(value)):
        raise ValueError("not the status of a final response")
    return int(value)


def _header_lines(value: object) -> Headers:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return tuple(header_line(name, _text(text)) for name, text in sorted(value.items()))


# --- connections --------------------------------------------------------------------------

_REFUSALS: Final = (
    ("28", "The database does not accept the server's credentials."),
    ("3D000", "The database does not exist."),
    ("53300", "The database has no connection left to give."),
    ("57P03", "The database is starting up, shutting down or recovering."),
)


def _refused_because(sqlstate: str | None) -> str:
    if sqlstate is None:
        return "The database server could not be reached."
    for prefix, reason in _REFUSALS:
        if sqlstate.startswith(prefix):
            return reason
    return "The database server refused the connection."
