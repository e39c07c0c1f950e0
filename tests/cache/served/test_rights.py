"""Who loses a right is not answered with what was kept, whatever took the right away.

Answers are kept for ten minutes, and nothing asks for a reload. Each change of
`rights_changes` is made while two workers and two apps on one database answer from their
caches in every way they know; after the bound of `cache-rights-interval` each of them must
answer what PostgreSQL would.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.apps.conftest import Config, Server, Table, bearer, started
from tests.cache.rights_changes import PROLOGUE, Case, cases, version_of
from tests.cache.served.conftest import SCHEMA
from tests.conftest import MakeToken, StartEdge, execute
from tests.http.wire import H2Client
from tests.roles import ROLES
from tests.waiting import eventually, until

SECRET = "the secret of those who lose their rights"
INTERVAL = 0.3
POLICIES = (
    "@cache max-age=600",
    "@cache max-age=0 stale-while-revalidate=600",
    "@cache max-age=600 stale-if-error=600",
)
HOSTS = ("one.test", "two.test")
_numbers = itertools.count()


@dataclass
class Reader:
    """One way to be answered from the cache: over the connection `client`, which stays with
    one worker, by the app on `host`."""

    client: httpx.Client
    host: str
    headers: dict[str, str]
    way: str
    seen: object = None
    _tag: dict[str, str] = field(default_factory=dict)

    def read(self, target: str) -> httpx.Response:
        headers = {"host": self.host, **self.headers}
        if self.way == "again":
            # Not byte for byte what was asked before.
            headers["x-number"] = str(next(_numbers))
        if self.way == "revalidating":
            headers |= self._tag
        answer = self.client.get(target, headers=headers)
        if answer.status_code == 200:
            self._tag = {"if-none-match": answer.headers["etag"]}
            self.seen = answer.json()
        return answer

    def is_hit(self, target: str) -> bool:
        answer = self.read(target)
        wanted = (304,) if self.way == "revalidating" and self._tag else (200,)
        return "; hit" in answer.headers.get("cache-status", "") and (
            answer.status_code in wanted
        )


WAYS = ("again", "same", "revalidating")


@pytest.fixture(scope="module")
def all_cases(cluster: EmbeddedPostgres) -> list[Case]:
    """The changes that this PostgreSQL knows."""
    return cases(POLICIES, asyncio.run(version_of(cluster)))


@pytest.fixture(scope="module")
def database(cluster: EmbeddedPostgres, all_cases: list[Case]) -> str:
    """The name of a database in which everything is as before the changes."""
    asyncio.run(execute(cluster.dsn, "create database rights"))
    made = "".join((PROLOGUE, *[case.made for case in all_cases]))
    asyncio.run(execute(cluster.dsn_for("rights"), made))
    return "rights"


Sql = Callable[[str], None]


@pytest.fixture(scope="module")
def sql(cluster: EmbeddedPostgres, database: str) -> Iterator[Sql]:
    """Runs SQL as a superuser, on a connection that is there already."""
    with asyncio.Runner() as runner:
        connection = runner.run(_connected(cluster.dsn_for(database)))
        yield lambda text: runner.run(_execute(connection, text))
        runner.run(connection.close())


async def _execute(connection: asyncpg.Connection[asyncpg.Record], text: str) -> None:
    await connection.execute(text)


async def _connected(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    return await asyncpg.connect(dsn)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, database: str, cluster: EmbeddedPostgres
) -> Iterator[Server]:
    """Two workers, with two apps on the database."""
    directory = tmp_path_factory.mktemp("rights")

    def app(host: str) -> Table:
        dsn = cluster.dsn_for(database, "rights_server")
        return {"hosts": [host], "db-uri": dsn, "db-schemas": "api", "jwt-secret": SECRET}

    config = Config(
        directory / "edge.conf",
        {
            "server-host": "127.0.0.1",
            "server-port": 0,
            "server-workers": 2,
            "db-pool": 3,
            "cache-rights-interval": INTERVAL,
            "admin-server-unix-socket": str(directory / "admin"),
        },
        {name: app(host) for name, host in zip(("one", "two"), HOSTS, strict=True)},
    )
    with started(config) as running:
        yield running


@pytest.fixture(scope="module")
def clients(server: Server, sql: Sql) -> Iterator[list[httpx.Client]]:
    """Two clients whose connections are with different workers."""
    sql("create role rights_reader; grant rights_reader to rights_server")
    sql("grant usage on schema api to rights_reader")
    sql("create table api.probe (id int); grant select on api.probe to rights_reader")
    sql("comment on table api.probe is '@cache max-age=600'; notify pgrst")
    headers = bearer(SECRET, "rights_reader") | {"host": HOSTS[0]}

    def is_hit(client: httpx.Client, target: str) -> bool:
        return "; hit" in client.get(target, headers=headers).headers.get("cache-status", "")

    with ExitStack() as stack:
        found = [stack.enter_context(httpx.Client(base_url=server.process.url))]
        eventually(lambda: is_hit(found[0], "/probe"))
        while len(found) < 2:
            another = stack.enter_context(httpx.Client(base_url=server.process.url))
            target = f"/probe?id=eq.{next(_numbers)}"
            eventually(partial(is_hit, found[0], target))
            if not is_hit(another, target):
                found.append(another)
        yield found


def readers(clients: list[httpx.Client], headers: dict[str, str]) -> list[Reader]:
    every = itertools.product(clients, HOSTS, WAYS)
    return [Reader(client, host, headers, way) for client, host, way in every]


def wait_until(moment: float) -> None:
    """The bound is one of time."""
    time.sleep(max(moment - time.monotonic(), 0))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_change_of_rights_is_noticed_within_the_bound(
    policy: str, clients: list[httpx.Client], sql: Sql, all_cases: list[Case]
) -> None:
    """All at once; that each of them is noticed by itself is tested in `test_rights`."""
    reads = [
        (case, reader)
        for case in all_cases
        if case.cache == policy
        for reader in readers(clients, bearer(SECRET, case.role))
    ]

    def cold() -> list[Case]:
        return [case for case, reader in reads if not reader.is_hit(case.target)]

    eventually(lambda: not cold(), seconds=60)
    for case, reader in reads:
        assert reader.seen == case.before
    for case in {case.number: case for case, _ in reads}.values():
        sql(case.sql)
    changed = time.monotonic()
    wait_until(changed + INTERVAL)
    for _ in range(3):
        for case, reader in reads:
            if case.change.applied:
                eventually(partial(is_answered_as_now, reader, case))
            assert is_answered_as_now(reader, case), (case, reader)


def is_answered_as_now(reader: Reader, case: Case) -> bool:
    answer, expected = reader.read(case.target), case.change.after
    if isinstance(expected, int):
        return answer.status_code == expected
    # 304 is about what was seen last.
    return answer.status_code in (200, 304) and reader.seen == expected


# --- who shares what, once the rules are others ------------------------------------------

SHARED = """
create role rights_a;
create role rights_b;
grant rights_a, rights_b to rights_server;
grant usage on schema api to rights_a, rights_b;
create table api.open (id int primary key, owner text);
insert into api.open values (1, 'rights_a'), (2, 'rights_b');
grant select on api.open to rights_a, rights_b;
comment on table api.open is '@cache max-age=600 scope=public';
create function api.gate() returns boolean stable language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(4712);
  return true;
end $$;
comment on function api.gate() is '@cache reads=';
create view api.gated as select id from api.open where (select api.gate());
grant select on api.gated to rights_a;
comment on view api.gated is '@cache max-age=600';
notify pgrst;
"""


@pytest.fixture(scope="module")
def shared(sql: Sql, clients: list[httpx.Client]) -> list[httpx.Client]:
    sql(SHARED)
    headers = bearer(SECRET, "rights_a") | {"host": HOSTS[0]}
    for client in clients:
        eventually(lambda c=client: c.get("/gated", headers=headers).status_code == 200)  # type: ignore[misc]
    return clients


def test_new_answers_keep_to_the_new_rules(shared: list[httpx.Client], sql: Sql) -> None:
    """What was the same for everybody is not any more, and nobody says so to the server."""
    every = itertools.product(shared, ("rights_a", "rights_b"), WAYS)
    all_readers = [
        Reader(client, HOSTS[0], bearer(SECRET, role), way) for client, role, way in every
    ]
    target = "/open?select=owner&order=id"
    eventually(lambda: not [r for r in all_readers if not r.is_hit(target)])
    sql(
        "alter table api.open enable row level security;"
        "create policy own on api.open using (owner = current_user)"
    )
    changed = time.monotonic()
    wait_until(changed + INTERVAL)
    # Also after the entries from before have gone, and while identical reads come together.
    for _ in range(10):
        for reader in all_readers:
            reader.read(target)
            role = "rights_a" if reader.headers == all_readers[0].headers else "rights_b"
            assert reader.seen == [{"owner": role}]
        sql("notify pgrst_cache, '*'")


def test_new_answers_are_not_told_to_be_for_everybody(
    clients: list[httpx.Client], sql: Sql
) -> None:
    """By which a CDN would give them to others. Nothing is kept here that is asked for, so
    that only the new answers themselves can ask about rights."""
    sql(
        "create table api.told (id int primary key, owner text);"
        "insert into api.told values (1, 'rights_reader'), (2, 'somebody');"
        "grant select on api.told to rights_reader;"
        "comment on table api.told is '@cache max-age=600 scope=public'; notify pgrst"
    )
    headers = bearer(SECRET, "rights_reader") | {"host": HOSTS[0]}

    def told(client: httpx.Client) -> str:
        answer = client.get(f"/told?id=gt.-{next(_numbers)}", headers=headers)
        return str(answer.headers.get("cache-control"))

    for client in clients:
        eventually(lambda c=client: told(c).startswith("public"))  # type: ignore[misc]
    sql(
        "alter table api.told enable row level security;"
        "create policy own on api.told using (owner = current_user)"
    )
    changed = time.monotonic()
    wait_until(changed + INTERVAL)
    assert [told(client) for client in clients * 3] == ["private, no-cache"] * 6


async def test_nobody_joins_a_read_that_was_allowed_once(
    shared: list[httpx.Client], server: Server, database: str, cluster: EmbeddedPostgres
) -> None:
    admin = await asyncpg.connect(cluster.dsn_for(database))
    gate = await asyncpg.connect(cluster.dsn_for(database))
    [(_, token)] = bearer(SECRET, "rights_a").items()
    target = "/gated?id=gt.0"
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"

    def ask(client: H2Client, target: str) -> int:
        return client.request("GET", target, [("authorization", token)], authority=HOSTS[0])

    async def held() -> bool:
        return bool(await admin.fetchval(waiting))

    try:
        await gate.execute("select pg_advisory_lock(4712)")
        # One connection, so that they meet in one worker.
        with H2Client((server.process.host, server.process.port)) as client:
            first = ask(client, target)
            await until(held)
            second = ask(client, target)
            # Once what came after it is answered, it has been taken up, too.
            assert client.answer(ask(client, "/open")).status == 200
            await admin.execute("revoke select on api.gated from rights_a")
            wait_until(time.monotonic() + INTERVAL)
            # It is refused at once, while the others wait.
            answer = client.answer(ask(client, target))
            assert answer.status == 403
            assert "collapsed" not in answer.headers.get("cache-status", "")
            assert not client.answers[first].ended
            await gate.execute("select pg_advisory_unlock(4712)")
            assert client.answer(first).status == 200
            # It came while it was allowed, and is answered when it no longer is; on a busy
            # machine it may have asked by itself.
            late = client.answer(second)
            assert late.status == 403 or "collapsed" not in late.headers["cache-status"]
    finally:
        await admin.close()
        await gate.close()


# --- without a database ------------------------------------------------------------------


def test_an_outage_ends_what_nobody_promised(start_edge: StartEdge, token: MakeToken) -> None:
    """Only `stale-if-error` says that it may be used while nobody can ask about rights."""
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-rights-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as own,
    ):
        asyncio.run(execute(own.dsn, ROLES + SCHEMA.read_text()))
        dsn = own.dsn_for("postgres", "authenticator")
        ada = token("web_user", sub="ada")
        with (
            start_edge(db_uri=dsn, db_schemas="api", cache_rights_interval=INTERVAL) as edge,
            httpx.Client(base_url=edge.url, timeout=60) as client,
        ):
            promised, unpromised = "/notes?order=id", "/labels?limit=1"

            def read(target: str) -> httpx.Response:
                return client.get(target, headers=ada)

            for target in (promised, unpromised):
                eventually(lambda t=target: "; hit" in read(t).headers["cache-status"])  # type: ignore[misc]
            own.stop()
            wait_until(time.monotonic() + INTERVAL)
            for _ in range(3):
                assert read(unpromised).status_code == 503
                answer = read(promised)
                assert answer.status_code == 200
                assert "detail=stale-if-error" in answer.headers["cache-status"]
            own.start()
            asyncio.run(execute(own.dsn, "revoke select on api.notes from web_user"))
            eventually(lambda: read(unpromised).status_code == 200, seconds=60)
            assert read(promised).status_code == 403
