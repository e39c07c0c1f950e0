-- What the tests of logs, metrics and traces ask for.

create schema api;
grant usage on schema api to web_anon, web_user;
create table api.items (id integer primary key, name text);
insert into api.items values (1, 'one'), (2, 'two');
grant select, insert, delete on api.items to web_anon, web_user;

create function api.fail() returns void language plpgsql as $$
begin
    raise sqlstate 'PT503' using message = 'not today';
end
$$;

create function api.wait(seconds double precision) returns void
    language sql volatile as 'select pg_sleep(seconds)';

create function api.backend() returns integer language sql volatile as 'select pg_backend_pid()';

create function api.told(name text) returns text
    language sql volatile as 'select current_setting(name, true)';
