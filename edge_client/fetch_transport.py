"""httpx on the platform's own `fetch`, for Python in WebAssembly (Pyodide).

There are no sockets there: browsers, PyScript, JupyterLite and Cloudflare's Python Workers
have `fetch` alone. In: httpx requests. Out: httpx responses, their bodies as they come; a
call that is cancelled or late aborts its `fetch`, so that the server hears of it.

`AsyncEdgeClient` uses it there by itself. Importing it anywhere else is an ImportError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final

import httpx
import js
from pyodide.ffi import JsException, to_js

_FETCH_DECIDES: Final = frozenset(
    (
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "user-agent",
    )
)
"""Request headers that fetch sets itself, and refuses or ignores from others."""
_UNDONE_BY_FETCH: Final = frozenset(("content-encoding", "content-length", "transfer-encoding"))
"""Response headers about bytes that fetch has decoded already."""
_NEVER_CONNECTED: Final = frozenset(
    (
        "ECONNREFUSED",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "ENOTFOUND",
        "EAI_AGAIN",
        "UND_ERR_CONNECT_TIMEOUT",
    )
)
"""What Node tells as the cause; other platforms give none, so there all may be done."""


class FetchTransport(httpx.AsyncBaseTransport):
    """Sends by `fetch`: `httpx.AsyncClient(transport=FetchTransport())`.

    Heeds httpx's read timeout, in seconds, for the headers and for each piece of a body.
    Raises httpx's exceptions: `ReadTimeout`, `ConnectError` where the platform says that
    there was no connection, `ReadError` for all else that fails.

    Redirects are not followed. A browser does not tell what they say: such an answer has the
    status 0 and no headers (Fetch standard, "opaque-redirect filtered response").
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        abort = js.AbortController.new()
        seconds = request.extensions.get("timeout", {}).get("read")
        body = await request.aread()
        headers = [
            (name, value)
            for name, value in request.headers.multi_items()
            if name not in _FETCH_DECIDES
        ]
        options = {
            "method": request.method,
            "headers": to_js(headers),
            "signal": abort.signal,
            # Else fetch itself would send headers and body on, to wherever the answer says.
            "redirect": "manual",
        }
        if body:
            options["body"] = to_js(body)
        answer = await _step(js.fetch(str(request.url), **options), abort, seconds)
        return httpx.Response(
            answer.status,
            headers=[
                (name, value)
                for name, value in answer.headers.entries()
                if name not in _UNDONE_BY_FETCH
            ],
            stream=_Body(answer.body, abort, seconds),
        )


class _Body(httpx.AsyncByteStream):
    """A response's body; `body` is a ReadableStream, or null where there is none."""

    def __init__(self, body: Any, abort: Any, seconds: float | None) -> None:
        self._body = body
        self._abort = abort
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not self._body:
            return
        reader = self._body.getReader()
        while True:
            piece = await _step(reader.read(), self._abort, self._seconds)
            if piece.done:
                return
            yield piece.value.to_bytes()

    async def aclose(self) -> None:
        # Tells the server of an answer that was not read to its end; else without effect.
        self._abort.abort()


async def _step(promise: Awaitable[Any], abort: Any, seconds: float | None) -> Any:
    try:
        return await asyncio.wait_for(promise, seconds)
    except TimeoutError as error:
        abort.abort()
        raise httpx.ReadTimeout("nothing came in time") from error
    except asyncio.CancelledError:
        abort.abort()
        raise
    except JsException as error:
        cause = getattr(getattr(error.js_error, "cause", None), "code", None)
        kind = httpx.ConnectError if cause in _NEVER_CONNECTED else httpx.ReadError
        raise kind(f"{error} ({cause})" if cause else str(error)) from error
