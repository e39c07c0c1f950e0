"""A transport that joins what is written ahead with what asyncpg writes next.

In: the event loop. Out: an event loop for `asyncpg.connect(loop=...)` whose connections have
such a transport. Two writes wake the server's process twice, for it begins to read at the
first: of all that a short query costs on this side, that is the largest part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast


class JoiningTransport:
    """`transport`, with bytes put ahead of the next write."""

    __slots__ = ("_ahead", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._ahead: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write_ahead(self, data: bytes) -> None:
        """Send `data` with the next write, in front of it; what was put there is replaced."""
        self._ahead = data

    def write(self, data: bytes | bytearray | memoryview) -> None:
        ahead = self._ahead
        if ahead is not None:
            self._ahead = None
            data = b"".join((ahead, data))
        self._transport.write(data)


class JoiningLoop:
    """The event loop `loop`; the transports of its connections are `JoiningTransport`s."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Callable[[], Any], *args: Any, **kw: Any) -> Any:
        return _joining(await self._loop.create_connection(_Opening.of(factory), *args, **kw))

    async def create_unix_connection(
        self, factory: Callable[[], Any], *args: Any, **kw: Any
    ) -> Any:
        opened = await self._loop.create_unix_connection(_Opening.of(factory), *args, **kw)
        return _joining(opened)

    async def start_tls(self, transport: Any, *args: Any, **kw: Any) -> JoiningTransport:
        if isinstance(transport, JoiningTransport):
            transport = transport._transport
        return JoiningTransport(await self._loop.start_tls(transport, *args, **kw))


class _Opening(asyncio.Protocol):
    """Gives the protocol its transport in place of the loop's own, and steps aside."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport: JoiningTransport | None = None

    @classmethod
    def of(cls, factory: Callable[[], Any]) -> Callable[[], _Opening]:
        return lambda: cls(factory())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = JoiningTransport(transport)
        cast(asyncio.Transport, transport).set_protocol(self.protocol)
        self.protocol.connection_made(self.transport)


def _joining(opened: tuple[Any, _Opening]) -> tuple[Any, Any]:
    _, opening = opened
    return opening.transport, opening.protocol
