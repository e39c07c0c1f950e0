"""An endpoint beside the resources: where it is, and what answers there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxy.errors import ApiError, api_error
from proxy.observability.record import Record
from proxy.pipeline import begin
from proxy.request.model import HttpRequest
from proxy.response.errors import error_response
from proxy.response.model import Response
from proxy.steps.call import App, Call

Handle = Callable[[App, HttpRequest, Call | None], Awaitable[Response]]
"""Answers a request, whose body may be a `Stream`; the call tells whose it is and by when, and
is None at an endpoint that asks nobody who they are. Raises `ApiError`."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` as it is sent, without the app's prefix; with `below`, all under it as well.
    `public`: whoever asks need not say who they are."""

    path: bytes
    methods: tuple[str, ...]
    handle: Handle
    public: bool = False
    below: bool = False

    def covers(self, path: bytes) -> bool:
        """Whether a request for `path` is for this endpoint."""
        if not path.startswith(self.path):
            return False
        rest = path[len(self.path) : len(self.path) + 1]
        return not rest or (self.below and rest == b"/")

    async def admit(self, app: App, head: HttpRequest, record: Record) -> Call | None:
        """The call that a request makes whose body is worth reading. Raises `ApiError`."""
        if head.method not in self.methods:
            allow = ", ".join(self.methods).encode()
            raise api_error("PGRST117", headers=((b"allow", allow),), method=head.method)
        return None if self.public else await begin(app, head, record)

    async def answer(
        self, app: App, http: HttpRequest, record: Record, call: Call | None = None
    ) -> Response:
        """The response to `http`; `call` is the one that was begun before the body came."""
        try:
            if call is None:
                call = await self.admit(app, http, record)
            else:
                await begin(app, http, record, call)
            return await self.handle(app, http, call)
        except ApiError as error:
            record.code = error.code
            return error_response(error, app.state.verbosity)
