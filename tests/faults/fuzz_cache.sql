-- What kept answers may be mixed up by: who asks, how it is written, which header line counts.
create role fuzz_server login noinherit;
create role fuzz_member;
create role fuzz_other;
create role fuzz_anon;
grant fuzz_member, fuzz_other, fuzz_anon to fuzz_server;
create schema api;
create schema other;
create schema hidden;
grant usage on schema api, other, hidden to fuzz_member, fuzz_other, fuzz_anon;

create table api.items (
  id integer primary key, name text not null, grp text not null default 'x', n integer
);
insert into api.items select i, 'item ' || i % 4, chr(119 + i % 3), i % 5
from generate_series(1, 12) i;
comment on table api.items is '@cache max-age=600 scope=public';
create table other.items (id integer primary key, name text, n integer);
insert into other.items select i, 'other ' || i, i from generate_series(1, 5) i;
comment on table other.items is '@cache max-age=600 scope=public';

create table api.parents (id integer primary key, name text);
create table api.children (
  id integer primary key, parent_id integer references api.parents on delete cascade, n integer
);
insert into api.parents select i, 'parent ' || i from generate_series(1, 3) i;
insert into api.children select i, 1 + i % 3, i % 4 from generate_series(1, 9) i;
comment on table api.parents is '@cache max-age=600 scope=role';
comment on table api.children is '@cache max-age=600';

create table api.revoked (jti text primary key);
create table api.cut_off (sub text primary key, since integer not null);

create function hidden.sub() returns text language sql stable
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub' $$;
create function hidden.jti() returns text language plpgsql stable as $$ begin
  return current_setting('request.jwt.claims', true)::json ->> 'jti'; end $$;
create function hidden.is_revoked() returns boolean language sql stable as $$
  select exists (select from api.revoked where jti = hidden.jti()) $$;
comment on function hidden.is_revoked() is '@cache reads=api.revoked';
create function hidden.claims() returns jsonb language sql stable
  as $$ select current_setting('request.jwt.claims', true)::jsonb $$;

-- One table for each way to read the claims.
do $do$
declare
  named text;
  condition text;
begin
  for named, condition in values
    ('sub', 'owner = hidden.sub()'),
    ('app', $$ current_setting('request.jwt.claims', true)::jsonb -> 'app' ->> 'team' = owner $$),
    ('constant', $$ not exists (select from api.revoked r
       where r.jti = current_setting('request.jwt.claims', true)::json ->> 'jti') $$),
    ('path', $$ not exists (select from api.revoked r
       where r.jti = current_setting('request.jwt.claims', true)::json #>> '{jti}') $$),
    ('jsonpath', $$ not exists (select from api.revoked r where to_jsonb(r.jti) =
       jsonb_path_query_first(current_setting('request.jwt.claims', true)::jsonb, '$.jti')) $$),
    ('declared', 'not hidden.is_revoked()'),
    ('procedural', 'not exists (select from api.revoked r where r.jti = hidden.jti())'),
    ('returned', $$ not exists (select from api.revoked r
       where r.jti = hidden.claims() ->> 'jti') $$),
    ('aged', $$ not exists (select from api.cut_off c where c.sub = hidden.sub() and
       c.since > (current_setting('request.jwt.claims', true)::jsonb #>> '{iat}')::int) $$),
    ('order', $$ strpos(current_setting('request.jwt.claims', true), '"sub"')
       < strpos(current_setting('request.jwt.claims', true), '"role"') $$)
  loop
    execute format('create table api.%I (id integer primary key, owner text)', 'by_' || named);
    execute format('insert into api.%I values (1, ''a''), (2, ''b''), (3, ''x'')', 'by_' || named);
    execute format('alter table api.%I enable row level security', 'by_' || named);
    execute format('create policy p on api.%I using (%s)', 'by_' || named, condition);
    execute format('comment on table api.%I is ''@cache max-age=600''', 'by_' || named);
  end loop;
end
$do$;
create table api.by_role (id integer primary key);
insert into api.by_role values (1), (2);
alter table api.by_role enable row level security;
create policy one on api.by_role to fuzz_member using (id = 1);
create policy two on api.by_role to fuzz_other using (id = 2);
comment on table api.by_role is '@cache max-age=600 scope=role';

create function api.args(a integer, b integer default 7) returns integer language sql stable
  as 'select 10 * a + b';
comment on function api.args(integer, integer) is '@cache max-age=600 reads= scope=claims';
create function api.sums(variadic v integer[]) returns text language sql stable
  as $$ select array_to_string(v, '+') $$;
comment on function api.sums(integer[]) is '@cache max-age=600';
create function api.whoami() returns json language sql stable
  as $$ select current_setting('request.jwt.claims', true)::json $$;
comment on function api.whoami() is '@cache max-age=600';
create function api.names() returns setof text language sql stable
  as $$ select json_object_keys(current_setting('request.jwt.claims', true)::json) $$;
comment on function api.names() is '@cache max-age=600';
create function hidden.tenant() returns text language plpgsql stable as $$ declare found text;
  begin select current_setting('request.headers', true)::json ->> 'x-tenant' into found;
  return found; end $$;
create function api.tenant() returns text language plpgsql stable
  as $$ begin return hidden.tenant(); end $$;
comment on function api.tenant() is '@cache max-age=600 reads=';

grant select on all tables in schema api, other to fuzz_member, fuzz_other, fuzz_anon;
grant insert, update, delete on all tables in schema api to fuzz_member;
