-- What the benchmark reads and writes: clients with projects with tasks, and a table of
-- notes that only grows. Loaded into an empty database by the superuser.

create role bench_anon nologin;
create role bench_server login noinherit;
grant bench_anon to bench_server;

create schema bench;
grant usage on schema bench to bench_anon;

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

grant select on all tables in schema bench to bench_anon;
grant insert on bench.notes to bench_anon;
