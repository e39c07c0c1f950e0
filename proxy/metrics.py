"""What the server counts, and how /metrics shows it.

`METRICS` is the table: every metric once, with the values its labels may have. All series
are therefore known beforehand, and each has its cell in a row of numbers. Every worker has
a row that it alone writes, in memory that the workers share (`Board`, made before they are
forked); whoever is asked sums up the rows. So one address shows the whole server, a worker
that is replaced goes on where the one before it stopped, and counting a request takes no
lock and no library: prometheus-client only writes the text.

With several apps every app has a row in each worker (`Slots` says which), and its series
have the label `app`.

Names that begin with `pgrst_` are PostgREST's (docs, "Metrics").
"""

from __future__ import annotations

import fcntl
import itertools
import math
import mmap
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from time import perf_counter
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.cache.counts import CacheCounts
from proxy.record import Record
from proxy.response.model import Response, body_size

Kind = Literal["counter", "gauge", "histogram"]
Cells: TypeAlias = "memoryview[float]"
"""A worker's row: doubles. Writing one is atomic, so a reader never sees half of it."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the histograms' buckets; one without a bound follows."""
_WIDTH: Final = len(SECONDS) + 2
"""Cells of a histogram: its buckets, the one without a bound, and the sum."""

METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "QUERY", "other")
RESOURCES: Final = ("table", "rpc", "root", "other")
CACHE_RESULTS: Final = ("hit", "stale", "shared", "miss", "spared")
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")


@dataclass(frozen=True, slots=True)
class Described:
    """A metric of the table. `labels` are names with the values they may have; `highest`
    says that workers are merged by their highest value, not by the sum."""

    name: str
    kind: Kind
    doc: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    highest: bool = False

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of a series' values."""
        return tuple(name for name, _ in self.labels)

    def series(self) -> Iterator[tuple[str, ...]]:
        """The label values of each series."""
        return itertools.product(*(values for _, values in self.labels))

    @property
    def width(self) -> int:
        """Cells per series."""
        return _WIDTH if self.kind == "histogram" else 1


METRICS: Final = (
    Described(
        "pgrst_schema_cache_query_time_seconds",
        "gauge",
        "Seconds that reading the schema took the last time it worked.",
        highest=True,
    ),
    Described(
        "pgrst_schema_cache_loads_total",
        "counter",
        "How often the schema cache was loaded, in vain (FAIL) or not.",
        (("status", ("SUCCESS", "FAIL")),),
    ),
    Described(
        "pgrst_db_pool_timeouts_total",
        "counter",
        "Requests that no database connection came free for in time.",
    ),
    Described("pgrst_db_pool_available", "gauge", "Open connections that nobody uses."),
    Described("pgrst_db_pool_waiting", "gauge", "Requests that wait for a connection."),
    Described("pgrst_db_pool_max", "gauge", "The most connections there may be."),
    Described("pgrst_jwt_cache_requests_total", "counter", "Tokens looked up in the cache."),
    Described("pgrst_jwt_cache_hits_total", "counter", "Tokens found there."),
    Described(
        "pgrst_jwt_cache_evictions_total",
        "counter",
        "Tokens that were put out of the cache to make room.",
    ),
    Described(
        "edgerest_cache_reads_total",
        "counter",
        "Reads under a cache policy: answered from the cache, fresh or stale, together with"
        " another that was under way (shared), from the database (miss), or with a stale"
        " answer for want of a database (spared).",
        (("result", CACHE_RESULTS),),
    ),
    Described(
        "edgerest_cache_not_modified_total",
        "counter",
        "Reads answered 304, from the cache or not.",
    ),
    Described(
        "edgerest_cache_refreshes_total",
        "counter",
        "Kept answers that were fetched anew in the background.",
    ),
    Described(
        "edgerest_cache_invalidations_total",
        "counter",
        "Kept answers that were found outdated by a write.",
    ),
    Described(
        "edgerest_cache_evictions_total",
        "counter",
        "Kept answers that were put out to make room.",
    ),
    Described(
        "edgerest_cache_rights_looks_total",
        "counter",
        "Looks at what decides rights in the database, on account of kept answers.",
    ),
    Described(
        "edgerest_cache_rights_changes_total",
        "counter",
        "Changes of rights that were noticed, each by every worker that uses kept answers.",
    ),
    Described("edgerest_cache_entries", "gauge", "Answers that are kept."),
    Described("edgerest_cache_bytes", "gauge", "Bytes that they take."),
    Described(
        "edgerest_http_request_duration_seconds",
        "histogram",
        "From the arrival of a request until its response was handed to the connection.",
        (("method", METHODS), ("resource", RESOURCES), ("status", STATUS_CLASSES)),
    ),
    Described("edgerest_http_requests_in_flight", "gauge", "Requests being answered."),
    Described(
        "edgerest_http_requests_abandoned_total",
        "counter",
        "Requests whose client left before it had the response.",
    ),
    Described("edgerest_http_request_bytes_total", "counter", "Bytes of request bodies."),
    Described("edgerest_http_response_bytes_total", "counter", "Bytes of response bodies."),
    Described(
        "edgerest_db_pool_wait_seconds",
        "histogram",
        "How long requests waited for a connection, those that had not to included.",
    ),
    Described(
        "edgerest_db_transaction_seconds",
        "histogram",
        "How long transactions took once they had a connection.",
    ),
    Described("edgerest_db_pool_open", "gauge", "Connections opened, busy or not."),
    Described("edgerest_db_replicas", "gauge", "Read replicas that are configured."),
    Described("edgerest_db_replicas_fit", "gauge", "Read replicas that are given reads."),
    Described(
        "edgerest_db_replica_lag_seconds",
        "gauge",
        "How far the read replica that is furthest behind is, of those that are given reads.",
        highest=True,
    ),
    Described("edgerest_db_replica_reads_total", "counter", "Reads given to replicas."),
    Described(
        "edgerest_db_replica_retries_total",
        "counter",
        "Those of them that the primary had to answer.",
    ),
    Described("edgerest_db_pool_busy", "gauge", "Connections that run a transaction."),
    Described(
        "edgerest_db_pool_longest_wait_seconds",
        "gauge",
        "How long the request has waited that waits for a connection longest.",
        highest=True,
    ),
    Described("edgerest_db_pool_transactions_total", "counter", "Transactions begun."),
    Described(
        "edgerest_db_pool_sheds_total",
        "counter",
        "Requests that were told at once that there are too many.",
    ),
    Described(
        "edgerest_db_pool_cancelled_total",
        "counter",
        "Transactions whose client left, while it waited for a connection or while it ran.",
        (("while", ("waiting", "running")),),
    ),
    Described(
        "edgerest_db_pool_retries_total",
        "counter",
        "Reads that were run once more because their connection broke.",
    ),
    Described(
        "edgerest_db_pool_connects_total",
        "counter",
        "Connections that were opened, in vain (FAIL) or not.",
        (("status", ("SUCCESS", "FAIL")),),
    ),
    Described("edgerest_db_pool_lost_total", "counter", "Connections that broke while open."),
    Described(
        "edgerest_app_held",
        "gauge",
        "Workers in which an operator has paused the app, or drains it.",
        (("state", ("paused", "draining")),),
    ),
)

BUILD_INFO: Final = "edgerest_build_info"
"""Always 1; its labels are the version, the PostgREST version it follows, and the engine."""
APP_LABEL: Final = "app"
"""The label of all series when there are several apps; empty for requests that are for none
of them."""
WORKERS: Final = "edgerest_workers"
"""How many processes serve."""


def _offsets() -> tuple[Mapping[tuple[str, ...], int], int]:
    """The first cell of each series, by metric name and label values; and how many."""
    offsets: dict[tuple[str, ...], int] = {}
    end = 0
    for metric in METRICS:
        for values in metric.series():
            offsets[metric.name, *values] = end
            end += metric.width
    return offsets, end


OFFSETS, CELLS = _offsets()


SLOTS: Final = 1024
"""How many names of apps a server can tell apart in its life; those that come later share
the last row. What nobody writes to takes no memory."""
_NAME_BYTES: Final = 64


class Slots:
    """Which row is whose, in memory that processes forked from now on share.

    A name keeps its row for good, so that a worker that is replaced, or an app that comes
    back, counts on. The first row is that of requests for no app, or for the only one.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        self._last = slots - 1
        self._names = mmap.mmap(-1, slots * _NAME_BYTES)
        # The lock of a process that dies is free again.
        self._lock, path = mkstemp(prefix="edgerest-")
        Path(path).unlink()

    def of(self, name: str) -> int:
        """The row of the app `name`."""
        if not name:
            return 0
        wanted = name.encode().ljust(_NAME_BYTES, b"\0")
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            for slot in range(1, self._last):
                place = slice(slot * _NAME_BYTES, (slot + 1) * _NAME_BYTES)
                if not any(self._names[place]):
                    self._names[place] = wanted
                if self._names[place] == wanted:
                    return slot
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return self._last


class Board:
    """The rows of all workers, in memory that processes forked from now on share."""

    def __init__(self, workers: int, slots: int = 1) -> None:
        self.workers: Final = workers
        self._slots = slots
        self._memory = memoryview(mmap.mmap(-1, workers * slots * CELLS * 8)).cast("d")

    def _row(self, worker: int, slot: int) -> Cells:
        start = (worker * self._slots + slot) * CELLS
        return self._memory[start : start + CELLS]

    def row(self, worker: int, slot: int = 0) -> Cells:
        """The cells of one worker. Its gauges are of a process that is gone: they are 0."""
        cells = self._row(worker, slot)
        for metric in METRICS:
            if metric.kind == "gauge":
                for values in metric.series():
                    cells[OFFSETS[metric.name, *values]] = 0.0
        return cells

    def merged(
        self, metric: Described, values: tuple[str, ...], slot: int = 0
    ) -> Sequence[float]:
        """The cells of one series over all workers."""
        start = OFFSETS[metric.name, *values]
        rows = [self._row(worker, slot) for worker in range(self.workers)]
        columns = zip(*(row[start : start + metric.width] for row in rows), strict=True)
        return [max(column) if metric.highest else sum(column) for column in columns]


@dataclass(frozen=True, slots=True)
class Levels:
    """What is not counted request by request but looked up: totals since the start, and
    the state of this moment."""

    schema_loads: int
    schema_failures: int
    schema_seconds: float
    pool_size: int
    pool_open: int
    pool_available: int
    pool_waiting: int
    pool_timeouts: int
    tokens_asked: int
    tokens_found: int
    tokens_evicted: int
    cache: CacheCounts
    replicas: int = 0
    replicas_fit: int = 0
    replica_lag: float = 0.0
    replica_reads: int = 0
    replica_retries: int = 0
    pool_busy: int = 0
    pool_longest_wait: float = 0.0
    pool_transactions: int = 0
    pool_sheds: int = 0
    pool_cancelled_waiting: int = 0
    pool_cancelled_running: int = 0
    pool_retries: int = 0
    pool_connects: int = 0
    pool_connect_failures: int = 0
    pool_lost: int = 0
    paused: bool = False
    draining: bool = False


class Meter:
    """Counts in one worker's row."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._seen: dict[int, float] = {}
        self._in_flight = OFFSETS[("edgerest_http_requests_in_flight",)]
        self._abandoned = OFFSETS[("edgerest_http_requests_abandoned_total",)]
        self._received = OFFSETS[("edgerest_http_request_bytes_total",)]
        self._sent = OFFSETS[("edgerest_http_response_bytes_total",)]
        self._wait = OFFSETS[("edgerest_db_pool_wait_seconds",)]
        self._transaction = OFFSETS[("edgerest_db_transaction_seconds",)]
        self._durations = {
            (method, resource, int(status[0])): OFFSETS[
                "edgerest_http_request_duration_seconds", method, resource, status
            ]
            for method in METHODS
            for resource in RESOURCES
            for status in STATUS_CLASSES
        }

    def began(self) -> None:
        """A request has arrived."""
        self._cells[self._in_flight] += 1

    def ended(self, method: str, record: Record, response: Response | None) -> None:
        """It was answered; or its client has left (None)."""
        cells = self._cells
        cells[self._in_flight] -= 1
        cells[self._received] += record.received
        took = record.database_time
        if took is not None:
            self._observe(self._wait, record.waited)
            self._observe(self._transaction, took)
        if response is None:
            cells[self._abandoned] += 1
            return
        cells[self._sent] += body_size(method, response) or 0
        durations, key = self._durations, (method, record.resource, response.status // 100)
        first = durations.get(key)
        if first is None:
            first = durations["other", record.resource, key[2]]
        self._observe(first, perf_counter() - record.began)

    def _observe(self, first: int, seconds: float) -> None:
        self._cells[first + bisect_left(SECONDS, seconds)] += 1
        self._cells[first + _WIDTH - 1] += seconds

    def look(self, levels: Levels) -> None:
        """Take over what was looked up."""
        set_level, follow = self._set, self._follow
        set_level("pgrst_schema_cache_query_time_seconds", levels.schema_seconds)
        follow(levels.schema_loads, "pgrst_schema_cache_loads_total", "SUCCESS")
        follow(levels.schema_failures, "pgrst_schema_cache_loads_total", "FAIL")
        follow(levels.pool_timeouts, "pgrst_db_pool_timeouts_total")
        set_level("pgrst_db_pool_available", levels.pool_available)
        set_level("pgrst_db_pool_waiting", levels.pool_waiting)
        set_level("pgrst_db_pool_max", levels.pool_size)
        set_level("edgerest_db_pool_open", levels.pool_open)
        set_level("edgerest_db_replicas", levels.replicas)
        set_level("edgerest_db_replicas_fit", levels.replicas_fit)
        set_level("edgerest_db_replica_lag_seconds", levels.replica_lag)
        follow(levels.replica_reads, "edgerest_db_replica_reads_total")
        follow(levels.replica_retries, "edgerest_db_replica_retries_total")
        set_level("edgerest_db_pool_busy", levels.pool_busy)
        set_level("edgerest_db_pool_longest_wait_seconds", levels.pool_longest_wait)
        follow(levels.pool_transactions, "edgerest_db_pool_transactions_total")
        follow(levels.pool_sheds, "edgerest_db_pool_sheds_total")
        cancelled = "edgerest_db_pool_cancelled_total"
        follow(levels.pool_cancelled_waiting, cancelled, "waiting")
        follow(levels.pool_cancelled_running, cancelled, "running")
        follow(levels.pool_retries, "edgerest_db_pool_retries_total")
        follow(levels.pool_connects, "edgerest_db_pool_connects_total", "SUCCESS")
        follow(levels.pool_connect_failures, "edgerest_db_pool_connects_total", "FAIL")
        follow(levels.pool_lost, "edgerest_db_pool_lost_total")
        set_level("edgerest_app_held", levels.paused, "paused")
        set_level("edgerest_app_held", levels.draining, "draining")
        follow(levels.tokens_asked, "pgrst_jwt_cache_requests_total")
        follow(levels.tokens_found, "pgrst_jwt_cache_hits_total")
        follow(levels.tokens_evicted, "pgrst_jwt_cache_evictions_total")
        self._look_at_cache(levels.cache)

    def _look_at_cache(self, cache: CacheCounts) -> None:
        follow, reads = self._follow, "edgerest_cache_reads_total"
        for result in CACHE_RESULTS:
            follow(cache.reads.get(result, 0), reads, result)
        follow(cache.not_modified, "edgerest_cache_not_modified_total")
        follow(cache.refreshes, "edgerest_cache_refreshes_total")
        follow(cache.invalidations, "edgerest_cache_invalidations_total")
        follow(cache.evictions, "edgerest_cache_evictions_total")
        follow(cache.rights_looks, "edgerest_cache_rights_looks_total")
        follow(cache.rights_changes, "edgerest_cache_rights_changes_total")
        self._set("edgerest_cache_entries", cache.entries)
        self._set("edgerest_cache_bytes", cache.bytes)

    def _set(self, name: str, value: float, *labels: str) -> None:
        self._cells[OFFSETS[(name, *labels)]] = value

    def _follow(self, total: int, *series: str) -> None:
        """Counts on by what was added to `total`, which begins anew when its owner is
        replaced on a reload; a counter never goes down."""
        cell = OFFSETS[series]
        before = self._seen.get(cell, 0.0)
        self._cells[cell] += total - before if total >= before else total
        self._seen[cell] = total


# --- exposition -------------------------------------------------------------------------


ShownApps = Callable[[], Sequence[tuple[str | None, int]]]
"""The apps whose series are shown, with their slots; None for the one without label."""


def _only_app() -> Sequence[tuple[str | None, int]]:
    return ((None, 0),)


class Exposition:
    """The numbers of a board as text; `build` are the labels of `edgerest_build_info`."""

    def __init__(
        self, board: Board, build: Mapping[str, str], apps: ShownApps = _only_app
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(board, build, apps))

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type, in the format that `accept` prefers: Prometheus'
        text format or OpenMetrics."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Collector(Collector):
    def __init__(self, board: Board, build: Mapping[str, str], apps: ShownApps) -> None:
        self._board = board
        self._build = dict(build)
        self._apps = apps

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(BUILD_INFO, "What is running.", labels=[*self._build])
        info.add_metric([*self._build.values()], 1)
        yield info
        yield GaugeMetricFamily(WORKERS, "Processes that serve.", self._board.workers)
        apps = self._apps()
        for metric in METRICS:
            yield self._family(metric, apps)

    def _family(self, metric: Described, apps: Sequence[tuple[str | None, int]]) -> Metric:
        named = any(app is not None for app, _ in apps)
        labels = (APP_LABEL, *metric.label_names) if named else metric.label_names
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.doc, labels=labels)
            for values, (*counts, total) in self._series(metric, apps):
                # Of some hundred series most never occur.
                if any(counts) or not labels:
                    histogram.add_metric(values, [*_cumulative(counts)], total)
            return histogram
        family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        single = family(metric.name, metric.doc, labels=labels)
        for values, (value,) in self._series(metric, apps):
            # Of what is for no app, only what has happened: it has no database.
            if value or not named or values[0]:
                single.add_metric(values, value)
        return single

    def _series(
        self, metric: Described, apps: Sequence[tuple[str | None, int]]
    ) -> Iterator[tuple[tuple[str, ...], Sequence[float]]]:
        """The values of the labels, and the cells, of each series of each app."""
        for app, slot in apps:
            for values in metric.series():
                cells = self._board.merged(metric, values, slot)
                yield (values if app is None else (app, *values)), cells


def _cumulative(counts: Sequence[float]) -> Iterator[tuple[str, float]]:
    for bound, below in zip((*SECONDS, math.inf), itertools.accumulate(counts), strict=True):
        yield ("+Inf" if math.isinf(bound) else str(bound)), below
