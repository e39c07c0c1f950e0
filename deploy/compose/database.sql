-- What an API needs of a database: roles, a schema, a table, rights.
-- docs/quick-start.md explains each of them.

create role web_anon nologin;
create role web_user nologin;
create role authenticator login noinherit password :'password';
grant web_anon, web_user to authenticator;

-- Nobody's request runs longer than this.
alter role web_anon set statement_timeout = '5s';
alter role web_user set statement_timeout = '15s';

create schema api;
create table api.notes (
    id int generated always as identity primary key,
    owner text not null default (current_setting('request.jwt.claims', true)::json ->> 'sub'),
    body text not null
);

grant usage on schema api to web_anon, web_user;
grant select on api.notes to web_anon;
grant select, insert, update, delete on api.notes to web_user;

alter table api.notes enable row level security;
create policy read on api.notes for select using (true);
create policy own on api.notes to web_user
    using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');

insert into api.notes (owner, body) values ('ada', 'Served by edgerest');
