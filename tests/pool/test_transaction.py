"""Transactions against a real server: what is kept, what is left, and what it costs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool import transaction
from pool.connection import connect
from pool.dsn import parse_dsn
from pool.errors import ConnectionLost, DatabaseError
from pool.model import AccessMode, Outcome, Row, Statement, Transaction, keep_always
from pool.session import Session
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import Admin, MakePool, execute
from tests.pool.relay import Relay

_ADD = "insert into api.ledger (note) values ($1) returning note"
_ORPHAN = "insert into api.ledger (note, twin) values ($1, -1) returning note"
_AS_WRITER = (("role", "writer"),)


@pytest.fixture(autouse=True)
def empty_ledger(server: EmbeddedPostgres) -> None:
    asyncio.run(execute(server.dsn, "truncate api.ledger"))


@pytest.fixture
async def relayed(relay: Relay) -> AsyncIterator[Session]:
    session = await connect(parse_dsn(relay.dsn("web"), application_name="relayed", env={}))
    yield session
    await session.close(5)


def adding(note: str, sql: str = _ADD, **options: object) -> Transaction:
    options.setdefault("settings", _AS_WRITER)
    return Transaction(
        Statement(sql, (note,)),
        access="read write",
        **options,  # type: ignore[arg-type]
    )


def reading(sql: str, *args: str, **options: object) -> Transaction:
    return Transaction(Statement(sql, args), **options)  # type: ignore[arg-type]


def yes(rows: Sequence[Row]) -> bool:
    return True


def no(rows: Sequence[Row]) -> bool:
    return False


async def notes(admin: Admin) -> list[str]:
    return [row[0] for row in await admin.fetch("select note from api.ledger order by note")]


async def fails(session: Session, tx: Transaction) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        await transaction.run(session, tx)
    assert not session.broken
    assert not session.in_transaction
    return caught.value


def text(outcome: Outcome) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in outcome.rows[0]]


@pytest.mark.parametrize("keep", [None, yes])
async def test_settings_hold_in_the_transaction_and_in_their_order(
    web: Session, keep: object
) -> None:
    options = {"keep": keep} if keep else {}
    tx = reading(
        "select current_user, current_setting('edge.x'), current_setting('edge.y'),"
        " current_setting('search_path')",
        settings=(
            ("edge.x", "1"),
            ("role", "reader"),
            ("edge.x", "ü'\"\\"),
            ("edge.y", ""),
            ("search_path", '"api", "public"'),
        ),
        **options,
    )
    for _ in range(2):
        assert text(await transaction.run(web, tx)) == [
            "reader", "ü'\"\\", "", '"api", "public"',
        ]  # fmt: skip
    left = await web.fetch(
        Statement("select current_user, current_setting('edge.x'), current_schemas(false)")
    )
    assert tuple(left[0]) == ("web", b"", "{public}")


@pytest.mark.parametrize("keep", [None, yes])
@pytest.mark.parametrize("access", ["read only", "read write"])
async def test_the_access_mode_is_enforced(
    web: Session, admin: Admin, access: AccessMode, keep: object
) -> None:
    options = {"keep": keep} if keep else {}
    tx = Transaction(
        Statement(_ADD, ("a",)),
        access=access,
        settings=_AS_WRITER,
        **options,  # type: ignore[arg-type]
    )
    if access == "read only":
        assert (await fails(web, tx)).sqlstate == "25006"
        assert await notes(admin) == []
    else:
        assert (await transaction.run(web, tx)).rows[0][0] == b"a"
        assert await notes(admin) == ["a"]


async def test_a_read_only_transaction_cannot_be_made_writable(web: Session) -> None:
    for before in (None, Statement("select set_config('transaction_read_only', 'off', true)")):
        tx = reading("select set_config('transaction_read_only', 'off', true)", before=before)
        assert (await fails(web, tx)).sqlstate == "25001"


async def test_a_write_does_not_depend_on_the_sessions_default(
    server: EmbeddedPostgres, admin: Admin
) -> None:
    dsn = server.dsn + "&options=-c%20default_transaction_read_only%3Don"
    session = await connect(parse_dsn(dsn, application_name="careful", env={}))
    assert not session.writes_by_default
    await transaction.run(session, adding("a"))
    assert await notes(admin) == ["a"]
    await session.close(5)


@pytest.mark.parametrize(
    "isolation", ["repeatable read", "serializable", "read committed", None]
)
async def test_the_isolation_level_is_the_one_asked_for(web: Session, isolation: str) -> None:
    tx = reading("select current_setting('transaction_isolation')", isolation=isolation)
    assert text(await transaction.run(web, tx)) == [isolation or "read committed"]


@pytest.mark.parametrize("default", ["serializable", "read committed"])
async def test_the_sessions_default_isolation_does_not_stand_in_for_another(
    server: EmbeddedPostgres, default: str
) -> None:
    option = f"-c%20default_transaction_isolation%3D{default.replace(' ', '%5C%20')}"
    target = parse_dsn(f"{server.dsn}&options={option}", application_name="x", env={})
    session = await connect(target)
    shown = "select current_setting('transaction_isolation')"
    assert text(await transaction.run(session, reading(shown))) == [default]
    for asked in ("read committed", "serializable"):
        assert text(await transaction.run(session, reading(shown, isolation=asked))) == [asked]
    await session.close(5)


async def test_keep_decides_by_the_rows(web: Session, admin: Admin) -> None:
    seen: list[Sequence[Row]] = []

    def keep(rows: Sequence[Row]) -> bool:
        seen.append(rows)
        return bool(rows[0][0] == b"good")

    after = Statement("select count(*) from api.ledger")
    outcome = await transaction.run(web, adding("good", keep=keep, after=after))
    assert (outcome.kept, outcome.after_rows[0][0]) == (True, 1)
    outcome = await transaction.run(web, adding("bad", keep=keep, after=after))
    assert (outcome.kept, list(outcome.after_rows)) == (False, [])
    assert outcome.rows[0][0] == b"bad"
    assert [rows[0][0] for rows in seen] == [b"good", b"bad"]
    assert await notes(admin) == ["good"]


async def test_a_guard_decides_whether_anything_is_run(web: Session, admin: Admin) -> None:
    count = Statement("select count(*)::int from api.ledger")

    def is_empty(rows: Sequence[Row]) -> bool:
        return int(rows[0][0]) == 0

    first = await transaction.run(web, adding("first", guard=count, admits=is_empty))
    assert first.admitted
    assert first.kept
    second = await transaction.run(web, adding("second", guard=count, admits=is_empty))
    assert not second.admitted
    assert not second.rows
    assert not web.in_transaction
    assert await notes(admin) == ["first"]


async def test_a_guard_sees_the_settings_of_its_transaction(web: Session) -> None:
    seen: list[str] = []

    def note(rows: Sequence[Row]) -> bool:
        seen.append(rows[0][0].decode())
        return True

    guard = Statement("select current_user::text")
    await transaction.run(web, adding("a", guard=guard, admits=note))
    assert seen == ["writer"]


async def test_a_keep_that_raises_rolls_back(web: Session, admin: Admin) -> None:
    def keep(rows: Sequence[Row]) -> bool:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await transaction.run(web, adding("a", keep=keep))
    assert not web.broken
    assert not web.in_transaction
    assert await notes(admin) == []


async def test_rollback_answers_but_keeps_nothing(web: Session, admin: Admin) -> None:
    outcome = await transaction.run(web, adding("a", rollback=True))
    assert (outcome.rows[0][0], outcome.kept) == (b"a", True)
    assert await notes(admin) == []


@pytest.mark.parametrize("options", [{}, {"keep": yes}, {"rollback": True}])
async def test_deferred_constraints_are_checked(
    web: Session, admin: Admin, options: dict[str, object]
) -> None:
    for _ in range(2):
        error = await fails(web, adding("a", _ORPHAN, **options))
        assert error.sqlstate == "23503"
    assert await notes(admin) == []


@pytest.mark.parametrize("keep", [None, yes])
async def test_before_runs_once_and_first(web: Session, admin: Admin, keep: object) -> None:
    await admin.execute(
        """
        create or replace function api.check() returns void language plpgsql as $$
        begin
            perform set_config('edge.seen', current_setting('edge.seen', true) || current_user,
                               true);
            if current_setting('edge.token', true) = 'bad' then raise sqlstate 'PT403'; end if;
        end $$;
        create or replace function api.many() returns setof int stable language sql as
        $$ select generate_series(1, 1000) $$;
        """
    )
    options = {"keep": keep} if keep else {}
    seen = "select current_setting('edge.seen')"
    for before in (
        "select api.check()",
        "select api.check() -- done",
        "select * from api.check()",
    ):
        tx = reading(
            seen,
            settings=(("role", "reader"), ("edge.seen", ">")),
            before=Statement(before),
            **options,
        )
        for _ in range(7):  # PostgreSQL turns to a generic plan after five
            assert text(await transaction.run(web, tx)) == [">reader"]
    refused = Transaction(
        Statement(_ADD, ("a",)),
        access="read write",
        settings=(("role", "writer"), ("edge.token", "bad")),
        before=Statement("select api.check()"),
        **options,  # type: ignore[arg-type]
    )
    assert (await fails(web, refused)).sqlstate == "PT403"
    assert await notes(admin) == []
    many = reading("select 1", before=Statement("select * from api.many()"), **options)
    assert text(await transaction.run(web, many)) == ["1"]
    stable = reading("select 1", before=Statement("select 1 / $1::int", ("0",)), **options)
    assert (await fails(web, stable)).sqlstate == "22012"


@pytest.mark.parametrize("keep", [None, yes])
async def test_a_timeout_among_the_settings_holds_for_the_statement(
    web: Session, keep: object
) -> None:
    options = {"keep": keep} if keep else {}
    slow = reading(
        "select pg_sleep(60)",
        settings=(("statement_timeout", "50ms"),),
        before=Statement("select pg_sleep(0.04)"),
        **options,
    )
    for _ in range(2):
        assert (await fails(web, slow)).sqlstate == "57014"
    unhurried = reading("select pg_sleep(0.06)", **options)
    assert (await transaction.run(web, unhurried)).kept


async def test_a_role_that_does_not_exist_runs_nothing(web: Session, admin: Admin) -> None:
    for role, sqlstate in (("nobody_here", "22023"), ("postgres", "42501")):
        error = await fails(web, adding("a", settings=(("role", role),)))
        assert error.sqlstate == sqlstate
    assert await notes(admin) == []


async def test_a_statement_sees_the_search_path_it_is_given(web: Session, admin: Admin) -> None:
    await admin.execute(
        """
        drop schema if exists one, two cascade;
        create schema one; create schema two; grant usage on schema one, two to web;
        create function one.who() returns text language sql as $$ select 'one' $$;
        create function two.who() returns text language sql as $$ select 'two' $$;
        """
    )
    for schema in ("one", "two", "one"):
        tx = reading("select who()", settings=(("search_path", schema),))
        assert text(await transaction.run(web, tx)) == [schema]
    assert (await fails(web, reading("select who()"))).sqlstate == "42883"


async def test_a_changed_schema_is_not_the_callers_problem(web: Session, admin: Admin) -> None:
    await admin.execute(
        "drop table if exists api.wide; create table api.wide (a int);"
        "insert into api.wide values (1); grant all on api.wide to web"
    )
    everything = reading("select * from api.wide")
    block = reading("select * from api.wide", keep=yes, after=everything.statement)
    for tx in (everything, block):
        await transaction.run(web, tx)
    await admin.execute("alter table api.wide add b text default 'new'")
    for tx in (everything, block):
        assert text(await transaction.run(web, tx)) == ["1", "new"]
    await admin.execute("drop table api.wide; create table api.wide (c text);"
                        "grant all on api.wide to web")  # fmt: skip
    for tx in (block, everything):
        assert (await transaction.run(web, tx)).rows == []
    await admin.execute("drop table api.wide")
    assert (await fails(web, everything)).sqlstate == "42P01"


_PASSED_ON = (
    "select session_user = current_user, coalesce(current_setting('edge.x', true), ''),"
    " current_setting('timezone'), current_setting('client_encoding')"
)


@pytest.mark.parametrize("keep", [None, yes])
@pytest.mark.parametrize("setting_up", [None, "reader"])
async def test_a_setting_made_for_the_session_ends_with_its_transaction(
    web: Session, keep: object, setting_up: str | None
) -> None:
    """As a function of the user's may make it: set_config(..., false), or a plain SET."""
    options: dict[str, object] = {"keep": keep} if keep else {}
    fresh = text(await transaction.run(web, reading(_PASSED_ON, **options)))
    settings = (("role", setting_up),) if setting_up else ()
    lasting = reading(
        "select set_config('edge.x', 'leak', false), set_config('role', 'writer', false),"
        " set_config('timezone', 'Asia/Tokyo', false),"
        " set_config('client_encoding', 'LATIN1', false)",
        settings=settings,
        **options,
    )
    await transaction.run(web, lasting)
    assert text(await transaction.run(web, reading(_PASSED_ON, **options))) == fresh


@pytest.mark.parametrize(
    "tx, turns",
    [
        (reading("select 1"), 1),
        (reading("select 1", settings=(("role", "reader"), ("edge.x", "1"))), 1),
        (reading("select 1", settings=_AS_WRITER, before=Statement("select 1")), 1),
        (reading("select 1", isolation="read committed"), 1),
        (reading("select 1", isolation="serializable"), 2),
        (reading("select 1", keep=yes), 2),
        (reading("select 1", keep=no), 2),
        (reading("select 1", rollback=True), 2),
        (reading("select 1", after=Statement("select 2")), 3),
        (Transaction(Statement("select 1"), access="read write"), 1),
        (Transaction(Statement("select 1"), access="read write", keep=yes), 2),
    ],
)
async def test_round_trips(relay: Relay, relayed: Session, tx: Transaction, turns: int) -> None:
    await transaction.run(relayed, tx)
    relay.turns = 0
    await transaction.run(relayed, tx)
    assert relay.turns == turns


async def test_without_prepared_statements(relay: Relay, admin: Admin) -> None:
    """As behind a pooler in transaction mode: everything in one explicit transaction."""
    target = parse_dsn(relay.dsn("web"), application_name="unnamed", env={})
    session = await connect(target, prepared_statements=False)
    tx = adding("a", before=Statement("select 1"), after=Statement("select current_user"))
    relay.turns = 0
    outcome = await transaction.run(session, tx)
    assert relay.turns == 5
    assert (outcome.rows[0][0], outcome.after_rows[0][0]) == (b"a", "writer")
    assert (await fails(session, tx)).sqlstate == "23505"
    assert (await fails(session, reading("select 1", settings=(("role", "x"),)))).sqlstate
    assert await notes(admin) == ["a"]
    await session.close(5)


# One session lives through all sorts of transactions; after each one it must be as new.

_STEPS: dict[str, tuple[Transaction, bool | None]] = {
    "write": (adding("w"), True),
    "write in a block": (adding("b", keep=yes), True),
    "write with after": (adding("f", after=Statement("select current_user")), True),
    "kept out": (adding("k", keep=no), None),
    "rolled back": (adding("r", rollback=True), None),
    "orphan": (adding("o", _ORPHAN), False),
    "orphan in a block": (adding("p", _ORPHAN, keep=yes), False),
    "read": (reading("select 1", settings=(("role", "reader"), ("edge.x", "leak"))), None),
    "bad role": (reading("select 1", settings=(("edge.x", "leak"), ("role", "nope"))), False),
    "bad text": (reading("select 1", settings=(("edge.x", "\ud800"),), keep=yes), False),
    "bad argument": (reading("select $1::bytea", "\\xz", settings=_AS_WRITER), False),
    "bad before": (
        reading("select 1", before=Statement("select 1/$1::int", ("0",)), keep=yes),
        False,
    ),
    "bad after": (adding("x", after=Statement("select 1/$1::int", ("0",))), False),
    "bad sql": (reading("selec", settings=(("search_path", "api"),), keep=yes), False),
    "bad value": (
        reading("select $1::int", "x", settings=_AS_WRITER, isolation="serializable"),
        False,
    ),
    "path": (
        reading("select 1", settings=(("search_path", "api"), ("timezone", "Asia/Tokyo"))),
        None,
    ),
}
_PROBE = Statement(
    "select session_user = current_user, coalesce(current_setting('edge.x', true), ''),"
    " current_setting('search_path'), current_setting('transaction_read_only'),"
    " current_setting('transaction_isolation'), current_setting('timezone'),"
    " (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'relation'"
    "  and relation = 'api.ledger'::regclass)"
)


@pytest.mark.parametrize("prepared_statements", [True, False])
@settings(max_examples=15, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(_STEPS)), min_size=1, max_size=12))
async def test_nothing_survives_a_transaction(
    server: EmbeddedPostgres, prepared_statements: bool, names: list[str]
) -> None:
    await execute(server.dsn, "truncate api.ledger")
    target = parse_dsn(server.dsn_for(user="web"), application_name="steps", env={})
    session = await connect(target, prepared_statements=prepared_statements)
    fresh = tuple((await session.fetch(_PROBE))[0])
    expected: set[str] = set()
    for name in names:
        tx, written = _STEPS[name]
        note = str(tx.statement.args[0]) if written is not None and tx.statement.args else ""
        if written is False or note in expected:
            await fails(session, tx)
        else:
            await transaction.run(session, tx)
            expected |= {note} if written else set()
        assert tuple((await session.fetch(_PROBE))[0]) == fresh
    await execute(
        server.dsn,
        "do $$ begin assert (select coalesce(string_agg(note, '' order by note), '')"
        f" from api.ledger) = '{''.join(sorted(expected))}'; end $$",
    )
    await session.close(5)


@pytest.mark.parametrize("keep", [None, yes])
async def test_a_session_of_a_poolers_is_reset_to_what_the_pooler_made_of_it(
    server: EmbeddedPostgres, keep: object
) -> None:
    """Before: what another of the pooler's clients left in the server's session."""
    options: dict[str, object] = {"keep": keep} if keep else {}
    dsn = server.dsn_for(user="web") + "&application_name=poolers&timezone=Asia/Tokyo"
    target = parse_dsn(dsn, application_name="", env={})
    session = await connect(target, prepared_statements=False)
    # It shows as what PgBouncer has set: with SET, not at the start of the connection.
    lasting = reading(
        "select set_config('edge.x', 'leak', false), set_config('role', 'writer', false),"
        " set_config('timezone', 'UTC', false), set_config('application_name', 'x', false)",
        **options,
    )
    shown = _PASSED_ON.replace("client_encoding", "application_name")
    for _ in range(2):
        await transaction.run(session, lasting)
        assert text(await transaction.run(session, reading(shown, **options))) == [
            *("True", "", "Asia/Tokyo", "poolers"),
        ]
    await session.close(5)


async def test_the_position_after_a_commit(web: Session, admin: Admin) -> None:
    at = "select pg_current_wal_insert_lsn()::text"
    ways: list[dict[str, object]] = [{}, {"keep": yes}, {"rollback": True}, {"keep": no}]
    for number, options in enumerate(ways):
        before = await admin.fetchval(at)
        tx = adding(f"located {number}", _ADD, locates=True, **options)
        position = (await transaction.run(web, tx)).position
        if number < 2:
            past = "select $1::text::pg_lsn > $2::text::pg_lsn"
            assert await admin.fetchval(past, position, before)
        else:
            assert position is None
    assert (await transaction.run(web, adding("not asked"))).position is None


@pytest.mark.parametrize(
    "limit, seconds",
    [
        (None, None),
        ("0", None),
        ("0ms", None),
        ("nonsense", None),
        ("", None),
        ("1000", 2 * 1.0 + 5),
        ("250ms", 2 * 0.25 + 5),
        ("1.5 s", 2 * 1.5 + 5),
        (" 2min ", 2 * 120 + 5),
        ("1h", 2 * 3600 + 5),
    ],
)
def test_how_long_an_answer_may_take(limit: str | None, seconds: float | None) -> None:
    given = () if limit is None else (("statement_timeout", limit),)
    assert transaction.patience(reading("", settings=given)) == seconds


def test_the_last_limit_counts_and_each_statement_has_its_own() -> None:
    given = (("statement_timeout", "0"), ("statement_timeout", "1s"))
    one = Statement("select 1")
    assert transaction.patience(reading("", settings=given, before=one, after=one)) == 9.0


async def test_a_server_that_is_gone_is_given_up(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_GRACE", 0.2)
    session = await connect(parse_dsn(relay.dsn(), application_name="held", env={}))
    relay.hold()
    tx = reading("select 1", settings=(("statement_timeout", "100ms"),))
    with pytest.raises(ConnectionLost, match="did not answer"):
        await transaction.run(session, tx)
    assert session.broken
    session.terminate()


async def test_writers_do_not_notice_that_tables_change(
    make_pool: MakePool, admin: Admin
) -> None:
    """Cached plans go stale under load, in reads, writes and whole blocks: nothing is lost,
    nothing is done twice."""
    await admin.execute(
        "drop table if exists api.moving; grant usage on schema api to writer;"
        "create table api.moving (n int, note text); grant all on api.moving to writer"
    )
    pool = make_pool(size=4)
    changing = True
    numbers = itertools.count()
    done: list[int] = []

    async def write() -> None:
        while changing:
            number = next(numbers)
            insert = "insert into api.moving (n) values ($1) returning *"
            everything = Statement("select * from api.moving where n = $1", (str(number),))
            shape = number % 3
            tx = Transaction(
                Statement(insert, (str(number),)),
                access="read write",
                settings=_AS_WRITER,
                before=Statement("select * from api.moving limit 1"),
                keep=yes if shape else keep_always,
                after=everything if shape == 2 else None,
            )
            await pool.run(tx)
            done.append(number)
            await pool.run(Transaction(everything))

    writers = [asyncio.create_task(write()) for _ in range(6)]
    for round_ in range(25):
        column = f"c{round_}"
        await admin.execute(f"alter table api.moving add {column} int default 1")
        await asyncio.sleep(0.02)
        await admin.execute(f"alter table api.moving drop {column}")
        await admin.execute(
            f"alter table api.moving alter note type {'varchar' if round_ % 2 else 'text'}"
        )
    changing = False
    await asyncio.gather(*writers)
    assert len(done) > 50
    found = await admin.fetch("select n from api.moving order by n")
    assert [row[0] for row in found] == sorted(done)
    await admin.execute("drop table api.moving")
