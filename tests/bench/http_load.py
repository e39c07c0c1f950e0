"""The load: HTTP/2 with prior knowledge or HTTP/1.1, a fixed number always in flight.

In: a scenario and the server's address. Out: a `Load`. h2load (of nghttp2) does it where
it is installed; else a client of our own on the `h2` library, which is slower than a fast
server and then measures itself: results say which of the two drove them.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final, Literal

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes

from tests.bench.scenarios import Scenario

Driver = Literal["h2load", "built-in"]

_FINISHED: Final = re.compile(
    r"^finished in (?P<number>[\d.]+)(?P<unit>us|ms|s)\b", re.MULTILINE
)
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

WARM_UP: Final = 1  # seconds; fills statement and target caches, opens the connections


@dataclass(frozen=True, slots=True)
class Way:
    """How requests are sent: over so many connections, with so many in flight on each.

    `told` is the same in words; `requests`: after how many a connection is closed and another
    one made; None: never.
    """

    name: str
    told: str
    connections: int
    streams: int = 1
    http: Literal["1.1", "2"] = "2"
    requests: int | None = None


WAYS: Final = (
    Way("h2 16x4", "HTTP/2, 16 connections with 4 streams", 16, 4),
    Way("h1 16", "HTTP/1.1, 16 connections", 16, http="1.1"),
    Way("h1 64", "HTTP/1.1, 64 connections", 64, http="1.1"),
    Way("short h2", "HTTP/2, a connection per 20 requests", 16, requests=20),
)


@dataclass(frozen=True, slots=True)
class Load:
    """What one run came to: durations in milliseconds, rate in requests per second.

    `failed` counts answers other than the wanted, and requests known to have got none.
    """

    rate: float
    p50: float
    p99: float
    failed: int


def load_of(durations: Sequence[float], seconds: float, failed: int) -> Load:
    """Sum up the durations (in seconds) of the requests that were answered as wanted."""
    ordered = sorted(durations)
    if not ordered:
        return Load(0.0, 0.0, 0.0, failed)

    def percentile(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000

    return Load(len(ordered) / seconds, percentile(0.5), percentile(0.99), failed)


def best_driver() -> Driver:
    """h2load where it is installed."""
    return "h2load" if shutil.which("h2load") else "built-in"


def run_http(
    scenario: Scenario, port: int, driver: Driver, way: Way, *, seconds: int, scratch: Path
) -> Load:
    """Send `scenario` to 127.0.0.1:`port` in this way for so many seconds.

    The built-in client speaks HTTP/2 over connections that last.
    """
    if driver == "h2load":
        run = _run_h2load if way.requests is None else _run_short
        return run(scenario, port, way, seconds, scratch)
    return asyncio.run(_run_built_in(scenario, port, way, seconds))


# --- h2load ------------------------------------------------------------------------------


def _run_h2load(scenario: Scenario, port: int, way: Way, seconds: int, scratch: Path) -> Load:
    timing = [f"--duration={seconds}", f"--warm-up-time={WARM_UP}"]
    answers, _ = _h2load(scenario, port, way, timing, seconds + WARM_UP, scratch)
    durations = _as_wanted(scenario, answers)
    # Of a server that is gone there is no line at all.
    failed = len(answers) - len(durations) if answers else 1
    return load_of(durations, seconds, failed)


def _run_short(scenario: Scenario, port: int, way: Way, seconds: int, scratch: Path) -> Load:
    """Rounds of connections that are made, used and closed; their making counts, the start
    of h2load does not."""
    assert way.requests is not None
    asked = way.connections * way.requests
    answers: list[tuple[str, float]] = []
    taken, rounds = 0.0, 0
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        more, took = _h2load(scenario, port, way, [f"--requests={asked}"], seconds, scratch)
        answers += more
        taken += took
        rounds += 1
    durations = _as_wanted(scenario, answers)
    # A request whose connection was lost is in no line of the log.
    return load_of(durations, taken, asked * rounds - len(durations))


def _as_wanted(scenario: Scenario, answers: Sequence[tuple[str, float]]) -> list[float]:
    return [took for status, took in answers if status.startswith(scenario.wanted)]


def _h2load(
    scenario: Scenario, port: int, way: Way, timing: list[str], seconds: int, scratch: Path
) -> tuple[list[tuple[str, float]], float]:
    """The status of each answer with how many seconds it took, and how long all took."""
    targets, log, body = scratch / "targets", scratch / "h2load.log", scratch / "body"
    targets.write_text(
        "".join(f"http://127.0.0.1:{port}{target}\n" for target in scenario.targets)
    )
    log.unlink(missing_ok=True)
    command = ["h2load", f"--clients={way.connections}", *timing]
    command += ["--h1"] if way.http == "1.1" else [f"--max-concurrent-streams={way.streams}"]
    command += [f"--input-file={targets}", f"--log-file={log}"]
    command += [f"--header={name}: {value}" for name, value in scenario.headers]
    if scenario.body is not None:
        body.write_bytes(scenario.body)
        command.append(f"--data={body}")
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=seconds + 60
    )
    return answers_in(log.read_text()), seconds_in(done.stdout)


def answers_in(log: str) -> list[tuple[str, float]]:
    """Status and duration in seconds of each answer in a log of h2load.

    A line is when it started, the status (-1: the stream failed) and how long it took, times
    in microseconds. The status is 0 where the head came during the warm-up and the end after
    it: no failure, but not known to be a success, so it counts as neither. What is in flight
    at the end has no line, and neither has what was in flight on a connection that the server
    closed: with a duration, that shows as a lower rate only.
    """
    rows = [line.split("\t") for line in log.splitlines()]
    return [(status, int(took) / 1e6) for _, status, took in rows if status != "0"]


def seconds_in(told: str) -> float:
    """How long h2load says that it took, in seconds, the making of connections included."""
    found = _FINISHED.search(told)
    if found is None:
        raise ValueError(f"h2load did not say how long it took: {told}")
    return float(found["number"]) * _UNITS[found["unit"]]


# --- the built-in client -----------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    """What all connections of one run share; times are those of `time.perf_counter`."""

    begin: float
    end: float
    durations: list[float] = field(default_factory=list)
    failed: int = 0

    def count(self, started: float, succeeded: bool) -> None:
        now = time.perf_counter()
        if not self.begin <= now < self.end:
            return
        if succeeded:
            self.durations.append(now - started)
        else:
            self.failed += 1


class _Client(asyncio.Protocol):
    """One connection: as soon as a response ends the next request starts."""

    def __init__(self, scenario: Scenario, authority: str, streams: int, tally: _Tally) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._heads = cycle(_heads(scenario, authority))
        self._body = scenario.body
        self._wanted = scenario.wanted.encode()
        self._streams = streams
        self._tally = tally
        self._started: dict[int, float] = {}
        self._succeeded: set[int] = set()
        self._blocked: deque[int] = deque()
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = 2**30
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(2**30)
        for _ in range(self._streams):
            self._request()
        transport.write(self._h2.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        for started in self._started.values():
            self._tally.count(started, False)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        for event in self._h2.receive_data(data):
            self._handle(event)
        self._send_blocked()
        self._transport.write(self._h2.data_to_send())

    def stop(self) -> None:
        """Cut the connection: what is still in flight is not counted."""
        if self._transport is not None:
            self._transport.abort()

    def _handle(self, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=stream, headers=headers):
                if dict(headers)[b":status"].startswith(self._wanted):
                    self._succeeded.add(stream)
            case DataReceived(stream_id=stream, flow_controlled_length=length):
                self._h2.acknowledge_received_data(length, stream)
            case StreamEnded(stream_id=stream):
                self._finish(stream, stream in self._succeeded)
            case StreamReset(stream_id=stream):
                self._finish(stream, False)
            case ConnectionTerminated():
                self.stop()
            case _:
                pass

    def _finish(self, stream: int, succeeded: bool) -> None:
        self._succeeded.discard(stream)
        self._tally.count(self._started.pop(stream), succeeded)
        self._request()

    def _request(self) -> None:
        stream = self._h2.get_next_available_stream_id()
        self._started[stream] = time.perf_counter()
        self._h2.send_headers(stream, next(self._heads), end_stream=self._body is None)
        if self._body is not None:
            self._blocked.append(stream)
            self._send_blocked()

    def _send_blocked(self) -> None:
        """Send the bodies for which the server's flow control has room."""
        while self._blocked and self._body is not None:
            if self._h2.local_flow_control_window(self._blocked[0]) < len(self._body):
                return
            self._h2.send_data(self._blocked.popleft(), self._body, end_stream=True)


def _heads(scenario: Scenario, authority: str) -> list[list[tuple[str, str]]]:
    return [
        [
            (":method", scenario.method),
            (":scheme", "http"),
            (":authority", authority),
            (":path", target),
            *scenario.headers,
        ]
        for target in scenario.targets
    ]


async def _run_built_in(scenario: Scenario, port: int, way: Way, seconds: int) -> Load:
    loop = asyncio.get_running_loop()
    begin = time.perf_counter() + WARM_UP
    tally = _Tally(begin, begin + seconds)
    clients: list[_Client] = []
    for _ in range(way.connections):
        _, client = await loop.create_connection(
            lambda: _Client(scenario, f"127.0.0.1:{port}", way.streams, tally),
            "127.0.0.1",
            port,
        )
        clients.append(client)
    await asyncio.sleep(tally.end - time.perf_counter())
    for client in clients:
        client.stop()
    await asyncio.gather(*(client.closed for client in clients))
    return load_of(tally.durations, seconds, tally.failed)
