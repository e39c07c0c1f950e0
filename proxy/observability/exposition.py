"""The page of /metrics: the numbers of a board, as prometheus-client writes them.

With several apps the series have the label `app`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.observability.board import Board
from proxy.observability.metrics import METRICS, SECONDS, Described

BUILD_INFO: Final = "edgerest_build_info"
"""Always 1; its labels are the version, the PostgREST version it follows, and the engine."""
APP_LABEL: Final = "app"
"""The label of all series when there are several apps; empty for requests that are for none
of them."""
WORKERS: Final = "edgerest_workers"
"""How many processes serve."""


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
