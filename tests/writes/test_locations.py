"""Where an answer says that rows are, they are: whatever tables and keys are called.

Every sign of ASCII is part of a table's and of a key column's name, and so is every word
that means something else in a query string.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.plan.read import Warned
from proxy.response.answer import with_warnings
from proxy.response.model import Response
from tests.conftest import StartEdge, execute

WORDS = ("select", "columns", "on_conflict", "order", "limit", "offset", "and", "or", "not")
SIGNS = tuple(chr(code) for code in range(1, 128) if not chr(code).isalnum())
NAMES = (
    *(f"a{sign}b" for sign in SIGNS),
    # No URL has a segment of nothing but a dot (RFC 3986, section 5.2.4).
    *(sign for sign in SIGNS if sign != "."),
    *WORDS,
    *(f"a.{word}" for word in WORDS),
    "größe",
    "a\u2028b",
    "\U0001d4b3 y",
    " a ",
    'a"b\\c',
    "a->>b",
    "a::text",
    "%41",
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def client(start_edge: StartEdge, postgres: EmbeddedPostgres) -> Iterator[httpx.Client]:
    tables = "".join(
        f"create table odd.{quoted(name)} ({quoted(name)} text primary key, number int);"
        for name in NAMES
    )
    asyncio.run(execute(postgres.dsn, "create database locations"))
    asyncio.run(
        execute(
            postgres.dsn_for("locations"),
            f"""create schema odd; {tables}
            grant usage on schema odd to web_anon;
            grant all on all tables in schema odd to web_anon;""",
        )
    )
    with (
        start_edge(
            db_uri=postgres.dsn_for("locations", "authenticator"), db_schemas="odd"
        ) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


def filter_of(name: str, value: str) -> str:
    """A filter whose column stands in quotes, as it may always."""
    written = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{quote(written, safe='')}=eq.{quote(value, safe='')}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_is_found_where_the_answer_says(client: httpx.Client, name: str) -> None:
    rows: list[dict[str, Any]] = [{name: f"{name}-{n}", "number": n} for n in range(3)]
    path = f"/{quote(name, safe='')}"
    for row in rows[:2]:
        made = client.post(path, json=row, headers={"Prefer": "return=headers-only"})
        assert made.status_code == 201, made.text
        assert client.get(made.headers["location"]).json() == [row], made.headers["location"]
    put = client.put(f"{path}?{filter_of(name, rows[2][name])}", json=rows[2])
    assert put.status_code == 204, put.text
    read = client.get(f"{path}?{filter_of(name, rows[1][name])}")
    assert read.json() == rows[1:2]
    again = client.get(read.headers["content-location"])
    assert again.json() == rows[1:2]


def test_a_warning_is_one_line() -> None:
    answer = with_warnings(Response(200, (), b""), (Warned("a\r\nb", "c\0d"),))
    ((_, value),) = answer.headers
    assert b"`a??b` to `c?d`" in value
