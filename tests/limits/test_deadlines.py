"""How long a request may take: by the caller's header, the operator's limits, the role's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest

from tests.conftest import MakeToken
from tests.http.processes import ServerProcess
from tests.limits.conftest import Admin, Serve
from tests.waiting import until

Running = Callable[[], Awaitable[int]]


@pytest.fixture(scope="module")
def server(serve: Serve) -> Iterator[ServerProcess]:
    with serve(db_pool=2, db_statement_timeout=20) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        yield client


def within(seconds: str) -> dict[str, str]:
    return {"X-Request-Timeout": seconds}


async def test_a_query_ends_at_the_callers_deadline(
    client: httpx.AsyncClient, running: Running
) -> None:
    began = time.monotonic()
    answer = await client.get("/rpc/nap?seconds=15", headers=within("0.3"))
    assert (answer.status_code, answer.json()["code"]) == (504, "EDGE504")
    assert 0.25 < time.monotonic() - began < 10
    assert answer.headers["proxy-status"] == "PostgREST; error=EDGE504"
    await until(lambda: _none(running))


async def _none(running: Running) -> bool:
    return await running() == 0


async def test_what_is_done_in_time_is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.get("/rpc/nap?seconds=0.01", headers=within("15"))
    assert (answer.status_code, answer.json()) == (200, "rested")


async def test_a_deadline_that_has_passed_sends_nothing(
    client: httpx.AsyncClient, admin: Admin
) -> None:
    answer = await client.post("/notes", json={"note": "late"}, headers=within("0"))
    assert (answer.status_code, answer.json()["code"]) == (504, "EDGE504")
    assert "before anything was sent" in answer.json()["details"]
    assert await admin.fetchval("select count(*) from api.notes where note = 'late'") == 0


async def test_a_late_write_is_rolled_back(client: httpx.AsyncClient, admin: Admin) -> None:
    late = {"seconds": 1.5, "note": "half"}
    answer = await client.post("/rpc/note_after", json=late, headers=within("0.3"))
    assert (answer.status_code, answer.json()["code"]) == (504, "EDGE504")
    await asyncio.sleep(1.5)
    assert await admin.fetchval("select count(*) from api.notes where note = 'half'") == 0


async def test_waiting_for_a_connection_counts(
    client: httpx.AsyncClient, running: Running
) -> None:
    naps = [asyncio.create_task(client.get("/rpc/nap?seconds=1.5")) for _ in range(2)]
    await until(lambda: _are(running, 2))
    began = time.monotonic()
    answer = await client.get("/notes?limit=1", headers=within("0.2"))
    # Who is sure to wait in vain is told at once.
    refusals = {(504, "EDGE504"), (503, "EDGE529")}
    assert (answer.status_code, answer.json()["code"]) in refusals
    assert time.monotonic() - began < 1.2
    assert [nap.status_code for nap in await asyncio.gather(*naps)] == [200, 200]


async def _are(running: Running, count: int) -> bool:
    return await running() == count


@pytest.mark.parametrize("text", ["soon", "-1", "1e3", "inf", "nan", "1,5", "0x1", "1 2"])
async def test_what_is_no_number_of_seconds_is_400(
    client: httpx.AsyncClient, text: str
) -> None:
    answer = await client.get("/notes?limit=1", headers=within(text))
    assert (answer.status_code, answer.json()["code"]) == (400, "EDGE400")
    assert "X-Request-Timeout" in answer.json()["message"]


@pytest.mark.parametrize("role, limit", [("limits_anon", "20s"), ("limits_patient", "7s")])
async def test_the_apps_time_limit_is_for_roles_without_their_own(
    client: httpx.AsyncClient, token: MakeToken, role: str, limit: str
) -> None:
    answer = await client.get("/rpc/time_limit", headers=token(role))
    assert answer.json() == limit


async def test_the_operators_limits_hold(serve: Serve) -> None:
    with serve(server_request_timeout=0.4, db_statement_timeout=0.2) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            # As PostgREST answers it; the deadline is not reached.
            answer = await client.get("/rpc/nap?seconds=15")
            assert (answer.status_code, answer.json()["code"]) == (500, "57014")
    with serve(server_request_timeout=0.4) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            for headers in ({}, within("15")):
                answer = await client.get("/rpc/nap?seconds=15", headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (504, "EDGE504")
