"""The walk: every request that the zoo's catalogs suggest, with what SQL says of it.

In: a connection of a superuser. Out: `Step`s. What is there is read from PostgreSQL's own
catalogs, and the SQL is written here, so that nothing is shared with the server under test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg

from tests.zoo import calls, embeds, reads, writes
from tests.zoo.by_hand import BY_HAND
from tests.zoo.catalog import Key, Table, accepted, functions, keys, tables
from tests.zoo.names import COLUMNS_BESIDE
from tests.zoo.step import Step


async def steps(connection: asyncpg.Connection[Any]) -> AsyncIterator[Step]:
    """The whole walk."""
    known = await tables(connection)
    for step in BY_HAND:
        yield step
    for table in known:
        for step in _reads(table):
            yield step
        for step in await writes.of_table(connection, table):
            yield step
    async for step in _filters(connection, known):
        yield step
    # A computed relationship takes the place of that table's key (`BY_HAND` has it).
    for step in _embeds([key for key in await keys(connection) if key.own != "chain"]):
        yield step
    for function in await functions(connection):
        for step in calls.of_function(function):
            yield step
    for step in calls.of_signatures():
        yield step


def _reads(table: Table) -> Iterator[Step]:
    yield from reads.of_table(table)
    for column in table.columns:
        if column.name not in COLUMNS_BESIDE:
            yield from reads.of_column(table, column)


def _embeds(found: list[Key]) -> Iterator[Step]:
    for key in found:
        yield from embeds.of_key(key)
        for second in found:
            if second.own == key.other:
                yield from embeds.of_two(key, second)


async def _filters(
    connection: asyncpg.Connection[Any], known: list[Table]
) -> AsyncIterator[Step]:
    cases = [
        (table, column, operator, column.sample)
        for table in known
        for column in table.columns
        if column.sample is not None and column.name not in COLUMNS_BESIDE
        for operator in reads.operators(table, column)
    ]
    queries = [
        f"select from {table.sql} where {reads.condition(column, operator, value)}"
        for table, column, operator, value in cases
    ]
    taken = await accepted(connection, queries)
    for (table, column, operator, value), is_taken in zip(cases, taken, strict=True):
        for step in reads.of_operator(table, column, operator, value, is_taken):
            yield step
        if operator == "eq":
            for step in reads.of_lists(table, column, value):
                yield step
