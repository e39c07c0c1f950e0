"""`edgerest check`, `schema` and `--dump-config` against a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.cli.main import main

SECRET = "a secret for tests that is long enough"
OBJECTS = """
create role check_user login noinherit;
create role check_anon;
create role check_stranger;
grant check_anon to check_user;
create schema api;
grant usage on schema api to check_user;
create table api.things (id int primary key);
create function api.hook() returns void language sql as '';
create function api.hook_with_argument(x int) returns void language sql as '';
alter role check_user in database check_test set pgrst.db_max_rows = '5';
"""


@pytest.fixture(scope="module")
def dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    async def run(database: str, *commands: str) -> None:
        connection = await asyncpg.connect(postgres.dsn_for(database))
        for command in commands:
            await connection.execute(command)
        await connection.close()

    asyncio.run(run("postgres", "create database check_test"))
    asyncio.run(run("check_test", OBJECTS))
    yield postgres.dsn_for("check_test", "check_user")
    asyncio.run(
        run(
            "postgres",
            "drop database check_test with (force)",
            "drop role check_user, check_anon, check_stranger",
        )
    )


def check(dsn: str, *args: str, **settings: str) -> Result:
    environ = {"PGRST_DB_URI": dsn, "PGRST_DB_SCHEMAS": "api", **settings}
    return CliRunner(env=environ).invoke(main, list(args) or ["check"])


def test_all_is_well(dsn: str) -> None:
    result = check(dsn, PGRST_DB_ANON_ROLE="check_anon", PGRST_DB_PRE_REQUEST="api.hook")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ok: PostgreSQL ")
    assert lines[0].endswith(", database check_test, as check_user")
    assert lines[1:] == [
        "ok: db-schemas: api",
        "ok: db-anon-role: check_anon",
        "ok: db-pre-request: api.hook",
    ]


@pytest.mark.parametrize(
    "settings, complaint",
    [
        (
            {"PGRST_DB_SCHEMAS": "api, apo"},
            "error: db-schemas: there is no schema apo; create it or leave it out",
        ),
        (
            {"PGRST_DB_ANON_ROLE": "nobody"},
            'error: db-anon-role: there is no role nobody; create role "nobody"',
        ),
        (
            {"PGRST_DB_ANON_ROLE": "check_stranger"},
            "error: db-anon-role: check_user may not become check_stranger;"
            ' grant "check_stranger" to "check_user"',
        ),
        (
            {"PGRST_DB_PRE_REQUEST": "api.hook_with_argument"},
            "error: db-pre-request: there is no function api.hook_with_argument without"
            " arguments",
        ),
        (
            {"PGRST_DB_ROOT_SPEC": "no_such_function"},
            "error: db-root-spec: there is no function no_such_function without arguments",
        ),
        (
            {"PGRST_JWT_SECRET": ""},
            "error: neither db-anon-role nor jwt-secret is set: every request would be refused;"
            " set the role of requests without a token, or what verifies tokens",
        ),
        (
            {"PGRST_DB_PRE_CONFIG": "api.gone"},
            "error: the database refused a question: 42883: function api.gone() does not exist",
        ),
    ],
)
def test_what_is_wrong(dsn: str, settings: dict[str, str], complaint: str) -> None:
    result = check(dsn, **{"PGRST_JWT_SECRET": SECRET, **settings})
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [complaint]


def test_a_missing_schema_of_the_search_path_is_only_doubtful(dsn: str) -> None:
    result = check(dsn, PGRST_JWT_SECRET=SECRET, PGRST_DB_EXTRA_SEARCH_PATH="public, gone")
    assert result.exit_code == 0
    assert result.stderr == "warning: db-extra-search-path: there is no schema gone\n"


def test_a_superuser_is_doubtful(postgres: EmbeddedPostgres) -> None:
    result = check(postgres.dsn, PGRST_DB_SCHEMAS="public", PGRST_DB_ANON_ROLE="postgres")
    assert result.exit_code == 0
    assert "warning: db-uri: postgres is a superuser" in result.stderr


def test_a_database_that_is_not_there(postgres: EmbeddedPostgres) -> None:
    result = check(postgres.dsn_for("nowhere"))
    assert result.exit_code == 1
    assert result.stderr == 'error: db-uri: database "nowhere" does not exist\n'


def test_a_certificate_that_is_not_there(dsn: str, tmp_path: Path) -> None:
    result = check(
        dsn,
        PGRST_DB_ANON_ROLE="check_anon",
        PGRST_SERVER_TLS_CERT=str(tmp_path / "cert"),
        PGRST_SERVER_TLS_KEY=str(tmp_path / "key"),
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("error: server-tls-cert: the certificate can't be loaded")


def test_the_dump_holds_the_databases_settings(dsn: str) -> None:
    assert "\ndb-max-rows = 5\n" in check(dsn, "--dump-config").stdout


def test_the_schema_cache_is_printed(dsn: str) -> None:
    for args in (["schema"], ["--dump-schema"]):
        result = check(dsn, *args)
        assert result.exit_code == 0
        assert "things" in json.dumps(json.loads(result.stdout))
