"""A redirect is an error on every transport: whom it names hears nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from edge_client import APIError, AsyncEdgeClient, EdgeClient, Limits, RedirectError
from edge_client.caching import async_caching_client, caching_client
from tests.sdk.servers import Answer, answering

MakeClient = Callable[[Path], Any]
"""A client to hand in, None for the SDK's own."""

CLIENTS: dict[str, MakeClient] = {
    "own": lambda _: None,
    "httpx": lambda _: httpx.Client(follow_redirects=True),
    "httpx2": lambda _: httpx2.Client(follow_redirects=True),
    "caching": lambda place: caching_client(place / "cache.db"),
}
ASYNC_CLIENTS: dict[str, MakeClient] = {
    "own": lambda _: None,
    "httpx": lambda _: httpx.AsyncClient(follow_redirects=True),
    "httpx2": lambda _: httpx2.AsyncClient(follow_redirects=True),
    "caching": lambda place: async_caching_client(place / "cache.db"),
}
STATUSES = (300, 301, 302, 303, 307, 308)
HEADERS = {"apikey": "the key", "X-Consistency-Token": "1"}


async def all_of(asked: Any) -> None:
    """Wait for a call, or for all rows of a stream."""
    if inspect.isawaitable(asked):
        await asked
    else:
        async for _ in asked:
            pass


def calls(db: Any) -> dict[str, Callable[[], Any]]:
    """One call of each way to ask."""
    table = db.table("t")
    return {
        "read": lambda: table.select("id").execute(),
        "long read": lambda: table.select("id").in_("id", range(5000)).execute(),
        "insert": lambda: table.insert({"id": 1}).execute(),
        "update": lambda: table.update({"id": 2}).eq("id", 1).execute(),
        "delete": lambda: table.delete().eq("id", 1).execute(),
        "function": lambda: db.rpc("f", {"a": 1}).execute(),
        "head": lambda: table.select("id", head=True, count="exact").execute(),
        "stream": lambda: table.select("id").stream(),
    }


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", CLIENTS)
def test_nobody_else_hears_of_a_call(tmp_path: Path, name: str, status: int) -> None:
    http_client = CLIENTS[name](tmp_path)
    with (
        answering(lambda _: Answer()) as other,
        answering(lambda _: Answer(status, headers={"Location": other.url})) as server,
        EdgeClient(
            server.url,
            token="a token",
            headers=HEADERS,
            http_client=http_client,
            limits=Limits(stored=0),
        ) as db,
    ):
        for call in calls(db).values():
            with pytest.raises(RedirectError) as raised:
                list(call())
            assert raised.value.status == status
            assert raised.value.headers["location"] == other.url
        assert len(server.asked) >= len(calls(db))
        assert other.asked == []
    if http_client is not None:
        http_client.close()


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", ASYNC_CLIENTS)
async def test_nobody_else_hears_of_a_call_that_is_awaited(
    tmp_path: Path, name: str, status: int
) -> None:
    http_client = ASYNC_CLIENTS[name](tmp_path)
    with (
        answering(lambda _: Answer()) as other,
        answering(lambda _: Answer(status, headers={"Location": other.url})) as server,
    ):
        async with AsyncEdgeClient(
            server.url,
            token="a token",
            headers=HEADERS,
            http_client=http_client,
            limits=Limits(stored=0),
        ) as db:
            for call in calls(db).values():
                with pytest.raises(RedirectError) as raised:
                    await all_of(call())
                assert raised.value.status == status
        assert other.asked == []
    if http_client is not None:
        await http_client.aclose()


def test_an_answer_of_the_api_keeps_what_it_says() -> None:
    """A function may set the status by `response.status`; 304 names no other place."""
    body = b'{"code":"X1","message":"moved"}'
    with answering(lambda _: Answer(303, body)) as server, EdgeClient(server.url) as db:
        with pytest.raises(RedirectError, match="moved") as raised:
            db.rpc("f").execute()
        assert raised.value.code == "X1"
    with answering(lambda _: Answer(304)) as server, EdgeClient(server.url) as db:
        with pytest.raises(APIError) as unchanged:
            db.table("t").select().execute()
        assert not isinstance(unchanged.value, RedirectError)
