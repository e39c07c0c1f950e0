"""The walk: every request that the zoo's catalogs suggest, with what SQL says of it.

In: a connection of a superuser. Out: `Step`s, each a request and the query whose rows it
must answer. What is there is read from PostgreSQL's own catalogs, and the SQL is written
here, so that nothing is shared with the server under test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote

import asyncpg

SCHEMA: Final = "zoo"
Shape = Literal["rows", "row", "values", "value", "nothing", "csv", "count"]

_COLUMNS: Final = """
select c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod) as type,
    t.typtype = 'c' or b.typtype = 'c' or b.typname like 'reg%' as needs_a_cast,
    a.attidentity <> '' or a.attgenerated <> '' as made,
    coalesce(a.attnum = any (k.conkey), false) as is_key,
    has_table_privilege('web_anon', c.oid, 'update') and c.relkind in ('r', 'p') as writable
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_type b on b.oid = t.typbasetype
left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
where c.relnamespace = 'zoo'::regnamespace and c.relkind in ('r', 'v', 'm', 'f', 'p')
    and not c.relispartition
order by c.relname, a.attnum
"""
_KEYS: Final = """
select k.conname, o.relname as own, f.relname as other, k.conrelid = k.confrelid as is_self,
    array(select attname from unnest(k.conkey) with ordinality u (n, p) join pg_attribute a
        on a.attrelid = k.conrelid and a.attnum = u.n order by p)::text[] as own_columns,
    array(select attname from unnest(k.confkey) with ordinality u (n, p) join pg_attribute a
        on a.attrelid = k.confrelid and a.attnum = u.n order by p)::text[] as other_columns,
    exists (select from pg_constraint u where u.conrelid = k.conrelid
        and u.contype in ('p', 'u') and u.conkey @> k.conkey and k.conkey @> u.conkey) as one
from pg_constraint k
join pg_class o on o.oid = k.conrelid join pg_class f on f.oid = k.confrelid
where k.contype = 'f' and o.relnamespace = 'zoo'::regnamespace and k.conparentid = 0
    and not o.relispartition
order by k.conname
"""
_FUNCTIONS: Final = """
select p.proname, p.proretset, t.typname,
    t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,o,b}', false) as composite
from pg_proc p join pg_type t on t.oid = p.prorettype
where p.pronamespace = 'zoo'::regnamespace and p.pronargs = p.pronargdefaults
    and p.prorettype <> 'trigger'::regtype
order by p.proname
"""


@dataclass(frozen=True)
class Step:
    """A request and the query that says what it must answer, in `shape`.

    Where the query fails, the request must be refused.
    """

    target: str
    query: str
    shape: Shape = "rows"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def written(name: str) -> str:
    """A name as a query string writes it, always in quotes."""
    return quote('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"', safe="")


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def steps(connection: asyncpg.Connection[Any]) -> AsyncIterator[Step]:
    """The whole walk."""
    tables: dict[str, list[asyncpg.Record]] = {}
    for row in await connection.fetch(_COLUMNS):
        tables.setdefault(row["relname"], []).append(row)
    for name, columns in tables.items():
        for step in _of_table(name, columns):
            yield step
        async for step in _of_values(connection, name, columns):
            yield step
    for key in await connection.fetch(_KEYS):
        for step in _of_key(key):
            yield step
    for function in await connection.fetch(_FUNCTIONS):
        for step in _of_function(function):
            yield step


def _of_table(name: str, columns: Sequence[asyncpg.Record]) -> list[Step]:
    path, table = f"/{quote(name, safe='')}", f"{SCHEMA}.{quoted(name)} z"
    texts = ", ".join(f"format('%s', z.{quoted(column['attname'])})" for column in columns)
    csv, one = {"Accept": "text/csv"}, {"Accept": "application/vnd.pgrst.object+json"}
    found = [
        Step(path, f"select z.* from {table}"),
        Step(path, f"select {texts} from {table}", "csv", headers=csv),
        Step(f"{path}?limit=1", f"select z.* from {table} limit 1", "row", headers=one),
        Step(
            f"{path}?limit=1",
            f"select count(*) from {table}",
            "count",
            headers={"Prefer": "count=exact"},
        ),
    ]
    for column in columns:
        n, c = written(column["attname"]), f"z.{quoted(column['attname'])}"
        found += [
            Step(f"{path}?select={n}", f"select {c} from {table}"),
            Step(f"{path}?select=x:{n}", f"select {c} as x from {table}"),
            Step(f"{path}?select=x:{n}::text", f"select {c}::text as x from {table}"),
            Step(f"{path}?{n}=is.null", f"select z.* from {table} where {c} is null"),
            Step(f"{path}?{n}=not.is.null", f"select z.* from {table} where {c} is not null"),
            Step(
                f"{path}?or=({n}.is.null,not.and({n}.not.is.null,{n}.is.null))",
                f"select z.* from {table}",
            ),
            Step(
                f"{path}?select={n}&order={n}.desc.nullslast",
                f"select {c} from {table} order by {c} desc nulls last",
            ),
        ]
    return found


async def _of_values(
    connection: asyncpg.Connection[Any], name: str, columns: Sequence[asyncpg.Record]
) -> AsyncIterator[Step]:
    path, table = f"/{quote(name, safe='')}", f"{SCHEMA}.{quoted(name)} z"
    keys = [column["attname"] for column in columns if column["is_key"]]
    for column in columns:
        c = f"z.{quoted(column['attname'])}"
        value = await connection.fetchval(
            f"select {c}::text from {table} where {c} is not null limit 1"
        )
        if value is None:
            continue
        n, v, kind = written(column["attname"]), quote(value, safe=""), column["type"]
        in_list = quote('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"', safe="")
        given = f"{literal(value)}::{kind}"
        equal, rows = f"{c} = {given}", f"select z.* from {table} where"
        if column["needs_a_cast"]:
            # A parameter gets no such type by itself, in PostgREST neither: it is refused.
            rows = f"select 1 / 0 from {table} where"
        yield Step(f"{path}?{n}=eq.{v}", f"{rows} {equal}")
        yield Step(f"{path}?{n}=in.({in_list})", f"{rows} {equal}")
        yield Step(f"{path}?{n}=not.eq.{v}", f"{rows} not {equal}")
        yield Step(
            f"{path}?or=({n}.neq.{in_list},{n}.is.null)",
            f"{rows} {c} <> {given} or {c} is null",
        )
        if column["writable"] and keys and name != "suppressed":
            async for step in _of_write(connection, name, column, keys):
                yield step


async def _of_write(
    connection: asyncpg.Connection[Any],
    name: str,
    column: asyncpg.Record,
    keys: Sequence[str],
) -> AsyncIterator[Step]:
    path, table = f"/{quote(name, safe='')}", f"{SCHEMA}.{quoted(name)} z"
    own, c = column["attname"], f"z.{quoted(column['attname'])}"
    first = await connection.fetchrow(
        f"select json_build_object({literal(own)}, {c})::text as body,"
        f" array[{', '.join(f'z.{quoted(key)}::text' for key in keys)}] as key"
        f" from {table} where {c} is not null limit 1"
    )
    assert first is not None
    pairs = list(zip(keys, first["key"], strict=True))
    where = " and ".join(f"z.{quoted(k)}::text = {literal(v)}" for k, v in pairs)
    filters = "&".join(f"{written(k)}=eq.{quote(v, safe='')}" for k, v in pairs)
    prefer = {"Prefer": "return=representation,tx=rollback", "Content-Type": "application/json"}
    target = f"{path}?{filters}&select={written(own)}"
    shown = f"select {c} from {table} where {where}"
    if name == "changed" and own == "label":
        shown = f"select upper({c}) as {quoted(own)} from {table} where {where}"
    if column["made"]:
        # PostgreSQL lets nobody set it; a query of the walk writes nothing.
        shown = "select 1 / 0"
    yield Step(target, shown, "rows", "PATCH", prefer, first["body"])


def _of_key(key: asyncpg.Record) -> list[Step]:
    own, other, hint = key["own"], key["other"], key["conname"]
    pairs = list(zip(key["own_columns"], key["other_columns"], strict=True))
    on = " and ".join(f"o.{quoted(a)} = f.{quoted(b)}" for a, b in pairs)
    o, f = f"{SCHEMA}.{quoted(own)} o", f"{SCHEMA}.{quoted(other)} f"
    one = f"(select to_json(f.*) from {f} where {on})"
    many = f"(select coalesce(json_agg(o.*), '[]') from {o} where {on})"
    if key["one"]:
        many = f"(select to_json(o.*) from {o} where {on})"
    up, down = f"/{quote(own, safe='')}", f"/{quote(other, safe='')}"
    to, back = f"{written(other)}!{written(hint)}", f"{written(own)}!{written(hint)}"
    if key["is_self"]:
        # There the table's name means the children, and a column the parent.
        to, back = written(key["own_columns"][0]), f"{written(own)}!{written(pairs[0][0])}"
    return [
        Step(f"{up}?select=*,x:{to}(*)", f"select o.*, {one} as x from {o}"),
        Step(f"{down}?select=*,x:{back}(*)", f"select f.*, {many} as x from {f}"),
        Step(
            f"{up}?select=*,x:{to}!inner()",
            f"select o.* from {o} where exists (select from {f} where {on})",
        ),
        Step(
            f"{down}?select=*,x:{back}()&x=is.null",
            f"select f.* from {f} where not exists (select from {o} where {on})",
        ),
        Step(
            f"{down}?select=*,x:{back}!inner()",
            f"select count(*) from {f} where exists (select from {o} where {on})",
            "count",
            headers={"Prefer": "count=exact"},
        ),
    ]


def _of_function(function: asyncpg.Record) -> list[Step]:
    name = function["proname"]
    path, call = f"/rpc/{quote(name, safe='')}", f"{SCHEMA}.{quoted(name)}()"
    json = {"Content-Type": "application/json"}
    query, shape = (
        f"select f as x from {call} f",
        "values" if function["proretset"] else "value",
    )
    if function["typname"] == "void":
        query, shape = f"select {call}", "nothing"
    elif function["typname"] == "record" and not function["composite"]:
        query = f"select {call} as x"
    elif function["composite"]:
        query, shape = f"select f.* from {call} f", "rows" if function["proretset"] else "row"
    return [
        Step(path, query, shape),  # type: ignore[arg-type]
        Step(path, query, shape, "POST", json, "{}"),  # type: ignore[arg-type]
    ]
