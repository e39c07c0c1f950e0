"""What the server says on standard error about its own life, in PostgREST's form.

`06/May/2024:08:16:11 -0500: message`: that it starts, listens, lost the database and found
it again. These lines come whatever `log-level` is (PostgREST docs, "log-level"), which is
about requests; `debug` adds the details.
"""

from __future__ import annotations

import logging
import sys
from copy import copy
from typing import TextIO

from proxy.observability.lines import DescriptorHandler
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
        if record.name.startswith("opentelemetry"):
            record = _without_words(record)
        return super().format(record)


def _without_words(record: logging.LogRecord) -> logging.LogRecord:
    """What the exporter says, without what it quotes: the headers and the endpoint of the
    OTEL_* variables may hold passwords. Numbers and the classes of errors are kept."""
    kept = copy(record)
    given = record.args if isinstance(record.args, tuple) else ()
    kept.args = tuple(map(_kind_of, given))
    kept.exc_info, kept.exc_text = None, None
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        kept.msg = f"{kept.msg} ({type(error).__name__})"
    return kept


def _kind_of(value: object) -> object:
    if isinstance(value, int | float):
        return value
    return type(value).__name__ if isinstance(value, BaseException) else "…"


def start_diagnostics(level: LogLevel, stream: TextIO | None = None) -> None:
    """Send the diagnostics of proxy, pool and the exporter of traces to `stream`, standard
    error by default."""
    handler = _handler(stream or sys.stderr)
    handler.setFormatter(Diagnostics())
    for name in ("proxy", "pool", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.DEBUG if level == "debug" else logging.INFO)


def _handler(stream: TextIO) -> logging.Handler:
    try:
        return DescriptorHandler(stream.fileno())
    except OSError:
        # Text that is kept in memory has no descriptor.
        return logging.StreamHandler(stream)
