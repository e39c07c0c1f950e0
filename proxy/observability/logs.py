"""The access log: one line per request on standard output, and the SQL that it took.

In: what is known of a request once it is answered (`Entry`), and the settings `log-level`,
`log-query` and `log-format`. Out: a line in Apache's combined format, to the letter as
PostgREST writes it (docs, "Logs"), or a JSON object. Values of parameters are never logged.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from pool.model import Transaction
from pool.transaction import sql_of
from proxy.observability.lines import LineWriter
from proxy.observability.record import Record
from proxy.response.model import Response, body_size
from proxy.settings.model import LogFormat, LogLevel

logger = logging.getLogger(__name__)

LOWEST_STATUS: Final[dict[LogLevel, int]] = {
    "crit": 600,
    "error": 500,
    "warn": 400,
    "info": 0,
    "debug": 0,
}
"""Responses from this status on are logged (PostgREST docs, "log-level")."""

CURRENT_APP: Final[ContextVar[str]] = ContextVar("app", default="")
"""The name of the app that the running task works for, for the diagnostics."""

_PLAIN: Final = re.compile(rb"[ !#-\[\]-~]*")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A request and its answer; `request_id` is the value of `server-trace-header`."""

    at: float
    method: str
    target: bytes
    http_version: str
    client: str | None
    referer: bytes | None
    user_agent: bytes | None
    request_id: bytes | None
    status: int
    size: int | None
    seconds: float
    record: Record


def entry_of(
    scope: Any, record: Record, response: Response, *, trace_header: bytes | None, at: float
) -> Entry:
    """The entry of a request answered at `at`, seconds since the epoch."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in (b"referer", b"user-agent", trace_header):
            found.setdefault(name, value)
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    client = scope.get("client")
    return Entry(
        at=at,
        method=scope["method"],
        target=path + b"?" + query if query else path,
        http_version=scope["http_version"],
        client=client[0] if client else None,
        referer=found.get(b"referer"),
        user_agent=found.get(b"user-agent"),
        request_id=None if trace_header is None else found.get(trace_header),
        status=response.status,
        size=_shown_size(scope["method"], response),
        seconds=time.perf_counter() - record.began,
        record=record,
    )


def _shown_size(method: str, response: Response) -> int | None:
    """What Content-Length says, as PostgREST shows it; else the size of the body sent."""
    for name, value in response.headers:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return body_size(method, response)


# --- Apache's combined format -------------------------------------------------------------


def apache_line(entry: Entry) -> str:
    """The line for `entry`, as PostgREST writes it.

    What the client chose can't add lines or fields: quotes, backslashes and what is not
    printable are escaped, as Apache does.
    """
    version = entry.http_version if "." in entry.http_version else f"{entry.http_version}.0"
    role = entry.record.role
    return (
        f"{_address(entry.client)} - {'-' if role is None else _escaped(role.encode())}"
        f" [{_local_time(int(entry.at))}]"
        f' "{entry.method} {_escaped(entry.target)} HTTP/{version}" {entry.status}'
        f" {'-' if entry.size is None else entry.size}"
        f' "{_escaped(entry.referer or b"")}" "{_escaped(entry.user_agent or b"")}"\n'
    )


def _address(client: str | None) -> str:
    """The client's address; none over a Unix socket. IPv4 stays IPv4 on an IPv6 socket."""
    return (client or "-").removeprefix("::ffff:")


@lru_cache(maxsize=4)
def _local_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))


def _escaped(raw: bytes) -> str:
    if _PLAIN.fullmatch(raw):
        return raw.decode()
    return "".join(map(_escaped_character, raw.decode(errors="surrogateescape")))


def _escaped_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    # A byte that is no UTF-8, or a character that is not printable.
    raw = bytes((code - 0xDC00,)) if 0xDC80 <= code <= 0xDCFF else character.encode()
    return "".join(f"\\x{byte:02x}" for byte in raw)


# --- JSON ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the JSON log and what it holds."""

    name: str
    doc: str
    read: Callable[[Entry], Any]


FIELDS: Final = (
    Field("time", "When the response was sent (RFC 3339, UTC).", lambda e: _utc(e.at)),
    Field("client", "The peer's address; null over a Unix socket.", lambda e: e.client),
    Field(
        "app",
        "The app's name; null without `[apps]` in the configuration, or when none was meant.",
        lambda e: e.record.app or None,
    ),
    Field("role", "The database role; null when nobody was let in.", lambda e: e.record.role),
    Field("method", "The request method.", lambda e: e.method),
    Field("path", "The path as it came, percent-encoded.", lambda e: _text(_split(e)[0])),
    Field("query", "The query as it came; null without one.", lambda e: _text(_split(e)[1])),
    Field("protocol", "`1.1`, `2` …", lambda e: e.http_version),
    Field("status", "The status of the response.", lambda e: e.status),
    Field("code", "The error's code, as in the body; null without.", lambda e: e.record.code),
    Field(
        "resource",
        "`table`, `rpc`, `root`, or `other`: refused before that was known.",
        lambda e: e.record.resource,
    ),
    Field("bytes_in", "Bytes of the request's body.", lambda e: e.record.received),
    Field("bytes_out", "Bytes of the response's body.", lambda e: e.size or 0),
    Field(
        "duration_ms",
        "Milliseconds from arrival until the response was sent.",
        lambda e: _milliseconds(e.seconds),
    ),
    Field(
        "wait_ms",
        "Milliseconds of it spent waiting for a database connection.",
        lambda e: _milliseconds(e.record.waited),
    ),
    Field(
        "database_ms",
        "Milliseconds of it spent in the transaction; null without one.",
        lambda e: _milliseconds(e.record.database_time),
    ),
    Field(
        "request_id",
        "The request header that `server-trace-header` names; null without.",
        lambda e: _text(e.request_id),
    ),
    Field(
        "trace_id",
        "The trace's id (W3C, 32 hexadecimal digits); null when tracing is off.",
        lambda e: None if e.record.trace is None else e.record.trace.traceparent[3:35],
    ),
    Field("referer", "The request header; null without.", lambda e: _text(e.referer)),
    Field("user_agent", "The request header; null without.", lambda e: _text(e.user_agent)),
)
SQL_FIELD: Final = "sql"
"""The field that `log-query` adds: the SQL texts, in order."""


def json_line(entry: Entry, *, with_sql: bool = False) -> str:
    """The JSON object for `entry`, on a line; all fields are always there."""
    content = {field.name: field.read(entry) for field in FIELDS}
    if with_sql:
        content[SQL_FIELD] = sql_lines(entry.record.transaction)
    return msgspec.json.encode(content).decode() + "\n"


def _utc(at: float) -> str:
    seconds, rest = divmod(int(at * 1000), 1000)
    return f"{_utc_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _split(entry: Entry) -> tuple[bytes, bytes | None]:
    path, mark, query = entry.target.partition(b"?")
    return path, query if mark else None


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode(errors="backslashreplace")


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


# --- SQL ----------------------------------------------------------------------------------


def sql_lines(transaction: Transaction | None) -> list[str]:
    """The SQL of a transaction, each statement on a line of its own, without its values."""
    if transaction is None:
        return []
    return [_CONTROL.sub(" ", sql).strip() for sql in sql_of(transaction)]


# --- the log ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogRules:
    """What is logged and how; `trace_header` as in `EdgeOptions`."""

    level: LogLevel = "error"
    format: LogFormat = "apache"
    queries: bool = False
    trace_header: bytes | None = None


class AccessLog:
    """Logs requests as `rules` say, which may be replaced at any time."""

    def __init__(self, writer: LineWriter, rules: LogRules) -> None:
        self._writer = writer
        self._rules = rules
        self.lowest_status = LOWEST_STATUS[rules.level]

    @property
    def silent(self) -> bool:
        """Whether no request at all is logged."""
        return self._rules.level == "crit"

    def follow(self, rules: LogRules) -> None:
        """Log as `rules` say from now on."""
        self._rules = rules
        self.lowest_status = LOWEST_STATUS[rules.level]

    def log(self, scope: Any, record: Record, response: Response) -> None:
        """Log a request whose response's status is at least `lowest_status`."""
        rules = self._rules
        entry = entry_of(
            scope, record, response, trace_header=rules.trace_header, at=time.time()
        )
        if rules.format == "json":
            self._writer.write(json_line(entry, with_sql=rules.queries))
            return
        if rules.queries:
            for line in sql_lines(record.transaction):
                logger.info("%s", line)
        self._writer.write(apache_line(entry))
