"""Identical reads share a query, stale answers are renewed meanwhile, outages survived."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from pool.pool import OUTAGE_GRACE
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.cache.served.conftest import SCHEMA, Sql
from tests.cache.served.test_serving import fresh, status_of
from tests.conftest import MakeToken, StartEdge, execute
from tests.http.processes import ServerProcess
from tests.roles import ROLES


def transactions(server: ServerProcess) -> float:
    """How many transactions requests have made so far."""
    assert server.admin is not None
    transport = httpx.HTTPTransport(uds=server.admin.removeprefix("unix:"))
    with httpx.Client(transport=transport, base_url="http://admin") as client:
        page = client.get("/metrics").text
    for line in page.splitlines():
        if line.startswith("edgerest_db_transaction_seconds_count"):
            return float(line.rpartition(" ")[2])
    raise AssertionError(page)


async def _read_many(url: str, targets: list[str], headers: dict[str, str]) -> list[str]:
    """The Cache-Status of reads that are sent at once."""
    limits = httpx.Limits(max_connections=10)
    async with httpx.AsyncClient(
        base_url=url, http1=False, http2=True, limits=limits, timeout=60
    ) as client:
        await client.get("/drafts")
        answers = await asyncio.gather(*(client.get(t, headers=headers) for t in targets))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    return [status_of(answer) for answer in answers]


def test_a_thousand_identical_reads_make_one_query(catalogue_server: ServerProcess) -> None:
    before = transactions(catalogue_server)
    targets = ["/rpc/slow_count"] * 1000
    statuses = asyncio.run(_read_many(catalogue_server.url, targets, {}))
    # One is that of `/drafts`.
    assert transactions(catalogue_server) - before == 2
    assert sum("stored" in status for status in statuses) == 1
    shared = sum("collapsed" in status for status in statuses)
    assert shared + sum("; hit" in status for status in statuses) == 999
    assert shared > 0


def test_reads_of_different_identities_are_not_shared(
    catalogue_server: ServerProcess, token: MakeToken
) -> None:
    target = fresh("/notes?order=id")

    async def read_all() -> list[list[int]]:
        async with httpx.AsyncClient(base_url=catalogue_server.url, timeout=60) as client:
            whose = ["ada", "bob"] * 20
            answers = await asyncio.gather(
                *(client.get(target, headers=token("web_user", sub=sub)) for sub in whose)
            )
        return [[row["id"] for row in answer.json()] for answer in answers]

    assert asyncio.run(read_all()) == [[1, 3], [2]] * 20


def test_a_query_is_shared_only_by_those_whom_its_answer_is_the_same_for(
    catalogue_server: ServerProcess,
    token: MakeToken,
    catalogue: str,
    postgres: EmbeddedPostgres,
) -> None:
    """`pages` is public; the notes embedded in it, with row security, are not."""
    target = fresh("/pages?select=id,notes(id)&order=id")
    held = "begin; lock table api.notes in access exclusive mode; select pg_sleep(1); commit"

    async def read_all() -> list[list[object]]:
        holding = asyncio.create_task(execute(postgres.dsn_for(catalogue), held))
        await asyncio.sleep(0.4)
        async with httpx.AsyncClient(base_url=catalogue_server.url, timeout=60) as client:
            reads = []
            for sub in ("ada", "bob", "ada"):
                headers = token("web_user", sub=sub)
                reads.append(asyncio.create_task(client.get(target, headers=headers)))
                await asyncio.sleep(0.1)
            answers = await asyncio.gather(*reads)
        await holding
        return [[row["notes"] for row in answer.json()] for answer in answers]

    hers, his = [{"id": 1}, None], [None, {"id": 2}]
    assert asyncio.run(read_all()) == [hers, his, hers]


def test_followers_do_not_fail_with_the_one_who_asked_first(
    catalogue_server: ServerProcess,
) -> None:
    target = "/rpc/slow_count?limit=2"

    async def leave_and_wait() -> tuple[int, str]:
        async with httpx.AsyncClient(
            base_url=catalogue_server.url, http1=False, http2=True, timeout=60
        ) as client:
            await client.get("/drafts")
            leader = asyncio.create_task(client.get(target))
            await asyncio.sleep(0.15)
            follower = asyncio.create_task(client.get(target))
            await asyncio.sleep(0.1)
            leader.cancel()
            answer = await follower
            return answer.status_code, status_of(answer)

    status, cache_status = asyncio.run(leave_and_wait())
    assert status == 200
    assert "collapsed" in cache_status


def test_a_read_after_a_write_does_not_join_a_query_from_before(
    catalogue_server: ServerProcess, token: MakeToken, sql: Sql
) -> None:
    target = "/rpc/slow_count?limit=3"

    async def read_write_read() -> tuple[int, int]:
        async with httpx.AsyncClient(base_url=catalogue_server.url, timeout=60) as client:
            early = asyncio.create_task(client.get(target))
            await asyncio.sleep(0.2)
            row = {"id": 500_000, "name": "one more"}
            written = await client.post("/products", json=row, headers=token("web_user"))
            assert written.status_code == 201
            late = await client.get(target)
            assert "collapsed" not in status_of(late)
            return (await early).json(), late.json()

    before, after = asyncio.run(read_write_read())
    sql("delete from api.products where id = 500000")
    assert after == before + 1


def test_a_stale_answer_is_used_while_a_new_one_is_fetched(
    anon: httpx.Client, catalogue_server: ServerProcess
) -> None:
    target = fresh("/short")
    assert "ttl=1" in status_of(anon.get(target))
    deadline = time.monotonic() + 20
    while "ttl=-" not in (status := status_of(anon.get(target))) and "ttl=0" not in status:
        assert "; hit" in status
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # What was served is stale, or just about to be; soon a fresh one takes its place.
    ages = []
    while time.monotonic() < deadline:
        response = anon.get(target)
        assert "; hit" in status_of(response)
        ages.append(int(response.headers["age"]))
        if ages[-1] < max(ages):
            break
        time.sleep(0.02)
    assert ages[-1] < max(ages)


@pytest.fixture
def fragile(
    start_edge: StartEdge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, EmbeddedPostgres]]:
    """A server and its own PostgreSQL, which may be stopped."""
    directory = tmp_path_factory.mktemp("fragile")
    for path in (directory, *directory.parents[:3]):
        if str(path) != "/tmp":
            path.chmod(0o711)
    with EmbeddedPostgres(directory / "pg", durable=False) as postgres:
        asyncio.run(execute(postgres.dsn, ROLES + SCHEMA.read_text()))
        dsn = postgres.dsn_for("postgres", "authenticator")
        with start_edge(db_uri=dsn, db_schemas="api", cache_rights_interval=0.5) as server:
            yield server, postgres


def test_kept_answers_outlast_the_database(
    fragile: tuple[ServerProcess, EmbeddedPostgres], token: MakeToken
) -> None:
    """RFC 5861, section 4; and everything else is 503 with Retry-After."""
    server, postgres = fragile
    ada = token("web_user", sub="ada")
    kept = {"/products?id=eq.1": {}, "/short": {}, "/notes?order=id": ada}
    with httpx.Client(base_url=server.url, timeout=30) as client:
        before = {}
        for target, headers in kept.items():
            response = client.get(target, headers=headers)
            assert "stored" in status_of(response)
            before[target] = response.content
        postgres.stop()
        time.sleep(1.1)  # the answer of /short is stale from then on
        for target, headers in kept.items():
            began = time.monotonic()
            response = client.get(target, headers=headers)
            # Nobody waits for the database to come back who need not.
            assert time.monotonic() - began < 0.6 * OUTAGE_GRACE
            assert response.status_code == 200, response.text
            assert response.content == before[target]
            assert "age" in response.headers
            tag = {"if-none-match": response.headers["etag"]}
            assert client.get(target, headers=headers | tag).status_code == 304
        for request in (
            client.build_request("GET", "/drafts"),
            client.build_request("GET", "/products?id=eq.2"),
            client.build_request("GET", "/notes?order=id", headers=token("web_user", sub="x")),
            client.build_request("PATCH", "/products?id=eq.1", headers=ada, json={"price": 1}),
        ):
            response = client.send(request)
            assert response.status_code == 503, response.text
            assert int(response.headers["retry-after"]) >= 1


def test_who_shares_a_query_that_the_database_leaves_has_what_is_kept(
    fragile: tuple[ServerProcess, EmbeddedPostgres],
) -> None:
    """Nobody can be asked about rights then; what is kept was promised all the same."""
    server, postgres = fragile
    held = "begin; lock table api.products in access exclusive mode; select pg_sleep(60)"
    anew = {"cache-control": "max-age=0"}

    async def lose_it() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await client.get("/products?id=eq.1")
            holding = asyncio.create_task(execute(postgres.dsn, held))
            await asyncio.sleep(0.4)
            reads = []
            for _ in range(3):
                read = client.get("/products?id=eq.1", headers=anew)
                reads.append(asyncio.create_task(read))
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.6)  # what was seen of rights is old by now
            # At once: who shuts down in order lets go of the lock before the others are told.
            assert postgres.pid is not None
            os.kill(postgres.pid, signal.SIGQUIT)
            await asyncio.to_thread(postgres.stop)
            answers = await asyncio.gather(*reads)
            await asyncio.gather(holding, return_exceptions=True)
            return answers

    for answer in asyncio.run(lose_it()):
        assert answer.status_code == 200, answer.text
        assert "stale-if-error" in status_of(answer)


def test_who_shares_a_query_keeps_to_a_deadline_of_its_own(
    catalogue_server: ServerProcess,
) -> None:
    target = "/rpc/slow_count?limit=4"

    async def share() -> list[int]:
        async with httpx.AsyncClient(base_url=catalogue_server.url, timeout=60) as client:
            leader = asyncio.create_task(client.get(target))
            await asyncio.sleep(0.15)
            hurried = await client.get(target, headers={"x-request-timeout": "0.05"})
            odd = await client.get(target, headers={"x-request-timeout": "never"})
            answers = [await leader, hurried, odd]
        return [answer.status_code for answer in answers]

    assert asyncio.run(share()) == [200, 504, 400]
