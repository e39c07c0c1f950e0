"""A write whose caller has gone: cancelled, or finished when the operator wants that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.limits.conftest import Admin, Serve
from tests.waiting import until


@pytest.mark.parametrize("cancels", [True, False])
async def test_an_abandoned_write(
    serve: Serve, admin: Admin, running: Callable[[], Awaitable[int]], cancels: bool
) -> None:
    note = f"cancels {cancels}"

    async def runs() -> bool:
        return await running() == 1

    async def ended() -> bool:
        return await running() == 0

    with serve(db_cancel_writes=cancels, db_pool=1) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            write = {"seconds": 0.7, "note": note}
            asked = asyncio.create_task(client.post("/rpc/note_after", json=write))
            await until(runs)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        await until(ended)
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as client:
            # The only connection is as good as new.
            found = (await client.get(f"/notes?note=eq.{note}")).json()
            assert len(found) == (0 if cancels else 1)
            assert "Traceback" not in server.log
