"""What a team writes by hand instead: an endpoint in FastAPI on asyncpg, under uvicorn.

Answers the scenarios `single row`, `100 rows` and `insert` as FastAPI's own documentation
would: rows as dictionaries, which FastAPI turns into JSON. One statement each, without a
transaction, roles, claims or a description of the API. Needs the extra `bench`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI, Response


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    """The pool, as long as the application lives."""
    size = int(os.environ["BENCH_POOL"])
    dsn = os.environ["BENCH_DSN"]
    role = {"role": "bench_anon"}
    async with asyncpg.create_pool(
        dsn, min_size=size, max_size=size, server_settings=role
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=connected)


async def clients(id: str) -> list[dict[str, Any]]:
    """The client with the id of `id=eq.1`."""
    rows = await app.state.pool.fetch(
        "select * from bench.clients where id = $1", int(id.removeprefix("eq."))
    )
    return [dict(row) for row in rows]


async def tasks(limit: int) -> list[dict[str, Any]]:
    """The first tasks."""
    rows = await app.state.pool.fetch("select * from bench.tasks order by id limit $1", limit)
    return [dict(row) for row in rows]


async def notes(note: dict[str, Any]) -> Response:
    """Keeps a note."""
    await app.state.pool.execute(
        "insert into bench.notes (title, body) values ($1, $2)", note["title"], note["body"]
    )
    return Response(status_code=201)


app.add_api_route("/clients", clients, methods=["GET"])
app.add_api_route("/tasks", tasks, methods=["GET"])
app.add_api_route("/notes", notes, methods=["POST"], status_code=201)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
