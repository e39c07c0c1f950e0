"""The garbage collector, kept out of the way; and that requests leave little to it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from proxy.engines import collector
from proxy.http.asgi import Message, Scope
from proxy.http.data_plane import DataPlane
from proxy.http.disconnect import WATCH_DELAY, DisconnectWatch
from proxy.observability.record import Record
from proxy.request.model import HttpRequest
from proxy.response.model import Response

_SCOPE: Scope = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "headers": [],
}


def test_it_looks_rarely_and_afterwards_as_before() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with collector.out_of_the_way():
        assert gc.get_threshold() == (collector.YOUNG, *before[1:])
        assert gc.get_freeze_count() > max(frozen, 1000)
        assert gc.isenabled()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_slow_request_leaves_nothing_to_it(leaves: bool) -> None:
    """One that is slow enough to have its client watched, and one whose client goes."""
    gone = asyncio.Event()
    watches = 0

    async def answer(request: HttpRequest, record: Record) -> Response:
        nonlocal watches
        if leaves:
            asyncio.get_running_loop().call_later(2 * WATCH_DELAY, gone.set)
        await asyncio.sleep(60 if leaves else 3 * WATCH_DELAY)
        watches += len(_watches())
        return Response(204, ())

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])

    plane = DataPlane(answer)
    gc.collect()
    gc.disable()
    try:
        await asyncio.create_task(plane(dict(_SCOPE), receive, send))
        # The watcher, which was cancelled, takes a turn to end.
        await asyncio.sleep(WATCH_DELAY)
        left = _watches()
    finally:
        gc.enable()
    assert bool(sent) is not leaves
    assert watches == (0 if leaves else 1)
    assert left == []


def _watches() -> list[DisconnectWatch]:
    return [held for held in gc.get_objects() if isinstance(held, DisconnectWatch)]
