-- Whatever a description must cope with: every type of PostgreSQL's own, its arrays, types of
-- the user's making, names that no URL or component likes, functions of every shape.
create schema api;
comment on schema api is E'Types\n\nAll that there are';
create schema other;
grant usage on schema api, other to web_anon;

do $$
declare
    columns text;
begin
    select string_agg(format('%I %s', replace(t.typname, ' ', '_'), t.oid::regtype), ', '
                      order by t.typname)
    into columns
    from pg_type t
    where t.typnamespace = 'pg_catalog'::regnamespace
      and t.typtype in ('b', 'r', 'm') and t.typname not like 'pg\_%'
      and (t.typname not like '\_%' or t.typname in ('_int4', '_text', '_json', '_timestamptz'));
    execute format('create table api.every_type (key int primary key, %s)', columns);
end
$$;
insert into api.every_type (key) values (1);
insert into api.every_type (
    key, bool, int2, int4, int8, float4, float8, numeric, money, text, "varchar", bpchar,
    name, bytea, uuid, date, "time", timetz, "timestamp", timestamptz, "interval", json, jsonb,
    inet, cidr, macaddr, point, "bit", varbit, int4range, int4multirange, tsvector,
    tsquery, oid, int2vector, oidvector, _int4, _text, _json, _timestamptz
) values (
    2, true, 1, 2, 3, 1.5, 2.5, 1234567890.123, 9.99, 'a', 'b', 'c',
    'd', '\x00ff', gen_random_uuid(), '2026-01-01', '12:00', '12:00+01', '2026-01-01 12:00',
    '2026-01-01 12:00+01', '1 day', '[1]', '{"a": null}',
    '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', '(1,2)', '1', '101', '[1,5)',
    '{[1,5)}', 'a b', 'a & b', 7, '1 2', '3 4', '{1,null}', '{a,null}', array['{}'::json],
    array['2026-01-01 12:00+01'::timestamptz]
);

create type api.mood as enum ('good', 'it''s bad');
create type api.pair as (a int, b text);
create domain api.percent as int default 7 check (value between 0 and 100);
create domain api.whole as int not null default 1;
create domain api.colour as int;
create function api.json(api.colour) returns json language sql immutable
    return json_build_object('rgb', $1::int);
create cast (api.colour as json) with function api.json(api.colour) as implicit;

create table api."Odd name/{x}?&#ü" (
    "a b" int generated always as identity primary key,
    "select" text not null default 'it''s',
    "x.y" varchar(5),
    "qu""ote" api.mood not null default 'good',
    moods api.mood[] default '{}',
    pair api.pair,
    percent api.percent,
    whole api.whole,
    colour api.colour,
    twice int generated always as (1 + 1) stored,
    at timestamptz not null default now(),
    huge double precision default '1e308'::float8,
    endless double precision default 'infinity',
    many numeric default 1e400,
    flag boolean default true,
    doc jsonb default '{"a": [1]}',
    raw bytea default '\x00'
);
insert into api."Odd name/{x}?&#ü" (pair, colour, endless) values ((1, 'b'), 255, 1.5);
create table api.films (
    id int primary key, title varchar(50) not null, year smallint,
    sequel_of int references api.films
);
comment on table api.films is E'Films\n\nAll of them';
comment on column api.films.title is 'The name';
insert into api.films values (1, 'Metropolis', 1927, null), (2, 'Metropolis 2', null, 1);
create table api."films.new" (id int);
create table api."pgrst" (error int);
create table api.nothing ();
create table api.unkeyed (id int not null);
create view api.recent as select * from api.films where year > 1980;
create view api.counted as select count(*) from api.films;
create materialized view api.kept as select * from api.films;
create table other.things (id int primary key);

create function api.add(a int, b int default 1) returns int language sql immutable
    return a + b;
comment on function api.add(int, int) is E'Adds\n\nTwo numbers';
create function api.add(a numeric, b numeric, c numeric) returns numeric language sql stable
    return a + b + c;
create function api.nothing() returns void language sql as 'select';
create function api.all_films() returns setof api.films language sql stable
    as 'select * from api.films';
create function api.one_film(id int) returns api.films language sql stable
    as 'select * from api.films f where f.id = one_film.id';
create function api.titles() returns setof text language sql stable
    as 'select title from api.films';
create function api.table_of(out a int, out b text) returns setof record language sql stable
    as $$ values (1, 'a'), (2, null) $$;
create function api.mood_of(api.films) returns api.mood language sql stable return 'good'::api.mood;
create function api.moods("select" api.mood, variadic rest api.mood[]) returns api.mood[]
    language sql stable return rest || "select";
create function api.raw_text(text) returns text language sql return $1;
create function api.raw_bytes(bytea) returns bytea language sql return $1;
create function api.raw_json(json) returns json language sql return $1;
create function api.raw_xml(xml) returns xml language sql return $1;
create function api."odd fn/ü"("a b" int[], j jsonb) returns int[] language sql stable
    return "a b";
create function api.root() returns json language sql stable
    return '{"swagger": "2.0", "info": {"title": "My own"}}'::json;
create function api.hidden() returns int language sql return 1;
revoke execute on function api.hidden() from public;

grant select on all tables in schema api, other to web_anon;
grant insert, update, delete on all tables in schema api to web_anon;
revoke all on api.unkeyed from web_anon;
