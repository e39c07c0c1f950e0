"""A database of encoding SQL_ASCII, whose texts may be no UTF-8 at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess

# bytea's escapes make bytes that no UTF-8 client could send in a text.
_BROKEN = r"convert_from('\xff41'::bytea, 'SQL_ASCII')"
_SCHEMA = f"""
create schema api;
create table api.notes (id int primary key, body text);
insert into api.notes values (1, 'fine'), (2, {_BROKEN});
create type api.mood as enum ('ok');
create function api.fails() returns int language plpgsql as $$ begin
    raise exception '%', {_BROKEN} using detail = {_BROKEN}, hint = {_BROKEN};
end $$;
create function api.noted(word text default 'x') returns text language sql
    as $$ select word $$;
create function api.sets() returns void language plpgsql as $$ begin
    perform set_config('response.headers', '[{{"x-odd": "' || {_BROKEN} || '"}}]', true);
end $$;
do $comments$ begin
    execute 'comment on schema api is ' || quote_literal({_BROKEN});
    execute 'comment on table api.notes is ' || quote_literal({_BROKEN});
    execute 'comment on column api.notes.body is ' || quote_literal({_BROKEN});
    execute 'comment on function api.noted is ' || quote_literal({_BROKEN});
    execute 'alter table api.notes alter body set default ' || quote_literal({_BROKEN});
    execute 'alter type api.mood add value ' || quote_literal({_BROKEN});
    execute 'create table api.' || quote_ident({_BROKEN}) || ' (id int)';
end $comments$;
grant usage on schema api to web_anon;
grant all on all tables in schema api to web_anon;
"""


@pytest.fixture(scope="module")
def ascii_server(start_edge: StartEdge, postgres: EmbeddedPostgres) -> Iterator[ServerProcess]:
    create = "create database asciidb encoding 'SQL_ASCII' locale 'C' template template0"
    asyncio.run(execute(postgres.dsn, create))
    asyncio.run(execute(postgres.dsn_for("asciidb"), _SCHEMA))
    with start_edge(
        db_uri=postgres.dsn_for("asciidb", "authenticator"), db_schemas="api", db_pool=2
    ) as server:
        yield server
        assert "Traceback" not in server.log


def test_bytes_that_are_no_utf_8_keep_nothing_from_working(ascii_server: ServerProcess) -> None:
    with httpx.Client(base_url=ascii_server.url, timeout=30) as client:
        fine = client.get("/notes?id=eq.1&select=id,body")
        assert fine.status_code == 200, ascii_server.log
        assert fine.json() == [{"id": 1, "body": "fine"}]
        read = client.get("/notes?id=eq.2&select=body")
        said = 'invalid byte sequence for encoding "UTF8": 0xff'
        assert (read.status_code, read.json()["message"]) == (400, said)
        assert client.post("/rpc/noted", json={}).json() == "x"
        failed = client.post("/rpc/fails", json={})
        assert (failed.status_code, failed.json()["code"]) == (400, "22021")
        assert client.post("/rpc/sets", json={}).status_code == 400
        for accept in ("application/openapi+json", "application/openapi+json;version=3.1"):
            described = client.get("/", headers={"Accept": accept})
            assert described.status_code == 200, described.text
            assert "\ufffdA" in described.text
        assert client.get("/notes?id=eq.1&select=id").json() == [{"id": 1}]
