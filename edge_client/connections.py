"""The HTTP client in use, and its replacement when its connections are broken.

In: a client that the caller has handed in, or how to make one. Out: leases of it. A client
of ours whose connection broke is set aside for a fresh one; calls under way on it end
undisturbed, then it is closed. A client that was handed in is never replaced or closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib.util import find_spec
from threading import Lock
from typing import Any, Protocol

from edge_client.waiting import IN_WEBASSEMBLY


class HttpResponse(Protocol):
    """What is needed of a response: one of the two ways to read it."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""

    def iter_bytes(self) -> Iterator[bytes]:
        """The body, decoded, in pieces."""

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body, decoded, in pieces."""

    def close(self) -> None: ...
    async def aclose(self) -> None: ...


class HttpClient(Protocol):
    """What is needed of a client; httpx's and httpx2's have it. `send` may be a coroutine."""

    def build_request(
        self, method: str, url: str, *, headers: Any, content: Any, timeout: Any
    ) -> Any:
        """A request to send."""

    def send(self, request: Any, *, stream: bool, follow_redirects: bool) -> Any:
        """Send it; the body is read by the caller. Redirects are never followed: whoever a
        server names in one would be sent the token and the rows."""


class Lease:
    """A client in use; `generation` counts how often it was replaced before."""

    __slots__ = ("client", "generation", "users")

    def __init__(self, client: Any, generation: int) -> None:
        self.client = client
        self.generation = generation
        self.users = 0


class Connections:
    """The client to send with. Safe to use from several threads."""

    def __init__(self, given: Any, make: Callable[[], Any]) -> None:
        self._given = given is not None
        self._make = make
        self._current: Lease | None = Lease(given, 0) if self._given else None
        self._retired: list[Lease] = []
        self._generations = 0
        self._lock = Lock()

    @property
    def generation(self) -> int:
        """How often the client was replaced."""
        return max(self._generations - 1, 0)

    def lease(self) -> Lease:
        """The client, made at the first use; `give_back` it."""
        with self._lock:
            if self._current is None:
                self._current = Lease(self._make(), self._generations)
                self._generations += 1
            self._current.users += 1
            return self._current

    def give_back(self, lease: Lease) -> None:
        """The lease's call has ended."""
        with self._lock:
            lease.users -= 1

    def replace(self, generation: int) -> None:
        """Lease the client of `generation` no more; many may say so of the same one."""
        with self._lock:
            current = self._current
            if not self._given and current is not None and current.generation == generation:
                self._retired.append(current)
                self._current = None

    def unused(self) -> list[Any]:
        """Clients that were replaced and that nobody uses any more, for closing."""
        with self._lock:
            done = [lease for lease in self._retired if lease.users == 0]
            self._retired = [lease for lease in self._retired if lease.users > 0]
        return [lease.client for lease in done]

    def all_of_ours(self) -> list[Any]:
        """Every client that is not the caller's, for closing; the next use makes another."""
        with self._lock:
            leases = self._retired
            if self._current is not None and not self._given:
                leases = [*leases, self._current]
                self._current = None
            self._retired = []
        return [lease.client for lease in leases]


def default_client(url: str, *, asynchronous: bool, http2: bool | None) -> Any:
    """A client of httpx's; imported here, so that another one does without it.

    Raises RuntimeError for one that is not `asynchronous` in WebAssembly.
    """
    import httpx

    if IN_WEBASSEMBLY:
        if not asynchronous:
            raise RuntimeError(
                "Python in WebAssembly can't wait for an answer: use AsyncEdgeClient"
            )
        from edge_client.fetch_transport import FetchTransport

        return httpx.AsyncClient(transport=FetchTransport())
    wanted = find_spec("h2") is not None if http2 is None else http2
    # Without TLS nothing negotiates the version, so HTTP/2 there is for who asks for it.
    without_http1 = http2 is True and url.startswith("http://")
    kind = httpx.AsyncClient if asynchronous else httpx.Client
    return kind(http1=not without_http1, http2=wanted)
