"""The row a database plan answers with, read into a value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pool.model import Outcome, Row


@dataclass(frozen=True, slots=True)
class Result:
    """`total` rows that match (None: not counted), `page` rows in the answer.

    `location` are the (column, `eq.value`) pairs that find a created row; `inserted` is
    how many rows an upsert inserted. The GUCs are unparsed.
    """

    total: int | None
    page: int
    body: bytes
    headers_guc: str | None
    status_guc: str | None
    location: tuple[tuple[str, str], ...]
    inserted: int | None


def page_total(rows: Sequence[Row]) -> int:
    """How many rows the answer has, or the write touched."""
    return int(rows[0]["page"]) if rows else 0


@dataclass(frozen=True, slots=True)
class Matching:
    """How a by-key update met its rows.

    `asked` rows are in the payload, `keyless` of them without a whole key, `keys` counts
    their different keys; `updated` rows have `met` different keys.
    """

    asked: int
    keyless: int
    keys: int
    updated: int
    met: int


def read_matching(rows: Sequence[Row]) -> Matching:
    """The matching in the answer to a by-key update."""
    return Matching(*json.loads(rows[0]["matching"]))


def read_result(outcome: Outcome) -> Result:
    """The result in the outcome of `proxy.sql.statements.main_statement`."""
    if not outcome.rows:
        return Result(0, 0, b"", None, None, (), None)
    row = outcome.rows[0]
    location, inserted = row.get("location"), row.get("inserted")
    return Result(
        total=row["total"],
        page=row["page"],
        body=as_bytes(row["body"]),
        headers_guc=_guc(row["response_headers"]),
        status_guc=_guc(row["response_status"]),
        location=tuple((k, v) for k, v in json.loads(location)) if location else (),
        inserted=int(inserted) if inserted else None,
    )


def planned_rows(outcome: Outcome) -> int:
    """PostgreSQL's estimate out of EXPLAIN (FORMAT JSON)."""
    explained = json.loads(as_bytes(outcome.after_rows[0][0]))
    return int(explained[0]["Plan"]["Plan Rows"])


def plan_text(outcome: Outcome) -> bytes:
    """EXPLAIN's own answer, a line a row."""
    return b"".join(as_bytes(row[0]) + b"\n" for row in outcome.rows)


def as_bytes(value: object) -> bytes:
    """A value as it came from the pool, in bytes."""
    if value is None:
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


def _guc(value: bytes | str | None) -> str | None:
    """A setting's value; one that was set in an earlier transaction is empty."""
    return (value.decode(errors="replace") if isinstance(value, bytes) else value) or None
