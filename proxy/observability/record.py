"""What becomes of one request, noted by each step it takes.

Made by the data plane when a request arrives, filled in on the way, read when the response
is sent: Server-Timing, logs, metrics and traces are all made of it. It is no part of the
answer, so what is noted here never reaches a client (except as Server-Timing).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, Protocol

from pool.model import Transaction

Resource = Literal["table", "rpc", "root", "other"]
"""What was asked for; `other` is everything refused before that was known."""


class Trace(Protocol):
    """The trace that a request is part of."""

    @property
    def traceparent(self) -> str:
        """The W3C `traceparent` of whatever the request causes."""


@dataclass(slots=True, eq=False)
class Record:
    """The notes on one request; times in seconds.

    `began`: when it arrived (`perf_counter`). `laps`: how long each step took, in the order
    of Server-Timing. `role`: None as long as nobody was authenticated. `code`: of the error
    it was answered with. `waited`: how long for a connection; part of the lap `transaction`.
    `received`: bytes of the body. `app`: the name of the app that it was for; nothing when
    there is only the one that has none.
    """

    began: float = field(default_factory=perf_counter)
    laps: dict[str, float] = field(default_factory=dict)
    role: str | None = None
    resource: Resource = "other"
    code: str | None = None
    transaction: Transaction | None = None
    waited: float = 0.0
    received: int = 0
    app: str = ""
    trace: Trace | None = None
    answering_since: float = 0.0
    _last: float = 0.0

    def start(self) -> None:
        """The first step begins; what an attempt before has left is forgotten."""
        self.laps.clear()
        self.transaction = None
        self.waited = 0.0
        self.answering_since = self._last = perf_counter()

    def resume(self) -> None:
        """The next step begins; what came since the last one belongs to none."""
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        """Names the time since the lap before."""
        now = perf_counter()
        self.laps[name] = now - self._last
        self._last = now

    @property
    def database_time(self) -> float | None:
        """Seconds the transaction took once it had a connection; None when there was none."""
        took = self.laps.get("transaction")
        return None if took is None else max(took - self.waited, 0.0)

    def server_timing(self) -> tuple[bytes, bytes]:
        """The Server-Timing header, in milliseconds."""
        steps = (f"{name};dur={seconds * 1000:.1f}" for name, seconds in self.laps.items())
        return b"server-timing", ", ".join(steps).encode()
