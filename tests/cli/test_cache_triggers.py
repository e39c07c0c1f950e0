"""`edgerest cache triggers` against a real database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.cli.main import main
from tests.conftest import MakeDatabase, execute

_OBJECTS = """
create schema api;
create table api.things (id int primary key);
create view api.shown as select * from api.things;
"""
_COUNT = """
do $$ begin
  assert (select count(*) from pg_trigger where tgrelid = 'api.things'::regclass) = {};
end $$
"""


@pytest.fixture
def dsn(make_database: MakeDatabase, postgres: EmbeddedPostgres, tmp_path: Path) -> str:
    objects = tmp_path / "objects.sql"
    objects.write_text(_OBJECTS)
    return postgres.dsn_for(make_database(objects))


def _print(dsn: str, *options: str) -> str:
    environment = {"PGRST_DB_URI": dsn, "PGRST_DB_SCHEMAS": "api", "PGRST_DB_CHANNEL": "x"}
    result = CliRunner().invoke(main, ["cache", "triggers", *options], env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_is_printed_runs_and_can_be_taken_back(dsn: str) -> None:
    script = _print(dsn)
    assert "'x_cache'" in script
    asyncio.run(execute(dsn, script))
    asyncio.run(execute(dsn, script))
    asyncio.run(execute(dsn, _COUNT.format(1)))
    asyncio.run(execute(dsn, _print(dsn, "--drop")))
    asyncio.run(execute(dsn, _COUNT.format(0)))


def test_the_function_goes_where_it_is_told(dsn: str) -> None:
    assert '"public"."edgerest_announce_write"' in _print(dsn, "--schema", "public")
    assert '"public"."edgerest_announce_write"' in _print(dsn, "--drop", "--schema", "public")
