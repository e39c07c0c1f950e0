"""The response to a request that failed: `ApiError` in, `Response` out."""

from __future__ import annotations

from proxy.errors import ApiError, Verbosity
from proxy.request.model import Headers
from proxy.response.gucs import with_overriding
from proxy.response.model import NO_STORE, Response


def error_response(error: ApiError, verbosity: Verbosity = "verbose") -> Response:
    """`error` as PostgREST writes errors; `minimal` leaves out details and hint.

    The code may come from the database (SQLSTATE 'PGRST'): what a header can't carry is
    left out of Proxy-Status. Headers that SQL chose win over ours by name.
    """
    body = error.body(verbosity)
    code = "".join(c for c in error.code if " " <= c <= "~")
    own: Headers = (
        # A cache may keep a 300, 404, 405, 410, 414 or 501 that says nothing (RFC 9111, 4.2.2).
        NO_STORE,
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"proxy-status", b"PostgREST; error=" + code.encode()),
    )
    headers = with_overriding(own, error.headers)
    return Response(error.status, headers, body, error.reason)
