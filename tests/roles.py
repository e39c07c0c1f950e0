"""The roles that the schemas of the tests grant to."""

from __future__ import annotations

from typing import Final

ROLES: Final = """
do $roles$
declare
    wanted text;
begin
    foreach wanted in array array['web_anon', 'web_user', 'web_auditor'] loop
        if to_regrole(wanted) is null then
            execute format('create role %I nologin', wanted);
        end if;
    end loop;
    if to_regrole('authenticator') is null then
        create role authenticator login noinherit;
    end if;
    grant web_anon, web_user, web_auditor to authenticator;
end
$roles$;
"""
"""Once for each PostgreSQL, whatever it has already: roles belong to the server. Those under
test connect as `authenticator`."""
