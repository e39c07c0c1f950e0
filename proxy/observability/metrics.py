"""The metrics: `METRICS` has every one of them once.

A row says what a metric is, the values that its labels may have, and where it is read if
requests do not count it themselves. Names that begin with `pgrst_` are PostgREST's (docs,
"Metrics").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from pool.replicas import ReplicaStats
from pool.stats import PoolStats
from proxy.auth.token_cache import TokenCacheCounts
from proxy.observability.cache_counts import CacheCounts, CacheResult
from proxy.observability.record import Resource
from proxy.schema_cache.load import SchemaLoads

Kind = Literal["counter", "gauge", "histogram"]

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the histograms' buckets; one without a bound follows."""
WIDTH: Final = len(SECONDS) + 2
"""Cells of a histogram: its buckets, the one without a bound, and the sum."""

METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "QUERY", "other")
RESOURCES: Final = get_args(Resource)
CACHE_RESULTS: Final = get_args(CacheResult)
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")


@dataclass(frozen=True, slots=True)
class Levels:
    """What an app's parts say of themselves: totals since the start, and this moment."""

    pool: PoolStats = field(default_factory=PoolStats)
    tokens: TokenCacheCounts = field(default_factory=TokenCacheCounts)
    schema: SchemaLoads = field(default_factory=SchemaLoads)
    cache: CacheCounts = field(default_factory=CacheCounts)
    replicas: Sequence[ReplicaStats] = ()
    state: str = "running"


Reading = Callable[[Levels], "float | Mapping[Any, float]"]
"""The value of a metric, or its values by those of its only label."""


@dataclass(frozen=True, slots=True)
class Described:
    """A metric of the table. `read` gives the value of one that requests do not count
    themselves; `labels` are names with the values they may have; `highest` says that workers
    are merged by their highest value, not by the sum."""

    name: str
    kind: Kind
    doc: str
    read: Reading | None = None
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
        return WIDTH if self.kind == "histogram" else 1


METRICS: Final = (
    Described(
        "pgrst_schema_cache_query_time_seconds",
        "gauge",
        "Seconds that reading the schema took the last time it worked.",
        read=lambda now: now.schema.seconds,
        highest=True,
    ),
    Described(
        "pgrst_schema_cache_loads_total",
        "counter",
        "How often the schema cache was loaded, in vain (FAIL) or not.",
        read=lambda now: {"SUCCESS": now.schema.succeeded, "FAIL": now.schema.failed},
        labels=(("status", ("SUCCESS", "FAIL")),),
    ),
    Described(
        "pgrst_db_pool_timeouts_total",
        "counter",
        "Requests that no database connection came free for in time.",
        read=lambda now: now.pool.timeouts,
    ),
    Described(
        "pgrst_db_pool_available",
        "gauge",
        "Open connections that nobody uses.",
        read=lambda now: now.pool.idle,
    ),
    Described(
        "pgrst_db_pool_waiting",
        "gauge",
        "Requests that wait for a connection.",
        read=lambda now: now.pool.waiting,
    ),
    Described(
        "pgrst_db_pool_max",
        "gauge",
        "The most connections there may be.",
        read=lambda now: now.pool.size,
    ),
    Described(
        "pgrst_jwt_cache_requests_total",
        "counter",
        "Tokens looked up in the cache.",
        read=lambda now: now.tokens.requests,
    ),
    Described(
        "pgrst_jwt_cache_hits_total",
        "counter",
        "Tokens found there.",
        read=lambda now: now.tokens.hits,
    ),
    Described(
        "pgrst_jwt_cache_evictions_total",
        "counter",
        "Tokens that were put out of the cache to make room.",
        read=lambda now: now.tokens.evictions,
    ),
    Described(
        "edgerest_cache_reads_total",
        "counter",
        "Reads under a cache policy: answered from the cache, fresh or stale, together with "
        "another that was under way (shared), from the database (miss), or with a stale "
        "answer for want of a database (spared).",
        read=lambda now: now.cache.reads,
        labels=(("result", CACHE_RESULTS),),
    ),
    Described(
        "edgerest_cache_not_modified_total",
        "counter",
        "Reads answered 304, from the cache or not.",
        read=lambda now: now.cache.not_modified,
    ),
    Described(
        "edgerest_cache_refreshes_total",
        "counter",
        "Kept answers that were fetched anew in the background.",
        read=lambda now: now.cache.refreshes,
    ),
    Described(
        "edgerest_cache_invalidations_total",
        "counter",
        "Kept answers that were found outdated by a write.",
        read=lambda now: now.cache.invalidations,
    ),
    Described(
        "edgerest_cache_evictions_total",
        "counter",
        "Kept answers that were put out to make room.",
        read=lambda now: now.cache.evictions,
    ),
    Described(
        "edgerest_cache_rights_looks_total",
        "counter",
        "Looks at what decides rights in the database, on account of kept answers.",
        read=lambda now: now.cache.rights_looks,
    ),
    Described(
        "edgerest_cache_rights_changes_total",
        "counter",
        "Changes of rights that were noticed, each by every worker that uses kept answers.",
        read=lambda now: now.cache.rights_changes,
    ),
    Described(
        "edgerest_cache_entries",
        "gauge",
        "Answers that are kept.",
        read=lambda now: now.cache.entries,
    ),
    Described(
        "edgerest_cache_bytes",
        "gauge",
        "Bytes that they take.",
        read=lambda now: now.cache.bytes,
    ),
    Described(
        "edgerest_http_request_duration_seconds",
        "histogram",
        "From the arrival of a request until its response was handed to the connection.",
        labels=(("method", METHODS), ("resource", RESOURCES), ("status", STATUS_CLASSES)),
    ),
    Described(
        "edgerest_http_requests_in_flight",
        "gauge",
        "Requests being answered.",
    ),
    Described(
        "edgerest_http_requests_abandoned_total",
        "counter",
        "Requests whose client left before it had the response.",
    ),
    Described(
        "edgerest_log_lines_dropped_total",
        "counter",
        "Lines of the access log that nobody read in time, or that there was no room for.",
    ),
    Described(
        "edgerest_http_request_bytes_total",
        "counter",
        "Bytes of request bodies.",
    ),
    Described(
        "edgerest_http_response_bytes_total",
        "counter",
        "Bytes of response bodies.",
    ),
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
    Described(
        "edgerest_db_pool_open",
        "gauge",
        "Connections opened, busy or not.",
        read=lambda now: now.pool.open,
    ),
    Described(
        "edgerest_db_replicas",
        "gauge",
        "Read replicas that are configured.",
        read=lambda now: len(now.replicas),
    ),
    Described(
        "edgerest_db_replicas_fit",
        "gauge",
        "Read replicas that are given reads.",
        read=lambda now: sum(each.fit for each in now.replicas),
    ),
    Described(
        "edgerest_db_replica_lag_seconds",
        "gauge",
        "How far the read replica that is furthest behind is, of those that are given reads.",
        read=lambda now: max(
            (each.lag or 0.0 for each in now.replicas if each.fit), default=0.0
        ),
        highest=True,
    ),
    Described(
        "edgerest_db_replica_reads_total",
        "counter",
        "Reads given to replicas.",
        read=lambda now: sum(each.reads for each in now.replicas),
    ),
    Described(
        "edgerest_db_replica_retries_total",
        "counter",
        "Those of them that the primary had to answer.",
        read=lambda now: sum(each.retried for each in now.replicas),
    ),
    Described(
        "edgerest_db_pool_busy",
        "gauge",
        "Connections that run a transaction.",
        read=lambda now: now.pool.busy,
    ),
    Described(
        "edgerest_db_pool_longest_wait_seconds",
        "gauge",
        "How long the request has waited that waits for a connection longest.",
        read=lambda now: now.pool.longest_wait,
        highest=True,
    ),
    Described(
        "edgerest_db_pool_transactions_total",
        "counter",
        "Transactions begun.",
        read=lambda now: now.pool.transactions,
    ),
    Described(
        "edgerest_db_pool_sheds_total",
        "counter",
        "Requests that were told at once that there are too many.",
        read=lambda now: now.pool.sheds,
    ),
    Described(
        "edgerest_db_pool_cancelled_total",
        "counter",
        "Transactions whose client left, while it waited for a connection or while it ran.",
        read=lambda now: {
            "waiting": now.pool.cancelled_waiting,
            "running": now.pool.cancelled_running,
        },
        labels=(("while", ("waiting", "running")),),
    ),
    Described(
        "edgerest_db_pool_retries_total",
        "counter",
        "Reads that were run once more because their connection broke.",
        read=lambda now: now.pool.retries,
    ),
    Described(
        "edgerest_db_pool_connects_total",
        "counter",
        "Connections that were opened, in vain (FAIL) or not.",
        read=lambda now: {"SUCCESS": now.pool.connects, "FAIL": now.pool.connect_failures},
        labels=(("status", ("SUCCESS", "FAIL")),),
    ),
    Described(
        "edgerest_db_pool_lost_total",
        "counter",
        "Connections that broke while open.",
        read=lambda now: now.pool.lost,
    ),
    Described(
        "edgerest_app_held",
        "gauge",
        "Workers in which an operator has paused the app, or drains it.",
        read=lambda now: {"paused": now.state == "paused", "draining": now.state == "draining"},
        labels=(("state", ("paused", "draining")),),
    ),
)


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
