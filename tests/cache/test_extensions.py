"""What extensions bring in C, over real ones: most of it must not empty the cache."""

from __future__ import annotations

import asyncio

import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.lineage.effects import relation_effects
from proxy.schema_cache.facts import Facts
from proxy.schema_cache.model import QualifiedName
from tests.cache.conftest import load
from tests.conftest import MakeDatabase

_SCHEMA = """
create schema api;
create extension if not exists citext;
create extension if not exists hstore;
create extension if not exists lo;
create extension if not exists refint;
create extension if not exists tablefunc;
create extension if not exists dblink;
create extension if not exists tcn;
create table api.named (id int, name citext unique, tags hstore default 'a=>1');
create function api.chance() returns float language sql
  as 'select * from public.normal_rand(1, 0, 0)';
create table api.chance (id float default api.chance());
create table api.large (id int, content lo);
create trigger t before update on api.large for each row execute function lo_manage(content);
create table api.told (id int primary key);
create trigger t after insert on api.told for each row
  execute function triggered_change_notification();
create table api.referring (id int);
create trigger t before delete on api.referring for each row
  execute function check_foreign_key(1, 'cascade', 'id', 'named', 'id');
create table api.asked (id int, check (dblink_exec('', '') is null));
create function api.length(text) returns int language internal immutable as 'textlen';
create table api.unknown (id text, check (api.length(id) > 0));
"""


@pytest.fixture(scope="module")
def facts(
    make_database: MakeDatabase,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Facts:
    script = tmp_path_factory.mktemp("sql") / "extensions.sql"
    script.write_text(_SCHEMA)
    found = asyncio.run(load(postgres.dsn_for(make_database(script)))).facts
    assert found is not None
    return found


@pytest.mark.parametrize("table", ["named", "chance", "large", "told"])
def test_what_only_computes_touches_nothing(facts: Facts, table: str) -> None:
    effects = relation_effects(facts, QualifiedName("api", table))
    assert effects == frozenset((f"api.{table}",))


@pytest.mark.parametrize("table", ["referring", "asked", "unknown"])
def test_what_runs_text_or_is_unknown_may_touch_anything(facts: Facts, table: str) -> None:
    assert relation_effects(facts, QualifiedName("api", table)) is None
