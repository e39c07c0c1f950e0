"""Where code can hide in a write, and as what: the cases of `test_hidden_writes`.

A case is a place and a kind. The kind makes a function `api.code@(v int) returns int`, which
answers `v` and writes to `api.seen@`; the place has a write call it. `@` is the number of the
case. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_WRITE: Final = "insert into api.seen@ values (1)"
_HIDDEN_WRITE: Final = "insert into api.se' || 'en@ values (1)"
"""The same as a text whose source does not have the name."""
_CALL: Final = "select v + 0 * hidden.write@()"
_WRITER: Final = (
    "create function hidden.write@() returns int language sql security definer"
    f" as '{_WRITE}; select 1';"
)


def _function(language: str, body: str) -> str:
    return (
        f"{_WRITER} create function api.code@(v int) returns int security definer"
        f" language {language} {body};"
    )


def _plpgsql(volatility: str, statement: str) -> str:
    return _function(f"plpgsql {volatility}", f"as $$ begin {statement}; return v; end $$")


KINDS: Final[dict[str, str]] = {
    "sql": _function("sql", f"as $$ {_WRITE}; select v $$"),
    "sql stable": _function("sql stable", f"as $$ {_CALL} $$"),
    "sql immutable": _function("sql immutable", f"as $$ {_CALL} $$"),
    "plpgsql": _plpgsql("volatile", _WRITE),
    "plpgsql stable": _plpgsql("stable", "perform hidden.write@()"),
    "plpgsql immutable": _plpgsql("immutable", "perform hidden.write@()"),
    "said to be stable": _plpgsql("stable", _WRITE),
    "dynamic": _plpgsql("volatile", f"execute '{_HIDDEN_WRITE}'"),
    "dynamic immutable": _plpgsql("immutable", "execute 'select hidden.wri' || 'te@()'"),
    "standard": _function("sql", f"begin atomic {_WRITE}; select v; end"),
    "standard immutable": _function("sql immutable", f"begin atomic {_CALL}; end"),
    "two calls away": "create function hidden.between@() returns int language plpgsql stable"
    " as 'begin return hidden.write@(); end';"
    + _plpgsql("immutable", 'perform "hidden"."between@"()'),
    "operator": _WRITER + "create type hidden.sum@ as (x int);"
    "create function hidden.plus@(hidden.sum@, int) returns int language sql immutable"
    " as 'select ($1).x + 0 * hidden.write@()';"
    "create operator hidden.+ (leftarg = hidden.sum@, rightarg = int,"
    " function = hidden.plus@);"
    "create function api.code@(v int) returns int language sql immutable"
    " as 'select row(v)::hidden.sum@ operator(hidden.+) 1'",
    "cast": _WRITER + "create type hidden.cell@ as (x int);"
    "create function hidden.cell@(int) returns hidden.cell@ language sql immutable"
    " as 'select row($1 + 0 * hidden.write@())::hidden.cell@';"
    "create cast (int as hidden.cell@) with function hidden.cell@(int);"
    "create function api.code@(v int) returns int language plpgsql immutable"
    " as 'begin return (v::hidden.cell@).x; end'",
    "domain": _WRITER + "create domain hidden.checked@ as int check (hidden.write@() = 1);"
    "create function api.code@(v int) returns int language plpgsql immutable"
    " as 'begin return v::hidden.checked@; end'",
    "view": _WRITER + "create view hidden.view@ as select hidden.write@() as x;"
    "create function api.code@(v int) returns int language sql immutable security definer"
    " as 'select v + 0 * x from hidden.view@'",
    "procedure": _WRITER + "create procedure hidden.done@() language plpgsql"
    " as 'begin perform hidden.write@(); end';"
    + _plpgsql("volatile", "call hidden.done@()").replace(_WRITER, ""),
    "trigger": "create table hidden.other@ (id int);"
    "create function hidden.fired@() returns trigger language plpgsql immutable"
    " as 'begin perform hidden.write@(); return null; end';"
    "create trigger t after insert on hidden.other@ execute function hidden.fired@();"
    + _plpgsql("volatile", "insert into hidden.other@ values (1)"),
    "rule": "create table hidden.other@ (id int);"
    f"create rule r as on insert to hidden.other@ do also {_WRITE};"
    + _plpgsql("volatile", "insert into hidden.other@ values (1)"),
    "aggregate": _WRITER
    + "create function hidden.step@(int, int) returns int language sql immutable"
    " as 'select $2 + 0 * hidden.write@()';"
    "create aggregate hidden.last@(int) (sfunc = hidden.step@, stype = int);"
    "create function api.code@(v int) returns int language sql immutable"
    " as 'select hidden.last@(x) from (values (v)) as _(x)'",
    "default of an argument": _WRITER
    + "create function hidden.given@(v int, w int default hidden.write@()) returns int"
    " language plpgsql immutable as 'begin return v; end';"
    "create function api.code@(v int) returns int language plpgsql immutable"
    " as 'begin return hidden.given@(v); end'",
    "text that is run": _plpgsql(
        "immutable", "perform ts_stat('select to_tsvector(hidden.wri' || 'te@()::text)')"
    ),
    "another session": _plpgsql(
        "immutable",
        f"perform public.dblink_exec(current_setting('test.dsn'), '{_HIDDEN_WRITE}')",
    ),
    "foreign table": "create foreign table hidden.far@ (n int) server loopback"
    " options (schema_name 'api', table_name 'seen@');"
    + _plpgsql("volatile", "insert into hidden.far@ values (1)"),
    "line ends": _plpgsql("volatile", f"-- nothing\rexecute '{_HIDDEN_WRITE}'"),
    "folded": _plpgsql("volatile", "INSERT INTO Api . Seen@ VALUES (1)"),
    "quoted": 'create table hidden."a ""b""@" (id int);'
    "create function hidden.fired@() returns trigger language plpgsql"
    " as 'begin perform hidden.write@(); return null; end';"
    'create trigger t after insert on hidden."a ""b""@" execute function hidden.fired@();'
    + _plpgsql("volatile", 'insert into hidden."a ""b""@" values (1)'),
}
"""By name, the SQL that makes `api.code@`. Some PostgreSQL refuses to run, or to have there."""

COMMON_KINDS: Final = (
    "sql stable",
    "plpgsql",
    "plpgsql immutable",
    "dynamic immutable",
    "standard immutable",
    "two calls away",
)
COMMON_HARMLESS: Final = ("plpgsql", "writes another")
"""Those that are tried in every place."""

HARMLESS: Final[dict[str, str]] = {
    "sql": "create function api.code@(v int) returns int language sql immutable as 'select v'",
    "plpgsql": "create function api.code@(v int) returns int language plpgsql immutable"
    " as $$ begin if v < 0 then raise exception 'can not create % or execute it', v; end if;"
    " return v; -- drop it \n end $$",
    "reads": "create table hidden.read@ (id int);"
    "create function api.code@(v int) returns int language plpgsql immutable security definer"
    " as 'begin perform from hidden.read@ where id = v; return v; end'",
    "writes another": "create table hidden.log@ (id int);"
    "create function api.code@(v int) returns int language plpgsql immutable security definer"
    " as 'begin perform hidden.log@(v); return v; end';"
    "create function hidden.log@(v int) returns void language sql"
    " as 'insert into hidden.log@ values (v) on conflict do nothing'",
    "extension": "create function api.code@(v int) returns int language sql immutable"
    " as 'select v + 0 * x::int from public.normal_rand(1, 0, 0) as x'",
    "reads, and is not said to be stable": ""
    "create function api.code@(v int) returns int language sql security definer"
    " as $$ select n from api.seen@; select v $$",
    "declared": "create function api.code@(v int) returns int language plpgsql immutable"
    " as $$ begin execute 'select 1'; return v; end $$;"
    "comment on function api.code@(int) is '@cache writes='",
}


@dataclass(frozen=True, slots=True)
class Place:
    """`sql` has the request `method` `target` `body` call `api.code@`."""

    sql: str
    method: str
    target: str
    body: str = ""
    prefer: str = ""
    accept: str = ""


_REPRESENTATION: Final = "return=representation"
_ROWS: Final = "create table api.written@ (id int primary key, n int);"
_ROW: Final = _ROWS + "insert into api.written@ values (1, 1);"
_SECURED: Final = _ROW + "alter table api.written@ enable row level security;"
_FIRES: Final = (
    "create function hidden.fires@() returns trigger language plpgsql {volatility}"
    " as 'begin perform api.code@(1); return new; end';"
)
_PATCH: Final = ("PATCH", "/written@?id=eq.1", '{"n": 2}')
_POST: Final = ("POST", "/written@", '{"id": 2}')
_DELETE: Final = ("DELETE", "/written@?id=eq.1")


def _policies(*policies: str) -> str:
    made = (
        f"create policy p{number} on api.written@ {policy};"
        for number, policy in enumerate(policies)
    )
    return _SECURED + "".join(made)


def _trigger(definition: str, volatility: str = "volatile") -> str:
    return _ROW + _FIRES.format(volatility=volatility) + f"create {definition};"


PLACES: Final[dict[str, Place]] = {
    "default": Place("create table api.written@ (id int, n int default api.code@(1));", *_POST),
    "default that runs text": Place(
        "create table api.written@ (id int, n tsquery default ts_rewrite("
        " 'a'::tsquery, 'select $$a$$::tsquery, api.code@(1)::text::tsquery'));",
        *_POST,
    ),
    "check that runs text": Place(
        "create table api.written@ (id int, check (ts_rewrite("
        " 'a'::tsquery, 'select $$a$$::tsquery, api.code@(1)::text::tsquery') is not null));",
        *_POST,
    ),
    "view that runs text": Place(
        _ROW + "create view api.shown@ as select id, ts_rewrite("
        " 'a'::tsquery, 'select $$a$$::tsquery, api.code@(1)::text::tsquery')"
        " from api.written@;"
        "create function api.c@(api.written@) returns setof api.shown@ language sql stable"
        " as 'select * from api.shown@';",
        "POST",
        "/written@?select=id,c@(*)",
        '{"id": 2}',
        _REPRESENTATION,
    ),
    "default of a view's column": Place(
        "create table hidden.base@ (id int, n int);"
        "create view api.written@ as select * from hidden.base@;"
        "alter view api.written@ alter n set default api.code@(1);",
        *_POST,
    ),
    "generated column": Place(
        "create table api.written@ (id int, n int generated always as (api.code@(id)) stored);",
        *_POST,
    ),
    "check": Place(
        "create table api.written@ (id int, check (api.code@(id) is not null));", *_POST
    ),
    "check of an inheriting table": Place(
        _ROW + "create table api.heir@ (check (api.code@(id) is not null))"
        " inherits (api.written@); insert into api.heir@ values (2); truncate api.seen@;",
        "PATCH",
        "/written@",
        '{"n": 2}',
    ),
    "insert policy": Place(
        _policies("for insert with check (api.code@(id) is not null)"), *_POST
    ),
    "update policy": Place(
        _policies("for update using (api.code@(id) is not null)", "for select using (true)"),
        *_PATCH,
    ),
    "delete policy": Place(
        _policies("for delete using (api.code@(id) is not null)", "for select using (true)"),
        *_DELETE,
    ),
    "select policy of an update": Place(
        _policies("for update using (true)", "for select using (api.code@(id) is not null)"),
        *_PATCH,
    ),
    "select policy of an insert": Place(
        _policies("for insert with check (true)", "for select using (api.code@(id) > 0)"),
        *_POST,
        _REPRESENTATION,
    ),
    "policy that reads a view": Place(
        "create view hidden.seen_by@ as select api.code@(1) as x;"
        "grant select on hidden.seen_by@ to public;"
        + _policies("for insert with check (1 in (select x from hidden.seen_by@))"),
        *_POST,
    ),
    "trigger": Place(
        _trigger(
            "trigger t before insert on api.written@ for each row"
            " execute function hidden.fires@()"
        ),
        *_POST,
    ),
    "stable trigger": Place(
        _trigger(
            "trigger t after update on api.written@ for each row"
            " execute function hidden.fires@()",
            "stable",
        ),
        *_PATCH,
    ),
    "statement trigger": Place(
        _trigger("trigger t after delete on api.written@ execute function hidden.fires@()"),
        "DELETE",
        "/written@?id=eq.7",
    ),
    "statement trigger for what an upsert might update": Place(
        _trigger("trigger t after update on api.written@ execute function hidden.fires@()"),
        *_POST,
        "resolution=merge-duplicates",
    ),
    "deferred constraint trigger": Place(
        _trigger(
            "constraint trigger t after insert on api.written@ deferrable initially deferred"
            " for each row execute function hidden.fires@()"
        ),
        *_POST,
    ),
    "trigger of a replica": Place(
        _ROWS.replace("api.written", "hidden.base")
        + _FIRES.format(volatility="volatile")
        + "create trigger t before insert on hidden.base@ for each row"
        " execute function hidden.fires@();"
        "alter table hidden.base@ enable replica trigger t;"
        "create function api.go@() returns void language sql security definer"
        " set session_replication_role = 'replica' as 'insert into hidden.base@ values (2)';",
        "POST",
        "/rpc/go@",
        "{}",
    ),
    "condition of a trigger": Place(
        _ROW + "create function hidden.calm@() returns trigger language plpgsql"
        " as 'begin return new; end';"
        "create trigger t before insert on api.written@ for each row"
        " when (api.code@(new.id) is not null) execute function hidden.calm@();",
        *_POST,
    ),
    "trigger instead of": Place(
        "create view api.written@ as select 1 as id, 2 as n;"
        + _FIRES.format(volatility="immutable")
        + "create trigger t instead of insert on api.written@ for each row"
        " execute function hidden.fires@();",
        *_POST,
    ),
    "rule": Place(
        _ROW + "create table hidden.kept@ (id int, n int);"
        "create rule r as on insert to api.written@ do instead"
        " insert into hidden.kept@ values (new.id, api.code@(new.id)) returning *;",
        *_POST,
    ),
    "additional rule": Place(
        _ROW + "create rule r as on insert to api.written@ do also"
        " insert into hidden.kept values (api.code@(new.id));",
        *_POST,
    ),
    "condition of a view": Place(
        "create table hidden.base@ (id int, n int); insert into hidden.base@ values (1, 1);"
        "create view api.written@ as select * from hidden.base@"
        " where api.code@(id) is not null;",
        *_PATCH,
    ),
    "condition of a view below": Place(
        "create table hidden.base@ (id int, n int); insert into hidden.base@ values (1, 1);"
        "create view hidden.below@ as select * from hidden.base@ where api.code@(id) > 0;"
        "create view api.written@ as select * from hidden.below@;",
        *_DELETE,
    ),
    "check option of a view": Place(
        "create table hidden.base@ (id int, n int);"
        "create view api.written@ as select * from hidden.base@"
        " where api.code@(id) is not null with check option;",
        *_POST,
    ),
    "expression of a view": Place(
        "create table hidden.base@ (id int);"
        "create view api.written@ as select id, api.code@(id) as n from hidden.base@;",
        *_POST,
        _REPRESENTATION,
    ),
    "index": Place(_ROWS + "create index on api.written@ (api.code@(id));", *_POST),
    "condition of an index": Place(
        _ROWS + "create index on api.written@ (id) where api.code@(id) > 0;", *_POST
    ),
    "partition key": Place(
        "create table api.written@ (id int, n int) partition by list (api.code@(id));"
        "create table api.part@ partition of api.written@ for values in (2);",
        *_POST,
    ),
    "partition key of the parent": Place(
        "create table api.whole@ (id int, n int) partition by list (api.code@(id));"
        "create table hidden.part@ partition of api.whole@ for values in (2);"
        "create function api.go@() returns void language sql security definer"
        " as 'insert into hidden.part@ values (2)';",
        "POST",
        "/rpc/go@",
        "{}",
    ),
    "trigger of a partition": Place(
        "create table api.written@ (id int, n int) partition by list (id);"
        "create table api.part@ partition of api.written@ for values in (2);"
        + _FIRES.format(volatility="volatile")
        + "create trigger t before insert on api.part@ for each row"
        " execute function hidden.fires@();",
        *_POST,
    ),
    "cascade to a trigger": Place(
        _ROW + "create table hidden.child@ (id int references api.written@ on delete cascade);"
        "insert into hidden.child@ values (1);"
        + _FIRES.format(volatility="volatile")
        + "create trigger t after delete on hidden.child@ for each row"
        " execute function hidden.fires@();",
        *_DELETE,
    ),
    "cascade to a default": Place(
        _ROW + "insert into api.written@ values (3, 3);"
        "create table hidden.child@ (id int default 2 + api.code@(1)"
        " references api.written@ on delete set default);"
        "insert into hidden.child@ values (1);",
        *_DELETE,
    ),
    "cascade to a cascade": Place(
        _ROW + "create table hidden.child@ (id int primary key references api.written@"
        " on update cascade);"
        "create table hidden.grandchild@ (id int references hidden.child@ on update cascade,"
        " check (api.code@(id) is not null));"
        "insert into hidden.child@ values (1); insert into hidden.grandchild@ values (1);"
        "truncate api.seen@;",
        "PATCH",
        "/written@?id=eq.1",
        '{"id": 4}',
    ),
    "computed filter": Place(
        _ROW + "create function api.c@(api.written@) returns int language sql stable"
        " as 'select api.code@(1)';",
        "PATCH",
        "/written@?c@=eq.1",
        '{"n": 2}',
    ),
    "computed filter of anything": Place(
        _ROW + "create function api.c@(anyelement) returns int language sql stable"
        " as 'select api.code@(1)';",
        "DELETE",
        "/written@?c@=eq.1",
    ),
    "computed filter of a record": Place(
        _ROW + "create function api.c@(record) returns int language plpgsql stable"
        " as 'begin return api.code@(1); end';",
        "DELETE",
        "/written@?or=(id.eq.7,c@.eq.1)",
    ),
    "computed column that is selected": Place(
        _ROW + "create function api.c@(api.written@) returns int language sql stable"
        " as 'select api.code@(1)';",
        "POST",
        "/written@?select=c@",
        '{"id": 2}',
        _REPRESENTATION,
    ),
    "computed relationship": Place(
        _ROW + "create function api.c@(api.written@) returns setof api.written@ rows 1"
        " language sql stable as 'select $1.id, api.code@(1)';",
        "POST",
        "/written@?select=id,c@(id,n)",
        '{"id": 2}',
        _REPRESENTATION,
    ),
    "embedded view": Place(
        _ROW + "create table hidden.child@ (id int references api.written@);"
        "insert into hidden.child@ values (1);"
        "create view api.child@ as select id, api.code@(id) as n from hidden.child@;",
        "PATCH",
        "/written@?id=eq.1&select=id,child@(n)",
        '{"n": 2}',
        _REPRESENTATION,
    ),
    "function": Place("", "POST", "/rpc/code@", '{"v": 1}'),
    "default of an argument": Place(
        "create function api.go@(v int default api.code@(1)) returns int language sql"
        " as 'select v';",
        "POST",
        "/rpc/go@",
        "{}",
    ),
    "filter of a function's rows": Place(
        _ROW + "create function api.go@() returns setof api.written@ language sql"
        " as 'select * from api.written@';"
        "create function api.c@(api.written@) returns int language sql stable"
        " as 'select api.code@(1)';",
        "POST",
        "/rpc/go@?c@=eq.1",
        "{}",
    ),
    "foreign table": Place(
        "create foreign table api.written@ (n int) server loopback"
        " options (schema_name 'api', table_name 'seen@');",
        "POST",
        "/written@",
        '{"n": 1}',
    ),
    "partition elsewhere": Place(
        "create table api.written@ (n int) partition by list (n);"
        "create foreign table hidden.part@ partition of api.written@ for values in (1)"
        " server loopback options (schema_name 'api', table_name 'seen@');",
        "POST",
        "/written@",
        '{"n": 1}',
    ),
    "media type": Place(
        _ROW + 'create domain api."text/n@" as text;'
        'create function hidden.next@(api."text/n@", api.written@) returns api."text/n@"'
        ' language sql as $$ select api.code@(1)::text::api."text/n@" $$;'
        "create aggregate api.shown@(api.written@) (sfunc = hidden.next@,"
        " stype = api.\"text/n@\", initcond = '');",
        *_POST,
        _REPRESENTATION,
        "text/n@",
    ),
}
"""Places of a table, a view or a function of one's own."""

OPAQUE_PLACES: Final = (
    *(name for name in PLACES if name.endswith("runs text")),
    "foreign table",
    "partition elsewhere",
)
"""Those in which a write may touch anything, whatever the code does."""
COMMON_PLACES: Final = ("default", "select policy of an update", "stable trigger", "function")
"""Those in which every kind is tried."""

_HAS_COLUMN: Final = "create table api.written@ (id int, n {type});"
_NUMBER: Final = ("POST", "/written@", '{"n": 1}')
_CHECKED: Final = "create domain hidden.d@ as int check (api.code@(value) is not null);"
_NUMBERED: Final = "create type hidden.number@ as (x int);"
_COMPARES: Final = (
    _NUMBERED + "create function hidden.compare@(hidden.number@, hidden.number@) returns {type}"
    " language {language} immutable as $$ {body} $$;"
)
_LESS: Final = _COMPARES.format(
    type="bool", language="sql", body="select api.code@(1) > 0 and ($1).x < ($2).x"
)
_ORDERED: Final = _COMPARES.format(
    type="int",
    language="plpgsql",
    body="begin perform api.code@(1); return ($1).x - ($2).x; end",
)
_SIGNS: Final = ("<", "<=", "=", ">=", ">")
_CLASS: Final = (
    _ORDERED
    + "".join(
        f"create function hidden.op{place}@(hidden.number@, hidden.number@) returns bool"
        f" language sql immutable as 'select ($1).x {sign} ($2).x';"
        f"create operator hidden.{sign} (leftarg = hidden.number@, rightarg = hidden.number@,"
        f" function = hidden.op{place}@);"
        for place, sign in enumerate(_SIGNS)
    )
    + "create operator class hidden.ordered@ for type hidden.number@ using btree as "
    + ", ".join(f"operator {n} hidden.{sign}" for n, sign in enumerate(_SIGNS, 1))
    + ", function 1 hidden.compare@(hidden.number@, hidden.number@);"
)
_NUMBER_COLUMN: Final = (
    "create table api.written@ (id int, n hidden.number@);"
    "insert into api.written@ values (1, row(1)), (2, row(2));"
)

IMPLIED: Final[dict[str, Place]] = {
    "check of a domain": Place(_CHECKED + _HAS_COLUMN.format(type="hidden.d@"), *_NUMBER),
    "default of a domain": Place(
        "create domain hidden.d@ as int default api.code@(1);"
        + _HAS_COLUMN.format(type="hidden.d@"),
        *_POST,
    ),
    "default of a domain that runs text": Place(
        "create domain hidden.d@ as tsquery default ts_rewrite("
        " 'a'::tsquery, 'select $$a$$::tsquery, api.code@(1)::text::tsquery');"
        + _HAS_COLUMN.format(type="hidden.d@"),
        *_POST,
    ),
    "domain of a domain": Place(
        _CHECKED
        + "create domain hidden.e@ as hidden.d@ not null;"
        + _HAS_COLUMN.format(type="hidden.e@"),
        *_NUMBER,
    ),
    "array of a domain": Place(
        _CHECKED + _HAS_COLUMN.format(type="hidden.d@[]"), "POST", "/written@", '{"n": [1]}'
    ),
    "row with a domain": Place(
        _CHECKED
        + "create type hidden.t@ as (x hidden.d@);"
        + _HAS_COLUMN.format(type="hidden.t@"),
        "POST",
        "/written@",
        '{"n": {"x": 1}}',
    ),
    "range of a domain": Place(
        _CHECKED
        + "create type hidden.r@ as range (subtype = hidden.d@);"
        + _HAS_COLUMN.format(type="hidden.r@"),
        "POST",
        "/written@",
        '{"n": "[1,2)"}',
    ),
    "domain of an argument": Place(
        _CHECKED
        + "create function api.go@(v hidden.d@) returns int language sql as 'select 1';",
        "POST",
        "/rpc/go@",
        '{"v": 1}',
    ),
    "domain that is cast to": Place(
        _CHECKED.replace("hidden", "api") + _ROW,
        "POST",
        "/written@?select=id::d@",
        '{"id": 2}',
        _REPRESENTATION,
    ),
    "operator of a filter": Place(
        _LESS + "create operator api.< (leftarg = hidden.number@, rightarg = hidden.number@,"
        " function = hidden.compare@);" + _NUMBER_COLUMN,
        "DELETE",
        "/written@?n=lt.(2)",
    ),
    "order": Place(
        _CLASS.replace("for type", "default for type") + _NUMBER_COLUMN,
        "PATCH",
        "/written@?order=n",
        '{"id": 3}',
        _REPRESENTATION,
    ),
    "operator class of an index": Place(
        _CLASS + _NUMBER_COLUMN + "create index on api.written@ (n hidden.ordered@);"
        "truncate api.seen@;",
        "PATCH",
        "/written@?id=eq.1",
        '{"n": {"x": 9}}',
    ),
    "cast to JSON": Place(
        "create type hidden.mood@ as enum ('well');"
        "create table api.written@ (id int, n hidden.mood@);"
        "create function hidden.to_json@(hidden.mood@) returns json language sql immutable"
        " as 'select to_json(api.code@(1))';"
        "create cast (hidden.mood@ as json) with function hidden.to_json@(hidden.mood@);",
        "POST",
        "/written@",
        '{"n": "well"}',
        _REPRESENTATION,
    ),
    "cast that is asked for": Place(
        _NUMBERED.replace("hidden", "api")
        + _ROW
        + "create function hidden.to_number@(int) returns api.number@ language sql immutable"
        " as 'select row(api.code@($1))::api.number@';"
        "create cast (int as api.number@) with function hidden.to_number@(int);",
        "POST",
        "/written@?select=id::number@",
        '{"id": 2}',
        _REPRESENTATION,
    ),
    "aggregate": Place(
        _NUMBERED
        + _NUMBER_COLUMN
        + "create function hidden.add@(int, hidden.number@) returns int language sql immutable"
        " as 'select $1 + api.code@(($2).x)';"
        "create aggregate api.sum(hidden.number@) (sfunc = hidden.add@, stype = int,"
        " initcond = '0');",
        "PATCH",
        "/written@?select=n.sum()",
        '{"id": 3}',
        _REPRESENTATION,
    ),
    "exclusion": Place(
        _COMPARES.format(type="bool", language="sql", body="select ($1).x = ($2).x")
        + "create operator api.= (leftarg = hidden.number@, rightarg = hidden.number@,"
        " commutator = operator(api.=), function = hidden.compare@, hashes);"
        "create function hidden.hash@(hidden.number@) returns int language sql immutable"
        " as 'select 7 + 0 * api.code@(1)';"
        "create operator class hidden.hashed@ for type hidden.number@ using hash as"
        " operator 1 api.= (hidden.number@, hidden.number@),"
        " function 1 hidden.hash@(hidden.number@);"
        "create table api.written@ (id int, n hidden.number@,"
        " exclude using hash (n hidden.hashed@ with api.=));"
        "insert into api.written@ values (1, row(1)); truncate api.seen@;",
        "POST",
        "/written@",
        '{"n": {"x": 2}}',
    ),
}
"""What SQL calls without naming it; alone in the database, since it counts for every write."""
