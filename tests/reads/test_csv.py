"""CSV as RFC 4180 has it, whatever columns are called and values hold."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from urllib.parse import quote

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import StartEdge, execute

NAMES = ["id", "a,b", 'q"uo"te', "line\nfeed", "re\rturn", "back\\slash", " space ", "ü;x", "'"]
VALUES: list[list[str | None]] = [
    ["1", "plain", "com,ma", 'qu"ote', "line\nfeed", "\r\n", " ", "(x)", "{}"],
    ["2", "\\", "\\\\", "a\\b", '\\"', "\\n", "\\,", "ü\\", "'"],
    ["3", "", None, "", None, "", None, "", None],
]


def literal(value: str | None) -> str:
    return "null" if value is None else "'" + value.replace("'", "''") + "'"


@pytest.fixture(scope="module")
def odd(postgres: EmbeddedPostgres) -> str:
    columns = ['"' + name.replace('"', '""') + '" text' for name in NAMES]
    rows = ", ".join(f"({', '.join(map(literal, row))})" for row in VALUES)
    asyncio.run(execute(postgres.dsn, "create database odd_csv"))
    asyncio.run(
        execute(
            postgres.dsn_for("odd_csv"),
            f"""create schema api; create table api.odd ({", ".join(columns)});
            insert into api.odd values {rows};
            grant usage on schema api to web_anon; grant select on api.odd to web_anon;""",
        )
    )
    return postgres.dsn_for("odd_csv", "authenticator")


@pytest.mark.parametrize("plain", [True, False])
def test_csv_is_read_back(start_edge: StartEdge, odd: str, plain: bool) -> None:
    with (
        start_edge(db_uri=odd, db_schemas="api", csv_plain_backslashes=plain) as server,
        httpx.Client(base_url=server.url, headers={"Accept": "text/csv"}) as client,
    ):
        everything = client.get("/odd?order=id")
        header, *rows = csv.reader(io.StringIO(everything.text, newline=""))
        assert header == NAMES
        # CSV has no null; as PostgreSQL does, quotes tell "" from it.
        wanted = [[value or "" for value in row] for row in VALUES]
        if not plain:
            # So it is in PostgREST.
            wanted = [[value.replace("\\", "\\\\") for value in row] for row in wanted]
        assert rows == wanted
        assert everything.text.endswith('3,"",,"",,"",,"",')
        one = client.get(f"/odd?select={quote(json.dumps(NAMES[2]))}&id=eq.1")
        assert one.text == '"q""uo""te"\n"com,ma"'
        assert client.get("/odd?id=eq.9").text == "\n"
