"""Read replicas through HTTP: who wrote sees it, and a replica's end fails no read."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edge_client.settings import CONSISTENCY_HEADER
from pool import Pool
from proxy.cli.check import check_database
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.request.request_headers import RequestHeaders
from proxy.settings import Settings
from tests.conftest import SHOP, MakeToken, StartEdge, execute
from tests.http.processes import ServerProcess
from tests.pool.standby import pair
from tests.roles import ROLES
from tests.waiting import eventually

Pair = tuple[EmbeddedPostgres, EmbeddedPostgres]

_WHERE = """
create function api.where_am_i() returns boolean stable language sql as
$$ select pg_is_in_recovery() $$;
grant execute on function api.where_am_i to web_anon, web_user;
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as scratch,
        pair(Path(scratch)) as both,
    ):
        asyncio.run(execute(both[0].dsn, ROLES + SHOP.read_text() + _WHERE))
        yield both


@pytest.fixture(scope="module")
def replicated(
    servers: Pair, start_edge: StartEdge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    primary, standby = servers
    # The replica's address is in a file, as a secret would be.
    named = tmp_path_factory.mktemp("replica") / "uri"
    named.write_text(standby.dsn_for(user="authenticator"))
    admin = tmp_path_factory.mktemp("admin") / "sock"
    with start_edge(
        db_uri=primary.dsn_for(user="authenticator"),
        db_read_uris=f"@{named}",
        admin_server_unix_socket=str(admin),
    ) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture
def client(replicated: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=replicated.url) as client:
        eventually(lambda: on_replica(client))
        yield client


def on_replica(client: httpx.Client, token: str | None = None) -> bool:
    headers = {} if token is None else {CONSISTENCY_HEADER: token}
    response = client.get("/rpc/where_am_i", headers=headers)
    assert response.status_code == 200, response.text
    return bool(response.json())


def test_who_wrote_sees_it_while_the_replica_stands_still(
    servers: Pair, client: httpx.Client, token: MakeToken
) -> None:
    asyncio.run(execute(servers[1].dsn, "select pg_wal_replay_pause()"))
    try:
        written = client.post(
            "/customers",
            json={"name": "seen"},
            headers={"Prefer": "return=representation", **token()},
        )
        assert written.status_code == 201
        seen = written.headers[CONSISTENCY_HEADER]
        where = f"/customers?id=eq.{written.json()[0]['id']}"
        headers = {CONSISTENCY_HEADER: seen, **token()}
        assert [row["name"] for row in client.get(where, headers=headers).json()] == ["seen"]
        assert client.get(where, headers=token()).json() == []
        assert not on_replica(client, seen)
        assert on_replica(client)
    finally:
        asyncio.run(execute(servers[1].dsn, "select pg_wal_replay_resume()"))
    eventually(lambda: on_replica(client, seen))
    response = client.delete(where, headers=token())
    assert CONSISTENCY_HEADER in response.headers


async def test_the_check_tells_which_replicas_are_none(
    servers: Pair, postgres: EmbeddedPostgres
) -> None:
    primary, standby = servers
    settings = Settings(
        db_schemas=("api",),
        db_anon_role="web_anon",
        db_read_uris=(standby.dsn, primary.dsn, postgres.dsn, "host=/nonexistent"),
    )
    pool = Pool(primary.dsn, size=1)
    found = [finding async for finding in check_database(pool, settings)]
    await pool.close()
    told = [finding for finding in found if finding.text.startswith("db-read-uris")]
    assert [finding.verdict for finding in told] == ["good", "doubtful", "bad", "bad"]
    assert "another database's" in told[2].text
    assert "can't be asked" in told[3].text


def test_only_what_was_committed_has_a_token(client: httpx.Client, token: MakeToken) -> None:
    assert CONSISTENCY_HEADER not in client.get("/customers", headers=token()).headers
    refused = client.post("/orders", json={"amount": -1}, headers=token())
    assert refused.status_code == 400
    assert CONSISTENCY_HEADER not in refused.headers


@pytest.mark.parametrize(
    "garbage", [b"", b"x", b"0-0", b"\xff\xfe", b"f" * 5000, b"00000000-" + b"f" * 16]
)
def test_garbage_for_a_token_is_ignored(client: httpx.Client, garbage: bytes) -> None:
    headers = {CONSISTENCY_HEADER.encode(): garbage}
    response = client.get("/rpc/where_am_i", headers=headers)
    assert (response.status_code, response.json()) == (200, True)


def test_a_token_is_bounded() -> None:
    name = CONSISTENCY_HEADER.encode()
    assert RequestHeaders(((b"x", b"y"), (name, b"a-1"))).seen == "a-1"
    assert RequestHeaders(((name, b"a" * 65),)).seen is None
    assert RequestHeaders(()).seen is None


def test_scripts_may_read_the_token(client: httpx.Client) -> None:
    response = client.get("/rpc/where_am_i", headers={"Origin": "https://a.example"})
    assert CONSISTENCY_HEADER in response.headers["access-control-expose-headers"].lower()


def test_the_replicas_end_fails_no_read(servers: Pair, client: httpx.Client) -> None:
    standby = servers[1]
    assert standby.pid is not None
    os.kill(standby.pid, signal.SIGKILL)
    eventually(lambda: not on_replica(client))
    standby.stop()
    for _ in range(50):
        assert not on_replica(client)
    standby.start()
    eventually(lambda: on_replica(client))


def test_the_metrics_tell_of_replicas(replicated: ServerProcess, client: httpx.Client) -> None:
    transport = httpx.HTTPTransport(uds=replicated.admin)
    with httpx.Client(transport=transport, base_url="http://admin") as admin:
        eventually(lambda: "edgerest_db_replicas_fit 1" in admin.get("/metrics").text)
        page = admin.get("/metrics").text
    assert "edgerest_db_replicas 1" in page
    reads = next(
        line for line in page.splitlines() if line.startswith("edgerest_db_replica_reads_total")
    )
    assert float(reads.split()[-1]) > 0
