"""What a request is: a head or HTTP/2's fields in, a request out, or the reason why not.

Pure functions. A head is matched as a whole, by patterns that cannot backtrack, so that nothing
is let through that is not understood (RFC 9112, 3 to 6; RFC 9113, 8.2 and 8.3). What is let
through although the RFCs have it otherwise, because PostgREST's clients send it: any character
but blanks and controls in a target.
"""

from __future__ import annotations

import base64
import binascii
import re
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from proxy.engines.connection.hpack import Field, Fields
from proxy.errors import ApiError, api_error
from proxy.http.asgi import Scope

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_FIELDS: Final = rb"(?:\r\n" + TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+)*+"
_HEAD: Final = re.compile(
    rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/([0-9])\.([0-9])" + _FIELDS
)
_FIELD: Final = re.compile(rb"\r\n([^:\r]++):[ \t]*+([^\r]*+)")
_TRAILERS: Final = re.compile(_FIELDS)
_METHOD: Final = re.compile(TOKEN)
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+;=:\[\]\x80-\xff]*+")
"""What may name a host (RFC 9110, 7.2), and raw letters of other alphabets."""
_WATCHED: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"transfer-encoding",
        b"upgrade",
    )
)
_MOST_DIGITS: Final = 18
_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]++")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|\A[ \t]|[ \t]\Z")
_PSEUDO: Final = frozenset((b":authority", b":method", b":path", b":scheme"))
_SCHEMES: Final = (b"http", b"https")
_SHORT: Final = 256
"""Bytes of values that are remembered to be sound."""
_FORBIDDEN: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_WATCHED2: Final = frozenset((b"content-length", b"cookie", b"host", b"te"))
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Malformed(Exception):
    """What a peer sent is no request; the response to it."""

    def __init__(self, reason: str, error: ApiError | None = None) -> None:
        super().__init__(reason)
        self.error = error or api_error("EDGE400", message=reason)


class Request(NamedTuple):
    """`length` is what Content-Length says. The rest is HTTP/1.1's: `chunked` and `expects` a
    body that comes in chunks, and after 100; `last`, whether the connection ends with it;
    `upgrades`, to what it would like to change, and `settings`, those of HTTP/2 then."""

    method: bytes
    target: bytes
    headers: Fields
    length: int | None
    version: str = "2"
    chunked: bool = False
    expects: bool = False
    last: bool = False
    upgrades: frozenset[bytes] = frozenset()
    settings: bytes | None = None

    @property
    def has_body(self) -> bool:
        """Whether a body follows, as far as HTTP/1.1 says (RFC 9112, 6.3)."""
        return self.chunked or bool(self.length)


Address = tuple[str, int] | None


def scope_of(request: Request, scheme: str, client: Address, server: Address) -> Scope:
    """ASGI's scope of a request. Raises `Malformed` for a target that is not in UTF-8."""
    raw, _, query = request.target.partition(b"?")
    try:
        path = raw.decode()
        if not query.isascii():
            query.decode()
    except UnicodeDecodeError:
        raise Malformed("The request target is not in UTF-8") from None
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": request.version,
        "method": request.method.decode(),
        "scheme": scheme,
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw,
        "query_string": query,
        "root_path": "",
        "headers": request.headers,
        "client": client,
        "server": server,
    }


@lru_cache(maxsize=2)
def http_date(seconds: int) -> Field:
    """The Date header at so many seconds since 1970."""
    return b"date", formatdate(seconds, usegmt=True).encode()


# --- HTTP/1.1 -----------------------------------------------------------------------------


def check_beginning(part: bytes | bytearray, searched: int, most: int) -> None:
    """Raise `Malformed` for what begins like no head, or as one beyond `most` bytes; the
    first `searched` bytes were looked at before."""
    if len(part) > most:
        raise Malformed("the head is too large", api_error("EDGE431"))
    begin = 2 if part[:2] == b"\r\n" else 0
    known = part[begin : begin + 1] in (b"", b"\r") or _METHOD.match(part, begin, begin + 1)
    if not known or _BARE_LF.search(part, max(0, searched - 1)):
        raise Malformed("That is no HTTP request")


def read_head(data: bytes, begin: int, end: int) -> Request:
    """The request with the head `data[begin:end]`. Raises `Malformed`."""
    match = _HEAD.fullmatch(data, begin, end)
    if match is None:
        line = data[begin:end].partition(b"\r\n")[0]
        what = "request line" if _HEAD.fullmatch(line) is None else "head"
        raise Malformed(f"The {what} is malformed")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Malformed("The version of HTTP is not supported")
    headers: Fields = []
    watched: dict[bytes, list[bytes]] = {}
    for raw, value in _FIELD.findall(data, match.end(4), end):
        name = raw.lower()
        if value[-1:] in (b" ", b"\t"):
            value = value.rstrip(b" \t")  # noqa: PLW2901 - two names would only confuse
        headers.append((name, value))
        if name in _WATCHED:
            watched.setdefault(name, []).append(value)
    recent = minor != b"0"
    _check_host(watched.get(b"host", []), recent)
    chunked, length = _framing(watched, recent)
    if len(watched) < 2 and not chunked and length is None and recent:
        return Request(method, target, headers, None, "1.1")
    connection = _tokens(watched.get(b"connection"))
    upgrades = _tokens(watched.get(b"upgrade")) if b"upgrade" in connection else frozenset()
    # What a proxy passes on without knowing it is no request of the proxy (RFC 7540, 3.2.1).
    to_http2 = b"h2c" in upgrades and b"http2-settings" in connection
    return Request(
        method,
        target,
        headers,
        length,
        "1.1" if recent else "1.0",
        chunked,
        recent and b"100-continue" in _tokens(watched.get(b"expect")),
        not recent or b"close" in connection,
        upgrades,
        _settings_of(watched.get(b"http2-settings")) if to_http2 else None,
    )


def _check_host(hosts: list[bytes], recent: bool) -> None:
    if len(hosts) != 1 and (recent or hosts):
        raise Malformed("A request has exactly one Host header")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise Malformed("The Host header names no host")


def _framing(watched: dict[bytes, list[bytes]], recent: bool) -> tuple[bool, int | None]:
    """Whether the body is in chunks, or else its length (RFC 9112, 6.3)."""
    lengths, codings = watched.get(b"content-length"), watched.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None:
            raise Malformed("The body's length is told in two ways")
        if not recent or len(codings) != 1 or codings[0].lower() != b"chunked":
            raise Malformed("The only Transfer-Encoding that is known is chunked")
        return True, None
    if lengths is None:
        return False, None
    if len(lengths) != 1 or not lengths[0].isdigit():
        raise Malformed("Content-Length must be a number")
    # The application refuses what is so long. Zeros before it make no number longer.
    return False, int(b"0" + lengths[0].lstrip(b"0")[: _MOST_DIGITS + 1])


def end_of_trailers(data: bytes, at: int, most: int) -> int | None:
    """Where the trailers of a chunked body that begin at `at` end; None if not in `data`.

    Raises `Malformed`, also for more than `most` bytes.
    """
    if data[at : at + 2] == b"\r\n":
        return at + 2
    end = data.find(b"\r\n\r\n", at)
    if end >= 0 and _TRAILERS.fullmatch(b"\r\n" + data[at:end]) is not None:
        return end + 4
    if end >= 0 or len(data) - at > most:
        raise Malformed("The trailers of the body are malformed")
    return None


def _tokens(values: list[bytes] | None) -> frozenset[bytes]:
    if values is None:
        return frozenset()
    return frozenset(token.strip() for token in b",".join(values).lower().split(b","))


def _settings_of(values: list[bytes] | None) -> bytes | None:
    """What the header of an upgrade to HTTP/2 says (RFC 7540, 3.2.1); None for nonsense."""
    if values is None or len(values) != 1:
        return None
    try:
        settings = base64.urlsafe_b64decode(values[0] + b"==")
    except (binascii.Error, ValueError):
        return None
    return settings if len(settings) % 6 == 0 else None


# --- HTTP/2 -------------------------------------------------------------------------------


def request_of(fields: Fields) -> Request:
    """The request that `fields` are. Raises `Malformed`."""
    pseudo: dict[bytes, bytes] = {}
    headers: Fields = []
    watched: dict[bytes, list[bytes]] | None = None
    for field in fields:
        name, value = field
        if name[:1] == b":":
            if headers or watched or name in pseudo or name not in _PSEUDO:
                raise Malformed("A pseudo-header is out of place")
            pseudo[name] = value
        else:
            fault = _fault(field) if len(value) < _SHORT else _fault_of(field)
            if fault is not None:
                raise Malformed(fault)
            if name in _WATCHED2:
                if watched is None:
                    watched = {}
                watched.setdefault(name, []).append(value)
            else:
                headers.append(field)
    method, target = _line_of(pseudo)
    authority, length = pseudo.get(b":authority"), None
    if watched is not None:
        authority, length = _look_at(watched, authority, headers)
    if authority is not None:
        if _HOST.fullmatch(authority) is None:
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


def _fault_of(field: Field) -> str | None:
    """What is wrong with a field (RFC 9113, 8.2.1 and 8.2.2)."""
    name, value = field
    if _NAME.fullmatch(name) is None or name in _FORBIDDEN:
        return "The name of a header is malformed"
    if _BAD_VALUE.search(value) is not None:
        return "The value of a header is malformed"
    return None


# Most fields are those of the request before.
_fault = lru_cache(maxsize=4096)(_fault_of)


@lru_cache(maxsize=64)
def _is_method(method: bytes) -> bool:
    return _METHOD.fullmatch(method) is not None


def _line_of(pseudo: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if method is None or not _is_method(method):
        raise Malformed("The method is malformed")
    if method == b"CONNECT":
        if path is not None or b":scheme" in pseudo or not pseudo.get(b":authority"):
            raise Malformed("CONNECT has an authority, no scheme and no path")
        return method, pseudo[b":authority"]
    if not path or pseudo.get(b":scheme") not in _SCHEMES:
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
