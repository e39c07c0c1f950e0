"""What is measured: the requests of each scenario, against the tables of schema.sql."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SCHEMA: Final = "bench"
ANON_ROLE: Final = "bench_anon"
SERVER_ROLE: Final = "bench_server"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request.

    `targets` (path and query, percent-encoded) are sent in turn; they differ in values
    only, so that all of them are one SQL statement. A `body` makes it a POST. An answer whose
    status begins with `wanted` is a success.
    """

    name: str
    targets: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    wanted: str = "2"

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


SCENARIOS: Final = (
    Scenario("single row", tuple(f"/clients?id=eq.{number}" for number in range(1, 101))),
    Scenario("100 rows", ("/tasks?order=id&limit=100",)),
    Scenario(
        "embed",
        tuple(
            f"/clients?select=id,name,projects(id,name,tasks(id,name,done))&id=eq.{number}"
            for number in range(1, 101)
        ),
    ),
    Scenario(
        "insert",
        ("/notes",),
        (("content-type", "application/json"), ("prefer", "return=minimal")),
        b'{"title":"A note","body":"Written by the benchmark."}',
    ),
)
