"""Steps that write: rolled back, and so is the SQL that tells what they must answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import asyncpg

from tests.zoo.catalog import DELETES, INSERTS, UPDATES, Column, Table
from tests.zoo.names import quoted
from tests.zoo.step import CSV, Step, literal, path, url, written

_BACK: Final = "return=representation,tx=rollback"
_JSON: Final = {"Prefer": _BACK, "Content-Type": "application/json"}
_FROM_CSV: Final = {"Prefer": _BACK, "Content-Type": "text/csv"}
NEW_KEY: Final = 1000
"""Keys of new rows are so much larger than the keys of those they are made of."""

UNREADABLE: Final = frozenset(("zoo.grid[]", "int2vector[]", "oidvector[]"))
"""Arrays that PostgreSQL writes as JSON and does not read again."""


async def of_table(connection: asyncpg.Connection[Any], table: Table) -> list[Step]:
    """Rows updated, deleted, and copied under a new key."""
    if not table.columns:
        return []
    found = list(_deletes(table)) if table.does & DELETES else []
    keys = table.keys or table.columns[:1]
    for column in table.columns:
        if table.does & UPDATES:
            found += [step async for step in _updates(connection, table, column, keys)]
    if table.does & INSERTS and [column.type for column in keys] == ["integer"]:
        found += [step async for step in _inserts(connection, table, keys[0])]
    return found


def _deletes(table: Table) -> Iterator[Step]:
    at, source = path(table.name), table.sql
    for column in table.columns:
        n, c = written(column.name), column.sql
        yield Step(
            f"{at}?{n}=is.null&select={n}",
            f"delete from {source} where {c} is null returning {c}",
            "rows", "DELETE", _JSON,
        )  # fmt: skip
        yield Step(
            f"{at}?{n}=not.is.null&select={n}",
            f"delete from {source} where {c} is not null returning {c}",
            "rows", "DELETE", _JSON,
        )  # fmt: skip


async def _updates(
    connection: asyncpg.Connection[Any],
    table: Table,
    column: Column,
    keys: tuple[Column, ...],
) -> Any:
    own, c, at = column.name, column.sql, path(table.name)
    first = await connection.fetchrow(
        f"select json_build_object({literal(own)}, {c})::text as body, {c}::text as value,"
        f" array[{', '.join(f'{key.sql}::text' for key in keys)}] as key"
        f" from {table.sql} where {c} is not null limit 1"
    )
    if first is None or None in first["key"]:
        return
    pairs = list(zip(keys, first["key"], strict=True))
    where = " and ".join(f"{key.sql}::text = {literal(value)}" for key, value in pairs)
    filters = "&".join(f"{written(key.name)}=eq.{url(value)}" for key, value in pairs)
    target = f"{at}?{filters}&select={written(own)}"

    def update(value: str) -> str:
        return f"update {table.sql} set {quoted(own)} = {value} where {where} returning {c}"

    null = f"{{{first['body'][1:].partition(' : ')[0]} : null}}"
    yield Step(target, update("null"), "rows", "PATCH", _JSON, null)
    if column.type not in UNREADABLE:
        yield Step(target, update(c), "rows", "PATCH", _JSON, first["body"])
        chosen = f"{target}&columns={written(own)}"
        yield Step(chosen, update(c), "rows", "PATCH", _JSON, first["body"])
    # JSON would be a string, and a lone empty text is an empty line (PostgREST's reader).
    if column.base not in ("json", "jsonb") and first["value"]:
        yield Step(target, update(literal(first["value"])), "rows", "PATCH", _FROM_CSV,
                   f"{_csv(own)}\r\n{_csv(first['value'])}")  # fmt: skip


async def _inserts(connection: asyncpg.Connection[Any], table: Table, key: Column) -> Any:
    """A copy of each row under a new key, in each way to write one."""
    if key.made or UNREADABLE.intersection(column.type for column in table.columns):
        return
    given = [column for column in table.columns if not column.made]
    named = ", ".join(quoted(column.name) for column in given)
    new = {column: f" + {NEW_KEY}" * (column is key) for column in given}
    pairs = ", ".join(
        f"({literal(column.name)}, to_json({column.sql}{new[column]}))" for column in given
    )
    texts = ", ".join(f"({column.sql}{new[column]})::text" for column in given)
    rows = await connection.fetch(
        f"select {key.sql} as key, array[{texts}] as texts, (select json_object_agg(k, v)::text"
        f" from (values {pairs}) kv (k, v)) as body from {table.sql}"
        f" where {key.sql} is not null order by 1 limit 2"
    )
    at, shown = path(table.name), ", ".join(f"format('%s', {c.sql})" for c in table.columns)
    insert = f"insert into {table.sql.replace(' z', ' as z')} ({named}) values"
    values = [f"({', '.join(map(_value, given, row['texts']))})" for row in rows]
    for row, value in zip(rows, values, strict=True):
        body = row["body"]
        yield Step(at, f"{insert} {value} returning z.*", "rows", "POST", _JSON, body)
        yield Step(at, f"{insert} {value} returning {shown}", "csv", "POST",
                   {**_JSON, **CSV}, f"[{body}]")  # fmt: skip
        if not key.is_key:
            continue
        for resolution in ("merge", "ignore"):
            prefer = {**_JSON, "Prefer": f"{_BACK},resolution={resolution}-duplicates"}
            query = (
                f"{insert} {value} on conflict ({quoted(key.name)}) do nothing returning z.*"
            )
            yield Step(at, query, "rows", "POST", prefer, body)
        if table.name == "suppressed":  # a PUT that leaves no row is refused
            continue
        yield Step(
            f"{at}?{written(key.name)}=eq.{row['key'] + NEW_KEY}",
            f"{insert} {value} on conflict ({quoted(key.name)}) do nothing returning z.*",
            "rows", "PUT", _JSON, body,
        )  # fmt: skip
    if len(rows) > 1:
        both = f"[{','.join(row['body'] for row in rows)}]"
        query = f"{insert} {', '.join(values)} returning z.*"
        yield Step(at, query, "rows", "POST", _JSON, both)


def _value(column: Column, text: str | None) -> str:
    return "null" if text is None else f"{literal(text)}::{column.type}"


def _csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
