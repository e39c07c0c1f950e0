"""Read a database's catalogs and make the schema cache of them.

In: a pool and what to expose. Out: a `SchemaCache`. Two transactions: the server's
version decides about the statement, and the statement reads everything from one snapshot,
which the one for `Facts` shares.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pool.model import Outcome, Statement, Transaction
from proxy.schema_cache.decode import schema_cache, with_role_settings
from proxy.schema_cache.fact_queries import facts_sql
from proxy.schema_cache.facts import read_facts
from proxy.schema_cache.model import SchemaCache
from proxy.schema_cache.queries import SETTINGS, VERSION, introspection_sql, role_settings_sql


class Pool(Protocol):
    """What runs transactions: `pool.pool.Pool`, or one connection of its own."""

    async def run(self, transaction: Transaction, /) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class SchemaLoads:
    """How often the schema cache was loaded, how often in vain, and how many seconds the
    last success took."""

    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """What to expose.

    `schemas`: db-schemas; all must exist. `extra_search_path`: db-extra-search-path; its
    views lead from exposed views to tables. `hoisted_settings`: db-hoisted-tx-settings,
    regular expressions over a function's `name=value` settings. `with_facts`: read what a
    response cache must know as well.
    """

    schemas: tuple[str, ...]
    extra_search_path: tuple[str, ...] = ("public",)
    hoisted_settings: tuple[str, ...] = (
        "statement_timeout",
        "plan_filter.statement_cost_limit",
        "default_transaction_isolation",
    )
    with_facts: bool = False


def statement(options: CacheOptions, server_version: int) -> Statement:
    """The statement that reads the catalogs, for a server of this server_version_num."""
    return Statement(
        introspection_sql(server_version),
        (
            json.dumps(options.schemas),
            json.dumps(options.extra_search_path),
            json.dumps(options.hoisted_settings),
        ),
    )


async def load_schema_cache(pool: Pool, options: CacheOptions) -> SchemaCache:
    """The schema cache of the database behind `pool`.

    Raises what `pool.run` raises; a schema that does not exist is the database's error
    3F000.
    """
    found = await pool.run(Transaction(Statement(VERSION), settings=SETTINGS))
    server_version = int(found.rows[0][0])
    facts = Statement(facts_sql(server_version)) if options.with_facts else None
    reading = Transaction(
        statement(options, server_version),
        settings=SETTINGS,
        # Both statements must speak of the same moment.
        isolation="repeatable read" if options.with_facts else None,
        after=facts,
    )
    outcome = await pool.run(reading)
    known = tuple(outcome.after_rows[0]) if options.with_facts else None
    # A large schema takes a second to decode; requests go on meanwhile.
    return await asyncio.to_thread(
        _decoded, tuple(outcome.rows[0]), known, server_version, options.schemas
    )


def _decoded(
    row: Sequence[bytes | str | None],
    facts: Sequence[bytes | str | None] | None,
    server_version: int,
    schemas: Sequence[str],
) -> SchemaCache:
    # Nothing of what is made is garbage, but looking for some would take a third of the
    # time, and hold up all threads while it does. Loads that overlap leave it switched on.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        cache = schema_cache(row, server_version, schemas)
        return cache if facts is None else replace(cache, facts=read_facts(facts))
    finally:
        if was_enabled:
            gc.enable()


async def reload_role_settings(pool: Pool, cache: SchemaCache) -> SchemaCache:
    """`cache` with the roles' settings of this moment. Raises what `pool.run` raises."""
    sql = role_settings_sql(cache.server_version)
    outcome = await pool.run(Transaction(Statement(sql), settings=SETTINGS))
    return with_role_settings(cache, outcome.rows[0][0])
