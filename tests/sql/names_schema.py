"""A database in which users call everything by the names that our own SQL uses.

The names are collected from SQL that the planner's sample requests make, never listed here.
Each of them is a table, a column, a composite type and its field, functions of several kinds
and a junction. `hub` has a column of every such name and is embedded by every table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tests.plan.requests import statement

_TOKEN: Final = re.compile(r"""(?P<name>"(?:[^"]|"")*")|'(?:[^']|'')*'|\$\d+|(?P<word>\w+)""")

JSON: Final = "application/json"
SAMPLES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("/tasks", {"prefer": "count=exact"}),
    ("/tasks?limit=1&offset=1", {"prefer": "count=exact", "accept": "text/csv"}),
    ("/tasks", {"accept": "application/vnd.pgrst.object+json;nulls=stripped"}),
    ("/tasks?select=project_id,id.sum(),count()&name=in.(a,b)&or=(id.eq.1,id.is.null)", {}),
    ("/tasks?select=id::text,projects(name)&projects=not.is.null&order=projects(name)", {}),
    ("/projects?select=...clients(name,count()),data->a->0&name=fts(english).a", {}),
    ("/clients?select=...projects!inner(name,id)&projects.order=name.desc", {}),
    ("/clients?select=last_project(*),projects(tasks(id))&projects=is.null", {}),
    ("/users?select=tasks(*),...tasks(name)", {"prefer": "count=exact"}),
    ("/projects?color=eq.1&color=in.(1,2)", {}),
    ("/rpc/add?a=1&b=2&c=3", {"accept": "text/csv"}),
    ("/rpc/projects_of?client=1&select=id,clients(*)", {"prefer": "count=exact"}),
    ("/rpc/add", {"method": "POST", "body": b'{"a":1,"b":2,"c":3}'}),
    ("/tasks", {"method": "POST", "body": b'{"id":1}', "prefer": "return=headers-only"}),
    (
        "/tasks?select=projects(*)",
        {"method": "POST", "body": b'[{"id":1}]', "prefer": "return=representation"},
    ),
    (
        "/tasks",
        {
            "method": "POST",
            "body": b'[{"id":1}]',
            "prefer": "resolution=merge-duplicates,missing=default",
        },
    ),
    ("/tasks?id=eq.1", {"method": "PUT", "body": b'{"id":1}'}),
    ("/tasks?id=eq.1", {"method": "PATCH", "body": b'{"name":"a"}'}),
    (
        "/tasks",
        {"method": "PATCH", "body": b'[{"id":1,"name":"a"}]', "prefer": "update=by-key"},
    ),
    ("/tasks?id=eq.1", {"method": "DELETE", "prefer": "return=representation"}),
)


def words(sql: str) -> Iterator[str]:
    """The names and words of a statement, as PostgreSQL reads them."""
    for match in _TOKEN.finditer(sql):
        if match["name"] is not None:
            yield match["name"][1:-1].replace('""', '"')
        elif match["word"] is not None:
            yield match["word"].lower()


def sample_names() -> list[str]:
    """Every name and word in the SQL of the sample requests."""
    found: set[str] = set()
    for target, request in SAMPLES:
        found |= set(words(statement(target, **request).sql))
    return sorted(name for name in found if not name.isdigit())


def quoted(name: str) -> str:
    """A name as SQL writes it, by a function that is not the one under test."""
    return '"' + name.replace('"', '""') + '"'


FIXED: Final = frozenset(
    f"z-{word}" for word in ("hub", "fan", "id", "peer", "word", "label", *"abcdw")
)
"""What the tests call things themselves: no word of SQL has a hyphen."""


def schema_sql(names: Iterable[str]) -> str:
    """The database; its rows tell from which table they are by their ids."""
    every = list(names)
    columns = ", ".join(f"{quoted(name)} text" for name in every)
    values = ", ".join(f"'of {number}'" for number, _ in enumerate(every))
    parts = [
        _HEAD,
        f'create table api."z-hub" ("z-id" int primary key, {columns});',
        f'insert into api."z-hub" values (1, {values}), (2, {values}), (3, {values});',
    ]
    parts += (_of_name(quoted(name), number) for number, name in enumerate(every, start=1))
    return "\n".join([*parts, _TAIL])


def _of_name(name: str, number: int) -> str:
    first = number * 10
    return f"""
create type kinds.{name} as ({name} int, "z-label" text);
create table api.{name} (
    "z-id" int primary key, {name} kinds.{name}, "z-peer" int references api."z-hub",
    "z-word" text default 'default'
);
insert into api.{name} values
    ({first + 1}, row(777, 'A,"1'), 1, 'one'),
    ({first + 2}, row(778, null), 1, 'two'),
    ({first + 3}, null, 2, null);
create function scalars.{name}() returns table ({name} int, "z-label" text)
    language sql stable as $$ values (1, 'x'), (2, null) $$;
create function scalars.{name}({name} int) returns int language sql stable
    as $$ select $1 + 1 $$;
create function api.{name}(api."z-fan") returns setof api.{name} language sql stable
    as $$ select * from api.{name} where "z-id" = {first} + ($1)."z-id" $$;
create table joints.{name} (
    a int references joints."z-hub", b int references joints."z-fan", primary key (a, b)
);
insert into joints.{name} values (1, 1), (1, 2), (2, 2);
"""


_HEAD: Final = """
create schema api;
create schema kinds;
create schema scalars;
create schema joints;
create table api."z-fan" ("z-id" int primary key, "z-fan" int);
insert into api."z-fan" values (1, 10), (2, 20);
create table joints."z-hub" ("z-id" int primary key);
create table joints."z-fan" ("z-id" int primary key);
insert into joints."z-hub" values (1), (2);
insert into joints."z-fan" values (1), (2);
"""

_TAIL: Final = """
grant usage on schema api, kinds, scalars, joints to web_anon;
grant all on all tables in schema api, joints to web_anon;
"""


TRAPS: Final = """
create schema traps;
create function traps.caught(name text) returns int language plpgsql
    as $$ begin raise exception 'a function of a user was called: %', name; end $$;
do $traps$
declare
    trap record;
begin
    for trap in
        select proname, pg_get_function_identity_arguments(oid) as arguments,
            pg_get_function_result(oid) as result
        from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace
            and proname not in ('sum', 'avg', 'min', 'max')
            and not 'internal'::regtype = any (proargtypes)
    loop
        begin
            execute format(
                'create function traps.%I(%s) returns %s language plpgsql as '
                '$$ begin perform traps.caught(%L); end $$',
                trap.proname, replace(trap.arguments, 'VARIADIC "any"', 'VARIADIC anyarray'),
                trap.result, trap.proname
            );
        exception when others then
            null;  -- a pseudo-type: no user could write it either
        end;
    end loop;
end
$traps$;
create domain traps.text as pg_catalog.text check (traps.caught('text') > 0);
create domain traps.json as pg_catalog.json check (traps.caught('json') > 0);
create domain traps.jsonb as pg_catalog.jsonb check (traps.caught('jsonb') > 0);
grant usage on schema traps to public;
alter role authenticator in database first_names set search_path = traps, pg_catalog;
"""
"""Functions and types of users with the names of PostgreSQL's own, found before those
wherever a name stands alone. The aggregates are what a request itself may name."""
