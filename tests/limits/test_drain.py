"""What outlasts the drain timeout is cancelled in the database, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx

from tests.limits.conftest import Serve
from tests.waiting import until


async def test_late_queries_end_with_the_server(
    serve: Serve, running: Callable[[], Awaitable[int]]
) -> None:
    async def runs() -> bool:
        return await running() == 1

    async def ended() -> bool:
        return await running() == 0

    with serve(server_drain_timeout=0.3) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            asked = asyncio.create_task(client.get("/rpc/nap?seconds=60"))
            await until(runs)
            began = time.monotonic()
            server.signal()
            code, _ = await asyncio.to_thread(server.wait, 40)
            assert (code, time.monotonic() - began < 15) == (0, True)
            await until(ended)
            (told,) = await asyncio.gather(asked, return_exceptions=True)
            cut_off = isinstance(told, httpx.TransportError)
            assert cut_off or (isinstance(told, httpx.Response) and told.status_code == 500)
        assert "Traceback" not in server.log
