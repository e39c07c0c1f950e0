-- Things that take their time, and roles with and without a time limit of their own.

do $$
begin
    if not exists (select from pg_roles where rolname = 'limits_server') then
        create role limits_server login noinherit;
        create role limits_anon;
        create role limits_patient;
        alter role limits_patient set statement_timeout = '7s';
        grant limits_anon, limits_patient to limits_server;
    end if;
end
$$;

create schema api;
grant usage on schema api to limits_anon, limits_patient;
create table api.notes (id bigint generated always as identity primary key, note text);
grant select, insert on api.notes to limits_anon, limits_patient;

create function api.nap(seconds double precision) returns text
    language sql stable as $$select pg_sleep(seconds)::text || 'rested'$$;

create function api.note_after(seconds double precision, note text) returns void
    language sql volatile as
    $$select pg_sleep(seconds); insert into api.notes (note) values (note_after.note)$$;

create function api.time_limit() returns text
    language sql stable as $$select current_setting('statement_timeout')$$;
