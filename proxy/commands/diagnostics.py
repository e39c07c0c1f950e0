"""What the server says on standard error about its own life, in PostgREST's form.

`06/May/2024:08:16:11 -0500: message`: that it starts, listens, lost the database and found
it again. These lines come whatever `log-level` is (PostgREST docs, "log-level"), which is
about requests; `debug` adds the details.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from proxy.observability.logs import CURRENT_APP
from proxy.settings.model import LogLevel


class Diagnostics(logging.Formatter):
    """One line per record, with a traceback only where one was recorded."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s: %(app)s%(message)s", "%d/%b/%Y:%H:%M:%S %z")

    def format(self, record: logging.LogRecord) -> str:
        """The line; with several apps the one that it is about is named first."""
        app = CURRENT_APP.get()
        record.app = f"apps.{app}: " if app else ""
        return super().format(record)


def start_diagnostics(level: LogLevel, stream: TextIO | None = None) -> None:
    """Send the diagnostics of proxy, pool and the exporter of traces to `stream`, standard
    error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Diagnostics())
    for name in ("proxy", "pool", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.DEBUG if level == "debug" else logging.INFO)
