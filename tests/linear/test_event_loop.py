"""What takes long to compute holds up nobody else."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from pool.model import Outcome, Run, Transaction
from proxy.observability.record import Record
from proxy.pipeline import answer
from proxy.request.model import HttpRequest
from proxy.response.model import Response
from proxy.schema_cache.model import QualifiedName, SchemaCache
from proxy.settings import load_settings
from proxy.state.app_state import AppState
from proxy.state.from_settings import app_state, make_authenticator
from tests.apps_of_one_state import AppOfOneState
from tests.plan.sample import CACHE, SCHEMA, table

SETTINGS = load_settings(
    None,
    {
        "PGRST_DB_SCHEMAS": SCHEMA,
        "PGRST_DB_ANON_ROLE": "web",
        "PGRST_OPENAPI_MODE": "ignore-privileges",
    },
).settings


def state_of(cache: SchemaCache) -> AppState:
    return app_state(SETTINGS, make_authenticator(SETTINGS), cache)


async def never(transaction: Transaction) -> Outcome:
    raise AssertionError("there is no such table to ask for")


async def no_comment(transaction: Transaction) -> Outcome:
    return Outcome((), (), kept=True)


async def longest_pause(work: asyncio.Task[Response]) -> float:
    """The longest time the event loop gave to nobody else, in seconds of its thread's own:
    what other processes take from it meanwhile is not its fault."""
    longest, last = 0.0, time.thread_time()
    while not work.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    return longest


async def answered_aside(cache: SchemaCache, run: Run, http: HttpRequest) -> Response:
    """The answer to a request that takes long, others having had their turn meanwhile."""
    began = time.process_time()
    asked = asyncio.create_task(answer(AppOfOneState(state_of(cache), run), http, Record()))
    pause = await longest_pause(asked)
    assert pause < (time.process_time() - began) / 2
    return await asked


async def test_a_large_body_is_read_aside() -> None:
    body = b"id\n" + b"1\n" * 500_000
    headers = ((b"content-type", b"text/csv"),)
    http = HttpRequest("POST", b"/nope", b"", headers, body)
    assert (await answered_aside(CACHE, never, http)).status == 404


async def test_a_large_schema_is_described_aside() -> None:
    columns = {f"column_{n}": "text" for n in range(20)}
    tables = {
        QualifiedName(SCHEMA, f"t{n}"): table(f"t{n}", is_view=False, **columns)
        for n in range(1000)
    }
    response = await answered_aside(
        replace(CACHE, tables=tables), no_comment, HttpRequest("GET", b"/", b"", ())
    )
    assert response.status == 200
    assert b'"/t999"' in response.body
