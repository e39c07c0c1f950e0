"""The hot path: one ASGI request in, one response out, nothing in between but `answer`.

In: an ASGI `http` scope. Out: the response that `answer(HttpRequest)` returns. A body is read
once `admit` has let its head in, and whole before it is answered; the database connection is
long given back when the response is sent. So neither a slow sender nor a slow reader costs a
connection; what they cost in memory is bounded for all together (`proxy.http.in_flight`).

When the client goes away while `answer` runs, the task running it is cancelled, and with
it the query (`proxy.http.disconnect`). What is not made whole before it is sent takes the way
of `proxy.http.streaming`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Protocol

from proxy.cache.replay import Replay, Replays
from proxy.docs_page.model import DocsPage
from proxy.errors import ApiError, Verbosity, api_error
from proxy.http.asgi import ClientGone, Message, Receive, Scope, Send
from proxy.http.body import (
    FRAMED_VERSIONS,
    check_length,
    drop_body,
    dropping,
    has_body,
    read_body,
)
from proxy.http.cors import CorsPolicy, preflight
from proxy.http.disconnect import DisconnectWatch
from proxy.http.head import wire_headers
from proxy.http.in_flight import REQUEST, STALLED, Held, InFlight, no_room
from proxy.http.streaming import CHUNK, SENDING, piece, send_stream
from proxy.http.time_limits import Limit
from proxy.observability.record import Record
from proxy.request.model import Headers, HttpRequest
from proxy.response.errors import error_response
from proxy.response.model import ContentRange, Response, is_bodiless
from proxy.settings.routing import length_of_prefix

Answer = Callable[[HttpRequest, Record], Awaitable[Response]]
Admit = Callable[[HttpRequest, Record], Awaitable[Answer]]

logger = logging.getLogger(__name__)

WHOLE: Final = 4 * CHUNK
"""Bytes up to which a body goes out in one message."""
SMALL: Final = CHUNK
"""Bytes up to which an answer is not counted among those that wait to be taken."""
_SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "QUERY"))
_ABSOLUTE_FORM: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
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
    `content_range` says how Content-Range is written.
    """

    limits: Limits = field(default_factory=Limits)
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    trace_header: bytes | None = None
    docs: DocsPage | None = None
    path_prefix: bytes = b""
    verbosity: Verbosity = "verbose"
    content_range: ContentRange = "plain"


class Observer(Protocol):
    """Who is told of requests: logs, metrics, traces. Its methods must not raise."""

    def began(self, scope: Scope, record: Record) -> None:
        """A request has arrived."""

    def ended(self, scope: Scope, record: Record, response: Response | None) -> None:
        """The response was sent; None when it was not, because the client went away."""


class DataPlane:
    """The ASGI 3 application of the hot path.

    `answer` returns a `Response` also for failures that it foresees. `admit` is asked about
    requests that bring a body, before that is read; it raises `ApiError`, or gives what
    answers them. WebSockets are refused. `observer` may be set at any time, as may `refusal`,
    which is then the answer to all. `app` is the name that requests are recorded under.
    `replays` has the answers that can be given without `answer`. `bodies` and `answers` bound
    what is held for clients.
    """

    def __init__(
        self,
        answer: Answer,
        options: EdgeOptions | None = None,
        *,
        app: str = "",
        replays: Replays | None = None,
        admit: Admit | None = None,
        bodies: InFlight | None = None,
        answers: InFlight | None = None,
    ) -> None:
        self.answer = answer
        self.admit = admit
        self.bodies = bodies or InFlight()
        self.answers = answers or InFlight(stalled=STALLED)
        self.refusal: Callable[[], ApiError] | None = None
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
        if replays is not None and self.refusal is None:
            found = replays.find(scope, options, record)
            if found is not None:
                return await _send_found(send, *found, options.limits.send_timeout)
        held: list[Held] = []
        try:
            response, unread = await self._response(scope, receive, options, record, held)
            if len(response.body) > SMALL:
                held.append(Held(self.answers))
                response = self._counted(scope, response, held[-1], record)
            sent = await send_response(scope, receive, send, response, options, held, unread)
        except ClientGone:
            return None
        finally:
            for each in held:
                each.release()
        if replays is not None and sent is response:
            self._remember(replays, response, scope, options)
        if sent is not response:
            record.code = "PGRSTX00"
        elif sent.stream is not None:
            record.code = sent.stream.code or record.code
        return sent

    async def _response(
        self,
        scope: Scope,
        receive: Receive,
        options: EdgeOptions,
        record: Record,
        held: list[Held],
    ) -> tuple[Response, bool]:
        """The response, and whether there is a body that was not read. What the request holds
        on to is added to `held`. Raises `ClientGone`."""
        unread = True
        try:
            request, response = read_head(scope, options)
            if response is None:
                answer = self.answer
                if self.refusal is not None:
                    raise self.refusal()
                if has_body(scope):
                    largest = min(options.limits.max_body, self.bodies.largest_body)
                    check_length(scope, largest)
                    answer = await self._admitted(request, record)
                    held.append(Held(self.bodies))
                    held[0].grow(REQUEST + head_size(request.headers))
                    seconds = options.limits.body_timeout
                    body = await read_body(receive, held[0], largest, seconds)
                    record.received = len(body)
                    request = HttpRequest(
                        request.method, request.path, request.query, request.headers, body
                    )
                unread = False
                response = await self._watched_answer(answer, request, receive, record)
                if held and record.received <= SMALL:
                    # So little is not worth counting while the answer is sent.
                    held.pop().release()
        except ApiError as error:
            record.code = error.code
            response = error_response(error, options.verbosity)
            # Nothing more is to be expected of a body that did not arrive in time.
            unread = unread and error.code != "EDGE408"
        return response, unread and has_body(scope)

    async def _admitted(self, head: HttpRequest, record: Record) -> Answer:
        """What answers a request whose body is still to come. Raises `ApiError`."""
        if self.admit is None:
            return self.answer
        try:
            return await self.admit(head, record)
        except ApiError:
            raise
        except Exception:
            logger.exception("Unexpected error while admitting %s", head.method)
            raise api_error("PGRSTX00") from None

    def _counted(
        self, scope: Scope, response: Response, held: Held, record: Record
    ) -> Response:
        """`response`, or where that can be repeated a refusal when too much waits already."""
        if held.carry(response.body) or scope["method"] not in _SAFE_METHODS:
            return response
        held.release()
        error = no_room()
        record.code = error.code
        return error_response(error, self.options.verbosity)

    def _remember(
        self, replays: Replays, response: Response, scope: Scope, options: EdgeOptions
    ) -> None:
        replay = response.replay
        if isinstance(replay, Replay) and response.reason is None:
            headers = wire_headers(scope, response, options)
            body = b"" if is_bodiless(scope["method"], response) else response.body
            replays.keep(scope, options, replay, response.status, headers, body)

    async def _watched_answer(
        self, answer: Answer, request: HttpRequest, receive: Receive, record: Record
    ) -> Response:
        """`answer(request)`, cancelled when the client goes away meanwhile.

        Raises `ClientGone` then. Any exception it did not foresee becomes a 500.
        """
        watch = DisconnectWatch(receive)
        try:
            response = await answer(request, record)
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
    if head_size(headers) > limits.max_header:
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


def head_size(headers: Headers) -> int:
    """The bytes of all names and values."""
    return sum(map(len, chain.from_iterable(headers)))


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


# --- the response -----------------------------------------------------------------------


async def _send_found(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, seconds: float
) -> Response | None:
    """Send an answer as it was sent before; None when the client does not take it."""
    try:
        with Limit(seconds, SENDING):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send(piece(body, more=False))
    except TimeoutError:
        return None
    return Response(status, tuple(headers), body)


async def send_response(
    scope: Scope,
    receive: Receive,
    send: Send,
    response: Response,
    options: EdgeOptions,
    held: Sequence[Held] = (),
    unread: bool = False,
) -> Response:
    """Send `response`; `unread` tells that the request's body has not been read.

    Returns what was sent: a 500 in place of a response that HTTP can't carry. A client that
    takes no byte for `send_timeout` is given up, as is one that must give way (`held`).
    """
    method: str = scope["method"]
    try:
        headers = wire_headers(scope, response, options)
    except ValueError as error:
        logger.error("Response to %s dropped: %s", method, error)
        response = error_response(api_error("PGRSTX00"), options.verbosity)
        headers = wire_headers(scope, response, options)
    body = b"" if is_bodiless(method, response) else response.body
    if unread and scope["http_version"] not in FRAMED_VERSIONS:
        headers.append((b"connection", b"close"))
    start: Message = {
        "type": "http.response.start",
        "status": response.status,
        "headers": headers,
    }
    if response.reason is not None:
        start["reason"] = response.reason
    if response.stream is not None and not is_bodiless(method, response):
        await send_stream(send, receive, start, response.stream, options.limits.send_timeout)
        return response
    try:
        with (
            Limit(options.limits.send_timeout, SENDING) as limit,
            dropping(scope, receive, len(body) > WHOLE),
        ):
            for each in held:
                each.wait(limit)
            await send(start)
            if len(body) > WHOLE:
                for offset in range(0, len(body), CHUNK):
                    limit.restart()
                    for each in held:
                        each.got_on(CHUNK)
                    await send(piece(body[offset : offset + CHUNK], more=True))
                body = b""
            if unread:
                await send(piece(body, more=True))
                await drop_body(receive)
                body = b""
            await send(piece(body, more=False))
    except TimeoutError:
        raise ClientGone from None
    finally:
        for each in held:
            each.go_on()
    return response
