"""Take steps of the walk and tell where an answer is not what PostgreSQL says.

In: a client, a connection and steps. Out: a sentence for each difference.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import asyncpg
import httpx

from tests.zoo.walk import Step


async def differences(
    client: httpx.AsyncClient, connection: asyncpg.Connection[Any], steps: Iterable[Step]
) -> AsyncIterator[str]:
    """What is wrong, step by step."""
    for step in steps:
        answer = await client.request(
            step.method, step.target, headers=dict(step.headers), content=step.body
        )
        try:
            expected = await _expected(connection, step)
        except asyncpg.PostgresError as error:
            if not 400 <= answer.status_code < 500:
                yield f"{_told(step, answer)}; PostgreSQL refuses it: {error}"
            continue
        if not answer.is_success:
            yield f"{_told(step, answer)}; PostgreSQL: {str(expected)[:200]}"
        elif (found := _found(step, answer)) != expected:
            yield f"{_told(step, answer)}; found {found!s:.300}, expected {expected!s:.300}"


def _told(step: Step, answer: httpx.Response) -> str:
    body = f" {step.body}" if step.body else ""
    return f"{step.method} {step.target}{body}: {answer.status_code} {answer.text[:300]}"


async def _expected(connection: asyncpg.Connection[Any], step: Step) -> Any:
    if step.shape in ("csv", "count", "nothing"):
        rows = await connection.fetch(step.query)
        if step.shape == "csv":
            return sorted(list(row) for row in rows)
        return "" if step.shape == "nothing" else str(rows[0][0])
    text = await connection.fetchval(
        f"select coalesce(json_agg(r.*), '[]')::text from ({step.query}) r"
    )
    rows = json.loads(text)
    if step.shape in ("row", "value"):
        (only,) = rows
        return only if step.shape == "row" else only["x"]
    if step.shape == "values":
        rows = [row["x"] for row in rows]
    return _ordered(step, rows)


def _found(step: Step, answer: httpx.Response) -> Any:
    match step.shape:
        case "count":
            return answer.headers["content-range"].rpartition("/")[2]
        case "nothing":
            return answer.text
        case "csv":
            return _csv_rows(answer.text)
        case "row" | "value":
            return json.loads(answer.text)
        case _:
            return _ordered(step, json.loads(answer.text))


def _csv_rows(text: str) -> list[list[str]]:
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    return sorted(rows)


def _ordered(step: Step, rows: list[Any]) -> list[Any]:
    return rows if "order=" in step.target else sorted(rows, key=json.dumps)
