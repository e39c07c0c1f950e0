"""How many bytecode instructions a request costs: `python -m tests.speed.cost`.

Times say little on a busy machine; what the interpreter executes of this repository's code
is the same every time. Each scenario goes through the data plane, the pipeline and back,
with a database that answers at once, and what it executed is compared with costs.json. A
scenario that costs more than a tenth more than is written there fails the check; `--write`
writes the counts anew, for the version of Python that runs this.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import jwt

from pool.model import Outcome, Transaction
from proxy.auth.keys import load_keys
from proxy.auth.model import AuthRules
from proxy.auth.role_claim import parse_role_claim
from proxy.auth.token_cache import Authenticator
from proxy.http.asgi import Message, Scope
from proxy.http.data_plane import DataPlane
from proxy.observability.record import Record
from proxy.openapi.swagger import OpenApiOptions
from proxy.pipeline import answer
from proxy.plan.planner import PlanRules
from proxy.plan.read import ReadRules
from proxy.prepared.queries import PreparedQueries
from proxy.prepared.rules import QueryRules
from proxy.request.api_request import RequestRules
from proxy.request.model import HttpRequest
from proxy.response.model import Response
from proxy.state.app_state import AppState
from tests.apps_of_one_state import AppOfOneState
from tests.plan.sample import CACHE, SCHEMA

TABLE: Final = Path(__file__).with_name("costs.json")
ALLOWED: Final = 1.10
OURS: Final = tuple(str(Path(__file__).parents[2] / name) for name in ("proxy", "pool"))
SECRET: Final = "a secret for counting that is long enough"
# From Python 3.12 on; tracing misses instructions there.
_MONITORING: Final[Any] = getattr(sys, "monitoring", None)
_TOOL: Final = 4
VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

ROW: Final[dict[str, Any]] = {
    "total": None,
    "page": 1,
    "body": b'[{"id":1,"name":"a"}]',
    "response_headers": None,
    "response_status": None,
    "location": None,
    "inserted": None,
}


@dataclass(frozen=True)
class Scenario:
    """A request as clients send it; `recognised`: its shape has been met before."""

    name: str
    target: str
    method: str = "GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    recognised: bool = True


def _token() -> tuple[bytes, bytes]:
    token = jwt.encode({"role": "web_user", "sub": "1"}, SECRET, "HS256")
    return b"authorization", f"Bearer {token}".encode()


_EMBED: Final = "/clients?select=id,name,projects(id,name,tasks(id,name))&id=eq.1"
_JSON: Final = ((b"content-type", b"application/json"), (b"prefer", b"return=minimal"))
SCENARIOS: Final = (
    Scenario("one row", "/clients?id=eq.1"),
    Scenario("one row, new shape", "/clients?id=eq.1", recognised=False),
    Scenario("one row, token", "/clients?id=eq.1", headers=(_token(),)),
    Scenario("page", "/tasks?order=id&limit=100"),
    Scenario("embed", _EMBED),
    Scenario("embed, new shape", _EMBED, recognised=False),
    Scenario("filters", "/tasks?id=in.(1,2,3)&name=like.a*&project_id=gte.7"),
    Scenario("call", "/rpc/projects_of?client=1"),
    Scenario("insert", "/clients", "POST", _JSON, b'{"id":1,"name":"a"}'),
    Scenario("insert, new shape", "/clients", "POST", _JSON, b'{"id":1}', recognised=False),
)
_CLIENT_HEADERS: Final = (
    (b"host", b"localhost:3000"),
    (b"user-agent", b"count/1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip"),
)


def state_for(*, recognises: bool) -> AppState:
    """A server's state over the sample schema."""
    rules = AuthRules(None, parse_role_claim("$.role"), "web_anon")
    return AppState(
        authenticator=Authenticator(rules, load_keys(SECRET, False)),
        queries=PreparedQueries(
            CACHE,
            QueryRules(RequestRules((SCHEMA,)), PlanRules(ReadRules(aggregates_enabled=True))),
            1000 if recognises else 0,
        ),
        openapi=OpenApiOptions("16", "localhost", 3000, None, False, (SCHEMA,)),
    )


async def _run(transaction: Transaction) -> Outcome:
    return Outcome([ROW], (), kept=True)


class _Counter:
    """Counts the instructions executed in this repository's code while it is entered."""

    def __init__(self) -> None:
        self.instructions = 0
        self._former = sys.gettrace()

    def __enter__(self) -> _Counter:
        if _MONITORING is None:
            sys.settrace(self._trace)
        else:
            events = _MONITORING.events
            _MONITORING.use_tool_id(_TOOL, "cost")
            _MONITORING.register_callback(_TOOL, events.INSTRUCTION, self._instruction)
            _MONITORING.set_events(_TOOL, events.INSTRUCTION)
        return self

    def __exit__(self, *_: object) -> None:
        if _MONITORING is None:
            sys.settrace(self._former)
        else:
            _MONITORING.set_events(_TOOL, 0)
            _MONITORING.free_tool_id(_TOOL)

    def _instruction(self, code: CodeType, offset: int) -> None:
        self.instructions += code.co_filename.startswith(OURS)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._opcode

    def _opcode(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            self.instructions += 1
        return self._opcode


async def _serve(plane: DataPlane, scenario: Scenario) -> int:
    path, _, query = scenario.target.partition("?")
    scope: Scope = {
        "type": "http",
        "http_version": "2",
        "method": scenario.method,
        "raw_path": path.encode(),
        "path": path,
        "query_string": query.encode(),
        "headers": [*_CLIENT_HEADERS, *scenario.headers],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": scenario.body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await plane(scope, receive, send)
    status: int = sent[0]["status"]
    return status


async def cost_of(scenario: Scenario) -> int:
    """The instructions of one request; raises RuntimeError when it fails."""
    app = AppOfOneState(state_for(recognises=scenario.recognised), _run)

    async def answered(request: HttpRequest, record: Record) -> Response:
        return await answer(app, request, record)

    plane = DataPlane(answered)
    for _ in range(3):
        # What is kept for later requests is not what a request costs.
        await _serve(plane, scenario)
    counted = []
    for _ in range(3):
        with _Counter() as counter:
            status = await asyncio.create_task(_serve(plane, scenario))
        if not 200 <= status < 300:
            raise RuntimeError(f"{scenario.name} was answered {status}")
        counted.append(counter.instructions)
    # On a busy machine a timer may ring meanwhile.
    return min(counted)


async def costs() -> dict[str, int]:
    """The cost of each scenario."""
    return {scenario.name: await cost_of(scenario) for scenario in SCENARIOS}


def complaints(known: dict[str, int], found: dict[str, int]) -> list[str]:
    """What is wrong with the costs `found`, given those that are written down."""
    problems = []
    for name, cost in found.items():
        if name not in known:
            problems.append(f"{name}: costs {cost}, and nothing is written down")
        elif cost > known[name] * ALLOWED:
            problems.append(f"{name}: costs {cost}, more than a tenth above {known[name]}")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when no scenario costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write costs.json anew")
    parser.add_argument("--show", action="store_true", help="print the costs")
    options = parser.parse_args(arguments)
    table: dict[str, dict[str, int]] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    found = asyncio.run(costs())
    if options.write:
        table[VERSION] = found
        TABLE.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n")
    if options.show:
        for name, cost in found.items():
            print(f"{name:24}{cost:8}")
    known = table.get(VERSION)
    if known is None:
        print(f"No costs are written down for Python {VERSION}", file=sys.stderr)
        return 0
    problems = complaints(known, found)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("If it is worth it: python -m tests.speed.cost --write", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
