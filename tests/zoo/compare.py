"""Take a step of the walk and tell whether its answer is what PostgreSQL says."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import asyncpg
import httpx

from tests.zoo.step import Step


async def difference(
    client: httpx.AsyncClient, connection: asyncpg.Connection[Any], step: Step
) -> str | None:
    """Take the step; what is wrong with the answer, or None."""
    answer = await client.request(
        step.method, step.target, headers=dict(step.headers), content=step.body
    )
    try:
        expected = await _expected(connection, step)
    except asyncpg.PostgresError as error:
        if 400 <= answer.status_code < 500:
            return None
        return f"{_told(step, answer)}; PostgreSQL refuses it: {error}"
    if not answer.is_success:
        return f"{_told(step, answer)}; PostgreSQL: {str(expected)[:200]}"
    if (found := _found(step, answer)) != expected:
        return f"{_told(step, answer)}; found {found!s:.300}, expected {expected!s:.300}"
    return None


def _told(step: Step, answer: httpx.Response) -> str:
    body = f" {step.body}" if step.body else ""
    return f"{step.method} {step.target}{body}: {answer.status_code} {answer.text[:300]}"


async def _expected(connection: asyncpg.Connection[Any], step: Step) -> Any:
    transaction = connection.transaction(readonly=step.method in ("GET", "HEAD"))
    await transaction.start()
    try:
        return await _said(connection, step)
    finally:
        await transaction.rollback()


async def _said(connection: asyncpg.Connection[Any], step: Step) -> Any:
    if step.shape in ("csv", "count", "nothing"):
        rows = await connection.fetch(step.query)
        if step.shape == "csv":
            return sorted(list(row) for row in rows)
        return "" if step.shape == "nothing" else str(rows[0][0])
    text = await connection.fetchval(
        f"with r as ({step.query}) select coalesce(json_agg(r.*), '[]')::text from r"
    )
    rows = json.loads(text)
    if step.shape in ("row", "value"):
        if len(rows) != 1:
            raise asyncpg.PostgresError(f"{len(rows)} rows are not one")
        return rows[0] if step.shape == "row" else rows[0]["x"]
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
    if text == "\n":
        return []  # no row, no names
    # A lone null is an empty line, which the reader takes for none.
    _, *rows = csv.reader(io.StringIO(text + "\n", newline=""))
    return sorted(row or [""] for row in rows)


def _ordered(step: Step, rows: list[Any]) -> list[Any]:
    return rows if "order=" in step.target else sorted(rows, key=json.dumps)
