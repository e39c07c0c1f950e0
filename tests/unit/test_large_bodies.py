"""A body that takes long to read holds up nobody else."""

from __future__ import annotations

import asyncio
import time

from pool.model import Outcome, Transaction
from proxy.app_state import app_state, make_authenticator
from proxy.pipeline import answer
from proxy.record import Record
from proxy.request.model import HttpRequest
from proxy.settings import load_settings
from tests.plan.sample import CACHE

SLOW = b"id\n" + b"1\n" * 500_000


async def never(transaction: Transaction) -> Outcome:
    raise AssertionError("there is no such table to ask for")


async def longest_pause(work: asyncio.Task[object]) -> float:
    """The longest time the event loop gave to nobody else, in seconds."""
    longest, last = 0.0, time.perf_counter()
    while not work.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


async def test_a_large_body_is_read_beside_the_event_loop() -> None:
    settings = load_settings(None, {"PGRST_DB_SCHEMAS": "api", "PGRST_DB_ANON_ROLE": "web"})
    state = app_state(settings.settings, make_authenticator(settings.settings), CACHE)
    http = HttpRequest("POST", b"/nope", b"", ((b"content-type", b"text/csv"),), SLOW)
    began = time.perf_counter()
    asked = asyncio.create_task(answer(state, never, http, record=Record()))
    pause = await longest_pause(asked)
    took = time.perf_counter() - began
    assert (await asked).status == 404
    assert pause < took / 2
