"""The session against a real server: how values travel, and what comes of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from pool import session as session_module
from pool.connection import connect
from pool.dsn import parse_dsn
from pool.errors import ConnectionLost, DatabaseError, OutdatedStatement
from pool.model import Argument, Statement
from pool.session import Session
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import Admin, execute
from tests.pool.relay import Relay
from tests.waiting import until

_TYPES = """
drop schema if exists types cascade;
create schema types;
create type types.mood as enum ('sad', 'ok');
create domain types.positive as int check (value > 0);
create type types.pair as (a int, b text);
create table types.everything (mood types.mood, span int4range, pairs types.pair[]);
create extension if not exists citext schema public;
create extension if not exists hstore schema public;
"""

# SQL, argument, what comes back.
_VALUES: list[tuple[str, Argument, Any]] = [
    ("select $1::int", "42", 42),
    ("select $1::int2", "-1", -1),
    ("select $1::bigint", "9223372036854775807", 9223372036854775807),
    ("select $1::oid", "4294967295", 4294967295),
    ("select $1::int", None, None),
    ("select $1::bool", "yes", True),
    ("select $1::bool", "off", False),
    ("select $1::numeric", "1.50", "1.50"),
    ("select $1::float8", "0.1", "0.1"),
    ("select $1::date", "2024-02-29", "2024-02-29"),
    ("select $1::timestamptz at time zone 'UTC'", "infinity", "infinity"),
    ("select $1::interval", "1 day", "1 day"),
    (
        "select $1::uuid",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    ("select $1::inet", "10.0.0.1/8", "10.0.0.1/8"),
    ("select $1::int[]", "{1,2,NULL}", "{1,2,NULL}"),
    ("select $1::text[]", '{a,"b c",NULL}', '{a,"b c",NULL}'),
    ("select $1::int4range", "[1,5]", "[1,6)"),
    ("select $1::types.mood", "ok", "ok"),
    ("select $1::types.mood[]", "{ok,sad}", "{ok,sad}"),
    ("select $1::types.positive", "7", 7),
    ("select $1::types.pair", '(1,"x y")', '(1,"x y")'),
    ("select $1::types.pair[]", '{"(1,x)"}', '{"(1,x)"}'),
    ("select $1::citext", "Ä", "Ä"),
    ("select $1::hstore", '"a"=>"1"', '"a"=>"1"'),
    ("select $1::jsonpath", '$."a"', '$."a"'),
    ("select $1::tsvector", "'a' 'b'", "'a' 'b'"),
    ("select $1::point", "(1,2)", "(1,2)"),
    ("select $1::regclass", "pg_class", "pg_class"),
    ("select $1::varchar", "ü", "ü"),
    ("select $1::char(3)", "ü", "ü  "),
    ("select $1::name", "ü", "ü"),
    ("select $1::text", "ü", "ü".encode()),
    ("select $1::text", b"\xc3\xbc", b"\xc3\xbc"),
    ("select $1::json", '{"a": 1}', b'{"a": 1}'),
    ("select $1::json", b'{"a":  1}', b'{"a":  1}'),
    ("select $1::jsonb", b'{"a":1}', b'{"a": 1}'),
    ("select $1::jsonb", '{"a":1}', b'{"a": 1}'),
    ("select $1::bytea", b"\x00\xff", b"\x00\xff"),
    ("select $1::bytea", "\\x00ff", b"\x00\xff"),
    ("select $1::bytea", "a\\000\\\\", b"a\x00\\"),
    ("select 'abc' like any($1)", "{a%,x%}", True),
    ("select 'ok'::types.mood = $1", "ok", True),
    ("select '{1,2}'::int[] && $1", "{2}", True),
    ("select row(1, $1::text)", "x", "(1,x)"),
    ("select $1::text from pg_sleep(0)", "", b""),
    ("select pg_sleep($1)", "0", ""),
]


@pytest.fixture(autouse=True, scope="module")
def types(server: EmbeddedPostgres) -> None:
    asyncio.run(execute(server.dsn, _TYPES))


@pytest.fixture
async def relayed(relay: Relay) -> AsyncIterator[Session]:
    target = parse_dsn(relay.dsn(), application_name="relayed", env={})
    session = await connect(target)
    yield session
    await session.close(5)


@pytest.mark.parametrize("sql, argument, expected", _VALUES)
async def test_values_travel_in_text_form(
    session: Session, sql: str, argument: Argument, expected: Any
) -> None:
    for _ in ("not known to the server", "known"):
        rows = await session.fetch(Statement(sql, (argument,)))
        assert [tuple(row) for row in rows] == [(expected,)]
        assert type(rows[0][0]) is type(expected)


@pytest.mark.parametrize("argument", ["<a>ü</a>", "<a>ü</a>".encode()])
async def test_xml_travels_as_text_and_comes_back_as_bytes(
    session: Session, admin: Admin, argument: Argument
) -> None:
    try:
        await admin.execute("select '<a/>'::xml")
    except asyncpg.FeatureNotSupportedError:
        pytest.skip("this PostgreSQL was built without libxml")
    declared = Statement("select xmlelement(name a, $1::xml)", (argument,))
    assert (await session.fetch(declared))[0][0] == "<a><a>ü</a></a>".encode()
    with pytest.raises(DatabaseError, match="22021"):
        await session.fetch(Statement(declared.sql, (b"<a>\xff</a>",)))


async def test_unknown_types_cost_no_introspection(relay: Relay, relayed: Session) -> None:
    relay.turns = 0
    statement = Statement("select *, $1::types.positive from types.everything where mood = $2")
    arguments = ("1", "ok")
    await relayed.fetch(Statement(statement.sql, arguments))
    assert relay.turns == 2
    await relayed.fetch(Statement(statement.sql, arguments))
    assert relay.turns == 3


@pytest.mark.parametrize(
    "sql, argument, sqlstate",
    [
        ("select $1::int", "x", "22P02"),
        ("select $1::int", "99999999999", "22003"),
        ("select $1::types.mood", "angry", "22P02"),
        ("select $1::types.positive", "-1", "23514"),
        ("select $1::date", "2023-02-29", "22008"),
        ("select $1::text", "a\0b", "22021"),
        ("select $1::int[]", "{1\0}", "22021"),
        ("select $1::text", "\ud800", "22021"),
        ("select $1::varchar", "\ud800", "22021"),
        ("select $1::text", b"\xff", "22021"),
        ("select $1::json", b"\xff", "22021"),
        ("select $1::json", b"{", "22P02"),
        ("select $1::jsonb", b"{", "22P02"),
        ("select $1::bytea", "\\xabc", "22023"),
        ("select $1::bytea", "\\xzz", "22023"),
        ("select $1::bytea", "\\9", "22P02"),
        ('select $1::text as "a\0b"', "", "22021"),
        ('select $1::text as "a\ud800b"', "", "22021"),
        ("select $1::nonsense", "", "42704"),
        ("selec $1", "", "42601"),
        ("select 1 / $1::int", "0", "22012"),
    ],
)
async def test_bad_values_and_sql_are_the_databases_errors(
    session: Session, sql: str, argument: Argument, sqlstate: str
) -> None:
    for _ in range(2):
        with pytest.raises(DatabaseError) as caught:
            await session.fetch(
                Statement(sql, (argument,)), ahead=[Statement("select where false")]
            )
        assert caught.value.sqlstate == sqlstate
        assert not session.broken
        assert not session.in_transaction
        assert (await session.fetch(Statement("select 1")))[0][0] == 1


async def test_an_error_carries_all_its_fields(session: Session) -> None:
    raise_it = (
        "do $$ begin raise exception 'no' using detail = 'd', hint = 'h',"
        " errcode = 'PT418'; end $$"
    )
    with pytest.raises(DatabaseError) as caught:
        await session.fetch(Statement(raise_it))
    told = caught.value
    assert (told.sqlstate, told.message, told.detail, told.hint, told.severity) == (
        *("PT418", "no", "d", "h"),
        "ERROR",
    )
    with pytest.raises(DatabaseError) as caught:
        await session.fetch(Statement("select nowhere"))
    assert caught.value.position == 8


async def test_too_many_arguments_are_refused(session: Session) -> None:
    with pytest.raises(DatabaseError) as caught:
        await session.fetch(Statement("select 1", ("x",) * 32768))
    assert caught.value.sqlstate == "54000"
    assert not session.broken


async def test_a_wrong_number_of_arguments_is_our_mistake(session: Session) -> None:
    statement = Statement("select $1::int, $2::int", ("1", "2"))
    await session.fetch(statement)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        await session.fetch(Statement(statement.sql, ("1",)))
    assert not session.broken


async def test_nothing_runs_without_what_went_ahead(session: Session, admin: Admin) -> None:
    await admin.execute("drop table if exists api.seen; create table api.seen (n int)")
    insert = Statement("insert into api.seen values ($1) returning n", ("1",))
    for _ in range(2):
        with pytest.raises(DatabaseError, match="22012"):
            await session.fetch(
                insert, ahead=[Statement("select where 1 / $1::int = 0", ("0",))]
            )
    with pytest.raises(DatabaseError, match="22021"):
        await session.fetch(insert, ahead=[Statement("select where $1 = ''", ("\ud800",))])
    assert await admin.fetchval("select count(*) from api.seen") == 0
    # The failures left nothing behind that would travel ahead of the next statement.
    assert (await session.fetch(insert))[0][0] == 1
    await admin.execute("drop table api.seen")


async def test_what_goes_ahead_is_prepared_once(session: Session) -> None:
    ahead = Statement("select where set_config('edge.x', $1, true) = 'no'", ("yes",))
    kept = Statement("select name from pg_prepared_statements where statement ~ 'edge[.]x'")
    for _ in range(10):
        with pytest.raises(DatabaseError):
            await session.fetch(Statement("select 1 / $1::int", ("0",)), ahead=[ahead])
    for _ in range(3):
        rows = await session.fetch(Statement("select current_setting('edge.x')"), ahead=[ahead])
        assert rows[0][0] == b"yes"
    names = {row[0] for row in await session.fetch(kept)}
    # Itself, because its text names the setting, and the statement under test.
    assert len(names) <= 3
    for _ in range(3):
        await session.fetch(Statement("select 2"), ahead=[ahead])
    assert {row[0] for row in await session.fetch(kept)} == names


async def test_old_statements_are_forgotten_on_the_server(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_STATEMENTS", 10)
    for n in range(50):
        assert (await session.fetch(Statement(f"select {n}")))[0][0] == n
    known = Statement("select count(*) from pg_prepared_statements")
    assert (await session.fetch(known))[0][0] <= 11
    assert len(session._to_close) <= 1
    for n in range(45, 50):
        assert (await session.fetch(Statement(f"select {n}")))[0][0] == n


async def test_what_is_kept_on_the_server_is_bounded_in_size(session: Session) -> None:
    """The server's memory for a statement grows with its text, which callers choose."""
    kept = Statement(
        "select count(*), coalesce(sum(length(statement)), 0) from pg_prepared_statements"
    )
    for n in range(20):
        conditions = " or ".join(["$1::int = 1"] * 2000)
        statement = Statement(f"select {n} where {conditions}", ("1",))
        assert (await session.fetch(statement))[0][0] == n
    # The last one goes with the next group.
    await session.fetch(kept)
    assert (await session.fetch(kept))[0][0] <= 2
    for n in range(200):
        padding = "x" * 10_000
        assert (await session.fetch(Statement(f"select {n}, '{padding}'")))[0][0] == n
    await session.fetch(kept)
    count, length = (await session.fetch(kept))[0]
    assert 90 <= count <= 105
    assert int(length) <= 1_050_000
    assert len(session._to_close) <= 1


async def test_a_changed_result_type_is_told_apart(session: Session, admin: Admin) -> None:
    await admin.execute("drop table if exists api.shape; create table api.shape (a int)")
    everything = Statement("select * from api.shape")
    await session.fetch(everything)
    await admin.execute("alter table api.shape add b text")
    with pytest.raises(OutdatedStatement):
        await session.fetch(everything)
    session.forget_statements()
    assert await session.fetch(everything) == []
    await admin.execute("drop table api.shape")
    # The same SQLSTATE for another reason is no reason to try again.
    with pytest.raises(DatabaseError) as caught:
        await session.fetch(
            Statement("do $$ begin raise sqlstate '0A000'; end $$"),
        )
    assert not isinstance(caught.value, OutdatedStatement)


async def test_without_prepared_statements_nothing_is_left_on_the_server(
    relay: Relay,
) -> None:
    target = parse_dsn(relay.dsn(), application_name="unnamed", env={})
    session = await connect(target, prepared_statements=False)
    ahead = [Statement("select where set_config('edge.x', $1, true) = ''", ("ü",))]
    for _ in range(2):
        relay.turns = 0
        rows = await session.fetch(
            Statement("select current_setting('edge.x'), $1::types.mood", ("ok",)), ahead=ahead
        )
        assert tuple(rows[0]) == ("ü".encode(), "ok")
        assert relay.turns == 2
    names = await session.fetch(Statement("select name from pg_prepared_statements"))
    assert [row[0] for row in names] in ([], [b""])
    await session.close(5)


async def test_a_cancelled_session_is_broken_and_its_query_cancelled(
    session: Session, admin: Admin
) -> None:
    pid = session.server_pid

    async def running() -> bool:
        state = "select state = 'active' from pg_stat_activity where pid = $1"
        return bool(await admin.fetchval(state, pid))

    task = asyncio.create_task(session.fetch(Statement("select pg_sleep(60)")))
    await until(running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session.broken
    with pytest.raises(ConnectionLost, match="is closed"):
        await session.fetch(Statement("select 1"))
    await session.close(5)

    async def gone() -> bool:
        return not await admin.fetchval("select 1 from pg_stat_activity where pid = $1", pid)

    await until(gone)


async def test_a_terminated_session_says_why(session: Session, admin: Admin) -> None:
    task = asyncio.create_task(session.fetch(Statement("select pg_sleep(60)")))

    async def terminated() -> bool:
        sql = (
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where pid = $1 and wait_event = 'PgSleep'"
        )
        return bool(await admin.fetchval(sql, session.server_pid))

    await until(terminated)
    with pytest.raises(DatabaseError) as caught:
        await task
    assert caught.value.sqlstate == "57P01"
    assert session.broken


async def test_a_connection_cut_without_a_word_is_lost(relay: Relay, relayed: Session) -> None:
    task = asyncio.create_task(relayed.fetch(Statement("select pg_sleep(60)")))
    turns = relay.turns

    async def sent() -> bool:
        return relay.turns > turns + 1

    await until(sent)
    relay.cut()
    with pytest.raises(ConnectionLost):
        await task
    assert relayed.broken


async def test_an_idle_session_that_was_terminated_is_stale(
    session: Session, admin: Admin
) -> None:
    assert not session.stale
    await admin.fetchval("select pg_terminate_backend($1, 5000)", session.server_pid)
    assert session.stale
