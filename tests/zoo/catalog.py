"""What there is in the zoo, read from PostgreSQL's own catalogs.

In: a connection of a superuser. Out: `Table`s, `Key`s and `Function`s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from tests.zoo.names import quoted
from tests.zoo.step import relation

_COLUMNS: Final = """
select c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod) as type,
    coalesce(b.typname, t.typname) as base, t.typtype = 'd' as is_domain,
    a.attidentity = 'a' or a.attgenerated <> '' as made,
    coalesce(a.attnum = any (k.conkey), false) as is_key,
    pg_relation_is_updatable(c.oid, true) as does
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
select k.conname as name, o.relname as own, f.relname as other,
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
order by k.conname, o.relname
"""
_FUNCTIONS: Final = """
select p.proname as name, p.proretset as is_set, t.typname as returns,
    t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,o,b}', false) as is_composite,
    p.pronargs > p.pronargdefaults as wants, p.provolatile = 'v' as is_volatile,
    case when p.pronargs > 0 then format_type(p.proargtypes[0], null) end as argument
from pg_proc p join pg_type t on t.oid = p.prorettype
where p.pronamespace = 'zoo'::regnamespace and p.prorettype <> 'trigger'::regtype
    -- Those that PostgreSQL makes with a type of ranges have no names for arguments.
    and (p.pronargs = 0 and p.provariadic = 0 and p.proname not like 'floats%'
        or p.proargnames[1] <> '')
order by p.proname, p.pronargs
"""
INSERTS, UPDATES, DELETES = 8, 4, 16
"""The bits of pg_relation_is_updatable."""


@dataclass(frozen=True)
class Column:
    """`sample` is one of its values as text, None where it has none."""

    name: str
    type: str
    base: str
    is_domain: bool
    made: bool
    is_key: bool
    sample: str | None

    @property
    def sql(self) -> str:
        """The column of a row source `z`."""
        return f"z.{quoted(self.name)}"

    @property
    def is_object_name(self) -> bool:
        """Whether it holds the name of a database object (regclass and its kin)."""
        return self.base.startswith("reg")


@dataclass(frozen=True)
class Table:
    """`does`: bits of what can be written through it."""

    name: str
    columns: tuple[Column, ...]
    does: int

    @property
    def sql(self) -> str:
        """The table as row source `z`."""
        return relation(self.name, "z")

    @property
    def keys(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_key)


@dataclass(frozen=True)
class Key:
    """A foreign key of `own` to `other`; `one`: each row of `other` has one of `own`."""

    name: str
    own: str
    other: str
    own_columns: tuple[str, ...]
    other_columns: tuple[str, ...]
    one: bool

    @property
    def is_self(self) -> bool:
        return self.own == self.other

    def on(self, own: str, other: str) -> str:
        """The join's condition between two aliases."""
        return " and ".join(
            f"{own}.{quoted(a)} = {other}.{quoted(b)}"
            for a, b in zip(self.own_columns, self.other_columns, strict=True)
        )


@dataclass(frozen=True)
class Function:
    """`wants`: it has arguments without defaults; `argument`: the type of the first."""

    name: str
    is_set: bool
    returns: str
    is_composite: bool
    wants: bool
    is_volatile: bool
    argument: str | None


async def tables(connection: asyncpg.Connection[Any]) -> list[Table]:
    """All that can be read, as the API's role sees it."""
    found: dict[str, list[asyncpg.Record]] = {}
    for row in await connection.fetch(_COLUMNS):
        found.setdefault(row["relname"], []).append(row)
    return [
        Table(name, await _columns(connection, name, rows), rows[0]["does"])
        for name, rows in found.items()
    ]


async def _columns(
    connection: asyncpg.Connection[Any], table: str, rows: Sequence[asyncpg.Record]
) -> tuple[Column, ...]:
    texts = ", ".join(f"(max(z.{quoted(row['attname'])}::text))" for row in rows)
    samples = await connection.fetchrow(f"select {texts} from {relation(table, 'z')}")
    assert samples is not None
    return tuple(
        Column(
            name=row["attname"],
            type=row["type"],
            base=row["base"],
            is_domain=row["is_domain"],
            made=row["made"],
            is_key=row["is_key"],
            sample=sample,
        )
        for row, sample in zip(rows, samples, strict=True)
    )


async def keys(connection: asyncpg.Connection[Any]) -> list[Key]:
    """All foreign keys."""
    return [
        Key(**{**row, **{name: tuple(row[name]) for name in ("own_columns", "other_columns")}})
        for row in map(dict, await connection.fetch(_KEYS))
    ]


async def functions(connection: asyncpg.Connection[Any]) -> list[Function]:
    """All functions that requests could call."""
    return [Function(**dict(row)) for row in await connection.fetch(_FUNCTIONS)]


async def accepted(connection: asyncpg.Connection[Any], queries: Sequence[str]) -> list[bool]:
    """Which of `queries` PostgreSQL can plan."""
    await connection.execute(_TAKES)
    rows = await connection.fetch(
        "select pg_temp.takes(q) from unnest($1::text[]) with ordinality u (q, n) order by n",
        queries,
    )
    return [row[0] for row in rows]


_TAKES: Final = """
create or replace function pg_temp.takes(q text) returns boolean language plpgsql as $$
begin execute 'explain ' || q; return true;
exception when others then return false; end $$
"""
