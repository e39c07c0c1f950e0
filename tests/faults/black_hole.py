"""One app's database swallowed by the network: the other app does not notice.

Run as root: `python -m tests.faults.black_hole`. A server has two apps. The database of one is
reached through a network namespace, which then drops every packet that it should send: nobody
is told anything, neither by a reset nor by an error. The other app is asked at a steady rate
before and meanwhile, and the slowest one in a hundred of its answers must take about as long.
The swallowed app's callers must be told something within a bounded time, and be served again
once the network is back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
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
import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.faults.clients import Broken, Http2
from tests.http.processes import ROOT, ServerProcess, running
from tests.pool.relay import Relay

_SCHEMA: Final = """
create role hole_server login noinherit;
create role hole_caller;
grant hole_caller to hole_server;
create function public.ping() returns int language sql stable as 'select 1';
"""
_NOISE: Final = 0.05
"""Seconds by which an app's slowest answers may differ for no reason of ours."""


class Unavailable(Exception):
    """A network namespace can't be had here; says why."""


@dataclass(slots=True)
class Answers:
    """What an app's callers were told, and how long each of them took (seconds)."""

    told: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """The time within which `share` of the answers came."""
        ordered = sorted(self.times)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The other app before and meanwhile, the swallowed one meanwhile; `back`: seconds from
    the network's return to its first answer."""

    before: Answers
    during: Answers
    swallowed: Answers
    back: float

    @property
    def wrong(self) -> tuple[str, ...]:
        """Each broken promise."""
        wrong = []
        for name, answers in (("before", self.before), ("meanwhile", self.during)):
            if set(answers.told) != {"200"}:
                wrong.append(f"the other app, {name}: {dict(answers.told)}")
        if self.during.percentile(0.99) > 2 * self.before.percentile(0.99) + _NOISE:
            wrong.append("the other app became slow")
        if "200" in self.swallowed.told:
            wrong.append("the network did not swallow anything")
        return tuple(wrong)


def addresses(name: str) -> tuple[str, str]:
    """Ours and the other end's. Those of another namespace are others: one that a run left
    behind which was killed is not in the way."""
    network = int(name[-4:], 16) & 0xFFFC
    first = f"10.213.{network >> 8}."
    return f"{first}{(network & 0xFF) + 1}", f"{first}{(network & 0xFF) + 2}"


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace with `addresses`. Raises `Unavailable`."""
    if os.geteuid() != 0:
        raise Unavailable("only root can make network namespaces")
    if shutil.which("ip") is None:
        raise Unavailable("there is no `ip` program")
    name = f"hole-{secrets.token_hex(3)}"
    ours, theirs = f"{name[-6:]}-a", f"{name[-6:]}-b"
    here, there = addresses(name)
    try:
        _ip("netns", "add", name)
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        _ip("addr", "add", f"{here}/30", "dev", ours)
        _ip("link", "set", ours, "up")
        _ip("-n", name, "addr", "add", f"{there}/30", "dev", theirs)
        _ip("-n", name, "link", "set", theirs, "up")
        yield name
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"`ip` says: {error.stderr.decode().strip()}") from error
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def swallow(name: str) -> None:
    """Have the namespace drop whatever it should send us."""
    _ip("-n", name, "route", "add", "blackhole", f"{addresses(name)[0]}/32")


def let_go(name: str) -> None:
    """Have it send again."""
    _ip("-n", name, "route", "del", "blackhole", f"{addresses(name)[0]}/32")


@contextmanager
def _relay_in(name: str, socket_path: str) -> Iterator[int]:
    """A relay to the database's unix socket, which listens in the namespace; its port."""
    command = [sys.executable, "-m", "tests.faults.black_hole", "--relay", socket_path]
    command.append(addresses(name)[1])
    with subprocess.Popen(
        ["ip", "netns", "exec", name, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def _relay(socket_path: str, host: str) -> None:
    async with Relay(socket_path, host=host) as relay:
        print(relay.port, flush=True)
        await asyncio.Event().wait()


def black_hole(*, rate: float, seconds: float, patience: int | None = None) -> Verdict:
    """Ask both apps at `rate` requests a second for `seconds` before and meanwhile.

    `patience`: seconds for db-pool-acquisition-timeout and tcp_user_timeout, which otherwise
    are what they are by default. Raises `Unavailable`.
    """
    waits, gives_up = "", ""
    if patience is not None:
        waits = f"db-pool-acquisition-timeout = {patience}\n"
        gives_up = f"&tcp_user_timeout={patience * 1000}&connect_timeout={patience}"
    with tempfile.TemporaryDirectory(prefix="hole-") as directory, namespace() as name:
        scratch = Path(directory)
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            asyncio.run(_execute(database.dsn, _SCHEMA))
            socket_path = f"{database.socket_directory}/.s.PGSQL.{database.port}"
            with _relay_in(name, socket_path) as port:
                good = database.dsn_for(user="hole_server")
                place = f"{addresses(name)[1]}:{port}"
                bad = f"postgresql://hole_server@{place}/postgres?sslmode=disable{gives_up}"
                config = scratch / "hole.conf"
                config.write_text(
                    'db-schemas = "public"\ndb-anon-role = "hole_caller"\ndb-pool = 5\n'
                    'server-host = "127.0.0.1"\nserver-port = 0\nlog-level = "crit"\n'
                    f'{waits}[apps.good]\npath-prefix = "/good"\ndb-uri = {json.dumps(good)}\n'
                    f'[apps.bad]\npath-prefix = "/bad"\ndb-uri = {json.dumps(bad)}\n'
                )
                command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
                with running(command) as server:
                    return asyncio.run(_measure(server, name, rate, seconds))


async def _measure(server: ServerProcess, name: str, rate: float, seconds: float) -> Verdict:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        first = Answers()
        while first.told["200 bad"] == 0 or first.told["200 good"] == 0:
            for app in ("good", "bad"):
                answer = await client.get(f"/{app}/rpc/ping")
                first.told[f"{answer.status_code} {app}"] += 1
        # Of its own, for the client of the other app is slower the more of its requests hang.
        quick = await Http2.connect(server.host, server.port)

        async def good() -> int:
            return (await quick.request("GET", "/good/rpc/ping")).status

        async def bad() -> int:
            return (await client.get("/bad/rpc/ping")).status_code

        before, _ = await asyncio.gather(_ask(good, rate, seconds), _ask(bad, rate, seconds))
        await asyncio.to_thread(swallow, name)
        during, swallowed = await asyncio.gather(
            _ask(good, rate, seconds), _ask(bad, rate, seconds)
        )
        quick.abort()
        await asyncio.to_thread(let_go, name)
        began = time.monotonic()
        # Nobody tells when the server has noticed.
        while (await client.get("/bad/rpc/ping")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return Verdict(before, during, swallowed, time.monotonic() - began)


async def _ask(ask: Callable[[], Awaitable[int]], rate: float, seconds: float) -> Answers:
    """What is answered to requests begun at a steady rate, when all are answered."""
    answers = Answers()
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one() -> None:
        start = loop.time()
        try:
            told = str(await ask())
        except (httpx.TransportError, Broken) as error:
            told = type(error).__name__
        answers.told[told] += 1
        answers.times.append(loop.time() - start)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(began + number / rate - loop.time(), 0))
            group.create_task(one())
    return answers


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a promise was broken, 2 where it can't run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.black_hole")
    parser.add_argument("--rate", type=float, default=40, help="requests/s to each app (40)")
    parser.add_argument("--seconds", type=float, default=15, help="before and meanwhile (15)")
    parser.add_argument("--relay", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.relay is not None:
        asyncio.run(_relay(*options.relay))
        return 0
    try:
        verdict = black_hole(rate=options.rate, seconds=options.seconds)
    except Unavailable as error:
        print(f"skipped: {error}")
        return 2
    print(
        f"the other app's p99: {verdict.before.percentile(0.99) * 1000:.0f} ms before,"
        f" {verdict.during.percentile(0.99) * 1000:.0f} ms meanwhile"
        f" (p50 {verdict.before.percentile(0.5) * 1000:.1f} and"
        f" {verdict.during.percentile(0.5) * 1000:.1f} ms)"
    )
    print(
        f"the swallowed app: {dict(verdict.swallowed.told)}, the slowest after"
        f" {max(verdict.swallowed.times):.1f} s; first answer {verdict.back:.2f} s after the"
        f" network was back; {len(verdict.wrong)} broken promises"
    )
    for wrong in verdict.wrong:
        print(wrong)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
