"""Every SQLSTATE there is, raised by SQL in every place where a request can meet it.

A function may raise what only the server seems to say: that it shuts down, that a prepared
statement is gone, that all went well. Each is told as PostgREST tells it, the function runs
once, and the session goes on.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres, find_binaries
from tests.conftest import MakeToken, StartEdge, execute
from tests.http.processes import ServerProcess

_ROLES: Final = """
create role web_anon nologin;
create role web_user nologin;
create role authenticator login noinherit;
grant web_anon, web_user to authenticator;
"""

_STATUSES: Final = (
    ("08", 503),
    ("09", 500),
    ("0L", 403),
    ("0P", 403),
    ("21000", 500),
    ("23503", 409),
    ("23505", 409),
    ("25006", 405),
    ("25", 500),
    ("28", 403),
    ("2D", 500),
    ("38", 500),
    ("39", 500),
    ("3B", 500),
    ("40", 500),
    ("42501", 403),
    ("42883", 404),
    ("42P01", 404),
    ("42P17", 500),
    ("53400", 500),
    ("53", 503),
    ("54011", 400),  # PostgREST: 500; see proxy.response.database_errors
    ("54023", 400),  # likewise
    ("54", 500),
    ("55", 500),
    ("57P01", 503),
    ("57", 500),
    ("58", 500),
    ("F0", 500),
    ("HV", 500),
    ("P0001", 400),
    ("P0", 500),
    ("XX", 500),
)
"""PostgREST docs, "Errors from PostgreSQL", and its `mapSQLtoHTTP` where they differ."""


def _status_of(code: str) -> int:
    return next((status for prefix, status in _STATUSES if code.startswith(prefix)), 400)


def _sqlstates() -> list[str]:
    """All that PostgreSQL lists, and of each class one that it does not list."""
    listed = find_binaries(None).parent / "share" / "errcodes.txt"
    named = re.findall(r"(?m)^([0-9A-Z]{5})\s+[EWS]\s", listed.read_text())
    classes = {code[:2] for code in named}
    unlisted = {f"{first}9Z9" for first in (*classes, "ZZ")}
    # RAISE takes 00000 for no code at all.
    return sorted({*named, *unlisted} - {"00000"})


SQLSTATES: Final = _sqlstates()


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[EmbeddedPostgres, Path]]:
    """A server of these tests' own, and its log."""
    schema = Path(__file__).with_name("raised_errors.sql").read_text()
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        codes = ", ".join(f"('{code}')" for code in SQLSTATES)
        sql = f"{_ROLES}{schema}; insert into api.codes values {codes}"
        asyncio.run(execute(server.dsn, sql))
        yield server, Path(directory) / "postgres.log"


@pytest.fixture(scope="module")
def server(
    start_edge: StartEdge, database: tuple[EmbeddedPostgres, Path]
) -> Iterator[ServerProcess]:
    uri = database[0].dsn_for(user="authenticator")
    with start_edge(db_uri=uri, db_schemas="api", db_pool=1) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture
def client(server: ServerProcess, token: MakeToken) -> Iterator[httpx.Client]:
    headers = token("web_user")
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        yield client


Ask = Callable[[httpx.Client, str], httpx.Response]

WAYS: Final[dict[str, Ask]] = {
    "a read": lambda c, code: c.get("/reads", params={"code": f"eq.{code}"}),
    "a counted read": lambda c, code: c.get(
        "/reads", params={"code": f"eq.{code}"}, headers={"prefer": "count=exact"}
    ),
    "a write": lambda c, code: c.post("/writes", json={"code": code}),
    "a function": lambda c, code: c.post("/rpc/fail", json={"code": code}),
    "a trigger": lambda c, code: c.post("/triggered", json={"code": code}),
    "a deferred trigger": lambda c, code: c.post("/deferred", json={"code": code}),
}


@pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS)
def test_a_raised_error_is_told_once_and_costs_no_session(
    client: httpx.Client, database: tuple[EmbeddedPostgres, Path], ask: Ask
) -> None:
    log = database[1]
    pid = client.post("/rpc/pid").json()
    wrong = []
    for code in SQLSTATES:
        before = log.stat().st_size
        answer = ask(client, code)
        with log.open("rb") as file:
            file.seek(before)
            runs = file.read().count(f"LOG:  ran {code}\n".encode())
        told = (answer.status_code, answer.json(), runs, client.post("/rpc/pid").json())
        body = {"code": code, "message": "no", "details": "why", "hint": "so"}
        if told != (_status_of(code), body, 1, pid):
            wrong.append((code, *told))
    assert wrong == []
