"""A proxy with two hundred callers before one server, and all that can go wrong at once:
`python -m tests.engines.chaos [--minutes N] [--seed N]`.

Behind Caddy all callers share a few connections. Three quarters of them ask for what is right,
over HTTP/1.1 and HTTP/2; the others break off, reset, send what is malformed (to the server
itself as well), read as slowly as can be, or send half a body. Meanwhile the database is
restarted, by turns politely and by a crash. Thereafter

* every innocent request was answered, or was told by the server itself
  that the database is away or that too much waits for it; what was acknowledged is there once,
  and nothing twice;
* the server holds no more memory, descriptors, tasks and objects than in the beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import uvloop

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.engines import http1_cases, http2_cases
from tests.engines.model import GREETING
from tests.faults.clients import Answer, Broken, Http1, Http2, Unprocessed
from tests.faults.disconnects import SCHEMA
from tests.faults.soak import Holding, look
from tests.http.processes import ServerProcess, running
from tests.ports import free_port

CALLERS: Final = 200
CHECKPOINTS: Final = 10
_SHARED: Final = 5
"""Connections over HTTP/2 that the innocent share."""
_TIMEOUT: Final = 60.0  # seconds, for one request
_SLACK: Final = 1.1
"""How many times what was held at the second checkpoint the last one may find."""
_AWAY: Final = frozenset((503, 504))
"""What a request may be told when the database is away; of a write it may not be known then
whether it was done."""


KEPT: Final = {"synchronous_commit": "on"}
"""Settings of the database: what was acknowledged is to outlive a crash of its processes."""


@dataclass(slots=True)
class Verdict:
    """How requests ended, what was held at the checkpoints, and what was wrong."""

    innocent: Counter[str] = field(default_factory=Counter)
    trouble: Counter[str] = field(default_factory=Counter)
    held: list[Holding] = field(default_factory=list)
    restarts: int = 0
    wrong: list[str] = field(default_factory=list)


class Callers:
    """All of them, before one proxy."""

    def __init__(self, port: int, server: ServerProcess, callers: int, seed: int) -> None:
        self._port = port
        self._callers = callers
        self._server = server
        self._dice = random.Random(seed)
        self._shared: list[Http2 | None] = [None] * _SHARED
        self._opening = [asyncio.Lock() for _ in self._shared]
        self._until = 0.0
        self._number = 0
        self.acknowledged: set[int] = set()
        self.verdict = Verdict()
        self._malformed = [case.sent for case in http1_cases.CASES] + [
            case.sent if case.first else GREETING + case.sent for case in http2_cases.CASES
        ]

    async def run(self, seconds: float) -> None:
        """Call for so long."""
        self._until = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(self._callers):
                work = self._troublesome if number % 4 == 3 else self._innocent
                group.create_task(work(number))
        for connection in self._shared:
            if connection is not None:
                connection.abort()
                await connection.gone()
        self._shared = [None] * _SHARED

    def _goes_on(self) -> bool:
        return asyncio.get_running_loop().time() < self._until

    # --- those who do nothing wrong -------------------------------------------------------

    async def _innocent(self, number: int) -> None:
        own: Http1 | None = None
        while self._goes_on():
            await asyncio.sleep(self._dice.uniform(0, 0.1))
            write = self._dice.random() < 0.2
            try:
                async with asyncio.timeout(_TIMEOUT):
                    if number % 2:
                        if own is None or not own.usable:
                            own = await Http1.connect("127.0.0.1", self._port)
                        told = await self._ask(own, write)
                    else:
                        told = await self._ask(await self._of_all(number), write)
            except (Broken, Unprocessed, OSError, TimeoutError) as error:
                told = f"failed: {type(error).__name__} {error}"[:120]
            self.verdict.innocent[told] += 1
        if own is not None:
            own.abort()
            await own.gone()

    async def _of_all(self, number: int) -> Http2:
        slot = number % _SHARED
        async with self._opening[slot]:
            connection = self._shared[slot]
            if connection is None or not connection.usable:
                connection = await Http2.connect("127.0.0.1", self._port)
                self._shared[slot] = connection
        return connection

    async def _ask(self, connection: Http1 | Http2, write: bool) -> str:
        if not write:
            answer = await connection.request(
                "GET", f"/big?id=eq.{self._dice.randrange(1, 50_000)}&select=id"
            )
            whole = answer.status == 200 and answer.body.startswith(b'[{"id":')
            return "read" if whole else _refusal("a read", answer)
        self._number += 1
        number = self._number
        body = json.dumps({"tag": str(number)}).encode()
        answer = await connection.request("POST", "/written", body=body)
        if answer.status == 201:
            self.acknowledged.add(number)
            return "written"
        return _refusal("a write", answer)

    # --- those who do ---------------------------------------------------------------------

    async def _troublesome(self, number: int) -> None:
        ways: tuple[Callable[[], Awaitable[None]], ...] = (
            self._break_off,
            self._reset,
            self._send_nonsense,
            self._read_slowly,
            self._send_half,
        )
        while self._goes_on():
            way = self._dice.choice(ways)
            with contextlib.suppress(OSError, EOFError, TimeoutError, Broken, Unprocessed):
                await way()
            self.verdict.trouble[way.__name__.strip("_").replace("_", " ")] += 1

    def _moment(self, most: float = 0.1) -> float:
        return self._dice.uniform(0, most)

    async def _break_off(self) -> None:
        connection = await Http1.connect("127.0.0.1", self._port)
        connection.send("GET", self._dice.choice(("/rpc/nap?seconds=2", "/big?limit=9000")))
        await asyncio.sleep(self._moment())
        connection.abort()
        await connection.gone()

    async def _reset(self) -> None:
        connection = await Http2.connect("127.0.0.1", self._port)
        streams = [connection.send("GET", "/rpc/nap?seconds=2") for _ in range(8)]
        await asyncio.sleep(self._moment())
        for stream in streams:
            connection.reset(stream)
        await connection.request("GET", "/big?limit=1")
        connection.abort()
        await connection.gone()

    async def _send_nonsense(self) -> None:
        behind = self._dice.random() < 0.5
        port = self._port if behind else self._server.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(self._dice.choice(self._malformed))
            async with asyncio.timeout(self._moment(1.0)):
                while await reader.read(65536):
                    pass
        finally:
            writer.transport.abort()

    async def _read_slowly(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=4096)
        try:
            writer.write(b"GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            for _ in range(self._dice.randrange(100)):
                await reader.read(16_384)
                await asyncio.sleep(self._moment(0.05))
        finally:
            writer.transport.abort()

    async def _send_half(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(
                b"POST /written HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                b"content-length: 200000\r\n\r\n[" + b" " * self._dice.randrange(150_000)
            )
            async with asyncio.timeout(self._moment(2.0)):
                await reader.read(1)
        finally:
            writer.transport.abort()


def _refusal(what: str, answer: Answer) -> str:
    """What is no fault of the connections: the database was away. A proxy's own 502 and 503
    have no such body."""
    body = bytes(answer.body)
    if answer.status in _AWAY and body.startswith(b'{"code":'):
        return f"{what} was told {answer.status} {json.loads(body)['code']}"
    return f"failed: {what} was told {answer.status} {body[:80]!r}"


async def _restart_now_and_then(
    database: EmbeddedPostgres, between: float, verdict: Verdict, stop: asyncio.Event
) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(between):
                await stop.wait()
                return
        assert database.pid is not None
        os.kill(database.pid, signal.SIGQUIT if verdict.restarts % 2 else signal.SIGINT)
        await asyncio.to_thread(database.stop)
        await asyncio.to_thread(database.start)
        verdict.restarts += 1


async def _run(
    callers: Callers,
    database: EmbeddedPostgres,
    server: ServerProcess,
    reports: Path,
    seconds: float,
    between: float,
    checkpoints: int,
) -> Verdict:
    verdict = callers.verdict
    for _ in range(checkpoints):
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_restart_now_and_then(database, between, verdict, stop))
            await callers.run(seconds / checkpoints)
            stop.set()
        # The connections of those who left are closed, by the proxy too.
        await asyncio.sleep(1)
        verdict.held.append(await look(server, reports))
    connection = await asyncpg.connect(database.dsn)
    rows = await connection.fetch("select tag::int, count(*) from faults.written group by 1")
    await connection.close()
    _judge(verdict, callers.acknowledged, {row[0]: row[1] for row in rows})
    return verdict


def _judge(verdict: Verdict, acknowledged: set[int], found: dict[int, int]) -> None:
    wrong = verdict.wrong
    wrong += [
        f"{n} times {told}" for told, n in verdict.innocent.items() if told.startswith("failed")
    ]
    if lost := [number for number in acknowledged if number not in found]:
        wrong.append(f"acknowledged but not there: {sorted(lost)[:20]}")
    if twice := [number for number, times in found.items() if times > 1]:
        wrong.append(f"there more than once: {sorted(twice)[:20]}")
    first, last = verdict.held[1], verdict.held[-1]
    for what in ("memory", "objects"):
        before, after = getattr(first, what), getattr(last, what)
        if after > before * _SLACK:
            wrong.append(f"{what}: {before}, then {after}")
    for what in ("files", "tasks"):
        before, after = getattr(first, what), getattr(last, what)
        if after > before + 20:
            wrong.append(f"{what}: {before}, then {after}")


def caddy_program() -> str:
    """Caddy's, of this machine or of the environment."""
    return shutil.which("caddy") or str(Path(sys.executable).with_name("caddy"))


@contextmanager
def caddy(upstream: int, scratch: Path) -> Iterator[int]:
    """Caddy before the server at the port `upstream`, as docs/tls.md has it but without TLS;
    its port."""
    port = free_port()
    config = scratch / "Caddyfile"
    config.write_text(
        "{\n admin off\n auto_https off\n servers {\n  protocols h1 h2 h2c\n }\n}\n"
        f"http://:{port} {{\n bind 127.0.0.1\n reverse_proxy h2c://127.0.0.1:{upstream}\n}}\n"
    )
    log = scratch / "caddy.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [caddy_program(), "run", "--adapter", "caddyfile", "--config", str(config)],
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            for _ in range(600):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", port), 1),
                ):
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def chaos(
    database: EmbeddedPostgres,
    scratch: Path,
    *,
    seconds: float,
    between: float,
    callers: int = CALLERS,
    checkpoints: int = CHECKPOINTS,
    seed: int = 0,
) -> Verdict:
    """Run the whole against an empty `database`, which is restarted every `between` seconds."""
    asyncio.run(execute(database.dsn, SCHEMA))
    settings = {
        "db-uri": database.dsn_for("postgres", "faults_server"),
        "db-schemas": "faults",
        "db-anon-role": "faults_anon",
        "db-pool": 10,
        "server-host": "127.0.0.1",
        "server-port": 0,
        "log-level": "crit",
    }
    config, reports = scratch / "chaos.conf", scratch / "chaos.sock"
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    command = [sys.executable, "-m", "tests.faults.soak_server", str(config), str(reports)]
    with running(command) as server, caddy(server.port, scratch) as port:
        all_of_them = Callers(port, server, callers, seed)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            verdict = runner.run(
                _run(all_of_them, database, server, reports, seconds, between, checkpoints)
            )
        if "Traceback" in server.log:
            verdict.wrong.append(server.log[-3000:])
    return verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when somebody innocent was harmed, or all grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines.chaos")
    parser.add_argument("--minutes", type=float, default=20, help="of calling, in all (20)")
    parser.add_argument(
        "--between", type=float, default=20, help="seconds between restarts of the database"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is asked (0)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False, settings=KEPT) as database:
            verdict = chaos(
                database,
                scratch,
                seconds=options.minutes * 60,
                between=options.between,
                seed=options.seed,
            )
    print(f"innocent: {dict(verdict.innocent)}")
    print(f"trouble: {dict(verdict.trouble)}, {verdict.restarts} restarts of the database")
    print("memory/MB  files  tasks  objects")
    for held in verdict.held:
        print(f"{held.memory / 2**20:9.1f} {held.files:6} {held.tasks:6} {held.objects:8}")
    for wrong in verdict.wrong:
        print(wrong)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
