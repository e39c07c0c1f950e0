"""The head of a response as it goes out, whoever has made it.

In: a response and the request's scope. Out: its header lines, safe to send, to keep and to
pass on: no line that HTTP can't carry or that belongs to a connection, Vary in one line, and
a Cache-Control always. What comes of names alone is worked out once for all responses with
the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from proxy.cache.headers import vary_line
from proxy.http.asgi import Scope
from proxy.http.cors import CorsPolicy, response_headers
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
_LENGTH: Final = b"content-length"
_PLAIN_RANGE: Final = re.compile(rb"(?:[0-9]+-[0-9]+|\*)/(?:[0-9]+|\*)")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


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
    lines = response.headers
    shape = _shape_of(tuple([name for name, _ in lines]))
    if _BAD_VALUE.search(b"\t".join([value for _, value in lines])) is not None:
        bad = next(name for name, value in lines if _BAD_VALUE.search(value))
        raise ValueError(f"the value of header {bad!r}")
    headers = [(name, line[1]) for name, line in zip(shape.names, lines, strict=True) if name]
    if response.status in BODILESS:
        if shape.measured:
            # The body, if there was one, is not sent; SQL has chosen the status.
            headers = [line for line in headers if line[0] != _LENGTH]
    elif not (shape.measured or scope["method"] == "HEAD" or response.stream is not None):
        headers.append((_LENGTH, b"%d" % len(response.body)))
    varies = tuple([lines[at][1] for at in shape.varies])
    added = response_headers(options.cors, scope["method"], scope["headers"])
    headers += _ending(varies, added, shape.told)
    if options.content_range != "plain":
        headers = _with_ranges_as(options.content_range, headers)
    if options.trace_header is not None:
        traced = next((v for name, v in scope["headers"] if name == options.trace_header), b"")
        headers.append((options.trace_header, traced))
    return headers


class _Shape(NamedTuple):
    """What comes of a response's header names: in lower case, empty for what does not go out
    as it is; at which `varies` are; those of `_ONCE` that are `told`; whether it is
    `measured`, by a Content-Length."""

    names: tuple[bytes, ...]
    varies: tuple[int, ...]
    told: frozenset[bytes]
    measured: bool


@lru_cache(maxsize=512)
def _shape_of(names: tuple[bytes, ...]) -> _Shape:
    """Raises `ValueError` for a name that is no token."""
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"the header name {name!r}")
    lower = [name.lower() for name in names]
    return _Shape(
        tuple(
            b"" if name == b"vary" or name in _CONNECTION_HEADERS else name for name in lower
        ),
        tuple(at for at, name in enumerate(lower) if name == b"vary"),
        _ONCE.intersection(lower),
        _LENGTH in lower,
    )


@lru_cache(maxsize=512)
def _ending(varies: tuple[bytes, ...], added: Headers, told: frozenset[bytes]) -> Headers:
    """What follows a response's own lines: Vary in one line, and what we add to those that
    were `told`."""
    varies = (*varies, *(value for name, value in added if name == b"vary"))
    ours = [line for line in (*added, NO_STORE) if line[0] in _ONCE - told]
    return (*((vary_line(varies),) if varies else ()), *ours)


def _with_ranges_as(form: ContentRange, headers: Lines) -> Lines:
    """`headers` with Content-Range in another form than PostgREST's; one that is not in that
    form SQL has chosen."""
    return [
        (name, b"items " + value if plain else value)
        for name, value in headers
        for plain in [name == b"content-range" and _PLAIN_RANGE.fullmatch(value) is not None]
        if form == "items" or not plain
    ]
