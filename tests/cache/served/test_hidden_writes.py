"""Whatever a write has run that writes elsewhere, nobody reads what is no longer so.

Each case of `hidden_code` has a table of its own that is written, and one that is written with
it. The latter is read, so that it is kept; then the former is written, and PostgreSQL is asked
whether the other has changed. What PostgreSQL refuses to do is none of our business.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.cache.served.hidden_code import (
    COMMON_HARMLESS,
    COMMON_KINDS,
    COMMON_PLACES,
    HARMLESS,
    IMPLIED,
    KINDS,
    OPAQUE_PLACES,
    PLACES,
    Place,
)
from tests.conftest import Setting, StartEdge
from tests.waiting import until

_SCHEMAS: Final = """
create schema api; create schema hidden;
grant usage on schema api, hidden to public;
alter default privileges in schema api grant all on tables to public;
create table hidden.kept (id int);
"""
_CONTENT: Final = (
    """
create extension tablefunc;
create extension dblink;
create extension postgres_fdw;
create server loopback foreign data wrapper postgres_fdw
  options (host '{host}', port '{port}', dbname '{name}');
create user mapping for public server loopback
  options (user 'postgres', password_required 'false');
alter database "{name}" set test.dsn =
  'host={host} port={port} dbname={name} user=postgres';
"""
    + _SCHEMAS
)
_NUMBERS: Final = itertools.count(1)
_REFUSALS: Final = (
    "42P17",  # functions of indexes, partition keys and generated columns are IMMUTABLE
    "25006",  # the transaction is read only
    "0A000",  # a function that is not VOLATILE can't write itself; rules in WITH
)
"""SQLSTATEs with which PostgreSQL refuses code to be somewhere, or to run there."""
_NEVER_HERE: Final = "additional rule"
"""A place where PostgreSQL never lets it run in a request's statement."""
_ANOTHER_PROGRAM: Final = ("function", "another session")
"""The call's own transaction is read only: whoever writes meanwhile is told of by triggers."""


@dataclass(frozen=True, slots=True)
class Case:
    """`number` stands for `@`."""

    number: int
    where: str
    what: str
    place: Place
    code: str

    def text(self, template: str) -> str:
        """`template`, of this case."""
        return re.sub("@(?!cache)", str(self.number), template)


class Hidden:
    """A database whose name is that of the role which servers connect to it as."""

    def __init__(self, postgres: EmbeddedPostgres, runner: asyncio.Runner) -> None:
        self.name = f"hidden_{next(_NUMBERS)}"
        self.dsn = postgres.dsn_for(self.name, self.name)
        self._runner = runner
        roles = f"create role {self.name} login noinherit; create role {self.name}_anon"
        host, port = self.dsn.partition("host=")[2].split("&port=")
        self._connection = runner.run(asyncpg.connect(postgres.dsn))
        for sql in (*roles.split(";"), f"grant {self.name}_anon to {self.name}"):
            self.run(sql)
        self.run(f"create database {self.name}")
        runner.run(self._connection.close())
        self._connection = runner.run(asyncpg.connect(postgres.dsn_for(self.name)))
        self.run(_CONTENT.format(host=host, port=port, name=self.name))

    def run(self, sql: str) -> None:
        """Run `sql` as a superuser."""
        self._runner.run(self._connection.execute(sql))

    def close(self) -> None:
        self._runner.run(self._connection.close())

    def make(self, case: Case) -> str:
        """Make the case; or the SQLSTATE with which PostgreSQL refuses to."""
        try:
            self.run(
                case.text(f"create table api.seen@ (n int); {case.code}; {case.place.sql}")
            )
        except asyncpg.PostgresError as error:
            return error.sqlstate or ""
        return ""

    def changes(self, case: Case) -> int:
        """How often it has written what it is not asked to."""
        return int(
            self._runner.run(
                self._connection.fetchval(case.text("select count(*) from api.seen@"))
            )
        )

    @property
    def settings(self) -> dict[str, Setting]:
        return {
            "db_uri": self.dsn,
            "db_schemas": "api",
            "db_anon_role": f"{self.name}_anon",
            "db_aggregates_enabled": True,
            "db_reload_on_miss_interval": 0,
            "cache.default.max_age": 600,
        }


@contextmanager
def _client(hidden: Hidden, start_edge: StartEdge) -> Iterator[httpx.Client]:
    with (
        start_edge(**hidden.settings) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        yield client
        assert "Traceback" not in server.log


@contextmanager
def _database(postgres: EmbeddedPostgres) -> Iterator[Hidden]:
    with asyncio.Runner() as runner:
        made = Hidden(postgres, runner)
        try:
            yield made
        finally:
            made.close()


def _try(hidden: Hidden, http: httpx.Client, case: Case) -> tuple[str, str]:
    """Write. Returns the SQLSTATE if that failed, and how the table that may have been
    written with it was read then. Fails when it was not read as it is."""
    seen = case.text("/seen@?select=n")
    assert http.get(seen).status_code == 200
    assert "; hit" in http.get(seen).headers["cache-status"]
    place = case.place
    headers = {"prefer": place.prefer, "accept": case.text(place.accept)}
    written = http.request(
        place.method,
        case.text(place.target),
        content=place.body.encode(),
        headers={"content-type": "application/json"} | {k: v for k, v in headers.items() if v},
    )
    shown = http.get(seen)
    assert len(shown.json()) == hidden.changes(case), (case, written.text)
    code = written.json()["code"] if written.status_code >= 400 else ""
    return code, shown.headers["cache-status"]


# --- what is a table's, a view's or a function's own -----------------------------------------

_CASES: Final = tuple(
    Case(number, place, kind, PLACES[place], KINDS[kind])
    for number, (place, kind) in enumerate(itertools.product(PLACES, KINDS))
    if (kind in COMMON_KINDS or place in COMMON_PLACES) and (place, kind) != _ANOTHER_PROGRAM
)
_HARMLESS: Final = tuple(
    Case(number, place, kind, PLACES[place], HARMLESS[kind])
    for number, (place, kind) in enumerate(itertools.product(PLACES, HARMLESS), 10_000)
    if place not in OPAQUE_PLACES and (kind in COMMON_HARMLESS or place in COMMON_PLACES)
)


@pytest.fixture(scope="module")
def cases(postgres: EmbeddedPostgres) -> Iterator[tuple[Hidden, dict[Case, str]]]:
    """A database with all cases, and why PostgreSQL refuses to make some."""
    with _database(postgres) as hidden:
        yield hidden, {case: hidden.make(case) for case in (*_CASES, *_HARMLESS)}


@pytest.fixture(scope="module")
def client(
    cases: tuple[Hidden, dict[Case, str]], start_edge: StartEdge
) -> Iterator[httpx.Client]:
    with _client(cases[0], start_edge) as client:
        yield client


@pytest.mark.parametrize("place", PLACES)
def test_what_hides_in_a_write_is_seen(
    cases: tuple[Hidden, dict[Case, str]], client: httpx.Client, place: str
) -> None:
    hidden, refused = cases
    followed = 0
    for case in _CASES:
        if case.where != place:
            continue
        code = refused[case] or _try(hidden, client, case)[0]
        assert code in {"", *_REFUSALS}, case
        if not refused[case]:
            assert bool(hidden.changes(case)) == (code == ""), case
        followed += code == ""
    assert (followed == 0) == (place == _NEVER_HERE)


@pytest.mark.parametrize("place", PLACES)
def test_what_writes_nothing_of_a_table_leaves_what_is_kept_of_it(
    cases: tuple[Hidden, dict[Case, str]], client: httpx.Client, place: str
) -> None:
    hidden, refused = cases
    for case in _HARMLESS:
        if case.where == place and not refused[case]:
            code, status = _try(hidden, client, case)
            assert code in {"", *_REFUSALS}, case
            assert "; hit" in status, case


# --- what the whole database has in common ---------------------------------------------------


@pytest.fixture(scope="module")
def shared(
    postgres: EmbeddedPostgres, start_edge: StartEdge
) -> Iterator[tuple[Hidden, httpx.Client]]:
    with _database(postgres) as hidden, _client(hidden, start_edge) as client:
        yield hidden, client


@pytest.mark.parametrize("place", IMPLIED)
def test_what_sql_calls_without_naming_it_is_seen(
    shared: tuple[Hidden, httpx.Client], place: str
) -> None:
    hidden, client = shared
    followed = 0
    for kind in COMMON_KINDS:
        case = Case(next(_NUMBERS), place, kind, IMPLIED[place], KINDS[kind])
        hidden.run(f"drop schema api, hidden cascade; {_SCHEMAS}")
        assert hidden.make(case) == "", case
        hidden.run("notify pgrst")
        asyncio.run(until(functools.partial(_is_served, client, case)))
        code, _ = _try(hidden, client, case)
        assert code in {"", *_REFUSALS}, case
        assert bool(hidden.changes(case)) == (code == ""), case
        followed += code == ""
    assert followed


async def _is_served(client: httpx.Client, case: Case) -> bool:
    return (await asyncio.to_thread(client.get, case.text("/seen@"))).status_code == 200
