"""Every error edgerest itself can answer with, each written down once.

In: the facts of one failure. Out: an `ApiError`, which carries the HTTP status, the
extra headers and the `{code, message, details, hint}` body of PostgREST's contract
(PostgREST docs, "Errors"). Errors that PostgreSQL raises are turned into an `ApiError`
by `proxy.response.database_errors`.

To add an error: one row in `ERRORS`, and raise it with `api_error(code, ...)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Verbosity = Literal["verbose", "minimal"]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table: a code, its HTTP status and the template of its message."""

    code: str
    status: int
    message: str


def _table(*rows: tuple[str, int, str]) -> Mapping[str, ErrorKind]:
    return {code: ErrorKind(code, status, message) for code, status, message in rows}


ERRORS: Final[Mapping[str, ErrorKind]] = _table(
    # 0xx: the database connection
    ("PGRST000", 503, "Database connection error."),
    ("PGRST001", 503, "Database client error. Retrying the connection."),
    ("PGRST002", 503, "Could not query the database for the schema cache. Retrying."),
    ("PGRST003", 504, "Timed out acquiring connection from connection pool."),
    # 1xx: the request
    ("PGRST100", 400, "{message}"),
    ("PGRST101", 405, "Cannot use the {method} method on RPC"),
    ("PGRST102", 400, "{message}"),
    ("PGRST103", 416, "Requested range not satisfiable"),
    (
        "PGRST105",
        405,
        "Filters must include all and only primary key columns with 'eq' operators",
    ),
    ("PGRST106", 406, "Invalid schema: {schema}"),
    ("PGRST107", 406, "None of these media types are available: {media_types}"),
    ("PGRST108", 400, "'{name}' is not an embedded resource in this request"),
    (
        "PGRST111",
        500,
        "response.headers guc must be a JSON array composed of objects with a single key"
        " and a string value",
    ),
    ("PGRST112", 500, "response.status guc must be a valid status code"),
    ("PGRST114", 400, "limit/offset querystring parameters are not allowed for PUT"),
    ("PGRST115", 400, "Payload values do not match URL in primary key column(s)"),
    ("PGRST116", 406, "Cannot coerce the result to a single JSON object"),
    ("PGRST117", 405, "Unsupported HTTP method: {method}"),
    ("PGRST118", 400, "A related order on '{name}' is not possible"),
    ("PGRST120", 400, "Bad operator on the '{name}' embedded resource"),
    ("PGRST121", 500, "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"),
    ("PGRST122", 400, "Invalid preferences given with handling=strict"),
    ("PGRST123", 400, "Use of aggregate functions is not allowed"),
    ("PGRST124", 400, "Query result exceeds max-affected preference constraint"),
    ("PGRST125", 404, "Invalid path specified in request URL"),
    ("PGRST126", 404, "Root endpoint metadata is disabled"),
    ("PGRST127", 400, "Feature not implemented"),
    (
        "PGRST128",
        400,
        "Function must return SETOF or TABLE when max-affected preference is used"
        " with handling=strict",
    ),
    # 2xx: the schema cache
    (
        "PGRST200",
        400,
        "Could not find a relationship between '{parent}' and '{child}' in the schema cache",
    ),
    (
        "PGRST201",
        300,
        "Could not embed because more than one relationship was found"
        " for '{parent}' and '{child}'",
    ),
    ("PGRST202", 404, "Could not find the function {function} in the schema cache"),
    ("PGRST203", 300, "Could not choose the best candidate function between: {candidates}"),
    ("PGRST204", 400, "Could not find the '{column}' column of '{table}' in the schema cache"),
    ("PGRST205", 404, "Could not find the table '{table}' in the schema cache"),
    # 3xx: the token
    ("PGRST300", 500, "Server lacks JWT secret"),
    ("PGRST301", 401, "{message}"),
    ("PGRST302", 401, "Anonymous access is disabled"),
    ("PGRST303", 401, "{message}"),
    # What PostgREST leaves to its HTTP server; the codes are edgerest's own.
    ("EDGE412", 412, "The precondition of the request does not hold"),
    ("EDGE413", 413, "The request body is larger than this server accepts"),
    ("EDGE414", 414, "The request URL is longer than this server accepts"),
    ("EDGE415", 415, "A QUERY takes a body of the type application/x-www-form-urlencoded"),
    ("EDGE431", 431, "The request headers are larger than this server accepts"),
    ("EDGE400", 400, "{message}"),
    ("EDGE404", 404, "No app is served at this host and path"),
    ("EDGE503", 503, "The keys that tokens are verified with could not be fetched yet"),
    ("EDGE504", 504, "The request could not be answered by its deadline"),
    ("EDGE510", 504, "Nothing that is kept can answer a request with only-if-cached"),
    ("EDGE529", 503, "Too many requests are waiting for a database connection"),
    ("EDGE530", 503, "The app takes no requests at the moment"),
    ("EDGE531", 503, "The server holds as much for its clients as it may"),
    ("EDGE408", 408, "The request body did not arrive in time"),
    # By-key updates, which PostgREST does not have (docs/writes.md).
    ("EDGE110", 400, "Unknown value of the update preference: {value}"),
    ("EDGE111", 400, "'{table}' has no primary key; name the key columns with on_conflict"),
    ("EDGE112", 400, "Every row of a by-key update must hold the key column '{column}'"),
    ("EDGE113", 400, "A by-key update must hold at least one column that is no key"),
    ("EDGE114", 400, "A key of the by-key update is null or missing"),
    ("EDGE115", 400, "A key of the by-key update appears more than once"),
    ("EDGE116", 400, "A key of the by-key update matches more than one row"),
    ("EDGE117", 400, "Not every row of the by-key update matches a row"),
    ("PGRSTX00", 500, "Internal error"),
)


class ApiError(Exception):
    """A failure in the caller's language: what the response says and nothing else.

    `headers` are extra response headers; `reason` replaces the status line's reason
    phrase (HTTP/1.1 only).
    """

    def __init__(
        self,
        code: str,
        status: int,
        message: str,
        *,
        details: Json = None,
        hint: Json = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.details = details
        self.hint = hint
        self.headers = headers
        self.reason = reason

    def body(self, verbosity: Verbosity = "verbose") -> bytes:
        """The JSON body; `minimal` leaves out details and hint."""
        document: dict[str, Json] = {"code": self.code}
        if verbosity == "verbose":
            document |= {"details": self.details, "hint": self.hint}
        document["message"] = self.message
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(
            errors="replace"
        )


def api_error(
    code: str,
    *,
    details: Json = None,
    hint: Json = None,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    **facts: str,
) -> ApiError:
    """The error `code` of the table, its message filled in with `facts`."""
    kind = ERRORS[code]
    return ApiError(
        kind.code,
        kind.status,
        kind.message.format(**facts),
        details=details,
        hint=hint,
        headers=headers,
    )
