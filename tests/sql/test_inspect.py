"""What a role may use, asked of a real PostgreSQL."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pool import Pool, Statement, Transaction
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.schema_cache.model import Parameter
from proxy.sql.inspect import (
    InspectedFunction,
    Inspection,
    InspectMode,
    inspect_statement,
    read_inspection,
)

SCHEMA = """
create role web;
create role stranger;
create schema "Api";
comment on schema "Api" is 'The API';
grant usage on schema "Api" to web;
create type "Api".mood as enum ('good');
create table "Api".granted (id int);
create table "Api".by_column (id int, other int);
create table "Api".denied (id int);
create view "Api".seen as select 1 as one;
create table "Api".parts (id int) partition by range (id);
create table "Api".part partition of "Api".parts for values from (0) to (9);
grant select on "Api".granted, "Api".seen, "Api".parts, "Api".part to web;
grant update (other) on "Api".by_column to web;
create function "Api".plain() returns int language sql immutable as 'select 1';
comment on function "Api".plain() is 'Plain';
create function "Api".args(
    out first int, a int, variadic rest "Api".mood[] default '{}'
) language sql stable as 'select 1';
create function "Api".over(a text) returns int language sql as 'select 1';
create function "Api".over() returns int language sql as 'select 1';
create function "Api".body(json) returns int language sql as 'select 1';
create function "Api".unnamed(int) returns int language sql as 'select 1';
create function "Api".unnamed2(json, json) returns int language sql as 'select 1';
create function "Api".denied() returns int language sql as 'select 1';
revoke execute on function "Api".denied() from public;
create function "Api".fires() returns trigger language plpgsql as 'begin return new; end';
create procedure "Api".proc() language sql as 'select 1';
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    # Not pytest's tmp_path: the server may run as a user who can't get into it.
    with (
        tempfile.TemporaryDirectory() as place,
        EmbeddedPostgres(Path(place), durable=False, port=None) as running,
    ):
        yield running


@pytest.fixture
async def pool(server: EmbeddedPostgres) -> AsyncIterator[Pool]:
    pool = Pool(server.dsn, size=1)
    exists = Statement("select 1 from pg_namespace where nspname = 'Api'")
    if not (await pool.run(Transaction(exists))).rows:
        for command in SCHEMA.split(";\n"):
            if command.strip():
                await pool.run(Transaction(Statement(command), access="read write"))
    yield pool
    await pool.close()


async def inspect(
    pool: Pool, role: str, mode: InspectMode = "follow-privileges", schema: str = "Api"
) -> Inspection:
    settings = (("search_path", '"Api", public'), ("role", role))
    transaction = Transaction(inspect_statement(schema, mode), settings=settings)
    return read_inspection((await pool.run(transaction)).rows)


async def test_what_a_role_may_use(pool: Pool) -> None:
    found = await inspect(pool, "web")
    assert found.description == "The API"
    assert found.tables == {"granted", "by_column", "seen", "parts"}
    assert found.functions == (
        InspectedFunction(
            "args",
            None,
            (
                Parameter("a", "integer", "integer", True, False),
                Parameter("rest", "mood[]", "mood[]", False, True),
            ),
            "stable",
        ),
        InspectedFunction(
            "body", None, (Parameter("", "json", "json", True, False),), "volatile"
        ),
        InspectedFunction("over", None, (), "volatile"),
        InspectedFunction(
            "over", None, (Parameter("a", "text", "text", True, False),), "volatile"
        ),
        InspectedFunction("plain", "Plain", (), "immutable"),
    )


async def test_owners_may_use_what_they_own(pool: Pool) -> None:
    found = await inspect(pool, "postgres")
    assert {"denied", "granted"} <= found.tables
    assert "denied" in {function.name for function in found.functions}


async def test_strangers_see_no_table(pool: Pool) -> None:
    assert (await inspect(pool, "stranger")).tables == frozenset()


async def test_ignoring_privileges_asks_for_the_comment_alone(pool: Pool) -> None:
    assert await inspect(pool, "web", "ignore-privileges") == Inspection("The API")


async def test_a_schema_that_is_gone(pool: Pool) -> None:
    assert await inspect(pool, "web", schema="gone") == Inspection()
