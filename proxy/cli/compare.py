"""`edgerest compare`: the same requests to two servers, and what they answer otherwise.

In: two addresses and the text of a file of requests, as editors and REST clients know it: a
line of method and target, headers, an empty line, a body; `###` begins the next. Out: a
sentence for each difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import httpx

_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
)
_VERSION: Final = re.compile(r"(?<!\s)\s++HTTP/[0-9.]+\Z")
_NOT_COMPARED: Final = frozenset(
    "age alt-svc cache-status connection content-encoding content-length date etag expires"
    " keep-alive proxy-status server server-timing transfer-encoding via x-request-id".split()
)
"""Headers that tell of the server, the connection or the moment."""
_SHOWN: Final = 80
"""Characters of a value that are shown."""


class RequestsError(Exception):
    """The file of requests can't be read; says where and why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: `target` is path and query."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


def read_requests(text: str) -> list[Asked]:
    """The requests of a file. Raises RequestsError."""
    found: list[Asked] = []
    block: list[tuple[int, str]] = []
    for number, line in enumerate((*text.splitlines(), "###"), 1):
        if line.startswith("###"):
            if block:
                found.append(_request(block))
            block = []
        elif block or (line.strip() and not line.startswith(("#", "//"))):
            block.append((number, line))
    if not found:
        raise RequestsError("there is no request in the file")
    return found


def _request(numbered: Sequence[tuple[int, str]]) -> Asked:
    number, first = numbered[0]
    method, _, target = first.strip().partition(" ")
    if method not in _METHODS or not target.startswith("/"):
        raise RequestsError(f"line {number}: write a method and a path: GET /items?id=eq.1")
    headers, place = [], 1
    for number, line in numbered[1:]:
        place += 1
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if not colon or not line.isascii():
            raise RequestsError(
                f"line {number}: write a header, in ASCII, e.g. Accept: text/csv"
            )
        headers.append((name.strip(), value.strip()))
    body = "\n".join(line for _, line in numbered[place:]).strip()
    return Asked(method, _VERSION.sub("", target), tuple(headers), body)


def answers(
    url: str, asked: Sequence[Asked], headers: Sequence[tuple[str, str]], timeout: float
) -> Iterator[httpx.Response | str]:
    """What the server at `url` says to each, or why nothing."""
    with httpx.Client(timeout=timeout, headers=list(headers)) as client:
        for each in asked:
            try:
                yield client.request(
                    each.method,
                    url.rstrip("/") + each.target,
                    headers=list(each.headers),
                    content=each.body.encode() or None,
                )
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                yield f"no answer: {str(error) or type(error).__name__}"


def differences(one: httpx.Response | str, other: httpx.Response | str) -> Iterator[str]:
    """What is not the same, a line each: `what: one | other`."""
    if isinstance(one, str) or isinstance(other, str):
        texts = [
            each if isinstance(each, str) else str(each.status_code) for each in (one, other)
        ]
        if texts[0] != texts[1]:
            yield _line("answer", *texts)
        return
    if one.status_code != other.status_code:
        yield _line("status", one.status_code, other.status_code)
    names = sorted({*one.headers, *other.headers} - _NOT_COMPARED)
    for name in names:
        values = one.headers.get(name, "(none)"), other.headers.get(name, "(none)")
        if values[0].replace(" ", "") != values[1].replace(" ", ""):
            yield _line(name, *values)
    yield from _bodies(one, other)


def _bodies(one: httpx.Response, other: httpx.Response) -> Iterator[str]:
    if one.content == other.content:
        return
    try:
        values = json.loads(one.content), json.loads(other.content)
        place = first_difference(*values)
    except (ValueError, RecursionError):
        yield _line("body", one.text or "(none)", other.text or "(none)")
        return
    if place is not None:
        path, *pair = place
        yield _line(f"body{path}", *(_told(each) for each in pair))


_MISSING: Final = object()


def first_difference(one: Any, other: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Where two JSON values differ first, and what is there; None where they don't."""
    pairs: Iterator[tuple[str, Any, Any]]
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = (
            (f".{name}", one.get(name, _MISSING), other.get(name, _MISSING))
            for name in dict.fromkeys((*one, *other))
        )
    elif isinstance(one, list) and isinstance(other, list):
        zipped = zip_longest(one, other, fillvalue=_MISSING)
        pairs = ((f"[{place}]", *pair) for place, pair in enumerate(zipped))
    elif one == other and isinstance(one, bool) == isinstance(other, bool):
        return None
    else:
        return path, one, other
    found = (first_difference(left, right, path + step) for step, left, right in pairs)
    return next((each for each in found if each is not None), None)


def _told(value: Any) -> str:
    return "(none)" if value is _MISSING else json.dumps(value, ensure_ascii=False)


def _line(what: str, *values: object) -> str:
    texts = (str(value).replace("\n", "\\n") for value in values)
    shown = (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…" for text in texts)
    return f"{what}: {' | '.join(shown)}"
