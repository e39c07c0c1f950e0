"""One call of the database as a value, and the HTTP request it becomes.

In: what a query was built of. Out: method, target, headers and body. Nothing here knows of
connections, tokens or time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import quote

from edge_client.literals import json_text

Shape = Literal["rows", "maybe", "json", "text"]
"""How the answer's body is read. `maybe`: rows, of which there may be one at most."""
Params = tuple[tuple[str, str], ...]

SINGULAR: Final = "application/vnd.pgrst.object"
"""How the media types begin that stand for one row by itself."""
_IN_VALUES: Final = "*(),.:!@$-_~/"
_RETURN: Final = "return"
_NO_BODY: Final = object()


@dataclass(frozen=True, slots=True)
class Operation:
    """A call of the database.

    `prefer` maps preferences to their values. `repeatable`: doing it twice is as good as
    doing it once. `reads`: it changes nothing, so it may be cached and sent as a QUERY.
    """

    method: Literal["GET", "HEAD", "POST", "PATCH", "DELETE"]
    path: str
    params: Params = ()
    body: Any = _NO_BODY
    schema: str | None = None
    accept: str = "application/json"
    prefer: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    shape: Shape = "rows"
    repeatable: bool = False
    timeout: float | None = None

    @property
    def reads(self) -> bool:
        return self.method in ("GET", "HEAD")

    @property
    def has_body(self) -> bool:
        return self.body is not _NO_BODY

    def adding(self, name: str, value: str) -> Operation:
        """With one more parameter."""
        return replace(self, params=(*self.params, (name, value)))

    def setting(self, name: str, value: str | None) -> Operation:
        """With the parameter `name` once; None leaves it out."""
        others = tuple(pair for pair in self.params if pair[0] != name)
        return replace(self, params=others if value is None else (*others, (name, value)))

    def param(self, name: str) -> str | None:
        return next((value for key, value in self.params if key == name), None)

    def preferring(self, **preferences: str | None) -> Operation:
        """With these preferences (`_` for `-`); None takes one away."""
        given = {name.replace("_", "-"): value for name, value in preferences.items()}
        merged = dict(self.prefer) | given
        kept = ((name, value) for name, value in merged.items() if value is not None)
        return replace(self, prefer=tuple(kept))


@dataclass(frozen=True, slots=True)
class Request:
    """What goes over the wire; `target` is path and query, `body` None when there is none."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def query_string(params: Iterable[tuple[str, str]]) -> str:
    """The parameters, percent-encoded as UTF-8."""
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in params)


def _encoded(text: str) -> str:
    return _short(text) if len(text) < 64 else quote(text, safe=_IN_VALUES)


@lru_cache(maxsize=512)
def _short(text: str) -> str:
    return quote(text, safe=_IN_VALUES)


def table_path(name: str) -> str:
    """The path of a table or view."""
    return f"/{quote(name, safe='')}"


def function_path(name: str) -> str:
    """The path of a function."""
    return f"/rpc/{quote(name, safe='')}"


def request_of(operation: Operation) -> Request:
    """The request of `operation`, as a short enough one is sent."""
    headers = {"accept": operation.accept, **dict(operation.headers)}
    if operation.prefer:
        headers["prefer"] = ", ".join(f"{name}={value}" for name, value in operation.prefer)
    if operation.schema is not None:
        profile = "accept-profile" if operation.reads else "content-profile"
        headers[profile] = operation.schema
    body = None
    if operation.has_body:
        body = json_text(operation.body)
        headers["content-type"] = "application/json"
    query = query_string(operation.params)
    target = f"{operation.path}?{query}" if query else operation.path
    return Request(operation.method, target, headers, body)


LongReads = Literal["query", "post"]
FORM: Final = "application/x-www-form-urlencoded"
QUERY_TYPE: Final = "application/vnd.edgerest.query"


def as_long_read(request: Request, way: LongReads) -> Request:
    """A GET whose query string travels as the body.

    `query`: HTTP's QUERY method. `post`: a POST for paths that only let the old methods
    through; its media type tells what it is, and makes servers that don't know it refuse
    what they would otherwise take for an insert.
    """
    path, _, query = request.target.partition("?")
    method, media_type = ("QUERY", FORM) if way == "query" else ("POST", QUERY_TYPE)
    headers = {**request.headers, "content-type": media_type}
    return Request(method, path, headers, query.encode("ascii"))
