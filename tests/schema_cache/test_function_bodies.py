"""Which function bodies are simple enough to be understood, and what they depend on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.schema_cache.function_bodies import hints, read_body

_USERS = frozenset(("full_name", "lower_it"))


@pytest.mark.parametrize(
    "source, traits",
    [
        ("select $1 + 1", []),
        ("select 'from' || lower(a.name) -- from nowhere\n", []),
        ("select a::varchar(10), b::numeric(3, 2)", []),
        ("select coalesce(x, /* from */ 1) between 1 and 2", []),
        ("select current_setting('request.jwt.claims', true)::json ->> 'sub'", ["claims"]),
        ("select current_setting('request.jwt.claim.sub')", ["claims"]),
        ("select current_setting('request.jwt.claim.jti')", ["claims", "token"]),
        ("select x ->> 'exp'", []),
        ("SELECT CURRENT_SETTING('request.headers')", ["request"]),
        ("select current_setting('request.' || 'headers')", ["request"]),
        ("select current_setting($1)", ["request"]),
        ("select current_setting('app.settings.x'), current_setting('TimeZone')", []),
        ("select current_setting('my.tenant')", ["request"]),
        ("select current_user", ["role"]),
        ("select now() > x", ["time"]),
        ("select x > 'Today'::date", ["time"]),
        ("begin new.updated_at := now(); return new; end", ["time"]),
        ("begin if tg_op = 'DELETE' then raise exception 'no'; end if; return null; end", []),
        ("", []),
    ],
)
def test_understood(source: str, traits: list[str]) -> None:
    code = read_body(source, _USERS)
    assert code is not None
    assert code.traits == set(traits)
    assert not code.relations
    assert not code.functions


_ALL = "current_setting('request.jwt.claims', true)"


@pytest.mark.parametrize(
    "source",
    [
        f"select {_ALL}::json ->> 'sub'",
        f"select nullif({_ALL}, '')::jsonb -> 'app' ->> 'role'",
        f"select (coalesce({_ALL}, '{{}}')::jsonb) ->> 'sub'",
        f"select $1 = {_ALL}::json ->> 'sub' and not ({_ALL}::json ->> 'team') is null",
        "select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),"
        f" (nullif({_ALL}, '')::jsonb ->> 'sub'))::uuid",
        "select ((pg_catalog.current_setting('Request.JWT.claims')))::json -> 'app'",
    ],
)
def test_claims_read_by_constant_names(source: str) -> None:
    code = read_body(source, _USERS)
    assert code is not None
    assert code.traits == {"claims"}
    in_plpgsql = read_body(f"begin return ({source}); end", _USERS, "plpgsql")
    assert in_plpgsql is not None
    assert in_plpgsql.traits == {"claims", "token"}


@pytest.mark.parametrize(
    "source",
    [
        f"select {_ALL}",
        f"select length({_ALL})",
        f"select {_ALL}::json ->> 'jti'",
        f"select {_ALL}::json ->> 'sub', {_ALL}",
        f"select {_ALL}::json ->> $1",
        f"select {_ALL}::json #>> '{{sub}}'",
        f"select {_ALL}::json -> ('j' || 'ti')",
        f"select {_ALL}::json ->> lower('JTI')",
        f"select {_ALL}::json ->> E'jti'",
        f"select {_ALL}::json ->> 'jtix'::varchar(3)",
        f"select {_ALL}::jsonb ? 'sub'",
        f"select $1 || {_ALL}::jsonb ->> 'sub'",
        f"select $1 @= {_ALL}::json ->> 'sub'",
        f"select replace({_ALL}, 'jti', 'sub')::json ->> 'sub'",
        f"select lower({_ALL})::json ->> 'sub'",
        f"select nullif({_ALL}, 'x')::json ->> 'sub'",
        f"select {_ALL} ->> 'sub'",
        "select \"current_setting\"('request.jwt.claims')::json ->> 'sub'",
        "select current_setting('request.jwt.claim.jti')",
        "select current_setting('request.jwt.' || 'claims')::json ->> 'sub'",
        "select current_setting('request.jwt')",
    ],
)
def test_claims_that_may_be_any(source: str) -> None:
    code = read_body(source, _USERS)
    assert code is not None
    assert "token" in code.traits or "request" in code.traits


def test_names_of_settings_in_pieces_are_not_understood() -> None:
    code = read_body("select current_setting('req' || 'uest.headers')", _USERS)
    assert code is not None
    assert code.traits == {"request"}
    assert read_body("select current_setting('req'\n'uest.headers')", _USERS) is None


@pytest.mark.parametrize(
    "source, traits",
    [
        ("begin return count(*) from t; end", []),
        (f"begin return {_ALL}::json ->> 'sub' from t; end", ["claims", "token"]),
        ("begin return current_setting('request.headers') from t; end", ["request"]),
        ("begin return current_setting(name) from t; end", ["request"]),
        ('return plpy.execute("select current_user")', ["role"]),
    ],
)
def test_what_bodies_seem_to_read(source: str, traits: list[str]) -> None:
    found, words = hints(source)
    assert found == set(traits)
    assert {"return"} <= words


@pytest.mark.parametrize(
    "source",
    [
        "select * from t",
        "table t",
        'select "from"',
        "select count(*) FROM t",
        "with t as (select 1) select t",
        "insert into t values (1)",
        "begin execute 'drop ' || x; end",
        "begin perform pg_notify('a', 'b'); end",
        "select nextval('s')",
        "select pg_catalog.pg_read_file('x')",
        "select other(1)",
        "select api.other(1)",
        'select "other"(1)',
        "select full_name($1)",
        "select $1.full_name",
        "select p.lower_it || 'x'",
        "select 't'::regclass",
        r"select E'\' from t --'",
        "select $$a$$",
        "select /* a /* b */ c */ 1",
        "select 'unfinished",
        "select ü",
    ],
)
def test_not_understood(source: str) -> None:
    assert read_body(source, _USERS) is None


@given(st.text(alphabet="ab (').,;-/*$\"\\1:='\nE"), st.text(alphabet="ab (').;-/*$\"\n"))
def test_nothing_hides_a_table(before: str, after: str) -> None:
    """Whatever stands around it, FROM is seen unless it is in a text or comment."""
    source = f"{before} from t {after}"
    if read_body(source, ()) is not None:
        assert any(mark in before for mark in ("'", "--", "/*", '"'))
