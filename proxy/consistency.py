"""Reading one's own writes through read replicas: a header out, and the same header back.

In: the headers of a request, and the way to the database. Out: the same way for this request,
which tells the database's side what its caller has seen, and remembers what the response has
to say. The token's text is `pool.replicas`' own; whatever else a client sends there is ignored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from pool.model import Outcome, Transaction
from proxy.request.model import Headers
from proxy.response.model import Response
from proxy.settings import Settings

HEADER: Final = b"x-consistency-token"
_LONGEST: Final = 64


class ConsistentRun:
    """How the transactions of one request are run; `run` does it."""

    def __init__(
        self, run: Callable[[Transaction], Awaitable[Outcome]], headers: Headers
    ) -> None:
        self._run = run
        self._token = seen_token(headers)
        self._position: str | None = None

    async def __call__(self, transaction: Transaction) -> Outcome:
        """Run it, after what the caller has seen."""
        if self._token is not None:
            transaction = replace(transaction, after_position=self._token)
        outcome = await self._run(transaction)
        self._position = outcome.position or self._position
        return outcome

    def told(self, response: Response) -> Response:
        """`response`, with the token of what was written."""
        if self._position is None:
            return response
        header = (HEADER, self._position.encode())
        return replace(response, headers=(*response.headers, header))


def gives_tokens(settings: Settings) -> bool:
    """Whether answers to writes have a token: a replica, or the cache of another server, may
    not know of them yet."""
    return bool(settings.db_read_uris) or announces_writes(settings)


def announces_writes(settings: Settings) -> bool:
    """Whether other servers may keep answers that a write of this one outdates."""
    return settings.cache_announce or settings.cache_store is not None


def seen_token(headers: Headers) -> str | None:
    """The token that a request came with, None when there is none that could be one."""
    for name, value in headers:
        if name == HEADER:
            return value.decode("latin-1") if len(value) <= _LONGEST else None
    return None
