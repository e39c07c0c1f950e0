"""Whatever a request did, the next one finds a session as good as new.

Random requests go through a pool of one or two connections; after each, a probe says what
the session looks like from inside. It must look as it did before the first request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeToken, StartEdge
from tests.http.processes import ServerProcess
from tests.http.wire import H2Client
from tests.waiting import until

Headers = dict[str, str]
PROBES_AT_ONCE = 4
ASLEEP = """
select exists (
    select from pg_stat_activity
    where datname = current_database() and wait_event = 'PgSleep' and usename = 'authenticator'
)
"""


@dataclass(frozen=True)
class Visit:
    """One request: its line, body and preferences, and the statuses it may have."""

    method: str
    target: str
    statuses: tuple[int, ...]
    body: Any = None
    prefer: str = ""


VISITS = (
    Visit("GET", "/items", (200,)),
    Visit("GET", "/items?id=eq.x", (400,)),
    Visit("GET", "/items", (200,), prefer="timezone=America/Caracas, count=exact"),
    Visit("GET", "/items", (400,), prefer="timezone=No/Where"),
    Visit("POST", "/bulk", (201, 401, 409), {"id": 1}),
    Visit("POST", "/bulk", (201, 401, 409), {"id": 1}, "tx=rollback, return=representation"),
    Visit("POST", "/bulk", (200, 201, 401), {"id": 2}, "resolution=merge-duplicates"),
    Visit("POST", "/bulk", (400, 401), {"id": "x"}),
    Visit("POST", "/late", (401, 409), {"id": 1, "other": 2}),
    Visit("POST", "/late", (401, 409), {"id": 1, "other": 2}, "tx=rollback"),
    Visit("PATCH", "/bulk", (204, 400, 401), [{"id": 1, "amount": 1}], "update=by-key"),
    Visit("PATCH", "/bulk", (400, 401), [{"id": None, "amount": 1}], "update=by-key"),
    Visit("DELETE", "/bulk?id=lt.9", (204, 400, 401), None, "handling=strict, max-affected=1"),
    Visit("DELETE", "/bulk", (204, 401)),
    Visit("POST", "/rpc/marked", (202,)),
    Visit("POST", "/rpc/marked", (202,), prefer="tx=rollback"),
    Visit("GET", "/rpc/marked", (202, 405)),
    Visit("POST", "/rpc/for_the_session", (204,)),
    Visit("POST", "/rpc/in_its_own_zone", (200,)),
    Visit("POST", "/rpc/serial", (200,)),
    Visit("POST", "/rpc/as_someone_else", (200,)),
    Visit("POST", "/rpc/fail", (418,), {"state": "PT418", "message": "m"}),
    Visit("POST", "/rpc/fail_after_write", (401, 409), {"id": 5}),
    Visit("POST", "/rpc/nope", (404,)),
    Visit("GET", "/nope", (404,)),
)
CALLERS = ("anonymous", "web_user", "nobody", "broken")
DEPARTURES = ("hang up", "reset")

Step = tuple[Visit, str] | str
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.sampled_from(VISITS), st.sampled_from(CALLERS)),
    st.tuples(st.sampled_from(VISITS), st.just("web_user")),
    st.sampled_from(DEPARTURES),
)


@pytest.fixture(scope="module", params=[1, 2])
def small(
    request: pytest.FixtureRequest,
    start_edge: StartEdge,
    stockroom: str,
    postgres: EmbeddedPostgres,
) -> Iterator[ServerProcess]:
    with start_edge(
        db_uri=postgres.dsn_for(stockroom, "authenticator"),
        db_schemas="api",
        db_tx_end="commit-allow-override",
        db_pool=request.param,
    ) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def fresh(small: ServerProcess) -> dict[str, Any]:
    """What the probe says before any other request."""
    state: dict[str, Any] = httpx.get(f"{small.url}/rpc/session_state").json()
    assert state["user"] == "web_anon"
    assert state["changed"]["transaction_read_only"] == "on"
    return state


@pytest.fixture(scope="module")
def call(
    small: ServerProcess, token: MakeToken, stockroom: str, postgres: EmbeddedPostgres
) -> Iterator[Callable[[Step], None]]:
    callers: dict[str, Headers] = {
        "anonymous": {},
        "web_user": token("web_user", sub="ada"),
        "nobody": token("no_such_role"),
        "broken": {"Authorization": "Bearer broken"},
    }
    head = "POST /rpc/nap HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body = b'{"seconds": 30}'
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def leave(how: str) -> None:
        address = (small.host, small.port)
        if how == "hang up":
            with socket.create_connection(address, timeout=20) as sock:
                sock.sendall(request)
                asyncio.run(until_asleep(postgres.dsn_for(stockroom)))
            return
        with H2Client(address) as h2:
            pairs = [("content-type", "application/json")]
            stream = h2.request("POST", "/rpc/nap", pairs, body)
            asyncio.run(until_asleep(postgres.dsn_for(stockroom)))
            h2.connection.reset_stream(stream)
            h2.flush()

    with httpx.Client(base_url=small.url, timeout=20) as client:

        def run(step: Step) -> None:
            if isinstance(step, str):
                leave(step)
                return
            visit, caller = step
            response = client.request(
                visit.method,
                visit.target,
                json=visit.body,
                headers=callers[caller] | ({"Prefer": visit.prefer} if visit.prefer else {}),
            )
            refused = {"nobody": (400, 401, 403, 404), "broken": (401,)}.get(caller, ())
            assert response.status_code in (*visit.statuses, *refused), (step, response.text)

        yield run


async def until_asleep(dsn: str) -> None:
    """Until the function that naps is under way; one that was left is not for long."""
    connection = await asyncpg.connect(dsn)
    try:
        await until(lambda: connection.fetchval(ASLEEP))
    finally:
        await connection.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=8))
def test_nothing_is_left_of_a_request(
    small: ServerProcess,
    fresh: dict[str, Any],
    call: Callable[[Step], None],
    taken: list[Step],
) -> None:
    for step in taken:
        call(step)
        with H2Client((small.host, small.port)) as h2:
            # At once, so that every connection of the pool is asked.
            probes = [h2.request("GET", "/rpc/session_state") for _ in range(PROBES_AT_ONCE)]
            for probe in probes:
                assert httpx.Response(200, content=bytes(h2.answer(probe).body)).json() == fresh


@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: f"{visit.method} {visit.target}")
def test_every_kind_of_request_at_least_once(
    small: ServerProcess, fresh: dict[str, Any], call: Callable[[Step], None], visit: Visit
) -> None:
    for caller in CALLERS:
        call((visit, caller))
        assert httpx.get(f"{small.url}/rpc/session_state").json() == fresh


@pytest.mark.parametrize("departure", DEPARTURES)
def test_after_a_departure(
    small: ServerProcess, fresh: dict[str, Any], call: Callable[[Step], None], departure: str
) -> None:
    for _ in range(3):
        call(departure)
        assert httpx.get(f"{small.url}/rpc/session_state", timeout=20).json() == fresh


def test_the_probe_would_see_what_is_left(
    start_edge: StartEdge, stockroom: str, postgres: EmbeddedPostgres
) -> None:
    database = postgres.dsn_for(stockroom, "authenticator")
    with start_edge(db_uri=database, db_schemas="api", db_pool=1) as server:
        before = httpx.get(f"{server.url}/rpc/session_state").json()
        assert httpx.post(f"{server.url}/rpc/hold_on").status_code == 204
        after = httpx.get(f"{server.url}/rpc/session_state").json()
    assert after == before | {"advisory_locks": 1}
