"""What watching requests costs: `python -m tests.bench.observing`.

Drives the data plane in this process with an answer that is there already, so that only the
watching differs, and prints the microseconds that each kind of it adds to a request: the
least over rounds, in each of which every kind takes its turn, as other load only adds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from pool.model import Statement, Transaction
from proxy.http.data_plane import DataPlane
from proxy.observability.board import Board, Meter
from proxy.observability.lines import LineWriter
from proxy.observability.logs import AccessLog, LogRules
from proxy.observability.record import Record
from proxy.observability.tally import Tally
from proxy.observability.tracing import Tracing
from proxy.request.model import HttpRequest
from proxy.response.model import Response
from proxy.server.telemetry import Watcher

RESPONSE = Response(200, ((b"content-type", b"application/json; charset=utf-8"),), b"x" * 500)
TRANSACTION = Transaction(Statement("select 1"))
SCOPE = {
    "type": "http",
    "method": "GET",
    "raw_path": b"/items",
    "path": "/items",
    "query_string": b"id=eq.1&select=id,name",
    "http_version": "2",
    "client": ("127.0.0.1", 40000),
    "headers": [(b"host", b"localhost"), (b"user-agent", b"bench"), (b"accept", b"*/*")],
}
_TURN = 10
"""Requests per turn of the event loop, as with a handful of streams on a connection."""


async def answer(request: HttpRequest, record: Record) -> Response:
    record.start()
    record.role, record.resource, record.transaction = "web_anon", "table", TRANSACTION
    for name in ("jwt", "parse", "plan", "transaction", "response"):
        record.lap(name)
    return RESPONSE


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    pass


Watch = Callable[[DataPlane, int], None]


def watch(rules: LogRules, *, metrics: bool = False, view: bool = False) -> Watch:
    def start(plane: DataPlane, sink: int) -> None:
        loop = asyncio.get_running_loop()
        writer = LineWriter(sink, loop.call_soon, loop.call_later)
        meter = Meter(Board(1).row(0)) if metrics else None
        log, tally = AccessLog(writer, rules), Tally() if view else None
        Watcher(plane, log, meter, None, tally)

    return start


def trace(sampler: Sampler) -> Watch:
    def start(plane: DataPlane, _sink: int) -> None:
        plane.observer = Tracing(TracerProvider(sampler=sampler, shutdown_on_exit=False))

    return start


KINDS: dict[str, Watch] = {
    "nothing": watch(LogRules(level="crit")),
    "log-level error, nothing to log": watch(LogRules()),
    "metrics": watch(LogRules(level="crit"), metrics=True),
    "metrics and the admin view": watch(LogRules(level="crit"), metrics=True, view=True),
    "access log": watch(LogRules(level="info")),
    "access log, JSON": watch(LogRules(level="info", format="json")),
    "traces, not sampled": trace(ALWAYS_OFF),
    "traces, sampled (without sending)": trace(ALWAYS_ON),
}


async def seconds_of(kind: Watch, requests: int, sink: int) -> float:
    """CPU seconds per request."""
    plane = DataPlane(answer)
    kind(plane, sink)
    began = time.process_time()
    for number in range(requests):
        await plane(dict(SCOPE), receive, send)
        if number % _TURN == 0:
            await asyncio.sleep(0)
    return (time.process_time() - began) / requests


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000, help="per kind and round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in KINDS}
    sink = os.open(os.devnull, os.O_WRONLY)
    for _ in range(options.rounds):
        for name, kind in KINDS.items():
            taken[name].append(asyncio.run(seconds_of(kind, options.requests, sink)))
    base = min(taken["nothing"])
    for name, times in taken.items():
        added = (min(times) - base) * 1e6
        print(
            f"{name:36} {f'{base * 1e6:6.1f} µs' if name == 'nothing' else f'+{added:5.1f} µs'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
