"""The hot path: one ASGI request in, one response out, nothing in between but `answer`.

In: an ASGI `http` scope. Out: the response that `answer(HttpRequest)` returns. The whole
body is read before `answer` runs and the database connection is long given back when the
response is sent, so neither a slow sender nor a slow reader costs a connection.

When the client goes away while `answer` runs, the task running it is cancelled, and with
it the query. Watching for that takes a task, so it only begins after `WATCH_DELAY`: a
request that is done sooner never pays for it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, Protocol

from proxy.cache.replay import Replay, Replays
from proxy.cors import CorsPolicy, preflight, response_headers
from proxy.docs_page.model import DocsPage
from proxy.errors import ApiError, Verbosity, api_error
from proxy.record import Record
from proxy.request.model import Headers, HttpRequest
from proxy.response.errors import error_response
from proxy.response.model import BODILESS, Response
from proxy.routing import length_of_prefix
from proxy.waits import Limit, waits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = Callable[[HttpRequest, Record], Awaitable[Response]]

logger = logging.getLogger(__name__)

WATCH_DELAY: Final = 0.05
"""Seconds until a request counts as slow and its client's departure is watched for.

Beyond what requests take at a server that is just busy: at 10 ms, with 64 at a time, watching
was a tenth of Granian's work."""
CHUNK: Final = 64 * 1024
"""Bytes of a large body per ASGI message: the server pauses us between two of them."""
WHOLE: Final = 4 * CHUNK
"""Bytes up to which a body goes out in one message."""
LINGER: Final = 2.0
"""Seconds that the rest of a refused body is read and dropped, so that closing the
connection or resetting the stream does not wipe out the refusal before the client, which
may send its whole body first, has read it."""

_NO_BODY: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}
_BODY_HEADERS: Final = frozenset((b"content-length", b"transfer-encoding"))
_CONNECTION_HEADERS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_HEADER_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_HEADER_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ABSOLUTE_FORM: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_BODILESS_METHODS: Final = frozenset(("GET", "HEAD"))
_FRAMED_VERSIONS: Final = frozenset(("2", "3"))
_ANY_METHOD: Final = b"OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may cost: sizes in bytes, times in seconds.

    `max_url` covers path and query, `max_header` all names and values together.
    `body_timeout` is for the whole body to arrive, `send_timeout` for the client to take
    the next piece of the response.
    """

    max_url: int = 64 * 1024
    max_header: int = 64 * 1024
    max_body: int = 10 * 1024 * 1024
    body_timeout: float = 30.0
    send_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What the edge does besides passing requests on; swapped whole on a reload.

    `trace_header` (lower case) is echoed from the request into the response; `docs` is where
    a docs page is, if there is one. `path_prefix` is what paths begin with and is taken off.
    """

    limits: Limits = field(default_factory=Limits)
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    trace_header: bytes | None = None
    docs: DocsPage | None = None
    path_prefix: bytes = b""
    verbosity: Verbosity = "verbose"


class Observer(Protocol):
    """Who is told of requests: logs, metrics, traces. Its methods must not raise."""

    def began(self, scope: Scope, record: Record) -> None:
        """A request has arrived."""

    def ended(self, scope: Scope, record: Record, response: Response | None) -> None:
        """The response was sent; None when it was not, because the client went away."""


class ClientGone(Exception):
    """The client closed the connection or reset the stream; nobody waits for an answer."""


class DataPlane:
    """The ASGI 3 application of the hot path.

    `answer` returns a `Response` also for failures that it foresees. WebSockets are
    refused. `observer` may be set at
    any time. `app` is the name that requests are recorded under. `replays` has the answers
    that can be given without `answer`.
    """

    def __init__(
        self,
        answer: Answer,
        options: EdgeOptions | None = None,
        *,
        app: str = "",
        replays: Replays | None = None,
    ) -> None:
        self.answer = answer
        self.replays = replays
        self.options = options or EdgeOptions()
        self.app = app
        self.observer: Observer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            observer = self.observer
            if observer is None:
                await self._serve(scope, receive, send, Record(app=self.app))
            else:
                await self._serve_observed(scope, receive, send, observer)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"unsupported ASGI scope {scope['type']!r}")

    async def _serve_observed(
        self, scope: Scope, receive: Receive, send: Send, observer: Observer
    ) -> None:
        record, response = Record(app=self.app), None
        observer.began(scope, record)
        try:
            response = await self._serve(scope, receive, send, record)
        finally:
            observer.ended(scope, record, response)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, record: Record
    ) -> Response | None:
        """Answer the request; the response that was sent, None when the client has gone."""
        options, replays = self.options, self.replays
        if replays is not None:
            found = replays.find(scope, options, record)
            if found is not None:
                return await _send_found(send, *found, options.limits.send_timeout)
        unread = True
        try:
            try:
                request, response = read_head(scope, options)
                if response is None:
                    body = await read_body(scope, receive, options.limits)
                    unread = False
                    if body:
                        record.received = len(body)
                        request = HttpRequest(
                            request.method, request.path, request.query, request.headers, body
                        )
                    response = await self._watched_answer(request, receive, record)
            except ApiError as error:
                record.code = error.code
                response = error_response(error, options.verbosity)
                # Nothing more is to be expected of a body that did not arrive in time.
                unread = unread and error.code != "EDGE408"
            unread = unread and has_body(scope)
            sent = await send_response(scope, receive, send, response, options, unread=unread)
        except ClientGone:
            return None
        if replays is not None and sent is response:
            self._remember(replays, response, scope, options)
        if sent is not response:
            record.code = "PGRSTX00"
        return sent

    def _remember(
        self, replays: Replays, response: Response, scope: Scope, options: EdgeOptions
    ) -> None:
        replay = response.replay
        if isinstance(replay, Replay) and response.reason is None:
            bodiless = scope["method"] == "HEAD" or response.status in BODILESS
            headers = wire_headers(scope, response, options)
            body = b"" if bodiless else response.body
            replays.keep(scope, options, replay, response.status, headers, body)

    async def _watched_answer(
        self, request: HttpRequest, receive: Receive, record: Record
    ) -> Response:
        """`answer(request)`, cancelled when the client goes away meanwhile.

        Raises `ClientGone` then. Any exception it did not foresee becomes a 500.
        """
        watch = _DisconnectWatch(receive)
        try:
            response = await self.answer(request, record)
        except asyncio.CancelledError:
            if watch.client_gone:
                watch.task.uncancel()
                raise ClientGone from None
            raise
        except Exception:
            logger.exception("Unexpected error while answering %s", request.method)
            record.code = "PGRSTX00"
            response = error_response(api_error("PGRSTX00"), self.options.verbosity)
        finally:
            watch.stop()
        if watch.client_gone:
            # The cancellation was swallowed on the way, or came a moment too late.
            watch.task.uncancel()
            raise ClientGone
        return response


class _DisconnectWatch:
    """Cancels the current task when `http.disconnect` arrives, from `WATCH_DELAY` on."""

    __slots__ = ("_receive", "_waits", "_watcher", "client_gone", "task")

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None  # ASGI servers run applications in tasks
        self.task = task
        self.client_gone = False
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._waits = waits(task.get_loop(), WATCH_DELAY)
        self._waits.begin(self)

    def late(self) -> None:
        """The request has become a slow one."""
        self._watcher = self.task.get_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        self.task.cancel()

    def stop(self) -> None:
        self._waits.end(self)
        if self._watcher is not None:
            self._watcher.cancel()
            # A cancelled task keeps the traceback, which leads back here: kept here, each
            # slow request would be left to the garbage collector.
            self._watcher = None


# --- the request ------------------------------------------------------------------------


def read_head(scope: Scope, options: EdgeOptions) -> tuple[HttpRequest, Response | None]:
    """The request without its body, and its answer where the edge itself knows it.

    Raises `ApiError` EDGE414, EDGE431 or EDGE400.
    """
    limits = options.limits
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    method: str = scope["method"]
    headers: Headers = tuple([(name, value) for name, value in scope["headers"]])
    if len(path) + len(query) + 1 > limits.max_url:
        raise api_error("EDGE414", details=f"The limit is {limits.max_url} bytes")
    if sum([len(name) + len(value) for name, value in headers]) > limits.max_header:
        raise api_error("EDGE431", details=f"The limit is {limits.max_header} bytes")
    if not path.startswith(b"/"):
        if path == b"*" and method == "OPTIONS":
            # Asked of the server as a whole (RFC 9110, 9.3.7), not of a resource.
            about = Response(200, ((b"allow", _ANY_METHOD),))
            return HttpRequest(method, path, query, headers), about
        absolute = _ABSOLUTE_FORM.match(path)
        if absolute is None:
            raise api_error("EDGE400", message="The request target must be a path")
        path = path[absolute.end() :] or b"/"
    if options.path_prefix:
        path = path[length_of_prefix(options.path_prefix, path) or 0 :]
        path = path if path.startswith(b"/") else b"/" + path
    request = HttpRequest(method, path, query, headers)
    return request, preflight(options.cors, method, headers)


def place_of(scope: Scope) -> tuple[bytes, bytes] | None:
    """The host that a request names, and its path; None when it has several Host headers,
    of which whoever passed it on may have gone by another than we would.

    A target in absolute form names both, whatever the Host header says (RFC 9112, 3.2.2).
    """
    path: bytes = scope["raw_path"]
    if not path.startswith(b"/"):
        absolute = _ABSOLUTE_FORM.match(path)
        if absolute is not None:
            authority = absolute[0].partition(b"://")[2].rpartition(b"@")[2]
            return authority, path[absolute.end() :] or b"/"
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return None
    return hosts[0] if hosts else b"", path


def has_body(scope: Scope) -> bool:
    """Whether a body may follow: HTTP/1 says so in the head, HTTP/2 only by ending the
    stream. To ask whether it has costs a read nearly as much as its answer, so what a GET
    carries over HTTP/2 without a word in the head, and would mean nothing, is not looked at.
    """
    if scope["http_version"] in _FRAMED_VERSIONS and scope["method"] not in _BODILESS_METHODS:
        return True
    return any(name in _BODY_HEADERS for name, _ in scope["headers"])


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """The whole body, empty when there is none.

    Raises `ApiError` EDGE413, EDGE408 or EDGE400, and `ClientGone`.
    """
    measured = chunked = False
    for name, value in scope["headers"]:
        chunked |= name == b"transfer-encoding"
        if name == b"content-length":
            measured = True
            if not value.isdigit():
                raise api_error("EDGE400", message="Content-Length must be a number")
            if len(value) > 18 or int(value) > limits.max_body:
                raise _body_too_large(limits)
    if measured and chunked:
        # Someone in between may believe the length (RFC 9112, 6.1).
        raise api_error("EDGE400", message="The body's length is told in two ways")
    if not has_body(scope):
        return b""
    try:
        with Limit(limits.body_timeout):
            message = await receive()
            if message == _NO_BODY:
                return b""
            return await _collected(message, receive, limits)
    except TimeoutError:
        details = f"The limit is {limits.body_timeout:g} seconds"
        raise api_error("EDGE408", details=details) from None


async def _collected(message: Message, receive: Receive, limits: Limits) -> bytes:
    # Collected in place: joining a list of pieces would hold the body twice.
    body = BytesIO()
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        chunk = message.get("body", b"")
        if body.tell() + len(chunk) > limits.max_body:
            raise _body_too_large(limits)
        body.write(chunk)
        if not message.get("more_body", False):
            return body.getvalue()
        message = await receive()


def _body_too_large(limits: Limits) -> ApiError:
    return api_error("EDGE413", details=f"The limit is {limits.max_body} bytes")


# --- the response -----------------------------------------------------------------------


async def _send_found(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, seconds: float
) -> Response | None:
    """Send an answer as it was sent before; None when the client does not take it."""
    try:
        with Limit(seconds):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send(_piece(body, more=False))
    except TimeoutError:
        return None
    return Response(status, tuple(headers), body)


async def send_response(
    scope: Scope,
    receive: Receive,
    send: Send,
    response: Response,
    options: EdgeOptions,
    *,
    unread: bool = False,
) -> Response:
    """Send `response`; `unread` tells that the request's body has not been read.

    Returns what was sent: a 500 in place of a response that HTTP can't carry. A client that
    takes no byte for `send_timeout` is given up.
    """
    method: str = scope["method"]
    try:
        headers = wire_headers(scope, response, options)
    except ValueError as error:
        logger.error("Response to %s dropped: %s", method, error)
        response = error_response(api_error("PGRSTX00"), options.verbosity)
        headers = wire_headers(scope, response, options)
    body = b"" if method == "HEAD" or response.status in BODILESS else response.body
    if unread and scope["http_version"] not in _FRAMED_VERSIONS:
        headers.append((b"connection", b"close"))
    start: Message = {
        "type": "http.response.start",
        "status": response.status,
        "headers": headers,
    }
    if response.reason is not None:
        start["reason"] = response.reason
    try:
        with Limit(options.limits.send_timeout) as limit:
            await send(start)
            if len(body) > WHOLE:
                for offset in range(0, len(body), CHUNK):
                    limit.restart()
                    await send(_piece(body[offset : offset + CHUNK], more=True))
                body = b""
            if unread:
                await send(_piece(body, more=True))
                await _drop_body(receive)
                body = b""
            await send(_piece(body, more=False))
    except TimeoutError:
        raise ClientGone from None
    return response


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _drop_body(receive: Receive) -> None:
    """Read on, at most for `LINGER` seconds, until the body ends or the client leaves."""
    try:
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        return


def wire_headers(
    scope: Scope, response: Response, options: EdgeOptions
) -> list[tuple[bytes, bytes]]:
    """The headers as they go out: names in lower case, Content-Length and CORS added.

    Raises `ValueError` for a name, value or status that HTTP can't carry (the database may
    set headers): sending it would break the connection or smuggle in another header.
    """
    if not 200 <= response.status <= 999:
        raise ValueError(f"status {response.status}")
    headers: list[tuple[bytes, bytes]] = []
    if options.trace_header is not None:
        request_headers: list[tuple[bytes, bytes]] = scope["headers"]
        traced = next((v for name, v in request_headers if name == options.trace_header), b"")
        headers.append((options.trace_header, traced))
    bodiless = response.status in BODILESS
    measured = bodiless or scope["method"] == "HEAD"
    for raw_name, value in response.headers:
        name = _header_name(raw_name)
        if _BAD_HEADER_VALUE.search(value):
            raise ValueError(f"the value of header {raw_name!r}")
        if name == b"content-length":
            if bodiless:
                # The body, if there was one, is not sent; SQL has chosen the status.
                continue
            measured = True
        if name not in _CONNECTION_HEADERS:
            headers.append((name, value))
    if not measured:
        headers.append((b"content-length", b"%d" % len(response.body)))
    headers += response_headers(options.cors, scope["method"], scope["headers"])
    return headers


@lru_cache(maxsize=1024)
def _header_name(name: bytes) -> bytes:
    """`name` in lower case. Raises `ValueError` when it is no token."""
    if _HEADER_NAME.fullmatch(name) is None:
        raise ValueError(f"the header name {name!r}")
    return name.lower()
