"""The ASGI application: the data plane in front, Quart for what is not hot.

In: a service that answers requests and the edge's options. Out: an ASGI 3 callable that
runs under any ASGI server; under one with lifespan support it starts and closes the
service itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from proxy.cache.replay import Replays
from proxy.docs_page.model import DocsPage, docs_page
from proxy.errors import ApiError
from proxy.http.asgi import AsgiApp, Receive, Scope, Send
from proxy.http.cors import CorsPolicy
from proxy.http.data_plane import Admit, Answer, DataPlane, EdgeOptions, Limits
from proxy.http.in_flight import InFlight
from proxy.observability.logs import CURRENT_APP
from proxy.observability.record import Record
from proxy.request.model import HttpRequest
from proxy.request.request_headers import CONSISTENCY_TOKEN
from proxy.response.model import Response
from proxy.settings.routing import length_of_prefix
from proxy.state.from_settings import gives_tokens

if TYPE_CHECKING:
    from proxy.settings import Settings

logger = logging.getLogger(__name__)

Choose = Callable[[Scope], "Front | None"]
"""Whose a request is, by its scope."""


class Service(Protocol):
    """What the server runs: `proxy.app.app.App`, or anything that answers requests."""

    @property
    def ready(self) -> bool:
        """Whether requests can be answered from the database."""

    async def start(self) -> None:
        """Acquire what is needed; called before the first request."""

    async def answer(self, request: HttpRequest, record: Record) -> Response:
        """The response to one request; failures that were foreseen are responses too.

        `record` is filled in on the way.
        """

    async def admit(self, head: HttpRequest, record: Record) -> Answer:
        """What answers a request once its body is there. Raises `ApiError` for one that is
        refused without it."""

    async def close(self) -> None:
        """Give everything back; called after the last response was sent."""


class Front:
    """What the requests of one app meet: the data plane, and the docs page beside it.

    `name` is the app's, if it has one. `requests` are those being answered.
    """

    def __init__(
        self,
        answer: Answer,
        options: EdgeOptions | None = None,
        name: str = "",
        replays: Replays | None = None,
        *,
        admit: Admit | None = None,
        bodies: InFlight | None = None,
        answers: InFlight | None = None,
    ) -> None:
        self.name = name
        self.data_plane = DataPlane(
            answer,
            options,
            app=name,
            replays=replays,
            admit=admit,
            bodies=bodies,
            answers=answers,
        )
        self.requests = 0
        self._emptied: asyncio.Event | None = None
        self._docs_app: AsgiApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.name:
            CURRENT_APP.set(self.name)
        docs = self.data_plane.options.docs
        self.requests += 1
        try:
            if docs is None or scope["type"] != "http":
                await self.data_plane(scope, receive, send)
            else:
                await self._beside_docs(docs, scope, receive, send)
        finally:
            self.requests -= 1
            if self._emptied is not None and not self.requests:
                self._emptied.set()

    def refuse(self, refusal: Callable[[], ApiError] | None) -> None:
        """Answer new requests with `refusal`, or as ever; those under way are finished."""
        self.data_plane.refusal = refusal

    async def drained(self) -> None:
        """Returns when no request is being answered."""
        while self.requests:
            self._emptied = self._emptied or asyncio.Event()
            self._emptied.clear()
            await self._emptied.wait()

    async def _beside_docs(
        self, docs: DocsPage, scope: Scope, receive: Receive, send: Send
    ) -> None:
        prefix = self.data_plane.options.path_prefix
        path: str = scope["path"]
        below = path.removeprefix(prefix.decode())
        if docs.covers(below):
            raw: bytes = scope["raw_path"]
            raw = raw[length_of_prefix(prefix, raw) or 0 :]
            await self._docs()({**scope, "path": below, "raw_path": raw}, receive, send)
        else:
            await self.data_plane(scope, receive, send)

    def _docs(self) -> AsgiApp:
        if self._docs_app is None:
            # Loaded by those who use it only.
            from proxy.docs_page.app import docs_app

            app: Any = docs_app(lambda: self.data_plane.options.docs)
            self._docs_app = app
        return self._docs_app


class EdgeApp:
    """The fronts of all apps, and the service's life bound to the ASGI lifespan.

    `choose` may say whose a request is; where it does not, or is not set, the request is
    for the service itself.
    """

    def __init__(self, service: Service, options: EdgeOptions | None = None) -> None:
        self.service = service
        self.front = Front(service.answer, options, admit=service.admit)
        self.choose: Choose | None = None

    @property
    def data_plane(self) -> DataPlane:
        """That of the service."""
        return self.front.data_plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        choose = self.choose
        front = None if choose is None else choose(scope)
        await (front or self.front)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            starts = message["type"] == "lifespan.startup"
            try:
                await (self.service.start() if starts else self.service.close())
            except Exception as error:
                logger.exception("The application could not %s", "start" if starts else "stop")
                failed = "lifespan.startup.failed" if starts else "lifespan.shutdown.failed"
                await send({"type": failed, "message": str(error)})
                return
            if not starts:
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})


def edge_options(settings: Settings) -> EdgeOptions:
    """What the settings say about the edge."""
    trace = settings.server_trace_header
    return EdgeOptions(
        limits=Limits(
            max_url=settings.server_max_url,
            max_header=settings.server_max_header,
            max_body=settings.server_max_body,
            body_timeout=settings.server_body_timeout,
        ),
        cors=CorsPolicy(
            tuple(o.encode() for o in settings.server_cors_allowed_origins),
            exposed=(
                *((CONSISTENCY_TOKEN,) if gives_tokens(settings) else ()),
                *((trace.encode(),) if trace else ()),
            ),
        ),
        trace_header=trace.lower().encode() if trace else None,
        docs=docs_page(settings),
        path_prefix=settings.path_prefix.encode(),
        verbosity=settings.client_error_verbosity,
        content_range=settings.server_content_range,
    )
