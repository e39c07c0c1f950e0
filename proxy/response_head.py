"""The head of a response as it goes out, whoever has made it.

In: a response and the request's scope. Out: its header lines, safe to send, to keep and to
pass on: no line that HTTP can't carry or that belongs to a connection, Vary in one line, and
a Cache-Control always.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Protocol

from proxy.asgi import Scope
from proxy.cache.headers import vary_line
from proxy.cors import CorsPolicy, response_headers
from proxy.request.model import Headers
from proxy.response.model import BODILESS, NO_STORE, ContentRange, Response

Lines = list[tuple[bytes, bytes]]

_ONCE: Final = frozenset(
    (
        b"access-control-allow-credentials",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"cache-control",
    )
)
"""Headers of which a response's own lines stand in place of ours."""
_CONNECTION_HEADERS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_WATCHED: Final = _ONCE | _CONNECTION_HEADERS | {b"content-length", b"content-range", b"vary"}
"""The headers of a response that are looked at; those of the connection go no further."""
_PLAIN_RANGE: Final = re.compile(rb"(?:[0-9]+-[0-9]+|\*)/(?:[0-9]+|\*)")
_HEADER_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_HEADER_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class HeadOptions(Protocol):
    """What the edge's options say of heads."""

    @property
    def cors(self) -> CorsPolicy: ...

    @property
    def trace_header(self) -> bytes | None: ...

    @property
    def content_range(self) -> ContentRange: ...


def wire_headers(scope: Scope, response: Response, options: HeadOptions) -> Lines:
    """The headers as they go out: names in lower case, Content-Length, CORS and Cache-Control
    added where they are missing, Vary in one line.

    Raises `ValueError` for a name, value or status that HTTP can't carry (the database may
    set headers): sending it would break the connection or smuggle in another header.
    """
    if not 200 <= response.status <= 999:
        raise ValueError(f"status {response.status}")
    headers: Lines = []
    if options.trace_header is not None:
        traced = next((v for name, v in scope["headers"] if name == options.trace_header), b"")
        headers.append((options.trace_header, traced))
    watched: Lines = []
    for raw_name, value in response.headers:
        name = _header_name(raw_name)
        if _BAD_HEADER_VALUE.search(value):
            raise ValueError(f"the value of header {raw_name!r}")
        (watched if name in _WATCHED else headers).append((name, value))
    added = response_headers(options.cors, scope["method"], scope["headers"])
    headers += _of_watched(watched, added, options.content_range)
    # SQL has chosen the status: the body, if there was one, is not sent.
    if response.status not in BODILESS:
        length = [line for line in watched if line[0] == b"content-length"]
        if not length and scope["method"] != "HEAD":
            length = [(b"content-length", b"%d" % len(response.body))]
        headers += length
    return headers


def _of_watched(watched: Lines, added: Headers, form: ContentRange) -> Lines:
    """The lines that come of those that are looked at, which win over `added` by name."""
    headers: Lines = []
    ours = _ONCE - {name for name, _ in watched}
    varies = [value for name, value in (*watched, *added) if name == b"vary"]
    for name, value in watched:
        if name in _ONCE:
            headers.append((name, value))
        elif name == b"content-range":
            headers += _content_range(value, form)
    headers += [line for line in (*added, NO_STORE) if line[0] in ours]
    if varies:
        headers.append(vary_line(tuple(varies)))
    return headers


def _content_range(value: bytes, form: ContentRange) -> Lines:
    """The line as `form` has it; what is not as PostgREST writes it, SQL has chosen."""
    if form == "plain" or _PLAIN_RANGE.fullmatch(value) is None:
        return [(b"content-range", value)]
    return [(b"content-range", b"items " + value)] if form == "items" else []


@lru_cache(maxsize=1024)
def _header_name(name: bytes) -> bytes:
    """`name` in lower case. Raises `ValueError` when it is no token."""
    if _HEADER_NAME.fullmatch(name) is None:
        raise ValueError(f"the header name {name!r}")
    return name.lower()
