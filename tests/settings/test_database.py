"""Settings that the database holds: how they are applied, and how they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from pool import Pool
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.settings import Settings, SettingsError, with_database_settings
from proxy.settings.database import read_database_settings

SECRET = "a secret for tests that is long enough"
BEFORE = Settings(db_schemas=("file",), db_pool=3, jwt_secret=SECRET, db_max_rows=7)


def test_the_database_wins() -> None:
    rows = {"pgrst.db_schemas": "a, b", "db_plan_enabled": "true", "pgrst.db_max_rows": "9"}
    after = with_database_settings(BEFORE, rows)
    assert after.db_schemas == ("a", "b")
    assert after.db_plan_enabled is True
    assert after.db_max_rows == 9
    assert after.jwt_secret == SECRET


def test_what_may_not_be_set_in_the_database_is_ignored() -> None:
    assert with_database_settings(BEFORE, {"pgrst.db_pool": "99", "pgrst.x": "y"}) == BEFORE


def test_empty_means_the_default() -> None:
    after = with_database_settings(
        BEFORE, {"db_max_rows": "", "db_schemas": "", "db_extra_search_path": ""}
    )
    assert after.db_max_rows is None
    assert after.db_schemas == ("public",)
    assert after.db_extra_search_path == ()


@pytest.mark.parametrize(
    "name, value, problem",
    [
        (
            "db_max_rows",
            "many",
            "pgrst.db_max_rows: 'many' is not a whole number; write e.g."
            " pgrst.db_max_rows = 1000",
        ),
        (
            "db_schemas",
            "pg_catalog",
            "db-schemas does not allow schema: 'pg_catalog'; expose views of it instead",
        ),
        (
            "jwt_secret",
            "@/etc/passwd",
            "pgrst.jwt_secret: the database can't name a file of the server; set jwt-secret in"
            " the configuration file, or the secret itself in the database",
        ),
    ],
)
def test_what_makes_no_sense_is_told(name: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        with_database_settings(BEFORE, {name: value})
    assert problem in raised.value.problems


ROLES = """
create role settings_user login;
create schema conf;
grant usage on schema conf to settings_user;
create function conf.pre_config() returns void language sql as $$
    select set_config('pgrst.db_max_rows', '1', true),
           set_config('pgrst.db_anon_role', 'from_function', true),
           set_config('pgrst.openapi_mode', 'disabled', true)
$$;
alter role settings_user set pgrst.db_max_rows = '2';
alter role settings_user set pgrst.db_anon_role = 'from_role';
alter role settings_user in database settings_test set pgrst.db_max_rows = '3';
alter database settings_test set pgrst.db_plan_enabled = 'true';
"""


@pytest.fixture(scope="module")
def dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    async def run(database: str, *commands: str) -> None:
        connection = await asyncpg.connect(postgres.dsn_for(database))
        for command in commands:
            await connection.execute(command)
        await connection.close()

    asyncio.run(run("postgres", "create database settings_test"))
    asyncio.run(run("settings_test", ROLES))
    yield postgres.dsn_for("settings_test", "settings_user")
    asyncio.run(
        run(
            "postgres",
            "drop database settings_test with (force)",
            "drop role settings_user",
        )
    )


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    opened = Pool(dsn, size=1)
    yield opened
    await opened.close()


async def test_the_roles_settings_are_read(pool: Pool) -> None:
    found = await read_database_settings(pool, Settings())
    assert found.db_max_rows == 3, "those for the database win over those of the role"
    assert found.db_anon_role == "from_role"
    assert found.db_plan_enabled is False, "a setting of the database alone has no effect"
    assert found.openapi_mode == "follow-privileges"


async def test_the_function_comes_last(pool: Pool) -> None:
    found = await read_database_settings(pool, Settings(db_pre_config="conf.pre_config"))
    assert found.db_max_rows == 3
    assert found.db_anon_role == "from_role"
    assert found.openapi_mode == "disabled"


async def test_db_config_off_asks_nothing() -> None:
    settings = Settings(db_config=False)
    nowhere = Pool("postgresql://nobody@127.0.0.1:1/none")
    assert await read_database_settings(nowhere, settings) is settings
    await nowhere.close()


def test_paths_stay_paths() -> None:
    settings = Settings(server_unix_socket=Path("x"))
    assert with_database_settings(settings, {}).server_unix_socket == Path("x")
