"""The metrics: counting in rows, and the page of a real server."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from time import perf_counter

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pool.stats import PoolStats
from proxy.auth.token_cache import TokenCacheCounts
from proxy.observability.board import Board, Meter
from proxy.observability.exposition import Exposition
from proxy.observability.metrics import CELLS, METRICS, OFFSETS, SECONDS, Levels
from proxy.observability.record import Record
from proxy.response.model import Response
from proxy.schema_cache.load import SchemaLoads
from tests.conftest import MakeToken
from tests.observability.conftest import Ask, Serve

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

POSTGREST_NAMES = {
    "pgrst_schema_cache_query_time_seconds",
    "pgrst_schema_cache_loads_total",
    "pgrst_db_pool_timeouts_total",
    "pgrst_db_pool_available",
    "pgrst_db_pool_waiting",
    "pgrst_db_pool_max",
    "pgrst_jwt_cache_requests_total",
    "pgrst_jwt_cache_hits_total",
    "pgrst_jwt_cache_evictions_total",
}


def samples(page: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def page_of(board: Board) -> Samples:
    return samples(Exposition(board, {"version": "0"}).text()[0].decode())


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def ended(
    meter: Meter, status: int = 200, *, method: str = "GET", seconds: float = 0.0
) -> None:
    meter.began()
    record = Record(began=perf_counter() - seconds, resource="table", received=2)
    meter.ended(method, record, Response(status, (), b"four"))


# --- counting -----------------------------------------------------------------------------


def test_every_series_has_cells_of_its_own() -> None:
    widths = {metric.name: metric.width for metric in METRICS}
    used = [
        cell
        for (name, *_), first in OFFSETS.items()
        for cell in range(first, first + widths[name])
    ]
    assert sorted(used) == list(range(CELLS))


@given(st.lists(st.floats(0, 20), max_size=20))
def test_a_histogram_counts_each_request_in_its_bucket(durations: list[float]) -> None:
    board = Board(1)
    meter = Meter(board.row(0))
    for seconds in durations:
        record = Record()
        record.laps["transaction"] = seconds
        meter.began()
        meter.ended("GET", record, None)
    found = page_of(board)
    name = "edgerest_db_transaction_seconds"
    for bound in SECONDS:
        below = sum(seconds <= bound for seconds in durations)
        assert value(found, f"{name}_bucket", le=str(bound)) == below
    assert value(found, f"{name}_bucket", le="+Inf") == len(durations)
    assert value(found, f"{name}_count") == len(durations)
    assert value(found, f"{name}_sum") == pytest.approx(sum(durations))
    assert value(found, "edgerest_http_requests_abandoned_total") == len(durations)
    assert value(found, "edgerest_http_requests_in_flight") == 0


@pytest.mark.parametrize(
    "method, status, labels",
    [
        ("GET", 200, ("GET", "2xx")),
        ("HEAD", 304, ("HEAD", "3xx")),
        ("DELETE", 404, ("DELETE", "4xx")),
        ("PUT", 599, ("PUT", "5xx")),
        ("BREW", 405, ("other", "4xx")),
    ],
)
def test_a_request_is_counted_by_method_resource_and_status(
    method: str, status: int, labels: tuple[str, str]
) -> None:
    board = Board(1)
    ended(Meter(board.row(0)), status, method=method, seconds=0.3)
    found = page_of(board)
    sort = {"method": labels[0], "status": labels[1], "resource": "table"}
    name = "edgerest_http_request_duration_seconds"
    assert value(found, f"{name}_count", **sort) == 1
    assert value(found, f"{name}_bucket", le="0.25", **sort) == 0
    assert value(found, f"{name}_bucket", le="0.5", **sort) == 1
    assert value(found, "edgerest_http_request_bytes_total") == 2
    bodiless = method == "HEAD" or status == 304
    assert value(found, "edgerest_http_response_bytes_total") == (0 if bodiless else 4)


def test_the_first_cell_is_a_cell_too() -> None:
    first = next(iter(OFFSETS))
    assert OFFSETS[first] == 0
    board = Board(1)
    for metric in METRICS:
        assert board.merged(metric, next(metric.series())) == [0.0] * metric.width


def test_a_counter_goes_on_when_what_it_follows_begins_anew() -> None:
    board = Board(1)
    meter = Meter(board.row(0))
    for total in (5, 7, 7, 1, 2):
        meter.look(Levels(tokens=TokenCacheCounts(requests=total)))
    assert value(page_of(board), "pgrst_jwt_cache_requests_total") == 9


def test_workers_are_summed_up_and_a_new_one_goes_on() -> None:
    board = Board(2)
    first, second = Meter(board.row(0)), Meter(board.row(1))
    for meter, seconds in ((first, 0.5), (second, 0.25)):
        meter.look(Levels(pool=PoolStats(size=10), schema=SchemaLoads(1, seconds=seconds)))
        ended(meter)
    second.began()
    before = page_of(board)
    assert value(before, "edgerest_http_requests_in_flight") == 1
    assert value(before, "pgrst_db_pool_max") == 20
    assert value(before, "pgrst_schema_cache_query_time_seconds") == 0.5
    replaced = Meter(board.row(1))
    replaced.look(Levels(pool=PoolStats(size=10), schema=SchemaLoads(1)))
    ended(replaced)
    after = page_of(board)
    assert value(after, "edgerest_http_requests_in_flight") == 0
    assert value(after, "pgrst_db_pool_max") == 20
    assert value(after, "pgrst_schema_cache_loads_total", status="SUCCESS") == 3
    kind = {"method": "GET", "resource": "table", "status": "2xx"}
    assert value(after, "edgerest_http_request_duration_seconds_count", **kind) == 3


def test_what_another_process_counts_is_seen() -> None:
    board = Board(2)
    child = os.fork()
    if child == 0:
        ended(Meter(board.row(1)))
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    kind = {"method": "GET", "resource": "table", "status": "2xx"}
    found = page_of(board)
    assert value(found, "edgerest_http_request_duration_seconds_count", **kind) == 1


# --- a real server ------------------------------------------------------------------------


def test_the_page_has_every_metric_and_follows_the_requests(
    serve: Serve, token: MakeToken, tmp_path: Path, ask_admin: Ask
) -> None:
    with serve(admin_server_unix_socket=str(tmp_path / "admin")) as server:
        headers = token("web_user")
        with httpx.Client(base_url=server.url, headers=headers) as client:
            sizes = [len(client.get("/items").content) for _ in range(3)]
            client.post("/rpc/told", json={"name": "role"})
            client.get("/nothing")
            client.get("/", headers={"accept": "application/openapi+json"})
            client.get("/items", headers={"authorization": "Bearer x"})
        page = ask_admin("/metrics")
        openmetrics = ask_admin("/metrics", accept="application/openmetrics-text")
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")
    names = {line.split()[2] for line in page.text.splitlines() if line.startswith("# TYPE ")}
    assert names >= POSTGREST_NAMES | {metric.name for metric in METRICS}
    found = samples(page.text)

    def requests(method: str, resource: str, status: str) -> float:
        kind = {"method": method, "resource": resource, "status": status}
        return value(found, "edgerest_http_request_duration_seconds_count", **kind)

    assert requests("GET", "table", "2xx") == 3
    assert requests("POST", "rpc", "2xx") == 1
    assert requests("GET", "table", "4xx") == 1
    assert requests("GET", "root", "2xx") == 1
    assert requests("GET", "other", "4xx") == 1
    assert value(found, "pgrst_schema_cache_loads_total", status="SUCCESS") == 1
    assert value(found, "pgrst_schema_cache_loads_total", status="FAIL") == 0
    assert 0 < value(found, "pgrst_schema_cache_query_time_seconds") < 60
    assert value(found, "pgrst_jwt_cache_requests_total") == 7
    assert value(found, "pgrst_jwt_cache_hits_total") == 5
    assert value(found, "pgrst_jwt_cache_evictions_total") == 0
    assert value(found, "pgrst_db_pool_max") == 10
    assert value(found, "pgrst_db_pool_available") == value(found, "edgerest_db_pool_open") > 0
    assert value(found, "pgrst_db_pool_timeouts_total") == 0
    assert value(found, "edgerest_db_transaction_seconds_count") == 5
    assert value(found, "edgerest_http_requests_in_flight") == 0
    assert value(found, "edgerest_http_response_bytes_total") > sum(sizes)
    assert value(found, "edgerest_workers") == 1
    build = next(dict(labels) for name, labels in found if name == "edgerest_build_info")
    assert (build["engine"], build["postgrest"]) == ("hypercorn", "16.2")


def test_waiting_and_giving_up_are_seen(serve: Serve, tmp_path: Path, ask_admin: Ask) -> None:
    async def load(url: str) -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            asked = [
                asyncio.create_task(client.post("/rpc/wait", json={"seconds": 1.5}))
                for _ in range(2)
            ]
            while now("pgrst_db_pool_waiting") < 1:
                await client.options("/items")
            assert now("edgerest_http_requests_in_flight") == 2
            assert now("pgrst_db_pool_available") == 0
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

    def now(name: str) -> float:
        return value(samples(ask_admin("/metrics").text), name)

    settings = {"db_pool": 1, "db_pool_acquisition_timeout": 1}
    with serve(admin_server_unix_socket=str(tmp_path / "admin"), **settings) as server:
        assert asyncio.run(load(server.url)) == [204, 504]
        found = samples(ask_admin("/metrics").text)
    assert value(found, "pgrst_db_pool_timeouts_total") == 1
    assert value(found, "pgrst_db_pool_waiting") == 0
    assert 1 <= value(found, "edgerest_db_pool_wait_seconds_sum") < 5
    assert value(found, "edgerest_db_pool_wait_seconds_bucket", le="0.5") == 1
    # The one that gave up ran for no time; the other waited for nobody.
    assert value(found, "edgerest_db_transaction_seconds_bucket", le="1.0") == 1
    assert value(found, "edgerest_db_transaction_seconds_sum") >= 1.5


def test_waiting_until_a_deadline_is_no_time_in_the_database(
    serve: Serve, tmp_path: Path, ask_admin: Ask
) -> None:
    def now(name: str) -> float:
        return value(samples(ask_admin("/metrics").text), name)

    async def load(url: str) -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            first = asyncio.create_task(client.post("/rpc/wait", json={"seconds": 2}))
            while now("pgrst_db_pool_available") > 0:
                await client.options("/items")
            late = await client.get("/items", headers={"x-request-timeout": "1"})
            return [(await first).status_code, late.status_code]

    with serve(admin_server_unix_socket=str(tmp_path / "admin"), db_pool=1) as server:
        assert asyncio.run(load(server.url)) == [204, 504]
        found = samples(ask_admin("/metrics").text)
    assert value(found, "edgerest_db_transaction_seconds_bucket", le="0.5") == 1


def test_clients_that_leave_are_counted(serve: Serve, tmp_path: Path, ask_admin: Ask) -> None:
    def now(name: str) -> float:
        return value(samples(ask_admin("/metrics").text), name)

    with serve(admin_server_unix_socket=str(tmp_path / "admin")) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url + "/rpc/wait", json={"seconds": 60}, timeout=0.3)
        while now("edgerest_http_requests_abandoned_total") < 1:
            pass
        assert now("edgerest_http_requests_in_flight") == 0
        assert now("pgrst_db_pool_waiting") == 0


def test_one_page_shows_all_workers(serve: Serve, tmp_path: Path, ask_admin: Ask) -> None:
    settings = {"server_workers": 2, "db_pool": 1}
    with serve(admin_server_unix_socket=str(tmp_path / "admin"), **settings) as server:
        asked = 0
        backends: set[int] = set()
        # With one connection each, two backends are two workers.
        while len(backends) < 2:
            backends.add(httpx.get(server.url + "/rpc/backend").json())
            asked += 1
        kind = {"method": "GET", "resource": "rpc", "status": "2xx"}
        found = samples(ask_admin("/metrics").text)
        name = "edgerest_http_request_duration_seconds_count"
        assert value(found, name, **kind) == asked
        assert value(found, "edgerest_workers") == 2
        # The other worker looks at its pool once a second.
        while value(found, "pgrst_db_pool_max") < 2:
            found = samples(ask_admin("/metrics").text)
        assert value(found, "pgrst_schema_cache_loads_total", status="SUCCESS") == 2
        server.signal(signal.SIGTERM)
        assert server.wait()[0] == 0
