"""A database with what PostgreSQL lets people do that an API meets.

`SCHEMA` is loaded by a superuser. Column types are made out of `SAMPLES`: each type by
itself, as an array, under a domain, and in the signatures of functions.
"""

from __future__ import annotations

from typing import Final

from tests.zoo.names import odd_tables_sql

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
    "int8multirange": "{[1,3)}",
    "nummultirange": "{(1.5,2.5)}",
    "tsmultirange": "{[2024-01-01 00:00,2024-02-01 00:00)}",
    "tstzmultirange": "{[2024-01-01 00:00+00,)}",
    "timestamp(0)": "2024-02-29 12:34:57",
    "time(2)": "12:34:56.78",
    "interval day to second": "3 days 04:05:06",
    "numeric(20)": "12345678901234567890",
    "varchar": "",
    "oid": "4294967295",
    "regclass": "pg_class",
    "regtype": "integer",
    "regrole": "pg_monitor",
    "regnamespace": "pg_catalog",
    "regproc": "pg_backend_pid",
    "regprocedure": "abs(integer)",
    "regoperator": "+(integer,integer)",
    "regconfig": "english",
    "regdictionary": "simple",
    "regcollation": '"C"',
    "pg_lsn": "16/B374D848",
    "pg_snapshot": "10:20:10,14,15",
    "xid": "76",
    "xid8": "77",
    "cid": "5",
    "tid": "(0,1)",
    "int2vector": "1 2",
    "oidvector": "1 2",
    "refcursor": "a_cursor",
    "zoo.mood": 'so-so, "ok"',
    "zoo.pair": '(1,"a ""b"", c")',
    "zoo.nested": '("(2,x)","{1,2}")',
    "zoo.floats": "[1.5,2.5)",
    "zoo.email": "a@example.org",
    "zoo.deep": '("(1,x)",7,"{""(1,x)""}")',
    "zoo.grid": "{{1,2},{3,4}}",
}

_ARRAYS: Final = frozenset(("zoo.grid", "int2vector", "oidvector"))


def literal(text: str) -> str:
    """`text` as a string constant."""
    return "'" + text.replace("'", "''") + "'"


def _types_sql() -> str:
    tables = []
    for number, (kind, sample) in enumerate(SAMPLES.items()):
        column, value = f"c{number}", literal(sample)
        array = f"array[{value}::{kind}, null, {value}::{kind}]"
        if kind in _ARRAYS:
            # ARRAY[...] would take their elements for its own.
            array = literal('{"' + sample + '",NULL}')
        check = "check (value is not null or value is null)"
        tables.append(f"""
            create domain zoo.d{number} as {kind} {check};
            create table zoo.type{number} (
                id int primary key, {column} {kind}, a{number} {kind}[], d{number} zoo.d{number}
            );
            insert into zoo.type{number} values
                (1, {value}, {array}, {value}), (2, null, '{{}}', null);
            create function zoo.same{number}(v {kind}) returns {kind} language sql stable
                as $$ select v $$;
            create function zoo.twice{number}(v {kind}) returns setof {kind}
                language sql stable as $$ select v union all select v $$;
            create function zoo.listed{number}(v {kind}[] default '{{}}')
                returns {kind}[] language sql stable as $$ select v $$;
            create function zoo.dressed{number}(v zoo.d{number}) returns table (x {kind}, n int)
                language sql stable as $$ values (v, 1), (null, 2) $$;
        """)
    return "".join(tables)


_MANY_COLUMNS: Final = ", ".join(f"c{n} int default {n}" for n in range(12))
_RELATIONS: Final = f"""
create schema zoo;
create type zoo.mood as enum ('so-so, "ok"', 'sad', '');
create type zoo.pair as (a int, b text);
create type zoo.nested as (p zoo.pair, ns int[]);
create type zoo.floats as range (subtype = float8);
create domain zoo.email as varchar(50) check (value like '%@%');
create domain zoo.small as int check (value < 100);
create type zoo.deep as (p zoo.pair, s zoo.small, ps zoo.pair[]);
create domain zoo.grid as int[] check (array_ndims(value) = 2);
{_types_sql()}
{odd_tables_sql("zoo")}

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
create view zoo.checked as select id, name, weight from zoo.animal where weight < 100
    with check option;
create view zoo.of_views as select l.id, l.name, r."Name" as same
    from zoo.light_animal l join zoo.renamed r on r.nr = l.id;
create recursive view zoo.ranked (id, depth) as
    select id, 0 from zoo.tree where parent is null
    union all select t.id, r.depth + 1 from zoo.tree t join ranked r on t.parent = r.id;
create view zoo.computed as select id, weight * 2 as twice, row(id, name)::zoo.pair as both,
    array[id] as ids, json_build_object('n', name) as js from zoo.animal;
create view zoo.windowed as select id, row_number() over (order by id desc) as place
    from zoo.animal;
create view zoo.nothing_in_it as select id, name from zoo.animal where false;
create view zoo.secret with (security_barrier) as select id, what from zoo.food;
create unique index on zoo.frozen (id);

-- Partitions of partitions, by list and by hash; several parents; keys of other kinds.
create table zoo.parcel (region text, id int, note text, primary key (region, id))
    partition by list (region);
create table zoo.parcel_north partition of zoo.parcel for values in ('n', 'N')
    partition by hash (id);
create table zoo.parcel_north_0 partition of zoo.parcel_north
    for values with (modulus 2, remainder 0);
create table zoo.parcel_north_1 partition of zoo.parcel_north
    for values with (modulus 2, remainder 1);
create table zoo.parcel_rest partition of zoo.parcel default;
insert into zoo.parcel values ('n', 1, 'x'), ('N', 2, null), ('s, "t"', 1, 'y');
create table zoo.stop (region text, parcel int, id int primary key,
    foreign key (region, parcel) references zoo.parcel);
insert into zoo.stop values ('n', 1, 1), ('s, "t"', 1, 2), (null, 1, 3);
create table zoo.coloured (colour text default 'red');
create table zoo.special_coloured (id int primary key) inherits (zoo.thing, zoo.coloured);
insert into zoo.special_coloured (id, label) values (3, 'both');
create unlogged table zoo.brief (id uuid primary key default gen_random_uuid(), what text);
insert into zoo.brief values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'x');
create table zoo.dated (day date primary key, note zoo.email, n zoo.small default 3);
insert into zoo.dated values ('2024-02-29', 'a@b', 1), ('infinity', null, null);
create table zoo.by_email (mail zoo.email primary key, mood zoo.mood unique);
insert into zoo.by_email values ('a@b', 'sad'), ('c"d,e@f', '');
create table zoo.mailed (id int primary key, mail zoo.email references zoo.by_email);
insert into zoo.mailed values (1, 'a@b'), (2, 'c"d,e@f'), (3, null);
create table zoo.keyless (a int, b text);
insert into zoo.keyless values (1, 'x'), (1, 'x'), (null, null);
create table zoo.empty (id int primary key, a text);
create table zoo.no_columns ();
insert into zoo.no_columns default values;
create table zoo.kept (id int generated by default as identity primary key,
    "default" text default 'd', lower text generated always as (lower("default")) stored);
insert into zoo.kept (id) values (1);
create table zoo.wide (id int primary key, {_MANY_COLUMNS});
insert into zoo.wide (id) values (1);
create table zoo.gone (id int primary key, dropped text, after text);
alter table zoo.gone drop column dropped;
insert into zoo.gone values (1, 'x');
create table zoo.big (id int primary key, n text);
insert into zoo.big select n, 'row ' || n from generate_series(1, 300) n;
do $versions$
begin
    if current_setting('server_version_num')::int >= 150000 then
        execute 'create view zoo.invoked with (security_invoker) as select * from zoo.food';
        execute 'create table zoo.once (id int primary key, v int, '
            'unique nulls not distinct (v))';
        insert into zoo.once values (1, 1), (2, null);
    end if;
    if current_setting('server_version_num')::int >= 180000 then
        execute 'create table zoo.virtual (id int primary key, a int, '
            'twice int generated always as (a * 2) virtual)';
        insert into zoo.virtual values (1, 4), (2, null);
    end if;
end
$versions$;
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

create table zoo.raising (id int primary key, label text);
insert into zoo.raising values (1, 'one');
create function zoo.refuse() returns trigger language plpgsql as $$ begin
    raise exception 'no, "never"' using detail = 'd', hint = 'h', errcode = '22023'; end $$;
create trigger refuses before update or delete on zoo.raising
    for each row execute function zoo.refuse();
create trigger refuses_too after insert on zoo.raising execute function zoo.refuse();
create function zoo.put_food() returns trigger language plpgsql as $$ begin
    if tg_op = 'DELETE' then delete from zoo.changed where id = old.id; return old; end if;
    insert into zoo.changed values (new.id, new.label)
        on conflict (id) do update set label = excluded.label returning label into new.label;
    return new; end $$;
create view zoo.instead as select id, label from zoo.changed;
create trigger puts instead of insert or update or delete on zoo.instead
    for each row execute function zoo.put_food();
create table zoo.ruled (id int primary key, label text);
insert into zoo.ruled values (1, 'one');
create rule nothing as on delete to zoo.ruled do instead nothing;

-- Row security.
create table zoo.read_only (id int primary key, a text);
insert into zoo.read_only values (1, 'x');
alter table zoo.read_only enable row level security;
create policy seen on zoo.read_only for select using (true);
create table zoo.unseen (id int primary key, a text);
insert into zoo.unseen values (1, 'x');
alter table zoo.unseen enable row level security;
create table zoo.narrow (id int primary key, a text);
insert into zoo.narrow values (1, 'x'), (2, 'y'), (3, 'x');
alter table zoo.narrow enable row level security;
alter table zoo.narrow force row level security;
create policy wide on zoo.narrow using (true) with check (id < 5);
create policy narrower on zoo.narrow as restrictive using (a = 'x');
create policy by_food on zoo.narrow for update using (id in (select id from zoo.food));
create view zoo.of_narrow as select * from zoo.narrow;
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
create function zoo.volatiles() returns int language sql volatile as $$ select 4 $$;
create function zoo.writes(label text) returns zoo.thing language sql volatile
    as $$ insert into zoo.thing values (99, label) returning * $$;
create function zoo.fails(say text default 'x') returns int language plpgsql stable
    as $$ begin raise exception '%', say using errcode = 'P0001'; end $$;
create function zoo.overloaded(a int) returns text language sql stable as $$ select 'a' $$;
create function zoo.overloaded(a int, b int) returns text language sql stable
    as $$ select 'ab' $$;
create function zoo.overloaded(c text) returns text language sql stable as $$ select 'c' $$;
create function zoo."Odd ""name"" (x)"("p q" int default 2, "select" text default 's')
    returns table ("p q" int, "select" text) language sql stable as $$ select $1, $2 $$;
create function zoo.to_pairs(p zoo.pair) returns zoo.pair language sql stable
    as $$ select p $$;
create function zoo.maybe(a int default null) returns setof int language sql stable
    as $$ select a where a is not null $$;
create function zoo.some_void() returns setof void language sql stable as $$ select $$;
create function zoo.strict_one(a int) returns int language sql stable strict
    as $$ select a $$;

-- Columns and relations that are computed.
create function zoo.shout(zoo.animal) returns text language sql stable
    as $$ select upper($1.name) || '!' $$;
create function zoo.neighbours(zoo.animal) returns setof zoo.animal language sql stable
    as $$ select * from zoo.animal where site = $1.site and id <> $1.id $$;
create function zoo.food(zoo.animal) returns setof zoo.food language sql stable
    as $$ select * from zoo.food where id = $1.id $$;
create function zoo.nr(zoo.passport) returns setof zoo.animal rows 1 language sql stable
    as $$ select * from zoo.animal where id = $1.animal_id $$;
create function zoo.stamp(zoo.passport) returns setof zoo.animal rows 1 language sql stable
    as $$ select * from zoo.animal where id = $1.animal_id $$;
create function zoo.passport(zoo.passport) returns setof zoo.animal language sql stable
    as $$ select * from zoo.animal where id = $1.animal_id $$;
create table zoo.chain (id int primary key, parent int references zoo.chain);
insert into zoo.chain values (1, null), (2, 1);
create function zoo.chain(zoo.chain) returns setof zoo.chain rows 1 language sql stable
    as $$ select * from zoo.chain where id = $1.parent $$;

create function zoo.unknown_rows() returns setof record language sql stable
    as $$ values (1, 'x') $$;

grant usage on schema zoo to web_anon;
grant all on all tables in schema zoo to web_anon;
grant all on all sequences in schema zoo to web_anon;
"""

SCHEMA: Final = _RELATIONS + _BEHAVIOUR
