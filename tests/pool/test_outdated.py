"""Statements that were prepared before DDL of any kind answer after it as new ones do."""

from __future__ import annotations

import pytest

from pool.errors import DatabaseError
from pool.model import Argument, Statement, Transaction
from pool.session import Session
from pool.transaction import run
from tests.pool.conftest import Admin

_SCHEMA = """
drop schema if exists restored cascade;
create schema restored;
create type restored.mood as enum ('sad', 'ok');
create type restored.pair as (a int, b restored.mood);
create domain restored.name as text check (value <> '');
create table restored.people (
    id int primary key, feels restored.mood, called restored.name, both_of restored.pair,
    moods restored.mood[], during int4range
);
insert into restored.people values (1, 'ok', 'Ada', '(1,ok)', '{ok}', '[1,2)');
create view restored.seen as select id, feels, called from restored.people;
create function restored.of_mood(m restored.mood) returns setof restored.people
    language sql stable as $$ select * from restored.people where feels = m $$;
create function restored.told(p restored.pair, variadic moods restored.mood[]) returns text
    language plpgsql stable as $$ begin return (p).b || moods[1]; end $$;
create function restored.shouted(restored.people) returns text
    language sql stable as $$ select upper($1.called) $$;
create function restored.same(restored.mood, restored.mood) returns bool
    language sql immutable as $$ select $1::text = $2::text $$;
create operator restored.=== (
    function = restored.same, leftarg = restored.mood, rightarg = restored.mood
);
create aggregate restored.moods_of (restored.mood) (
    sfunc = array_append, stype = restored.mood[]
);
"""

_ROW = b'[{"id":2,"feels":"sad","called":"B","both_of":{"a":1,"b":"ok"},"moods":["ok"]}]'
_STATEMENTS: list[tuple[str, tuple[Argument, ...]]] = [
    ("select * from restored.people where feels = $1", ("ok",)),
    ("select p.* from restored.people p where feels = any ($1)", ("{ok}",)),
    ("select id, feels, both_of, moods from restored.people where called = $1", ("Ada",)),
    ("select json_agg(p.*) from restored.people p where both_of = $1", ("(1,ok)",)),
    ("select * from restored.seen where feels is distinct from $1", ("sad",)),
    ("select * from restored.of_mood($1)", ("ok",)),
    ("select * from restored.of_mood(m := $1::restored.mood)", ("ok",)),
    ("select restored.told($1, variadic $2)", ("(1,ok)", "{ok}")),
    ("select p.shouted from restored.people p", ()),
    ("select restored.shouted(p) from restored.people p where p.shouted = $1", ("ADA",)),
    ("select id from restored.people where feels operator(restored.===) $1", ("ok",)),
    ("select restored.moods_of(feels) from restored.people where $1 = any (moods)", ("ok",)),
    ("select $1::restored.mood, $2::restored.pair, $3::restored.name", ("ok", "(1,ok)", "n")),
    (
        "with source as (insert into restored.people (id, feels, called, both_of, moods)"
        " select r.* from json_to_recordset($1::json) as r (id int, feels restored.mood,"
        " called restored.name, both_of restored.pair, moods restored.mood[])"
        " returning *) select json_agg(source.*) from source",
        (_ROW,),
    ),
    ("update restored.people set feels = $1 where called = $2 returning *", ("ok", "Ada")),
]

_CHANGES = {
    "the whole schema restored": _SCHEMA,
    "an enum recreated under its columns": """
        drop view restored.seen;
        drop function restored.of_mood;
        alter type restored.mood rename to old_mood;
        create type restored.mood as enum ('sad', 'ok');
        alter table restored.people alter feels type restored.mood
            using feels::text::restored.mood;
        create view restored.seen as select id, feels, called from restored.people;
        create function restored.of_mood(m restored.mood) returns setof restored.people
            language sql stable as $$ select * from restored.people where feels = m $$;
    """,
    "an enum made text": """
        drop view restored.seen;
        alter table restored.people alter feels type text;
        create view restored.seen as select id, feels, called from restored.people;
    """,
    "columns added, moved and changed": """
        alter table restored.people add more int;
        drop view restored.seen;
        alter table restored.people alter id type bigint;
        create view restored.seen as select feels, id, called from restored.people;
        alter table restored.people rename during to span;
    """,
    "functions with other parameters": """
        drop function restored.of_mood;
        create function restored.of_mood(m text) returns setof text
            language sql stable as $$ select m $$;
        drop function restored.told;
        create function restored.told(p text, variadic moods text[]) returns text
            language sql stable as $$ select p $$;
    """,
    "a table replaced by a view": """
        alter table restored.people rename to persons;
        create view restored.people as select * from restored.persons;
    """,
    "types gone": "drop type restored.mood cascade;",
}


async def answers(session: Session) -> list[object]:
    """What each statement answers, errors included; nothing stays written."""
    found: list[object] = []
    for sql, args in _STATEMENTS:
        for access in ("read only", "read write"):
            transaction = Transaction(
                Statement(sql, args),
                access=access,
                rollback=access == "read write",
            )
            try:
                rows = (await run(session, transaction)).rows
                found.append([tuple(row) for row in rows])
            except DatabaseError as error:
                found.append((error.sqlstate, error.message))
    return found


@pytest.mark.parametrize("change", _CHANGES)
async def test_statements_outlive_ddl(
    session: Session, web: Session, admin: Admin, change: str
) -> None:
    await admin.execute(_SCHEMA)
    before = await answers(session)
    assert before == await answers(session)
    assert not any(isinstance(answer, tuple) and answer[0] == "XX000" for answer in before)
    await admin.execute(_CHANGES[change])
    after = await answers(session)
    session.forget_statements()
    for stale, fresh in zip(after, await answers(session), strict=True):
        # Both are refused; which of the reasons is told may differ until the cache reloads.
        refused = isinstance(fresh, tuple) and isinstance(stale, tuple) and stale[0] == "22P02"
        assert stale == fresh or refused


async def test_a_wrong_request_makes_only_its_own_statement_prepared_anew(
    session: Session, admin: Admin
) -> None:
    await admin.execute(_SCHEMA)
    good = Transaction(Statement("select id from restored.people where id = $1", ("1",)))
    insert = "insert into restored.people (id) values ($1) on conflict (feels) do nothing"
    bad = Transaction(Statement(insert, ("7",)), access="read write")
    await run(session, good)
    for _ in range(3):
        with pytest.raises(DatabaseError) as caught:
            await run(session, bad)
        assert caught.value.sqlstate == "42P10"
    kept = Statement(
        "select count(*) from pg_prepared_statements where statement = $1",
        (good.statement.sql,),
    )
    assert (await session.fetch(kept))[0][0] == 1


async def test_what_a_function_raises_is_no_reason_to_run_it_again(
    session: Session, admin: Admin
) -> None:
    await admin.execute("""
        drop schema if exists restored cascade;
        create schema restored;
        create sequence restored.runs;
        create function restored.fails() returns void language plpgsql as $$
            begin perform nextval('restored.runs'); execute 'select from nowhere'; end $$;
    """)
    failing = Transaction(Statement("select restored.fails()"), access="read write")
    for runs in range(1, 4):
        with pytest.raises(DatabaseError) as caught:
            await run(session, failing)
        assert caught.value.sqlstate == "42P01"
        assert await admin.fetchval("select last_value from restored.runs") == runs
