"""A database with what PostgreSQL lets people do that an API meets.

`SCHEMA` is loaded by a superuser. Column types are made out of `SAMPLES`: each type by
itself, as an array and under a domain.
"""

from __future__ import annotations

from typing import Final

SAMPLES: Final = {
    "smallint": "-7",
    "integer": "42",
    "bigint": "9223372036854775807",
    "numeric": "12345678901234567890.123456789",
    "numeric(10,2)": "1.50",
    "real": "1.5",
    "double precision": "1e300",
    "money": "$12.34",
    "boolean": "true",
    "text": 'a "quoted", text\\ with ü\n',
    "varchar(20)": "var",
    "char(5)": "c",
    '"char"': "x",
    "name": "a_name",
    "bytea": "\\x00ff41",
    "date": "2024-02-29",
    "time": "12:34:56.789",
    "timetz": "12:34:56+02",
    "timestamp": "2024-02-29 12:34:56.789",
    "timestamptz": "2024-02-29 12:34:56+02",
    "interval": "1 year 2 mons 3 days 04:05:06",
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "json": '{"a": [1, null, {"b": "c"}]}',
    "jsonb": '{"a": [1, null, {"b": "c"}]}',
    "jsonpath": "$.a[*]",
    "inet": "10.0.0.1/8",
    "cidr": "10.0.0.0/8",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "bit(4)": "1010",
    "bit varying": "101",
    "point": "(1,2)",
    "line": "{1,2,3}",
    "lseg": "[(1,2),(3,4)]",
    "box": "(3,4),(1,2)",
    "path": "((1,2),(3,4))",
    "polygon": "((1,2),(3,4),(5,0))",
    "circle": "<(1,2),3>",
    "tsvector": "'cat':1 'dog':2",
    "tsquery": "'cat' & 'dog'",
    "int4range": "[1,5)",
    "int8range": "[1,)",
    "numrange": "[1.5,2.5]",
    "daterange": "[2024-01-01,2024-02-01)",
    "tsrange": "[2024-01-01 00:00,2024-02-01 00:00)",
    "tstzrange": "[2024-01-01 00:00+00,)",
    "int4multirange": "{[1,3),[5,8)}",
    "datemultirange": "{[2024-01-01,2024-01-02)}",
    "oid": "4294967295",
    "regclass": "pg_class",
    "regtype": "integer",
    "regrole": "pg_monitor",
    "regnamespace": "pg_catalog",
    "pg_lsn": "16/B374D848",
    "xid8": "77",
    "zoo.mood": 'so-so, "ok"',
    "zoo.pair": '(1,"a ""b"", c")',
    "zoo.nested": '("(2,x)","{1,2}")',
}


def literal(text: str) -> str:
    """`text` as a string constant."""
    return "'" + text.replace("'", "''") + "'"


def _types_sql() -> str:
    tables = []
    for number, (kind, sample) in enumerate(SAMPLES.items()):
        column, value = f"c{number}", literal(sample)
        array = f"array[{value}::{kind}, null, {value}::{kind}]"
        check = "check (value is not null or value is null)"
        tables.append(f"""
            create domain zoo.d{number} as {kind} {check};
            create table zoo.type{number} (
                id int primary key, {column} {kind}, a{number} {kind}[], d{number} zoo.d{number}
            );
            insert into zoo.type{number} values
                (1, {value}, {array}, {value}), (2, null, '{{}}', null);
        """)
    return "".join(tables)


_RELATIONS: Final = f"""
create schema zoo;
create type zoo.mood as enum ('so-so, "ok"', 'sad', '');
create type zoo.pair as (a int, b text);
create type zoo.nested as (p zoo.pair, ns int[]);
{_types_sql()}

-- Names of every shape.
create table zoo."ünï cödé" ("ключ" int primary key, "a.b" text, "c,d" text, "e""f" text);
insert into zoo."ünï cödé" values (1, 'x', 'y', 'z');
create table zoo."Select" ("Order" int primary key, "limit" text, "and" text, "a->b" text);
insert into zoo."Select" values (1, 'x', 'y', 'z');
create table zoo."{"n" * 63}" (id int primary key, "{"m" * 63}" int unique);
insert into zoo."{"n" * 63}" values (1, 10), (2, 20);
create table zoo."{"n" * 62}o" (
    id int primary key, up int references zoo."{"n" * 63}", "{"n" * 62}o" text
);
insert into zoo."{"n" * 62}o" values (1, 1, 'x'), (2, null, 'y');
create table zoo.a_b (id int primary key, a int);
create table zoo."a b" (id int primary key, a_b_1 int references zoo.a_b);
insert into zoo.a_b values (1, 2);
insert into zoo."a b" values (1, 1);

-- Relations between tables.
create table zoo.tree (
    id int primary key, parent int references zoo.tree, "tree" text, tree_1 text
);
insert into zoo.tree values (1, null, 'root', 'r'), (2, 1, 'leaf', 'l'), (3, 2, null, null);
create table zoo.keeper (site int, nr int, name text, primary key (site, nr));
insert into zoo.keeper values (1, 1, 'Ada'), (1, 2, 'Béla'), (2, 1, null);
create table zoo.animal (
    id int generated always as identity primary key,
    site int, nr int, deputy_site int, deputy_nr int, name text not null default 'anon',
    weight numeric(8,2), heavy boolean generated always as (weight > 100) stored,
    constraint kept_by foreign key (site, nr) references zoo.keeper,
    constraint deputised foreign key (deputy_site, deputy_nr) references zoo.keeper (site, nr)
);
insert into zoo.animal (site, nr, deputy_site, deputy_nr, name, weight) values
    (1, 1, 1, 2, 'Elephant', 5000), (1, 2, null, null, 'Mouse', 0.02), (2, 1, 1, 1, 'Emu', 40);
create table zoo.passport (animal_id int primary key references zoo.animal, stamp text);
insert into zoo.passport values (1, 'IN'), (3, null);
create table zoo.food (id int primary key, what text unique);
insert into zoo.food values (1, 'hay'), (2, 'cheese');
create table zoo.eats (
    animal_id int references zoo.animal, food_id int references zoo.food, often text,
    primary key (animal_id, food_id)
);
insert into zoo.eats values (1, 1, 'daily'), (2, 2, null), (3, 1, 'weekly');

-- Partitions and inheritance.
create table zoo.visit (id int, day date, animal_id int references zoo.animal,
    primary key (id, day)) partition by range (day);
create table zoo.visit_old partition of zoo.visit for values from (minvalue) to ('2025-01-01');
create table zoo.visit_new partition of zoo.visit default;
insert into zoo.visit values (1, '2024-05-01', 1), (2, '2026-05-01', 2);
create table zoo.thing (id int primary key, label text);
create table zoo.special_thing (extra int) inherits (zoo.thing);
alter table zoo.special_thing add primary key (id);
insert into zoo.thing values (1, 'plain');
insert into zoo.special_thing values (2, 'special', 7);

-- Views of every form.
create view zoo.light_animal as select id, name, site, nr from zoo.animal where weight < 100;
create view zoo.renamed (nr, "Name") as select id, name from zoo.animal;
create view zoo.joined as select a.id, a.name, k.name as keeper
    from zoo.animal a left join zoo.keeper k using (site, nr);
create view zoo.counted as select site, count(*) as animals from zoo.animal group by site;
create view zoo.united as select id, label from zoo.thing union all select 9, 'nine';
create materialized view zoo.frozen as select id, name from zoo.animal;
create view zoo.through as select * from zoo.thing;
"""

_BEHAVIOUR: Final = """
create function zoo.write_through() returns trigger language plpgsql as $$ begin
    new.label = upper(new.label); return new; end $$;
create function zoo.rename() returns trigger language plpgsql as $$ begin
    update zoo.animal set name = new.name where id = old.id; return new; end $$;
create trigger renames instead of update on zoo.joined
    for each row execute function zoo.rename();
-- Triggers that change or suppress rows.
create table zoo.changed (id int primary key, label text);
insert into zoo.changed values (1, 'one');
create trigger changes before insert or update on zoo.changed
    for each row execute function zoo.write_through();
create table zoo.suppressed (id int primary key, label text);
insert into zoo.suppressed values (1, 'one');
create function zoo.suppress() returns trigger language plpgsql as $$
    begin return null; end $$;
create trigger suppresses before insert or update or delete on zoo.suppressed
    for each row execute function zoo.suppress();

-- Row security.
create table zoo.secured (id int primary key, owner text);
insert into zoo.secured values (1, 'web_anon'), (2, 'somebody');
alter table zoo.secured enable row level security;
create policy own on zoo.secured using (owner = current_user) with check (owner = current_user);

-- Functions of every signature.
create function zoo.nothing() returns void language sql stable as $$ select $$;
create function zoo.scalar() returns int language sql stable as $$ select 1 $$;
create function zoo.no_value() returns int language sql stable as $$ select null::int $$;
create function zoo.scalars() returns setof text language sql stable
    as $$ values ('a'), (null), ('c "d"') $$;
create function zoo.a_pair() returns zoo.pair language sql stable
    as $$ select (1, 'x')::zoo.pair $$;
create function zoo.no_pair() returns zoo.pair language sql stable
    as $$ select null::zoo.pair $$;
create function zoo.pairs() returns setof zoo.pair language sql stable
    as $$ values (1, 'x'), (2, null) $$;
create function zoo.an_animal() returns zoo.animal language sql stable
    as $$ select * from zoo.animal order by id limit 1 $$;
create function zoo.animals() returns setof zoo.animal language sql stable
    as $$ select * from zoo.animal $$;
create function zoo.a_table() returns table (a_table int, "a b" text) language sql stable
    as $$ values (1, 'x'), (2, null) $$;
create function zoo.outs(out a int, out b text) language sql stable as $$ select 1, 'x' $$;
create function zoo.one_out(out a int) language sql stable as $$ select 1 $$;
create function zoo.inout(inout a int default 5) language sql stable as $$ select a $$;
create function zoo.an_array() returns int[] language sql stable as $$ select '{1,2}'::int[] $$;
create function zoo.some_json() returns json language sql stable
    as $$ select '{"a":1}'::json $$;
create function zoo.a_mood() returns zoo.mood language sql stable
    as $$ select ''::zoo.mood $$;
create function zoo.defaults(a int default 1, b text default 'x', c int[] default '{1}')
    returns text language sql stable as $$ select a || b || c::text $$;
create function zoo.variadics(variadic v int[] default '{1,2}') returns int
    language sql stable as $$ select sum(x)::int from unnest(v) x $$;
create function zoo.unknown_rows() returns setof record language sql stable
    as $$ values (1, 'x') $$;

grant usage on schema zoo to web_anon;
grant all on all tables in schema zoo to web_anon;
grant all on all sequences in schema zoo to web_anon;
"""

SCHEMA: Final = _RELATIONS + _BEHAVIOUR
