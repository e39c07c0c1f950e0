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
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from edgerest import __version__
from proxy.app.front import edge_options
from proxy.app.registry import Apps, Served
from proxy.engines.sockets import ServerError
from proxy.http.data_plane import DataPlane
from proxy.observability.board import SLOTS, Board, Meter, Slots
from proxy.observability.exposition import Exposition
from proxy.observability.lines import LineWriter
from proxy.observability.logs import AccessLog, LogRules
from proxy.observability.metrics import Levels
from proxy.observability.record import Record
from proxy.observability.tally import Tally
from proxy.response.answer import POSTGREST_VERSION
from proxy.response.model import Response
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.observability.tracing import Tracing

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at pool and caches, for the workers that nobody asks."""

_NEVER_LOGGED: Final = ("authorization", "cookie", "apikey", "proxy-authorization")
NO_TRACING: Final = 'server-tracing-enabled needs the extra "edgerest[otel]"'
_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class Telemetry:
    """Watches the requests that the apps of a server answer, as the settings say.

    Raises `ServerError` when tracing is asked for and not installed.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.server_tracing_enabled and not tracing_is_installed():
            raise ServerError(NO_TRACING)
        self._settings = settings
        self._board: Board | None = None
        self._slots: Slots | None = None
        # Without an admin server nobody could ask for the numbers.
        if settings.admin_server_port is not None or settings.admin_server_unix_socket:
            self._board = Board(settings.server_workers, SLOTS)
            self._slots = Slots()
        self._worker = 0
        self._writer: LineWriter | None = None
        self._tracing: Tracing | None = None
        self._apps: Apps | None = None
        self._meters: dict[str, Meter] = {}
        self._tallies: dict[str, Tally] = {}
        self._nowhere: Watcher | None = None
        # Those of apps that have gone watch nothing any more.
        self._watchers: WeakSet[Watcher] = WeakSet()

    def open(self, worker: int, apps: Apps, nowhere: DataPlane) -> None:
        """Begin to watch the requests of `apps` in this process, the server's `worker`.

        `nowhere` answers those that are for none of them.
        """
        loop = asyncio.get_running_loop()
        self._worker, self._apps = worker, apps
        self._writer = LineWriter(
            sys.stdout.fileno(), loop.call_soon, loop.call_later, self._note_dropped
        )
        if self._settings.server_tracing_enabled:
            from proxy.observability.tracing import Tracing, exporting_provider

            # Its thread must not exist before workers are forked.
            self._tracing = Tracing(exporting_provider())
        self._nowhere = self._watcher(nowhere, "")
        apps.watch(self._watch)
        if self._board is not None and self._board.workers > 1:
            self._look_again(loop)

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """The page of /metrics and its content type."""
        if self._board is None:
            return b"", "text/plain"
        self._look()
        exposition = Exposition(self._board, build_labels(self._settings), self._shown_apps)
        return exposition.text(accept)

    def close(self) -> None:
        """Write and send what is left."""
        for watcher in self._watchers:
            watcher.close()
        if self._writer is not None:
            self._writer.close()
        if self._tracing is not None:
            self._tracing.close()

    def _watch(self, served: Served) -> None:
        plane = served.front.data_plane
        watcher = self._watcher(plane, served.front.name)

        def apply(settings: Settings) -> None:
            plane.options = edge_options(settings)
            rules = log_rules(settings)
            watcher.follow(rules)
            if self._nowhere is not None:
                self._nowhere.follow(rules)

        served.app.follow(apply)

    def _watcher(self, plane: DataPlane, name: str) -> Watcher:
        assert self._writer is not None
        log = AccessLog(self._writer, log_rules(self._settings))
        watcher = Watcher(plane, log, self._meter(name), self._tracing, self.tally(name))
        self._watchers.add(watcher)
        return watcher

    def tally(self, name: str) -> Tally | None:
        """What was counted for the admin view of the app `name`; None when there is none."""
        return None if self._board is None else self._tallies.setdefault(name, Tally())

    def slot_of(self, name: str) -> int:
        """The place of the app `name` in memory that workers share."""
        return 0 if self._slots is None else self._slots.of(name)

    def _meter(self, name: str) -> Meter | None:
        if self._board is None:
            return None
        if name not in self._meters:
            row = self._board.row(self._worker, self.slot_of(name))
            self._meters[name] = Meter(row)
        return self._meters[name]

    def _note_dropped(self, lines: int) -> None:
        meter = self._meter("")
        if meter is not None:
            meter.dropped(lines)

    def _shown_apps(self) -> list[tuple[str | None, int]]:
        if self._apps is None or self._slots is None or not self._apps.named:
            return [(None, 0)]
        of = self._slots.of
        return [("", 0), *((name, of(name)) for name in self._apps.served)]

    def _look(self) -> None:
        if self._apps is not None:
            for served in self._apps.served.values():
                meter = self._meter(served.front.name)
                if meter is not None:
                    meter.look(levels_of(served))

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look()
        loop.call_later(_LOOK_EVERY, self._look_again, loop)


class Watcher:
    """The observer of one app's requests in one process."""

    def __init__(
        self,
        plane: DataPlane,
        log: AccessLog,
        meter: Meter | None,
        tracing: Tracing | None,
        tally: Tally | None = None,
    ) -> None:
        self.plane = plane
        self._tally = tally
        self._log = log
        self.meter = meter
        self._tracing = tracing
        self._watch_or_not()

    def follow(self, rules: LogRules) -> None:
        """Log as `rules` say from now on."""
        self._log.follow(rules)
        self._watch_or_not()

    def _watch_or_not(self) -> None:
        idle = self._log.silent and self.meter is None and self._tracing is None
        self.plane.observer = None if idle else self

    def began(self, scope: Any, record: Record) -> None:
        if self.meter is not None:
            self.meter.began()
        if self._tally is not None:
            self._tally.began(scope)
        if self._tracing is not None:
            self._tracing.began(scope, record)

    def ended(self, scope: Any, record: Record, response: Response | None) -> None:
        if self.meter is not None:
            self.meter.ended(scope["method"], record, response)
        if self._tally is not None:
            self._tally.ended(scope, record, response)
        if response is not None and response.status >= self._log.lowest_status:
            self._log.log(scope, record, response)
        if self._tracing is not None:
            self._tracing.ended(scope, record, response)

    def close(self) -> None:
        """Watch no more."""
        self.plane.observer = None


def tracing_is_installed() -> bool:
    """Whether the extra `edgerest[otel]` is there."""
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:
        return False


def log_rules(settings: Settings) -> LogRules:
    """What the settings say about the access log."""
    trace = (settings.server_trace_header or "").lower()
    return LogRules(
        level=settings.log_level,
        format=settings.log_format,
        queries=settings.log_query,
        # A request may be told by its token, but no line of a log.
        trace_header=trace.encode() if trace and trace not in _NEVER_LOGGED else None,
    )


def build_labels(settings: Settings) -> Mapping[str, str]:
    """The labels of `edgerest_build_info`."""
    return {
        "version": __version__,
        "postgrest": POSTGREST_VERSION,
        "python": platform.python_version(),
        "engine": settings.server_engine,
    }


def levels_of(served: Served) -> Levels:
    """What the parts of an app say now."""
    app = served.app
    return Levels(
        pool=app.pool.stats,
        tokens=app.state.authenticator.counts,
        schema=app.schema_loads,
        cache=app.cache_counts,
        replicas=app.backends.replicas,
        state=served.state,
    )
