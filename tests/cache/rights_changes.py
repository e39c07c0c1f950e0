"""Everything that takes a right away or gives one, as SQL, with what must be answered then.

A `Change` has names of its own (`{n}`): a role `{n}_alice`, of which `rights_server` is a
member, and the relation or function `api.{n}` that the target reads, under the cache policy
`{cache}`. The more of these there are the better: the tests take each through every way in
which a kept answer may come back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from proxy.cli.demo.private_postgres import EmbeddedPostgres

Rows = list[dict[str, Any]]

HELPERS: Final = """
create function api.sub() returns text stable language sql
  as $$ select current_setting('request.jwt.claims', true)::json ->> 'sub' $$;
"""
PROLOGUE: Final = f"create role rights_server login noinherit; create schema api; {HELPERS}"
ONE: Final[Rows] = [{"id": 1}]
NONE: Final[Rows] = []


@dataclass(frozen=True, slots=True)
class Change:
    """`made` is there before, `sql` changes it. `before` and `after`: the rows that
    `target` is answered with, or the status it is refused with. `least`: the major version
    of PostgreSQL that knows of it. `applied`: what the server itself applies, and does once it
    has read the schema anew."""

    name: str
    sql: str
    after: Rows | int
    made: str = ""
    before: Rows | int = 200
    target: str = "/{n}?select=id&order=id"
    least: int = 13
    applied: bool = False


_BASE: Final = """
create role {n}_alice;
grant {n}_alice to rights_server;
grant usage on schema api to {n}_alice;
"""
_TABLE: Final = """
create table api.{n} (id int primary key, owner text default 'alice');
insert into api.{n} values (1);
grant select on api.{n} to {n}_alice;
comment on table api.{n} is '{cache}';
"""
_SECURE: Final = _TABLE + "alter table api.{n} enable row level security;"
_OPEN: Final = _SECURE + "create policy one on api.{n} using (true);"
_GROUP: Final = "create role {n}_group; grant {n}_group to {n}_alice;"
# A table in a schema of its own, which only those can read who are told to.
_HIDDEN: Final = """
create schema {n};
create table {n}.hidden (id int primary key);
insert into {n}.hidden values (1);
"""
_VIEW: Final = (
    _HIDDEN
    + """
create view api.{n} as select * from {n}.hidden;
grant select on api.{n} to {n}_alice;
comment on view api.{n} is '{cache}';
"""
)
_FUNCTION: Final = (
    _HIDDEN
    + """
create function api.{n}() returns setof {n}.hidden stable security definer language sql
  as $$ select * from {n}.hidden $$;
revoke all on function api.{n}() from public;
grant execute on function api.{n}() to {n}_alice;
comment on function api.{n}() is '{cache} reads={n}.hidden';
"""
)
_RPC: Final = "/rpc/{n}?select=id"

_PRIVILEGES: Final = (
    Change("revoke-table", "revoke select on api.{n} from {n}_alice", 403, _TABLE),
    Change(
        "revoke-column",
        "revoke select (id) on api.{n} from {n}_alice",
        403,
        _TABLE + "revoke select on api.{n} from {n}_alice; grant select (id) on api.{n} to"
        " {n}_alice;",
    ),
    Change(
        "revoke-column-of-all",
        "revoke select (id) on api.{n} from public",
        403,
        _TABLE + "revoke select on api.{n} from {n}_alice; grant select (id) on api.{n} to"
        " public;",
    ),
    Change(
        "table-to-column",
        "revoke select on api.{n} from {n}_alice; grant select (owner) on api.{n} to {n}_alice",
        403,
        _TABLE,
    ),
    Change("revoke-schema", "revoke usage on schema api from {n}_alice", 403, _TABLE),
    Change(
        "revoke-function",
        "revoke execute on function api.{n}() from {n}_alice",
        403,
        _FUNCTION,
        target=_RPC,
    ),
    Change(
        "revoke-materialized",
        "revoke select on api.{n} from {n}_alice",
        403,
        _HIDDEN + "create materialized view api.{n} as select * from {n}.hidden;"
        " grant select on api.{n} to {n}_alice;"
        " comment on materialized view api.{n} is '{cache}';",
    ),
    Change(
        "revoke-helper",
        "revoke execute on function {n}.sees() from {n}_alice, public",
        403,
        _HIDDEN + "grant usage on schema {n} to {n}_alice;"
        " create function {n}.sees() returns boolean stable language sql as 'select true';"
        + _SECURE
        + "create policy own on api.{n} using ({n}.sees());",
    ),
)
_ROW_SECURITY: Final = (
    Change(
        "enable-row-security", "alter table api.{n} enable row level security", NONE, _TABLE
    ),
    Change(
        "disable-row-security",
        "alter table api.{n} disable row level security",
        ONE,
        _SECURE + "create policy none on api.{n} using (id > 1);",
        before=NONE,
    ),
    Change(
        "force-row-security",
        "alter table api.{n} force row level security",
        NONE,
        _SECURE + "alter table api.{n} owner to {n}_alice;",
    ),
    Change(
        "create-policy",
        "create policy less on api.{n} as restrictive using (owner = api.sub())",
        NONE,
        _OPEN,
    ),
    Change("drop-policy", "drop policy one on api.{n}", NONE, _OPEN),
    Change(
        "alter-policy", "alter policy one on api.{n} using (owner = api.sub())", NONE, _OPEN
    ),
    Change("policy-for-others", "alter policy one on api.{n} to rights_server", NONE, _OPEN),
    Change(
        "wider-policy",
        "alter policy one on api.{n} using (true)",
        ONE,
        _SECURE + "create policy one on api.{n} using (false);",
        before=NONE,
    ),
    Change(
        "function-of-a-policy",
        "create or replace function {n}.sees() returns boolean stable language sql"
        " as 'select false'",
        NONE,
        _HIDDEN + "grant usage on schema {n} to {n}_alice;"
        " create function {n}.sees() returns boolean stable language sql as 'select true';"
        + _SECURE
        + "create policy own on api.{n} using ({n}.sees());",
    ),
)
_ROLES: Final = (
    Change("revoke-role", "revoke {n}_alice from rights_server", 403, _TABLE),
    Change(
        "revoke-membership",
        "revoke {n}_group from {n}_alice",
        403,
        _GROUP + _TABLE + "revoke select on api.{n} from {n}_alice;"
        " grant select on api.{n} to {n}_group;",
    ),
    Change(
        "revoke-indirect-membership",
        "revoke {n}_outer from {n}_group",
        403,
        _GROUP
        + "create role {n}_outer; grant {n}_outer to {n}_group;"
        + _TABLE
        + "revoke select on api.{n} from {n}_alice; grant select on api.{n} to {n}_outer;",
    ),
    Change(
        "revoke-predefined-role",
        "revoke pg_read_all_data from {n}_alice",
        403,
        _TABLE
        + "revoke select on api.{n} from {n}_alice; grant pg_read_all_data to {n}_alice;",
        least=14,
    ),
    Change(
        "membership-of-a-policy",
        "revoke {n}_group from {n}_alice",
        NONE,
        _GROUP + _SECURE + "create policy one on api.{n} to {n}_group using (true);",
    ),
    Change(
        "inherit-no-more",
        "grant {n}_group to {n}_alice with inherit false",
        403,
        _GROUP + _TABLE + "revoke select on api.{n} from {n}_alice;"
        " grant select on api.{n} to {n}_group;",
        least=16,
    ),
    Change(
        "no-bypass",
        "alter role {n}_alice nobypassrls",
        NONE,
        _SECURE + "alter role {n}_alice bypassrls;",
    ),
    Change(
        "no-superuser",
        "alter role {n}_alice nosuperuser",
        NONE,
        _SECURE + "alter role {n}_alice superuser;",
    ),
    Change("rename-role", "alter role {n}_alice rename to {n}_bob", 401, _TABLE),
    Change(
        "role-setting",
        "alter role {n}_alice set timezone = 'Asia/Tokyo'",
        [{"t": "1970-01-01T09:00:00+09:00"}],
        _TABLE + "alter table api.{n} add t timestamptz default to_timestamp(0);"
        " alter role {n}_alice set timezone = 'UTC';",
        target="/{n}?select=t",
        before=[{"t": "1970-01-01T00:00:00+00:00"}],
        applied=True,
    ),
)
_OWNERS: Final = (
    Change(
        "owner-of-a-table",
        "alter table api.{n} owner to rights_server; grant select on api.{n} to {n}_alice",
        NONE,
        _SECURE + "alter table api.{n} owner to {n}_alice;"
        " grant usage, create on schema api to rights_server;",
    ),
    Change(
        "owner-of-a-view",
        "alter view api.{n} owner to rights_server",
        403,
        _VIEW + "grant usage, create on schema api to rights_server;",
    ),
    Change(
        "invoker-of-a-view", "alter view api.{n} set (security_invoker)", 403, _VIEW, least=15
    ),
    Change(
        "query-of-a-view",
        "create or replace view api.{n} as select * from {n}.hidden where false",
        NONE,
        _VIEW,
    ),
    Change(
        "invoker-of-a-function",
        "alter function api.{n}() security invoker",
        403,
        _FUNCTION,
        target=_RPC,
    ),
    Change(
        "body-of-a-function",
        "create or replace function api.{n}() returns setof {n}.hidden stable security"
        " definer language sql as $$ select * from {n}.hidden where false $$",
        NONE,
        _FUNCTION,
        target=_RPC,
    ),
    Change(
        "owner-of-a-function",
        "alter function api.{n}() owner to rights_server",
        403,
        _FUNCTION + "grant usage, create on schema api to rights_server;",
        target=_RPC,
    ),
    Change(
        "setting-of-a-function",
        "alter function api.{n}() set search_path = {n}, api",
        NONE,
        _HIDDEN
        + "create table {n}.other (id int);"
        + _TABLE
        + "alter table api.{n} rename to {n}_rows;"
        " create table {n}.{n}_rows (id int, owner text); "
        " create function api.{n}() returns setof {n}.other stable language sql"
        " security definer set search_path = api as 'select id from {n}_rows';"
        " comment on function api.{n}() is '{cache} reads=api.{n}_rows';",
        target=_RPC,
    ),
    Change(
        "replaced-table",
        "drop table api.{n}; create table api.{n} (id int primary key)",
        403,
        _TABLE,
    ),
)
KINDS: Final[Mapping[str, tuple[Change, ...]]] = {
    "privileges": _PRIVILEGES,
    "row security": _ROW_SECURITY,
    "roles": _ROLES,
    "owners, views and functions": _OWNERS,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A change of its own, under one cache policy."""

    number: int
    change: Change
    cache: str

    def _filled(self, sql: str) -> str:
        return sql.replace("{n}", self.name).replace("{cache}", self.cache)

    @property
    def name(self) -> str:
        return f"rights{self.number}"

    @property
    def role(self) -> str:
        return f"{self.name}_alice"

    @property
    def made(self) -> str:
        return self._filled(_BASE + self.change.made)

    @property
    def sql(self) -> str:
        return self._filled(self.change.sql)

    @property
    def target(self) -> str:
        return self._filled(self.change.target)

    @property
    def before(self) -> Rows | int:
        return ONE if self.change.before == 200 else self.change.before


def cases(
    policies: Sequence[str], version: int, kinds: Iterable[str] = KINDS, first: int = 0
) -> list[Case]:
    """The changes of these kinds that this version of PostgreSQL knows, numbered from `first`
    on, each under one of `policies`."""
    known = [each for kind in kinds for each in KINDS[kind] if each.least <= version]
    cycle = itertools.cycle(policies)
    return [Case(n, *pair) for n, pair in enumerate(zip(known, cycle, strict=False), first)]


async def version_of(postgres: EmbeddedPostgres) -> int:
    """PostgreSQL's major version."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        return int(connection.get_server_version().major)
    finally:
        await connection.close()
