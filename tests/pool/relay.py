"""A TCP relay in front of a real PostgreSQL, to count round trips and to break things."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class Relay:
    """Passes bytes between its clients and a unix socket.

    `turns`: how often a client spoke after the server had; that is, round trips.
    """

    def __init__(self, socket_path: str, host: str = "127.0.0.1") -> None:
        self._socket_path = socket_path
        self._host = host
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.turns = 0
        self.port = 0
        self.connections = 0
        self._to_swallow = 0
        self.swallowed = 0

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.go_away()

    def dsn(self, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    async def listen(self) -> None:
        """Accept connections, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._relay, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Accept no more connections."""
        assert self._server is not None
        self._server.close()

    async def go_away(self) -> None:
        """Accept no more connections and cut those there are."""
        self.refuse()
        self.cut()
        assert self._server is not None
        await self._server.wait_closed()

    def cut(self) -> None:
        """Cut all connections without a word."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def swallow(self, connections: int) -> None:
        """Close the next so many connections after their first message, and pass on nothing:
        as a server does that takes a request to cancel and has nothing to cancel."""
        self._to_swallow = connections

    def hold(self) -> None:
        """Pass on no more bytes: a network that swallows everything."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass on everything again, what was held included."""
        self._flowing.set()

    def lose(self) -> None:
        """Pass on no more bytes of the connections there are, as a middlebox that has forgotten
        them; new ones are served."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _relay(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        if self._to_swallow:
            self._to_swallow -= 1
            await client_in.read(65536)
            client_out.close()
            self.swallowed += 1
            return
        try:
            server_in, server_out = await asyncio.open_unix_connection(self._socket_path)
        except OSError:
            client_out.transport.abort()
            return
        self._writers |= {client_out, server_out}
        server_spoke, flowing = True, self._flowing

        async def pump(
            source: asyncio.StreamReader, target: asyncio.StreamWriter, *, from_client: bool
        ) -> None:
            nonlocal server_spoke
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    await flowing.wait()
                    if from_client and server_spoke:
                        self.turns += 1
                    server_spoke = not from_client
                    target.write(data)
                    await target.drain()
            target.transport.abort()

        try:
            await asyncio.gather(
                pump(client_in, server_out, from_client=True),
                pump(server_in, client_out, from_client=False),
            )
        finally:
            self._writers -= {client_out, server_out}
            for writer in (client_out, server_out):
                writer.transport.abort()
