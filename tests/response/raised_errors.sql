-- Every way a request can meet an error that SQL raises: `api.fail` says in the server's log
-- that it runs, which no rollback takes back, and raises what it is told to.

create schema api;
grant usage on schema api to web_anon, web_user;

create function api.fail(code text) returns boolean language plpgsql volatile as $$
begin
    raise log 'ran %', code;
    raise exception using errcode = code, message = 'no', detail = 'why', hint = 'so';
end
$$;
create function api.pid() returns integer language sql volatile as 'select pg_backend_pid()';

create table api.codes (code text primary key);
grant select, insert on api.codes to web_anon, web_user;
create view api.reads as select code, api.fail(code) as failed from api.codes;
grant select on api.reads to web_anon, web_user;

create table api.writes (code text check (api.fail(code)));
create table api.triggered (code text);
create table api.deferred (code text);
grant insert on api.writes, api.triggered, api.deferred to web_anon, web_user;

create function api.on_row() returns trigger language plpgsql as $$
begin
    perform api.fail(new.code);
    return new;
end
$$;
create trigger fails before insert on api.triggered
    for each row execute function api.on_row();
create constraint trigger fails after insert on api.deferred deferrable initially deferred
    for each row execute function api.on_row();
