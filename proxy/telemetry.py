"""Who watches the requests of a server: the access log, the metrics and the traces.

Made before workers are forked (`Telemetry`), as they share the board of the metrics; each
worker `open`s it for itself. In: every request as it begins and ends, and the settings
whenever they change. Out: lines, numbers, spans. What is switched off costs nothing.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from proxy.apps import App
from proxy.data_plane import DataPlane
from proxy.engines.sockets import ServerError
from proxy.logs import AccessLog, LineWriter, LogRules
from proxy.metrics import Board, Exposition, Levels, Meter
from proxy.record import Record
from proxy.response.answer import POSTGREST_VERSION
from proxy.response.model import Response
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.tracing import Tracing

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at pool and caches, for the workers that nobody asks."""

_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class Telemetry:
    """Watches the requests that `app` answers, as the settings say.

    Raises `ServerError` when tracing is asked for and not installed.
    """

    def __init__(self, settings: Settings, app: App) -> None:
        if settings.server_tracing_enabled and not tracing_is_installed():
            raise ServerError('server-tracing-enabled needs the extra "edgerest[otel]"')
        self._app = app
        self._tracing_enabled = settings.server_tracing_enabled
        self._log_rules = log_rules(settings)
        self._board: Board | None = None
        self._exposition: Exposition | None = None
        # Without an admin server nobody could ask for the numbers.
        if settings.admin_server_port is not None or settings.admin_server_unix_socket:
            self._board = Board(settings.server_workers)
            self._exposition = Exposition(self._board, build_labels(settings))
        self._worker: Watcher | None = None

    def open(self, worker: int, plane: DataPlane) -> None:
        """Begin to watch the requests of `plane` in this process, the server's `worker`."""
        loop = asyncio.get_running_loop()
        log = AccessLog(LineWriter(sys.stdout.fileno(), loop.call_soon), self._log_rules)
        meter = None if self._board is None else Meter(self._board.row(worker))
        tracing = None
        if self._tracing_enabled:
            from proxy.tracing import Tracing, exporting_provider

            # Its thread must not exist before workers are forked.
            tracing = Tracing(exporting_provider())
        self._worker = Watcher(plane, log, meter, tracing)
        if self._board is not None and self._board.workers > 1:
            self._look_again(loop)

    def follow(self, settings: Settings) -> None:
        """Log as `settings` say from now on."""
        self._log_rules = log_rules(settings)
        if self._worker is not None:
            self._worker.follow(self._log_rules)

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """The page of /metrics and its content type."""
        self._look()
        return (
            (b"", "text/plain") if self._exposition is None else self._exposition.text(accept)
        )

    def close(self) -> None:
        """Write and send what is left."""
        if self._worker is not None:
            self._worker.close()

    def _look(self) -> None:
        if self._worker is not None and self._worker.meter is not None:
            self._worker.meter.look(levels_of(self._app))

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look()
        loop.call_later(_LOOK_EVERY, self._look_again, loop)


class Watcher:
    """The observer of one process's requests."""

    def __init__(
        self, plane: DataPlane, log: AccessLog, meter: Meter | None, tracing: Tracing | None
    ) -> None:
        self._plane = plane
        self._log = log
        self.meter = meter
        self._tracing = tracing
        self._watch_or_not()

    def follow(self, rules: LogRules) -> None:
        self._log.follow(rules)
        self._watch_or_not()

    def _watch_or_not(self) -> None:
        idle = self._log.silent and self.meter is None and self._tracing is None
        self._plane.observer = None if idle else self

    def began(self, scope: Any, record: Record) -> None:
        if self.meter is not None:
            self.meter.began()
        if self._tracing is not None:
            self._tracing.began(scope, record)

    def ended(self, scope: Any, record: Record, response: Response | None) -> None:
        if self.meter is not None:
            self.meter.ended(scope["method"], record, response)
        if response is not None and response.status >= self._log.lowest_status:
            self._log.log(scope, record, response)
        if self._tracing is not None:
            self._tracing.ended(scope, record, response)

    def close(self) -> None:
        self._plane.observer = None
        self._log.close()
        if self._tracing is not None:
            self._tracing.close()


def tracing_is_installed() -> bool:
    """Whether the extra `edgerest[otel]` is there."""
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:
        return False


def log_rules(settings: Settings) -> LogRules:
    """What the settings say about the access log."""
    trace = settings.server_trace_header
    return LogRules(
        level=settings.log_level,
        format=settings.log_format,
        queries=settings.log_query,
        trace_header=trace.lower().encode() if trace else None,
    )


def build_labels(settings: Settings) -> Mapping[str, str]:
    """The labels of `edgerest_build_info`."""
    return {
        "version": version("edgerest"),
        "postgrest": POSTGREST_VERSION,
        "python": platform.python_version(),
        "engine": settings.server_engine,
    }


def levels_of(app: App) -> Levels:
    """What pool, schema cache and token cache of `app` say now."""
    pool, tokens, loads = app.pool.stats, app.state.authenticator.counts, app.schema_loads
    return Levels(
        schema_loads=loads.succeeded,
        schema_failures=loads.failed,
        schema_seconds=loads.seconds,
        pool_size=pool.size,
        pool_open=pool.open,
        pool_available=pool.idle,
        pool_waiting=pool.waiting,
        pool_timeouts=pool.timeouts,
        tokens_asked=tokens.requests,
        tokens_found=tokens.hits,
        tokens_evicted=tokens.evictions,
    )
