-- Start from nothing: what an earlier version or an interrupted load left goes away.
drop schema if exists api cascade;
drop schema if exists internal cascade;

do $roles$
begin
    if to_regrole('web_anon') is null then
        create role web_anon nologin;
    end if;
    if to_regrole('web_user') is null then
        create role web_user nologin;
    end if;
    if to_regrole('authenticator') is null then
        create role authenticator login noinherit;
    end if;
end
$roles$;
grant web_anon, web_user to authenticator;

comment on role web_anon is 'Requests without a token';
comment on role web_user is 'Requests with a token that names this role';

create schema api;
comment on schema api is 'Task management

The demo of edgerest: projects, their members, tasks and what was said about them. Without a
token only public projects show; with one, those its user is a member of as well.';
create schema internal;
comment on schema internal is 'What the API is made of but does not show';
