"""Where requests are counted: a row of numbers for each worker and app.

All series of `METRICS` are known beforehand, and each has its cell in a row. Every worker has
a row that it alone writes, in memory that the workers share (`Board`, made before they are
forked); whoever is asked sums up the rows. So one address shows the whole server, a worker
that is replaced goes on where the one before it stopped, and counting a request takes no
lock and no library. With several apps every app has a row in each worker; `Slots` says which.
"""

from __future__ import annotations

import fcntl
import mmap
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkstemp
from time import perf_counter
from typing import Final, TypeAlias

from proxy.observability.metrics import (
    CELLS,
    METHODS,
    METRICS,
    OFFSETS,
    RESOURCES,
    SECONDS,
    STATUS_CLASSES,
    WIDTH,
    Described,
    Levels,
)
from proxy.observability.record import Record
from proxy.response.model import Response, body_size

Cells: TypeAlias = "memoryview[float]"
"""A worker's row: doubles. Writing one is atomic, so a reader never sees half of it."""
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


class Meter:
    """Counts in one worker's row."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._seen: dict[int, float] = {}
        self._in_flight = OFFSETS[("edgerest_http_requests_in_flight",)]
        self._dropped = OFFSETS[("edgerest_log_lines_dropped_total",)]
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

    def dropped(self, lines: int) -> None:
        """So many lines of the log were lost."""
        self._cells[self._dropped] += lines

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
        self._cells[first + WIDTH - 1] += seconds

    def look(self, levels: Levels) -> None:
        """Take over what was looked up."""
        for metric in METRICS:
            if metric.read is None:
                continue
            found = metric.read(levels)
            take = self._follow if metric.kind == "counter" else self._set
            if isinstance(found, Mapping):
                for label, value in found.items():
                    take(value, metric.name, label)
            else:
                take(found, metric.name)

    def _set(self, value: float, *series: str) -> None:
        self._cells[OFFSETS[series]] = value

    def _follow(self, total: float, *series: str) -> None:
        """Counts on by what was added to `total`, which begins anew when its owner is
        replaced on a reload; a counter never goes down."""
        cell = OFFSETS[series]
        before = self._seen.get(cell, 0.0)
        self._cells[cell] += total - before if total >= before else total
        self._seen[cell] = total
