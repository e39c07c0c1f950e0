-- What every app of these tests has: rows that say in which database they are.

create schema api;
create schema other;
grant usage on schema api, other to web_anon, web_user;
create table api.things (id integer primary key, name text);
insert into api.things values (1, current_database());
create table api.secrets (id integer primary key);
create view other.elsewhere as select 1 as id;
grant select, insert, delete on api.things to web_anon, web_user;
grant select on other.elsewhere to web_anon;
grant select on api.secrets to web_user;

create function api.wait(seconds double precision) returns text language sql stable as $$
    select name from pg_sleep(seconds), api.things where id = 1
$$;
create function api.path() returns text language sql stable as $$
    select current_setting('request.path')
$$;
