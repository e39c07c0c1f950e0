"""The SDK through a network that lies: `python -m tests.faults.sdk [OPERATIONS]`.

Between client and server stands a proxy that, each for 5 % of the requests, kills the
connection (before the request is passed on, or after it, or in the middle of the answer),
delays it, or passes it on twice. Reads must be right, acknowledged writes present once, and
no call may outlive its deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import h11
import jwt

from edge_client import AsyncEdgeClient, EdgeError, Retry, Timeout
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import SECRET, SHOP, execute
from tests.http.processes import running
from tests.loopback import LoopbackServer
from tests.roles import ROLES

SHARE = 0.05
DEADLINE = 10.0
GRACE = 1.0
"""Seconds that a busy machine may take to notice that a deadline has passed."""
CALLERS = 8


class LyingProxy(LoopbackServer):
    """An HTTP/1.1 proxy in front of `host:port`; `faults` counts what it did."""

    def __init__(self, host: str, port: int, chance: random.Random) -> None:
        super().__init__()
        self._target = (host, port)
        self._chance = chance
        self.faults: Counter[str] = Counter()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while (message := await read_message(reader, h11.SERVER)) is not None:
                    if not await self._pass_on(message, writer):
                        break
        finally:
            writer.transport.abort()

    async def _pass_on(self, message: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        lot = self._chance.random()
        if lot < SHARE:
            when = self._chance.choice(("before", "after", "amid"))
            self.faults[f"killed {when}"] += 1
            if when == "before":
                return False
            answer = await self._ask(message)
            if when == "amid":
                writer.write(answer[: self._chance.randrange(1, len(answer))])
                await writer.drain()
            return False
        if lot < 2 * SHARE:
            self.faults["delayed"] += 1
            await asyncio.sleep(self._chance.uniform(0.05, 1.5))
        answer = await self._ask(message)
        if 2 * SHARE <= lot < 3 * SHARE:
            self.faults["duplicated"] += 1
            second = await self._ask(message)
            answer = self._chance.choice((answer, second))
        writer.write(answer)
        await writer.drain()
        return True

    async def _ask(self, message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(message)
            answer = await read_message(reader, h11.CLIENT, request=message)
        finally:
            writer.close()
        if answer is None:
            raise ConnectionResetError
        return answer


async def read_message(
    reader: asyncio.StreamReader,
    role: type[h11.CLIENT] | type[h11.SERVER],
    *,
    request: bytes = b"",
) -> bytes | None:
    """The bytes of the next request (as a server) or of the answer to `request`."""
    connection = h11.Connection(role)
    if request:
        told = h11.Connection(h11.SERVER)
        told.receive_data(request)
        head = told.next_event()
        assert isinstance(head, h11.Request)
        connection.send(head)
        # The body's length is of no matter for reading the answer.
    message = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65536)
            if not data and not message:
                return None
            if not data:
                raise ConnectionResetError
            message += data
            connection.receive_data(data)
        elif isinstance(event, h11.EndOfMessage):
            return message
        elif isinstance(event, h11.ConnectionClosed):
            return None


@dataclass
class Tally:
    """What came of the operations."""

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    acknowledged: dict[int, str] = field(default_factory=dict)
    attempts: int = 0
    longest: float = 0.0


async def operate(
    db: AsyncEdgeClient, number: int, chance: random.Random, tally: Tally
) -> None:
    """One operation: a read of a known row, a stream, or a write with a key of its own."""
    kind = chance.choices(("read", "function", "stream", "insert", "upsert"), (5, 1, 1, 2, 2))[
        0
    ]
    key, name = 10_000 + number, f"name {number}"
    customers = db.table("customers")
    began = time.monotonic()
    try:
        match kind:
            case "read":
                known = chance.randint(1, 3)
                query = customers.select("name,orders(id)", count="exact").eq("id", known)
                answer = await query
                right = [{1: "Ada", 2: "Béla", 3: "Cy"}[known]]
                if [row["name"] for row in answer.data] != right or answer.count != 1:
                    tally.wrong.append(f"{kind} {known}: {answer}")
                tally.attempts += answer.attempts
            case "function":
                added = await db.rpc("add", {"a": number, "b": 1}, get=True)
                if added.data != number + 1:
                    tally.wrong.append(f"{kind} {number}: {added.data}")
                tally.attempts += added.attempts
            case "stream":
                known_rows = customers.select("id").lte("id", 3).stream(1)
                if [row["id"] async for row in known_rows] != [1, 2, 3]:
                    tally.wrong.append(kind)
            case "insert":
                made = await customers.insert({"id": key, "name": name}, returning="minimal")
                tally.acknowledged[key] = name
                tally.attempts += made.attempts
            case _:
                query = customers.upsert(
                    {"id": key, "name": name}, on_conflict="id", returning="minimal"
                )
                merged = await query
                tally.acknowledged[key] = name
                tally.attempts += merged.attempts
        tally.done[kind] += 1
    except EdgeError as error:
        tally.failed[f"{kind}: {type(error).__name__}"] += 1
    tally.longest = max(tally.longest, time.monotonic() - began)


async def run(
    host: str, port: int, token: str, operations: int, seed: int
) -> tuple[Tally, Counter[str]]:
    """Perform `operations` through a lying proxy, then compare with what the server has."""
    chance, tally = random.Random(seed), Tally()
    numbers = iter(range(operations))
    async with LyingProxy(host, port, random.Random(seed + 1)) as proxy:
        timeout = Timeout(total=DEADLINE, read=3.0)
        retry = Retry(attempts=8, first_wait=0.02)
        async with AsyncEdgeClient(proxy.url, token=token, timeout=timeout, retry=retry) as db:

            async def caller() -> None:
                for number in numbers:
                    await operate(db, number, chance, tally)

            await asyncio.gather(*(caller() for _ in range(CALLERS)))
        faults = proxy.faults
    async with AsyncEdgeClient(f"http://{host}:{port}", token=token) as db:
        rows = db.table("customers").select("id,name").gte("id", 10_000).stream(1000)
        found = [(row["id"], row["name"]) async for row in rows]
    tally.wrong += [
        f"twice: {key}" for key, n in Counter(key for key, _ in found).items() if n > 1
    ]
    missing = tally.acknowledged.items() - set(found)
    tally.wrong += [f"acknowledged, not there: {key}" for key, _ in missing]
    return tally, faults


def main() -> int:
    """Run against a server of its own; 0 if nothing went wrong."""
    operations = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    claims = {"role": "web_user", "exp": int(time.time()) + 36_000}
    token = jwt.encode(claims, SECRET, "HS256")
    with (
        tempfile.TemporaryDirectory() as directory,
        tempfile.TemporaryDirectory() as data,
        EmbeddedPostgres(Path(data), durable=False) as postgres,
    ):
        asyncio.run(execute(postgres.dsn, ROLES + SHOP.read_text()))
        config = Path(directory, "edge.conf")
        dsn = postgres.dsn_for("postgres", "authenticator")
        config.write_text(
            f'db-uri = "{dsn}"\ndb-schemas = "api"\ndb-anon-role = "web_anon"\n'
            f'jwt-secret = "{SECRET}"\nserver-host = "127.0.0.1"\nserver-port = 0\n'
        )
        command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
        with running(command) as server:
            seed = random.randrange(1_000_000)
            began = time.monotonic()
            tally, faults = asyncio.run(run(server.host, server.port, token, operations, seed))
            took = time.monotonic() - began
    lines = (
        f"{operations} operations in {took:.0f} s, seed {seed}",
        f"done        {dict(tally.done)}",
        f"failed      {dict(tally.failed)}",
        f"faults      {dict(faults)}",
        f"wrong       {tally.wrong or 'nothing'}",
        f"longest     {tally.longest:.2f} s (deadline {DEADLINE:.0f} s)",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if tally.wrong or tally.longest > DEADLINE + GRACE else 0


if __name__ == "__main__":
    sys.exit(main())
