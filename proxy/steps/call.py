"""One request under way, and what its steps need of the app that it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pool.model import Outcome, Transaction
from proxy.auth.model import Identity
from proxy.observability.record import Record
from proxy.request.model import Headers, HttpRequest
from proxy.request.request_headers import RequestHeaders
from proxy.state.app_state import AppState

if TYPE_CHECKING:
    from proxy.cache.response_cache import ResponseCache
    from proxy.errors import ApiError


class App(Protocol):
    """What the way of a request needs of an app."""

    @property
    def state(self) -> AppState:
        """What requests that start now depend on."""

    @property
    def cache(self) -> ResponseCache:
        """The answers it keeps."""

    async def identify(self, headers: RequestHeaders) -> Identity:
        """Who is asking. Raises ApiError."""

    async def run(self, transaction: Transaction) -> Outcome:
        """Run it on the database. Raises PoolError."""

    async def newer(self, state: AppState, error: ApiError) -> AppState | None:
        """What to try a request with once more that failed under `state`, if anything."""


@dataclass(slots=True, eq=False)
class Call:
    """A request, whose it is, and the state that it began with.

    `deadline`: by when, in the event loop's time, the answer must be there; None when nobody
    set one. `reads`: it is a GET, HEAD or QUERY. `background`: nobody waits for the answer.
    `told`: what the answer says besides, if it is an error as well.
    """

    app: App
    state: AppState
    http: HttpRequest
    headers: RequestHeaders
    identity: Identity
    record: Record
    deadline: float | None = None
    reads: bool = False
    background: bool = False
    told: Headers = ()
