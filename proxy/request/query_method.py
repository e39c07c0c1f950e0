"""HTTP's QUERY method: a read whose query string is too long for a URL (docs/long-queries.md).

In: a request as it came. Out: the same request with the query string of its body behind
the one of its URL, so that everything after this sees one query string. What QUERY means
is in draft-ietf-httpbis-safe-method-w-body: safe, idempotent, cacheable, as GET is.

For paths that refuse methods they don't know, a POST with the media type
`application/vnd.edgerest.query` is a QUERY too. It takes that type, and not a header,
because a server that knows neither must not take the POST for an insert: PostgREST
refuses the type.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from proxy.errors import ApiError, api_error
from proxy.request.headers import header_values
from proxy.request.model import HttpRequest

QUERY: Final = "QUERY"
MAX_QUERY: Final = 256 * 1024
"""Bytes of a query string in a body: 6,000 UUIDs. Reading the slowest text of that size
takes about as long as that of the longest URL, while `server-max-body` may be any size."""
MAX_PARAMETERS: Final = 2_000
"""Parameters of such a query string; long ones are long because of their values."""

_MEDIA_TYPE: Final = b"application/vnd.edgerest.query"
_FORM: Final = b"application/x-www-form-urlencoded"


def check_announced(head: HttpRequest, length: int) -> None:
    """Raise what `with_query_of_body` will, if that is clear before its body has come: a QUERY
    whose head, which is `head`, announces `length` bytes."""
    if length:
        media_type = _media_type(head)
        if media_type not in (_MEDIA_TYPE, _FORM):
            raise api_error("EDGE415")
        if length > MAX_QUERY:
            raise _too_long()


def with_query_of_body(request: HttpRequest) -> HttpRequest:
    """`request`, as a QUERY with its whole query string in `query` if it is one.

    Raises `ApiError` EDGE415 for a QUERY with a body of another type, EDGE413 for one
    whose query string has too many bytes or parameters.
    """
    if request.method not in (QUERY, "POST"):
        return request
    media_type = _media_type(request)
    if request.method == "POST" and media_type != _MEDIA_TYPE:
        return request
    if request.body and media_type not in (_MEDIA_TYPE, _FORM):
        raise api_error("EDGE415")
    if len(request.body) > MAX_QUERY:
        raise _too_long()
    if request.body.count(b"&") + request.body.count(b";") >= MAX_PARAMETERS:
        details = f"The limit for a QUERY is {MAX_PARAMETERS} parameters"
        raise api_error("EDGE413", details=details)
    query = b"&".join(part for part in (request.query, request.body) if part)
    return replace(request, method=QUERY, query=query, body=b"")


def as_read(request: HttpRequest) -> HttpRequest | None:
    """`request` as a GET, HEAD or QUERY; None when it is something else, or wrong."""
    if request.method in ("GET", "HEAD"):
        return request
    try:
        read = with_query_of_body(request)
    except ApiError:
        return None
    return read if read.method == QUERY else None


def as_get(request: HttpRequest) -> HttpRequest:
    """The GET that a HEAD stands for, which is without a range (RFC 9110, section 14.2); any
    other request as it is."""
    if request.method != "HEAD":
        return request
    headers = request.headers
    if b"range" in dict(headers):
        headers = tuple([header for header in headers if header[0] != b"range"])
    return replace(request, method="GET", headers=headers)


def _too_long() -> ApiError:
    return api_error("EDGE413", details=f"The limit for a QUERY is {MAX_QUERY} bytes")


def _media_type(request: HttpRequest) -> bytes:
    said = header_values(request.headers, (b"content-type",))
    return said.get(b"content-type", b"").partition(b";")[0].strip().lower()
