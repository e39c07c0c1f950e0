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
from tests.conftest import execute
from tests.ports import free_port

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
    environ = {
        "PGRST_DB_URI": dsn,
        "PGRST_DB_SCHEMAS": "api",
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": "0",
        **settings,
    }
    return CliRunner(env=environ).invoke(main, list(args) or ["check"])


def test_all_is_well(dsn: str) -> None:
    result = check(dsn, PGRST_DB_ANON_ROLE="check_anon", PGRST_DB_PRE_REQUEST="api.hook")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "ok: server-port: any port is free"
    assert lines[1].startswith("ok: server-compress-from: ")
    assert lines[2].startswith("ok: PostgreSQL ")
    assert lines[2].endswith(", database check_test, as check_user")
    assert lines[3:6] == [
        "ok: db-schemas: api",
        "ok: db-anon-role: check_anon",
        "ok: db-pre-request: api.hook",
    ]
    assert lines[6].startswith("ok: db-pool: 11 connections (10 to work with, 1 to listen), of")


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
            "error: db-pre-config: the database refused a question: 42883: function api.gone()"
            " does not exist",
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
    assert result.stderr.startswith(
        f"error: server-tls-cert: {tmp_path / 'cert'} can't be read: No such file"
    )


@pytest.mark.parametrize("limited", ["role check_user", "database check_test"])
def test_more_connections_than_are_allowed(
    dsn: str, postgres: EmbeddedPostgres, limited: str
) -> None:
    kind, name = limited.split()
    asyncio.run(execute(postgres.dsn, f"alter {limited} connection limit 20"))
    many = {"PGRST_JWT_SECRET": SECRET, "PGRST_SERVER_WORKERS": "2"}
    try:
        fits = check(dsn, **many, PGRST_DB_POOL="9")
        too_many = check(dsn, **many, PGRST_DB_POOL="10")
        capped = check(dsn, **many, PGRST_DB_POOL="10", PGRST_POOL_MAX_CONNECTIONS="18")
        silent = check(dsn, **many, PGRST_DB_POOL="10", PGRST_DB_CHANNEL_ENABLED="false")
    finally:
        asyncio.run(execute(postgres.dsn, f"alter {limited} connection limit -1"))
    assert [fits.stderr, capped.stderr, silent.stderr] == ["", "", ""]
    assert too_many.exit_code == 0
    assert too_many.stderr == (
        "warning: db-pool: 2 workers may open 22 connections (20 to work with, 2 to listen),"
        f" and the connection limit of the {kind} {name} allows 20; lower db-pool to 9, or"
        " raise the limit\n"
    )


def test_more_connections_than_the_server_has(dsn: str) -> None:
    result = check(dsn, PGRST_JWT_SECRET=SECRET, PGRST_DB_POOL="5000")
    assert "and max_connections allows " in result.stderr


def test_warnings_count_when_asked(dsn: str) -> None:
    doubtful = {"PGRST_JWT_SECRET": SECRET, "PGRST_DB_EXTRA_SEARCH_PATH": "gone"}
    assert check(dsn, "check", "--strict", PGRST_JWT_SECRET=SECRET).exit_code == 0
    assert check(dsn, "check", **doubtful).exit_code == 0
    assert check(dsn, "check", "--strict", **doubtful).exit_code == 1


def test_findings_as_json(dsn: str, tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text(
        f'server-host = "127.0.0.1"\nserver-port = 0\ndb-pol = 1\n[apps.one]\n'
        f'db-uri = "{dsn}"\ndb-schemas = "apo"\ndb-anon-role = "check_anon"\n'
    )
    result = CliRunner().invoke(main, ["check", "--json", str(config)])
    assert result.exit_code == 1
    assert result.stderr == ""
    found = {(each["verdict"], each["app"], each["text"]) for each in json.loads(result.stdout)}
    assert ("warning", None, "db-pol is not a setting; did you mean db-pool?") in found
    gone = "db-schemas: there is no schema apo; create it or leave it out"
    assert ("error", "one", gone) in found
    config.write_text("db-pool = 0")
    result = CliRunner().invoke(main, ["check", "--json", str(config)])
    assert (result.exit_code, result.stderr) == (1, "")
    assert "db-pool" in json.loads(result.stdout)[0]["text"]


@pytest.mark.parametrize("kind, there", [("tables", "things"), ("functions", "hook")])
def test_a_cache_policy_for_nothing(dsn: str, tmp_path: Path, kind: str, there: str) -> None:
    config = tmp_path / "c"
    for name, is_there in ((f"api.{there}", True), (there, True), (f"api.{there}x", False)):
        config.write_text(f'[cache.{kind}."{name}"]\nmax-age = 5\nscope = "role"\n')
        result = check(dsn, "check", str(config), PGRST_JWT_SECRET=SECRET)
        assert result.exit_code == 0
        assert ("has no effect: there is no " in result.stderr) != is_there
        assert (f"did you mean api.{there}?" in result.stderr) != is_there


def test_an_identity_provider_that_is_not_there(dsn: str) -> None:
    uri = f"http://127.0.0.1:{free_port()}/jwks.json"
    result = check(dsn, PGRST_JWT_JWKS_URI=uri, PGRST_DB_ANON_ROLE="check_anon")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: jwt-jwks-uri: there are no keys to be had: ")


def test_no_database_is_named() -> None:
    environ = dict.fromkeys(("PGHOST", "PGPORT", "PGDATABASE", "PGUSER"), None)
    result = CliRunner(env=environ).invoke(main, ["check"])
    assert "warning: db-uri is not set" in result.stderr


def test_the_dump_holds_the_databases_settings(dsn: str) -> None:
    assert "\ndb-max-rows = 5\n" in check(dsn, "--dump-config").stdout


def test_the_schema_cache_is_printed(dsn: str) -> None:
    for args in (["schema"], ["--dump-schema"]):
        result = check(dsn, *args)
        assert result.exit_code == 0
        assert "things" in json.dumps(json.loads(result.stdout))
