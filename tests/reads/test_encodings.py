"""Databases that are not in UTF-8: their names, values, comments and errors travel as UTF-8,
and a text that their encoding lacks is the client's mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess

_SCHEMA: Final = """
create schema api;
comment on schema api is 'Où tout commence';
create type api."état" as enum ('été', 'hiver');
create table api."größe" (
    "clé" text primary key, "prénom" text check ("prénom" <> 'interdit à tous'),
    saison api."état", doc jsonb, mots text[]
);
comment on table api."größe" is 'Maße und Größen';
insert into api."größe" values ('ü', 'Zoé', 'été', '{"âge": "vingt-sept à peu près"}', '{é,b}');
create table api.teil (nr int primary key, "größe" text references api."größe");
insert into api.teil values (1, 'ü');
create function api.echo("ä" text) returns text language sql as $$ select "ä" $$;
create function api.fails() returns int language plpgsql as $$ begin
    raise exception 'échec' using detail = 'détail', hint = 'là';
end $$;
grant usage on schema api to web_anon;
grant all on all tables in schema api to web_anon;
"""
_ROW: Final[dict[str, Any]] = {
    "clé": "ü",
    "prénom": "Zoé",
    "saison": "été",
    "doc": {"âge": "vingt-sept à peu près"},
    "mots": ["é", "b"],
}
_BACK: Final = {"Prefer": "return=representation,tx=rollback"}
_CSV: Final = {"Content-Type": "text/csv"}

LACKING: Final = {"LATIN1": "€", "WIN1252": "日", "SQL_ASCII": None}
"""Encodings, and a text that each can't hold."""


@pytest.fixture(scope="module", params=LACKING)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoded(
    start_edge: StartEdge, postgres: EmbeddedPostgres, encoding: str
) -> Iterator[httpx.Client]:
    """A client of a server whose database is in the encoding."""
    name = f"in_{encoding.lower()}"
    create = f"create database {name} encoding '{encoding}' locale 'C' template template0"
    asyncio.run(execute(postgres.dsn, create))
    asyncio.run(execute(postgres.dsn_for(name), _SCHEMA))
    server: ServerProcess
    with (
        start_edge(
            db_uri=postgres.dsn_for(name, "authenticator"),
            db_schemas="api",
            db_pool=2,
            db_tx_end="commit-allow-override",
        ) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        yield client
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "query",
    [
        "",
        "clé=eq.ü",
        "clé=in.(ü,x)",
        "prénom=like.*é",
        "saison=eq.été",
        "doc->>âge=eq.vingt-sept à peu près",
        "mots=cs.{é}",
        "or=(prénom.eq.Zoé,clé.eq.x)",
        "order=clé.desc,doc->âge",
        "select=clé,prénom,saison,doc,mots",
    ],
)
def test_rows_are_found(encoded: httpx.Client, query: str) -> None:
    answer = encoded.get(f"/größe?{query}")
    assert (answer.status_code, answer.json()) == (200, [_ROW])
    assert encoded.get(answer.headers["content-location"]).json() == [_ROW]


def test_names_and_values_are_shown_in_each_form(encoded: httpx.Client) -> None:
    found = encoded.get("/teil?select=nr,größe(âge:doc->>âge,clé)&größe.prénom=eq.Zoé")
    assert found.json() == [{"nr": 1, "größe": {"âge": _ROW["doc"]["âge"], "clé": "ü"}}]
    table = encoded.get("/größe?select=clé,prénom", headers={"Accept": "text/csv"})
    assert table.text == "clé,prénom\nü,Zoé"
    description = encoded.get("/").json()
    assert description["info"]["title"] == "Où tout commence"
    assert description["definitions"]["größe"]["description"] == "Maße und Größen"
    assert encoded.post("/rpc/echo", json={"ä": "è"}).json() == "è"
    assert encoded.get("/rpc/echo?ä=è").json() == "è"


def test_what_is_written_is_what_was_sent(encoded: httpx.Client) -> None:
    new = {"clé": "ñ", "prénom": "ÿ"}
    one = {"select": "clé,prénom"}
    assert encoded.post("/größe", params=one, json=new, headers=_BACK).json() == [new]
    lines = "clé,prénom\nñ,ÿ".encode()
    made = encoded.post("/größe", params=one, content=lines, headers={**_BACK, **_CSV})
    assert made.json() == [new]
    form = encoded.post("/größe", params=one, data=new, headers=_BACK)
    assert form.json() == [new]
    changed = encoded.patch("/größe?clé=eq.ü&select=prénom", json=new, headers=_BACK)
    assert changed.status_code == 409  # a row of `teil` has the key
    assert "größe" in changed.json()["message"]
    located = encoded.post("/größe", json=new, headers={"Prefer": "return=headers-only"})
    assert encoded.get(located.headers["location"]).json()[0]["prénom"] == "ÿ"
    assert encoded.delete(located.headers["location"]).status_code == 204


def test_errors_say_what_the_database_says(encoded: httpx.Client) -> None:
    failed = encoded.post("/rpc/fails", json={})
    told = {"code": "P0001", "message": "échec", "details": "détail", "hint": "là"}
    assert (failed.status_code, failed.json()) == (400, told)
    refused = encoded.post("/größe", json={"clé": "x", "prénom": "interdit à tous"})
    assert (refused.status_code, refused.json()["code"]) == (400, "23514")
    assert "interdit à tous" in refused.json()["details"]


def test_what_the_encoding_lacks_is_refused(encoded: httpx.Client, encoding: str) -> None:
    lacking = LACKING[encoding]
    if lacking is None:
        pytest.skip("SQL_ASCII takes every byte")
    escaped = lacking.encode("unicode_escape").decode()
    answers = (
        encoded.get("/größe", params={"clé": f"eq.{lacking}"}),
        encoded.get("/größe", params={"clé": f"in.(ü,{lacking})"}),
        encoded.get("/größe", params={"saison": f"eq.{lacking}"}),
        encoded.get("/größe", params={"mots": f"cs.{{{lacking}}}"}),
        encoded.get("/größe", params={"select": f'doc->>"{lacking}"'}),
        encoded.get("/größe", params={"select": f'"{lacking}":clé'}),
        encoded.get("/rpc/echo", params={"ä": lacking}),
        encoded.post("/rpc/echo", json={"ä": lacking}),
        encoded.post("/größe", content=f'{{"clé":"{lacking}"}}', headers=_BACK),
        encoded.post("/größe", content=f'{{"clé":"{escaped}"}}', headers=_BACK),
        encoded.patch("/größe?clé=eq.ü", json={"prénom": lacking}),
        encoded.post("/größe", content=f"clé\n{lacking}".encode(), headers=_CSV),
    )
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, "22P05"), answer.text
    assert encoded.get(f"/{lacking}").json()["code"] == "PGRST205"
    assert encoded.get(f'/größe?"{lacking}"=eq.1').json()["code"] in ("42703", "22P05")
    assert encoded.post("/größe", json={lacking: 1}).json()["code"] == "PGRST204"
    assert encoded.get("/größe").json() == [_ROW]
