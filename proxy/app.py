"""The ASGI application: the data plane in front, Quart for what is not hot.

In: a service that answers requests and the edge's options. Out: an ASGI 3 callable that
runs under any ASGI server; under one with lifespan support it starts and closes the
service itself.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from proxy.cors import CorsPolicy
from proxy.data_plane import AsgiApp, DataPlane, EdgeOptions, Limits, Receive, Scope, Send
from proxy.docs_page.model import docs_page
from proxy.record import Record
from proxy.request.model import HttpRequest
from proxy.response.model import Response

if TYPE_CHECKING:
    from proxy.settings import Settings

logger = logging.getLogger(__name__)


class Service(Protocol):
    """What the server runs: `proxy.apps.App`, or anything that answers requests."""

    @property
    def ready(self) -> bool:
        """Whether requests can be answered from the database."""

    async def start(self) -> None:
        """Acquire what is needed; called before the first request."""

    async def answer(self, request: HttpRequest, record: Record) -> Response:
        """The response to one request; failures that were foreseen are responses too.

        `record` is filled in on the way.
        """

    async def close(self) -> None:
        """Give everything back; called after the last response was sent."""


class EdgeApp:
    """The data plane, the docs page beside it, and the service's life bound to the ASGI
    lifespan."""

    def __init__(self, service: Service, options: EdgeOptions | None = None) -> None:
        self.service = service
        self.data_plane = DataPlane(service.answer, options)
        self._docs_app: AsgiApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        docs = self.data_plane.options.docs
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif docs is not None and scope["type"] == "http" and docs.covers(scope["path"]):
            await self._docs()(scope, receive, send)
        else:
            await self.data_plane(scope, receive, send)

    def _docs(self) -> AsgiApp:
        if self._docs_app is None:
            # Loaded by those who use it only.
            from proxy.docs_page.app import docs_app

            app: Any = docs_app(lambda: self.data_plane.options.docs)
            self._docs_app = app
        return self._docs_app

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


def build(service: Service, settings: Settings) -> AsgiApp:
    """The application that serves `service` as `settings` say."""
    return EdgeApp(service, edge_options(settings))


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
        cors=CorsPolicy(tuple(o.encode() for o in settings.server_cors_allowed_origins)),
        trace_header=trace.lower().encode() if trace else None,
        docs=docs_page(settings),
        verbosity=settings.client_error_verbosity,
    )
