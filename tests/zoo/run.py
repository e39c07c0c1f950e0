"""Walk through the zoo: take steps, several at a time, and gather what is wrong.

In: the database, a server before it and how many steps. Out: how many were taken, and a
sentence for each difference.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncpg
import httpx

from tests.zoo.compare import difference
from tests.zoo.step import Step
from tests.zoo.walk import steps

AT_ONCE: Final = 3
SETTINGS: Final[dict[str, str | bool]] = {
    "db-schemas": "zoo",
    "db-tx-end": "commit-allow-override",
    "db-aggregates-enabled": True,
    "csv-plain-backslashes": True,
}
"""What the server is to be told, beside where the database is."""

Tell = Callable[[str], None]


async def planned(dsn: str, most: int | None) -> list[Step]:
    """The steps of the walk, at most so many, in any order."""
    connection = await asyncpg.connect(dsn)
    try:
        found = [step async for step in steps(connection)]
    finally:
        await connection.close()
    random.shuffle(found)
    return found[:most]


async def walk(dsn: str, url: str, taken: Sequence[Step], tell: Tell) -> None:
    """Take the steps and tell each difference as it is found."""
    left = iter(taken)

    async def go(client: httpx.AsyncClient) -> None:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
        try:
            await connection.execute("set role web_anon; set search_path = zoo, public")
            for step in left:
                if (found := await difference(client, connection, step)) is not None:
                    tell(found)
        finally:
            await connection.close()

    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as client,
        asyncio.TaskGroup() as all_,
    ):
        for _ in range(AT_ONCE):
            all_.create_task(go(client))
