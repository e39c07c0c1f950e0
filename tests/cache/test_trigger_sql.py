"""The triggers for writes that don't come through edgerest, run by the owner of the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from proxy.cache.trigger_sql import drop_script, trigger_script, watched
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.lineage.effects import announced_tags
from proxy.schema_cache.model import QualifiedName, SchemaCache
from tests.cache.conftest import load
from tests.waiting import until

_CHANNEL = "it's \\ a channel"
_SCHEMA = """
create role inval_tables_owner login;
create schema "Odd "" schema" authorization inval_tables_owner;
set role inval_tables_owner;
create table "Odd "" schema"."a ' table" (id int primary key);
create table "Odd "" schema".child (
  id int references "Odd "" schema"."a ' table" on delete cascade
);
create table "Odd "" schema".parts (id int) partition by range (id);
create table "Odd "" schema".part_1 partition of "Odd "" schema".parts
  for values from (0) to (10);
create view "Odd "" schema".shown as select * from "Odd "" schema".child;
create materialized view "Odd "" schema".now as select * from "Odd "" schema".child;
"""
_IN = '"Odd "" schema"'


@pytest.fixture
async def owner(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """Connected as the owner of the tables, who is no superuser."""
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("drop database if exists inval_triggers")
    await connection.execute("drop role if exists inval_tables_owner")
    await connection.execute("create database inval_triggers")
    await connection.close()
    own = await asyncpg.connect(postgres.dsn_for("inval_triggers"))
    await own.execute(_SCHEMA)
    yield own
    await own.close()


def _ended(heard: list[str]) -> Callable[[], Awaitable[bool]]:
    async def ended() -> bool:
        return heard[-1:] == ["end"]

    return ended


async def _facts_of(postgres: EmbeddedPostgres) -> SchemaCache:
    return await load(postgres.dsn_for("inval_triggers"), 'Odd " schema')


async def test_the_owner_can_run_it_twice_and_take_it_away(
    owner: asyncpg.Connection, postgres: EmbeddedPostgres
) -> None:
    cache = await _facts_of(postgres)
    assert cache.facts is not None
    found = watched(cache.facts, cache.tables)
    script = trigger_script(
        found,
        schema='Odd " schema',
        channel=_CHANNEL,
        server_version=cache.server_version,
    )
    assert "materialized view" in script
    await owner.execute(script)
    await owner.execute(script)
    made = "select count(*) from pg_trigger where tgname = 'edgerest_announce_write'"
    assert await owner.fetchval(made) == 4

    heard: list[str] = []
    listener = await asyncpg.connect(postgres.dsn_for("inval_triggers"))
    await listener.add_listener(_CHANNEL, lambda *args: heard.append(str(args[-1])))
    tag = 'Odd " schema.'
    for sql, tags in (
        (f'insert into {_IN}."a \' table" values (1), (2)', {"a ' table"}),
        (f"insert into {_IN}.child values (1)", {"child"}),
        (f"update {_IN}.child set id = 2", {"child"}),
        (f'delete from {_IN}."a \' table" where id = 2', {"a ' table", "child"}),
        (f"insert into {_IN}.parts values (1)", {"parts"}),
        (f"insert into {_IN}.part_1 values (1)", {"part_1"}),
        (f'truncate {_IN}."a \' table" cascade', {"a ' table", "child"}),
        (f"insert into {_IN}.shown values (null)", {"child"}),
    ):
        heard.clear()
        await owner.execute(sql)
        await owner.execute("select pg_notify($1, 'end')", _CHANNEL)
        await until(_ended(heard))
        assert sorted(heard[:-1]) == sorted(tag + name for name in tags)
    await listener.close()
    # What is heard of a partitioned table concerns its partitions.
    assert announced_tags(cache.facts, f"{tag}parts") == {f"{tag}parts", f"{tag}part_1"}

    await owner.execute(drop_script(schema='Odd " schema'))
    await owner.execute(drop_script(schema='Odd " schema'))
    assert await owner.fetchval(made) == 0


async def test_the_triggers_themselves_write_nothing(
    owner: asyncpg.Connection, postgres: EmbeddedPostgres
) -> None:
    cache = await _facts_of(postgres)
    assert cache.facts is not None
    script = trigger_script(
        watched(cache.facts, cache.tables),
        schema='Odd " schema',
        channel="c",
        server_version=130000,
    )
    await owner.execute(script)
    facts = (await _facts_of(postgres)).facts
    assert facts is not None
    table = facts.relations[facts.by_name[QualifiedName('Odd " schema', "child")]]
    (trigger,) = table.triggers
    assert facts.functions[trigger.function].writes == frozenset()


def test_what_is_watched(dependent: SchemaCache) -> None:
    assert dependent.facts is not None
    found = watched(dependent.facts, [QualifiedName("api", "v2")])
    names = {relation.tag for relation in found.tables}
    assert {"api.plain", "api.other"} <= names
    assert "api.v2" not in names
    assert "api.strict" not in names
