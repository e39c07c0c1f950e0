-- Writes that have other tables written by code that does not look like it.
create table api.traces (
  id bigint generated always as identity primary key, owner text not null, what text
);
create function hidden.leave(what text) returns int language sql security definer as $$
  delete from api.traces where owner = hidden.me()
    and id < (select max(id) - 20 from api.traces t where t.owner = hidden.me());
  insert into api.traces (owner, what) values (hidden.me(), leave.what);
  select 1
$$;
create function hidden.mark(what text, name text) returns int language plpgsql immutable
  as $$ begin return hidden.leave(what || name); end $$;
-- What operators and domains do counts for every write: so that it hides nothing else.
create table api.common_traces (
  id bigint generated always as identity primary key, owner text not null, what text
);
create function hidden.leave_in_common(what text) returns int language sql security definer
as $$
  delete from api.common_traces where owner = hidden.me()
    and id < (select max(id) - 20 from api.common_traces t where t.owner = hidden.me());
  insert into api.common_traces (owner, what) values (hidden.me(), leave_in_common.what);
  select 1
$$;

create table api.stamps (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(), name text not null
);
create function hidden.stamp() returns trigger language plpgsql stable
  as $$ begin perform hidden.leave('stamp'); return new; end $$;
create trigger stamp before insert on api.stamps for each row execute function hidden.stamp();
create view api.shelf {invoker} as
  select id, owner, name from api.stamps where hidden.leave('shelf') = 1;
create function api.trace(api.stamps) returns int language sql stable
  as $$ select hidden.leave('filter') $$;

create table api.vault (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(), name text not null
);
create function hidden.peek() returns boolean language plpgsql stable
  as $$ begin return hidden.leave('peek') = 1; end $$;

create table api.checked (like api.vault including all,
  check (hidden.mark('check', name) = 1));
create table api.indexed (like api.vault including all);
create index on api.indexed (hidden.mark('index', name));
create table api.defaulted (like api.vault including all,
  mark int default hidden.mark('default', ''));
create table api.watched (like api.vault including all);
create function hidden.calm() returns trigger language plpgsql
  as $$ begin return new; end $$;
create trigger calm before insert on api.watched for each row
  when (hidden.mark('when', new.name) = 1) execute function hidden.calm();
create table api.kept (like api.vault including all);
create table api.ruled (like api.vault including all);
create rule keep as on insert to api.ruled do instead
  insert into api.kept (owner, name) values (new.owner, new.name) returning *;
create function hidden.dynamic() returns int language plpgsql immutable
  as $$ begin execute 'select hidden.lea' || 've(''dynamic'')'; return 1; end $$;
create table api.dynamic (like api.vault including all, mark int default hidden.dynamic());
create function api.go(mark int default hidden.leave('argument')) returns int language sql
  as 'select mark';

create domain hidden.trace as int default hidden.leave_in_common('domain');
create type hidden.size as (n int);
create function hidden.smaller(hidden.size, hidden.size) returns boolean language sql immutable
  as $$ select hidden.leave_in_common('operator') = 1 and ($1).n < ($2).n $$;
create operator api.< (
  leftarg = hidden.size, rightarg = hidden.size, function = hidden.smaller
);
create table api.crates (like api.vault including all, trace hidden.trace,
  size hidden.size default row(1)::hidden.size);

create extension postgres_fdw;
create server loopback foreign data wrapper postgres_fdw
  options (host '{host}', port '{port}', dbname 'postgres');
create user mapping for differential_member server loopback
  options (user 'postgres', password_required 'false');
create foreign table api.far (owner text default hidden.me(), what text)
  server loopback options (schema_name 'api', table_name 'traces');

do $$
declare name text;
begin
  foreach name in array array[
    'traces', 'common_traces', 'stamps', 'vault', 'checked', 'indexed', 'defaulted', 'watched',
    'kept', 'ruled', 'dynamic', 'crates'
  ] loop
    execute format('alter table api.%I enable row level security', name);
    execute format('create policy own on api.%I using (owner = hidden.me())', name);
  end loop;
  foreach name in array array['traces', 'common_traces', 'stamps', 'kept'] loop
    execute format('comment on table api.%I is ''@cache max-age=600''', name);
  end loop;
end $$;
alter policy own on api.vault using (owner = hidden.me() and hidden.peek())
  with check (owner = hidden.me());
grant select, insert, update, delete on all tables in schema api to differential_member;
