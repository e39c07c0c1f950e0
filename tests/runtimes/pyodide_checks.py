"""Runs under Pyodide: what the SDK does there beyond the example.

Each function takes the URL and token of the demo and returns something for JSON.
"""

from __future__ import annotations

from typing import Any

from edge_client import AsyncEdgeClient, ConnectError, EdgeClient, RedirectError, Retry


async def long_read(url: str, token: str) -> Any:
    """A read that is too long for a URL: how it went, and what came."""
    lines: list[str] = []
    async with AsyncEdgeClient(url, token=token, debug=lines.append) as db:
        answer = await db.table("tasks").select("id").in_("id", list(range(1, 3000)))
    return {"method": lines[0].split()[2], "rows": len(answer.data)}


async def large_answer(url: str, token: str) -> Any:
    """The rows of an answer that comes in many pieces."""
    async with AsyncEdgeClient(url, token=token) as db:
        return (await db.table("tasks").select("*,comments(*),project:projects(*)")).data


async def stream(url: str, token: str) -> Any:
    """Rows that came in pages."""
    async with AsyncEdgeClient(url, token=token) as db:
        return [row["id"] async for row in db.table("users").select("id").stream(page_size=5)]


async def nobody_there(url: str, token: str) -> Any:
    """What a server that is not there is to the client."""
    async with AsyncEdgeClient(url, token=token, retry=Retry(attempts=1)) as db:
        try:
            await db.table("tasks").select("id")
        except ConnectError as error:
            return {"maybe_done": error.maybe_done}
    return None


async def redirected(url: str, token: str) -> Any:
    """What a redirect is to the client, when it reads and when it writes."""
    found = []
    async with AsyncEdgeClient(url, token=token, headers={"apikey": token}) as db:
        for query in (db.table("t").select("id"), db.table("t").insert({"id": 1})):
            try:
                await query
            except RedirectError as error:
                found.append(error.status)
    return found


async def redirected_in_a_browser(url: str, token: str) -> Any:
    """The same where `fetch` does not tell of it: status 0 and nothing else, as in browsers."""
    import js

    there = js.fetch
    js.fetch = lambda *_, **__: js.Promise.resolve(js.Response.error())
    try:
        return await redirected(url, token)
    finally:
        js.fetch = there


async def without_await(url: str, token: str) -> Any:
    """What the client that waits says there."""
    try:
        EdgeClient(url, token=token).table("tasks").select("id").execute()
    except RuntimeError as error:
        return str(error)
    return None
