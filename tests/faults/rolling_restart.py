"""One server replaced by the next under load, again and again: no request may be lost.

Run as `python -m tests.faults.rolling_restart`. A new process starts on the same port
(`server-reuseport`), the old one gets SIGTERM, and so on, while clients ask in three ways:
over HTTP/1.1 on connections that they keep, over HTTP/1.1 with a connection for each request,
and over HTTP/2. They do what real clients do and no more: a request that GOAWAY or
REFUSED_STREAM says was not begun is sent again on another connection, and so is one whose
kept HTTP/1.1 connection turned out to be closed, which is counted. Whatever else goes wrong
is a lost request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.faults.clients import Answer, Broken, Http1, Http2, Unprocessed
from tests.faults.disconnects import SCHEMA
from tests.http.processes import ServerProcess, running
from tests.ports import free_port

Kind = Literal["http/1.1 kept", "http/1.1 new", "http/2"]
KINDS: Final[tuple[Kind, ...]] = ("http/1.1 kept", "http/1.1 new", "http/2")
_PATIENCE: Final = 20.0  # seconds for one answer


@dataclass(slots=True)
class Verdict:
    """How many requests were answered, sent again, lost: by kind, and why."""

    answered: Counter[Kind] = field(default_factory=Counter)
    again: Counter[Kind] = field(default_factory=Counter)
    lost: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    restarts: int = 0
    longest_stop: float = 0.0
    logs: list[str] = field(default_factory=list)

    def lost_by(self, kind: Kind) -> int:
        """How many requests of a kind were lost."""
        return sum(count for (lost, _), count in self.lost.items() if lost == kind)


class RollingRestart:
    """Clients of a port, and the processes that take turns behind it."""

    def __init__(self, config: Path, port: int, *, clients: int, seed: int) -> None:
        self._command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
        self._port = port
        self._clients = clients
        self._dice = random.Random(seed)
        self._stop = False
        self._shared: list[Http2 | None] = [None] * max(1, clients // 4)
        self._opening = [asyncio.Lock() for _ in self._shared]
        self.verdict = Verdict()

    async def run(self, restarts: int, between: float) -> Verdict:
        """Restart so often, `between` seconds after the one before was over."""
        with ExitStack() as first:
            server = await asyncio.to_thread(first.enter_context, running(self._command))
            async with asyncio.TaskGroup() as group:
                for number in range(self._clients):
                    group.create_task(self._keep_asking("http/1.1 kept", number))
                    group.create_task(self._keep_asking("http/1.1 new", number))
                    group.create_task(self._keep_asking("http/2", number))
                stack = first.pop_all()
                for _ in range(restarts):
                    await asyncio.sleep(between)
                    following = ExitStack()
                    successor = await asyncio.to_thread(
                        following.enter_context, running(self._command)
                    )
                    await self._end(server)
                    await asyncio.to_thread(stack.close)
                    server, stack = successor, following
                    self.verdict.restarts += 1
                await asyncio.sleep(between)
                self._stop = True
        await self._end(server)
        await asyncio.to_thread(stack.close)
        return self.verdict

    async def _end(self, server: ServerProcess) -> None:
        began = time.monotonic()
        server.signal()
        code, _ = await asyncio.to_thread(server.wait, 60)
        self.verdict.longest_stop = max(self.verdict.longest_stop, time.monotonic() - began)
        if code != 0 or "Traceback" in server.log or "Cut off" in server.log:
            self.verdict.logs.append(f"exit code {code}: {server.log[-1500:]}")

    async def _keep_asking(self, kind: Kind, number: int) -> None:
        kept: Http1 | None = None
        while not self._stop:
            path = f"/rpc/nap?seconds={self._dice.choice((0, 0, 0, 0.02, 0.2)):g}"
            try:
                async with asyncio.timeout(_PATIENCE):
                    match kind:
                        case "http/1.1 kept":
                            kept, answer = await self._ask_kept(kept, path)
                        case "http/1.1 new":
                            answer = await self._ask_anew(path)
                        case _:
                            answer = await self._ask_http2(number % len(self._shared), path)
            except (Broken, OSError, TimeoutError) as error:
                self.verdict.lost[kind, repr(error)[:100]] += 1
                kept = None
            else:
                if answer.status == 200:
                    self.verdict.answered[kind] += 1
                else:
                    self.verdict.lost[kind, f"{answer.status} {bytes(answer.body)!r}"] += 1
            await asyncio.sleep(self._dice.uniform(0, 0.01))
        if kept is not None:
            kept.abort()

    async def _ask_kept(self, kept: Http1 | None, path: str) -> tuple[Http1, Answer]:
        if kept is not None and kept.usable:
            try:
                return kept, await kept.request("GET", path)
            except Broken as error:
                if not error.stale:
                    raise
                self.verdict.again["http/1.1 kept"] += 1
        fresh = await Http1.connect("127.0.0.1", self._port)
        return fresh, await fresh.request("GET", path)

    async def _ask_anew(self, path: str) -> Answer:
        connection = await Http1.connect("127.0.0.1", self._port)
        try:
            return await connection.request("GET", path)
        finally:
            connection.abort()

    async def _ask_http2(self, slot: int, path: str) -> Answer:
        while True:
            async with self._opening[slot]:
                connection = self._shared[slot]
                if connection is None or not connection.usable:
                    connection = await Http2.connect("127.0.0.1", self._port)
                    self._shared[slot] = connection
            try:
                return await connection.request("GET", path)
            except Unprocessed:
                self.verdict.again["http/2"] += 1


def rolling_restart(
    server: EmbeddedPostgres,
    database: str,
    scratch: Path,
    *,
    restarts: int,
    clients: int,
    between: float = 0.5,
    seed: int = 0,
) -> Verdict:
    """Run the whole against an empty `database`."""
    asyncio.run(execute(server.dsn_for(database), SCHEMA))
    port = free_port()
    settings = {
        "db-uri": server.dsn_for(database, "faults_server"),
        "db-schemas": "faults",
        "db-anon-role": "faults_anon",
        "db-pool": 10,
        "server-host": "127.0.0.1",
        "server-port": port,
        "server-reuseport": True,
        "log-level": "crit",
    }
    config = scratch / "rolling.conf"
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    return asyncio.run(
        RollingRestart(config, port, clients=clients, seed=seed).run(restarts, between)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a request was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.rolling_restart")
    parser.add_argument("--restarts", type=int, default=10, help="of the server (10)")
    parser.add_argument("--clients", type=int, default=8, help="of each kind (8)")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked (0)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="rolling-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            verdict = rolling_restart(
                database,
                "postgres",
                scratch,
                restarts=options.restarts,
                clients=options.clients,
                seed=options.seed,
            )
    print(
        f"{verdict.restarts} restarts; the longest took"
        f" {verdict.longest_stop:.1f} s from SIGTERM to the end"
    )
    for kind in KINDS:
        print(
            f"  {kind:14} {verdict.answered[kind]:7} answered,"
            f" {verdict.again[kind]:3} sent again, {verdict.lost_by(kind):3} lost"
        )
    for (kind, reason), count in verdict.lost.items():
        print(f"  lost: {kind}: {count} times {reason}")
    for log in verdict.logs:
        print(log)
    return 1 if verdict.lost or verdict.logs else 0


if __name__ == "__main__":
    sys.exit(main())
