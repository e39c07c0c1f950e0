"""A database of each test's own, and apps and servers in front of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from proxy.app.app import App
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.observability.record import Record
from proxy.request.model import HttpRequest
from proxy.response.model import Response
from proxy.settings import Loaded, load_settings
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess

_SCHEMA: Final = """
create role "{name}" login noinherit;
grant web_anon to "{name}";
create schema v1;
create schema v2;
grant usage on schema v1, v2 to web_anon, "{name}";
alter default privileges grant select, insert, update, delete on tables to web_anon;
alter default privileges grant execute on functions to public;
create table v1.items (id int primary key, name text);
insert into v1.items values (1, 'one');
create table v2.things (id int primary key);
insert into v2.things values (7);
"""
_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """A response, read."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Database:
    """A database and the role that apps connect to it as, both called `name`."""

    name: str
    superuser: str
    dsn: str

    async def execute(self, sql: str) -> None:
        """Run `sql` as a superuser."""
        await execute(self.superuser, sql)

    async def execute_each(self, *statements: str) -> None:
        """Likewise, each in a transaction of its own on one connection."""
        connection = await asyncpg.connect(self.superuser)
        try:
            for sql in statements:
                await connection.execute(sql)
        finally:
            await connection.close()


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    name = f"reload_{next(_NUMBERS)}"
    await execute(postgres.dsn, f"create database {name}")
    found = Database(name, postgres.dsn_for(name), postgres.dsn_for(name, name))
    await found.execute(_SCHEMA.format(name=name))
    yield found
    await execute(postgres.dsn, f"drop database {name} with (force)")
    await execute(postgres.dsn, f"drop role {name}")


class RunningApp:
    """An app as the server runs it, and the file its settings are read from."""

    def __init__(self, app: App, path: Path, written: dict[str, object]) -> None:
        self.app = app
        self._path = path
        self._written = written

    def write(self, **given: object) -> None:
        """Change settings in the file; None takes one out."""
        self._written |= {name.replace("_", "-"): value for name, value in given.items()}
        _write(self._path, self._written)

    async def get(self, target: str, **headers: str) -> Answer:
        return await self.send("GET", target, **headers)

    async def send(
        self, method: str, target: str, body: object = None, **headers: str
    ) -> Answer:
        """The answer to a request, header names with underscores for dashes."""
        request = request_for(method, target, body, **headers)
        return answer_of(await self.app.answer(request, Record()))


def request_for(method: str, target: str, body: object = None, **headers: str) -> HttpRequest:
    """A request, header names with underscores for dashes."""
    path, _, query = target.partition("?")
    pairs = [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()]
    content = b"" if body is None else json.dumps(body).encode()
    return HttpRequest(method, path.encode(), query.encode(), tuple(pairs), content)


def answer_of(response: Response) -> Answer:
    """What came of it."""
    return Answer(
        response.status,
        {name.decode().lower(): value.decode() for name, value in response.headers},
        json.loads(response.body) if response.body else None,
    )


def _write(path: Path, written: dict[str, object]) -> None:
    lines = (f"{k} = {json.dumps(v)}\n" for k, v in written.items() if v is not None)
    path.write_text("".join(lines))


RunApp = Callable[..., AbstractAsyncContextManager[RunningApp]]


@pytest.fixture
def run_app(database: Database, tmp_path: Path) -> RunApp:
    """Runs an app on the database, its settings given by keyword."""

    @asynccontextmanager
    async def run(
        *, environ: dict[str, str] | None = None, **given: object
    ) -> AsyncIterator[RunningApp]:
        path = tmp_path / "app.conf"
        written: dict[str, object] = {
            "db-uri": database.dsn,
            "db-schemas": "v1, v2",
            "db-anon-role": "web_anon",
        }
        written |= {name.replace("_", "-"): value for name, value in given.items()}
        _write(path, written)

        def reread() -> Loaded:
            return load_settings(path, environ or {})

        app = App(reread().settings, reread=reread)
        try:
            await app.start()
            yield RunningApp(app, path, written)
        finally:
            await app.close()

    return run


ServeDatabase = Callable[..., AbstractContextManager[ServerProcess]]


@pytest.fixture
def serve_database(database: Database, start_edge: StartEdge) -> ServeDatabase:
    """Serves the database as a process, settings given by keyword."""

    @contextmanager
    def serve(**given: str | int | bool) -> Iterator[ServerProcess]:
        settings = {"db_uri": database.dsn, "db_schemas": "v1, v2", **given}
        with start_edge(**settings) as server:
            yield server

    return serve
