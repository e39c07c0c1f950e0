-- What the benchmark reads and writes: clients with projects with tasks, a table of notes
-- that only grows, one with row-level security, and one whose answers may be kept. Loaded into an empty database by the superuser.

create role bench_anon nologin;
create role bench_server login noinherit;
create role bench_user nologin;
grant bench_anon, bench_user to bench_server;

create schema bench;
grant usage on schema bench to bench_anon, bench_user;

create table bench.clients (
  id int primary key,
  name text not null,
  email text not null,
  created_at timestamptz not null
);

create table bench.projects (
  id int primary key,
  client_id int not null references bench.clients,
  name text not null,
  budget numeric(12, 2) not null
);
create index on bench.projects (client_id);

create table bench.tasks (
  id int primary key,
  project_id int not null references bench.projects,
  name text not null,
  done boolean not null
);
create index on bench.tasks (project_id);

create table bench.notes (
  id bigint generated always as identity primary key,
  title text not null,
  body text,
  created_at timestamptz not null default now()
);

insert into bench.clients
  select i, 'Client ' || i, 'client' || i || '@example.com', '2026-01-01 00:00:00Z'
  from generate_series(1, 1000) i;
insert into bench.projects
  select i, 1 + i % 1000, 'Project ' || i, i * 100.5 from generate_series(1, 5000) i;
insert into bench.tasks
  select i, 1 + i % 5000, 'Task ' || i, i % 3 = 0 from generate_series(1, 20000) i;


create table bench.accounts (
  id int primary key,
  owner text not null,
  balance int not null
);
create index on bench.accounts (owner);
alter table bench.accounts enable row level security;
create policy own on bench.accounts for select to bench_user
  using (owner = (current_setting('request.jwt.claims', true)::json ->> 'sub'));
insert into bench.accounts
  select i, 'user' || i % 100, i % 1000 from generate_series(1, 10000) i;

-- The rows of clients in a table of their own, whose answers edgerest may keep.
create table bench.kept (like bench.clients including all);
insert into bench.kept table bench.clients;
comment on table bench.kept is '@cache max-age=3600 scope=public';

create function bench.clients_named(part text) returns setof bench.clients
  language sql stable
  as $$ select * from bench.clients where name = part $$;

grant select on all tables in schema bench to bench_anon, bench_user;
grant insert on bench.notes to bench_anon;
