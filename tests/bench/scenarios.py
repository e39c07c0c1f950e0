"""What is measured: the requests of each scenario, against the tables of schema.sql."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import jwt

SCHEMA: Final = "bench"
ANON_ROLE: Final = "bench_anon"
SERVER_ROLE: Final = "bench_server"
SECRET: Final = "a secret for benchmarks that is long enough"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request.

    `targets` (path and query, percent-encoded) are sent in turn; they differ in values
    only, so that all of them are one SQL statement. A `body` makes it a POST. An answer whose
    status begins with `wanted` is a success. `ways` are those in which it is sent unless
    others are asked for: names of `tests.bench.http_load.WAYS`. With `revalidates`, a server
    that keeps answers is sent the tag that it gave before, and is to say 304; one that keeps
    none is sent the same request without it.
    """

    name: str
    targets: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    wanted: str = "2"
    ways: tuple[str, ...] = ("h2 16x4",)
    revalidates: bool = False

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


def _bearer(claims: dict[str, str]) -> tuple[str, str]:
    return "authorization", f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"


_WRITES: Final = (("content-type", "application/json"), ("prefer", "return=minimal"))
_NOTE: Final = {"title": "A note", "body": "Written by the benchmark."}

SCENARIOS: Final = (
    Scenario(
        "single row",
        tuple(f"/clients?id=eq.{number}" for number in range(1, 101)),
        ways=("h2 16x4", "h1 16", "h1 64", "short h2"),
    ),
    Scenario("100 rows", ("/tasks?order=id&limit=100",), ways=("h2 16x4", "h1 16")),
    Scenario(
        "embed",
        tuple(
            f"/clients?select=id,name,projects(id,name,tasks(id,name,done))&id=eq.{number}"
            for number in range(1, 101)
        ),
        ways=("h2 16x4", "h1 16"),
    ),
    Scenario(
        "rls and token",
        tuple(
            f"/accounts?balance=gte.{number}&order=id&limit=10&select=id,owner,balance"
            for number in range(1, 101)
        ),
        (_bearer({"role": "bench_user", "sub": "user7"}),),
    ),
    Scenario("rpc", tuple(f"/rpc/clients_named?part=Client%20{n}" for n in range(1, 10))),
    Scenario("insert", ("/notes",), _WRITES, json.dumps(_NOTE).encode()),
    Scenario("bulk insert", ("/notes",), _WRITES, json.dumps([_NOTE] * 1000).encode()),
    Scenario("cached hit", tuple(f"/kept?id=eq.{number}" for number in range(1, 101))),
    # Another row than the one above, whose answer is kept by the time its SQL is looked at.
    Scenario("304", ("/kept?id=eq.2",), revalidates=True),
)
