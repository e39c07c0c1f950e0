"""Fields of an HTTP/2 request in, the request out, if it is one (RFC 9113, 8.2 and 8.3)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from proxy.engines.connection.hpack import Fields
from proxy.engines.connection.http1 import HOST, TOKEN, Malformed

_METHOD: Final = re.compile(TOKEN)
_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]++")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|\A[ \t]|[ \t]\Z")
_PSEUDO: Final = frozenset((b":authority", b":method", b":path", b":scheme"))
_FORBIDDEN: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_WATCHED: Final = frozenset((b"content-length", b"cookie", b"host", b"te"))


class Request(NamedTuple):
    """`headers` begin with Host; `length` is what Content-Length says."""

    method: bytes
    target: bytes
    headers: Fields
    length: int | None


def request_of(fields: Fields) -> Request:
    """The request that `fields` are. Raises `Malformed`."""
    pseudo: dict[bytes, bytes] = {}
    headers: Fields = []
    watched: dict[bytes, list[bytes]] | None = None
    for field in fields:
        name, value = field
        if _BAD_VALUE.search(value) is not None:
            raise Malformed("The value of a header is malformed")
        if name[:1] == b":":
            if headers or watched or name in pseudo or name not in _PSEUDO:
                raise Malformed("A pseudo-header is out of place")
            pseudo[name] = value
        elif name in _WATCHED:
            if watched is None:
                watched = {}
            watched.setdefault(name, []).append(value)
        elif _is_name(name):
            headers.append(field)
        else:
            raise Malformed("The name of a header is malformed")
    method, target = _line_of(pseudo)
    authority, length = pseudo.get(b":authority"), None
    if watched is not None:
        authority, length = _look_at(watched, authority, headers)
    if authority is not None:
        if HOST.fullmatch(authority) is None:
            raise Malformed("The authority names no host")
        headers.insert(0, (b"host", authority))
    return Request(method, target, headers, length)


def _look_at(
    watched: dict[bytes, list[bytes]], authority: bytes | None, headers: Fields
) -> tuple[bytes | None, int | None]:
    """The host, and the body's length; puts among `headers` what belongs there."""
    length = watched.get(b"content-length")
    if length is not None:
        if len(length) > 1 or not length[0].isdigit() or len(length[0]) > 18:
            raise Malformed("Content-Length must be a number")
        headers.append((b"content-length", length[0]))
    if b"cookie" in watched:
        # They may come in pieces (RFC 9113, 8.2.3).
        headers.append((b"cookie", b"; ".join(watched[b"cookie"])))
    for value in watched.get(b"te", ()):
        if value.lower() != b"trailers":
            raise Malformed("The only value of TE that HTTP/2 knows is trailers")
    host = _host(authority, watched.get(b"host"))
    return host, None if length is None else int(length[0])


@lru_cache(maxsize=1024)
def _is_name(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _FORBIDDEN


def _line_of(pseudo: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if method is None or _METHOD.fullmatch(method) is None:
        raise Malformed("The method is malformed")
    if method == b"CONNECT":
        if path is not None or b":scheme" in pseudo or not pseudo.get(b":authority"):
            raise Malformed("CONNECT has an authority, no scheme and no path")
        return method, pseudo[b":authority"]
    if not path or not pseudo.get(b":scheme"):
        raise Malformed("A request has a path and a scheme")
    if _TARGET.fullmatch(path) is None or not (path[:1] == b"/" or path == b"*"):
        raise Malformed("The path is malformed")
    return method, path


def _host(authority: bytes | None, hosts: list[bytes] | None) -> bytes | None:
    if hosts is None:
        return authority
    if len(hosts) > 1 or (authority is not None and authority.lower() != hosts[0].lower()):
        raise Malformed("A request names one host")
    return hosts[0] if authority is None else authority
