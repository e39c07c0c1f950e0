"""PgBouncer in between, a short run; the long one is `python -m tests.faults.pgbouncer`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from pool import Pool
from pool.connection import connect
from pool.dsn import parse_dsn
from pool.model import Statement, Transaction
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeToken, StartEdge
from tests.faults.pgbouncer import bouncer, run


def test_nothing_of_one_caller_reaches_another() -> None:
    try:
        verdict = run(callers=30, seconds=1)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert verdict.wrong == ()
    assert verdict.done.total() > 100


@pytest.fixture
def in_session_mode(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a PgBouncer that has prepared statements."""
    with tempfile.TemporaryDirectory(prefix="bouncer-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o755)
        try:
            with bouncer(postgres, scratch, "session") as port:
                yield f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        except FileNotFoundError as error:
            pytest.skip(str(error))


async def test_a_poolers_sessions_are_not_brought_back(in_session_mode: str) -> None:
    """Its process numbers are not the server's: whom a late request to cancel would hit is
    its secret."""
    session = await connect(parse_dsn(in_session_mode, application_name="edge", env={}))
    task = asyncio.create_task(session.fetch(Statement("select pg_sleep(30)")))
    await asyncio.wait({task}, timeout=0.2)
    task.cancel()
    await asyncio.wait({task})
    assert session.recoverable
    assert not await session.recover(5)
    await session.close(5)
    pool = Pool(in_session_mode, size=2)
    outcome = await pool.run(Transaction(Statement("select 1")))
    assert outcome.rows[0][0] == 1
    await pool.close()


def test_the_whole_server_works_through_it(
    postgres: EmbeddedPostgres, shop: str, start_edge: StartEdge, token: MakeToken
) -> None:
    with tempfile.TemporaryDirectory(prefix="bouncer-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o755)
        with ExitStack() as stack:
            try:
                port = stack.enter_context(bouncer(postgres, scratch, "transaction"))
            except FileNotFoundError as error:
                pytest.skip(str(error))
            edge = stack.enter_context(
                start_edge(
                    db_uri=f"postgresql://authenticator@127.0.0.1:{port}/{shop}?sslmode=disable",
                    db_prepared_statements=False,
                    db_channel_enabled=False,
                )
            )
            client = stack.enter_context(httpx.Client(base_url=edge.url))
            assert client.post("/customers", json={"name": "nobody"}).status_code == 401
            for number in range(5):
                name = f"bounced {number}"
                written = client.post(
                    "/customers",
                    json={"name": name},
                    headers={"Prefer": "return=representation", **token()},
                )
                assert written.status_code == 201, written.text
                where = f"/customers?name=eq.{name}"
                found = client.get(where, headers={"Prefer": "count=exact", **token()})
                assert (found.status_code, found.headers["content-range"]) == (200, "0-0/1")
                assert client.delete(where, headers=token()).status_code == 204
            assert client.get("/customers?id=eq.x", headers=token()).status_code == 400
            assert "Traceback" not in edge.log
