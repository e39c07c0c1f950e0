"""A network that takes its time: a relay before the database, as a process of its own.

`python -m tests.bench.delay PORT SOCKET SECONDS` holds every piece for so long, each way, as
a network in between would; pieces sent meanwhile are not held up by it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await reader.read(256 * 1024):
            loop.call_later(seconds, writer.write, data)
    except OSError:
        pass
    loop.call_later(seconds, writer.close)


async def relay(port: int, path: str, seconds: float) -> None:
    """Pass everything on between 127.0.0.1:`port` and a unix socket, until cancelled."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_unix_connection(path)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, behind_writer, seconds))
            group.create_task(_pass_on(behind_reader, writer, seconds))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main(arguments: Sequence[str]) -> None:
    """Relay as the arguments say."""
    port, path, seconds = arguments
    asyncio.run(relay(int(port), path, float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
