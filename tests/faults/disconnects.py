"""Clients that leave: their queries end at once, and leave the pool as if they had not been.

Run as `python -m tests.faults.disconnects`. Clients send reads, sleeps and writes and go away
at random moments: by resetting an HTTP/2 stream, by closing an HTTP/2 or an HTTP/1.1
connection. Meanwhile pg_stat_activity is sampled for how long each one's query outlives it,
and a query of nobody's is cancelled time after time, straight at the database: what that takes
is the database's and the machine's share, and comes on top of what the server may take.
Thereafter all connections of the pool must be there, none in a transaction, and their state
that of fresh ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, Literal, TypeAlias

import asyncpg
import trustme
from asyncpg import connect_utils

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.faults.clients import Broken, Http1, Http2
from tests.http.processes import ServerProcess, running

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Way = Literal["http/2 stream reset", "http/2 connection closed", "http/1.1 connection closed"]
WAYS: Final[tuple[Way, ...]] = (
    "http/2 stream reset",
    "http/2 connection closed",
    "http/1.1 connection closed",
)

SCHEMA: Final = """
do $$
begin
    if not exists (select from pg_roles where rolname = 'faults_server') then
        create role faults_server login noinherit;
        create role faults_anon;
        grant faults_anon to faults_server;
    end if;
end
$$;
create schema faults;
grant usage on schema faults to faults_anon;
create table faults.big as
    select n as id, md5(n::text) as filler from generate_series(1, 50000) n;
create table faults.written (id bigint generated always as identity, tag text);
grant select on faults.big to faults_anon;
grant select, insert on faults.written to faults_anon;
create function faults.nap(seconds double precision) returns text
    language sql stable as $$select pg_sleep(seconds)::text || 'rested'$$;
create function faults.grind() returns bigint
    language sql stable as
    $$select count(*) from generate_series(1, 1000000000) n where md5(n::text) like 'ab%'$$;
create function faults.write_slowly(tag text, seconds double precision) returns void
    language sql volatile as
    $$insert into faults.written (tag) values (tag); select pg_sleep(seconds)$$;
-- Names each transaction after its request, to be found in pg_stat_activity.
create function faults.name_it() returns void language sql as $$
    select set_config('application_name',
        coalesce(current_setting('request.headers', true)::json ->> 'x-tag', ''), true)
$$;
-- What can be seen of the session that runs it; it takes its time, so that every
-- connection of the pool is asked when as many ask at once.
create function faults.session_state(seconds double precision) returns json
    language sql volatile as $$
    select pg_sleep(seconds);
    select json_build_object(
        'pid', pg_backend_pid(),
        'settings', (select json_object_agg(name, setting order by name) from pg_settings
            where name not in ('transaction_read_only', 'application_name')),
        'foreign_statements', (select count(*) from pg_prepared_statements
            where name not like 'edgerest%' and name not like '\\_\\_asyncpg%'),
        'temporary', (select count(*) from pg_class where relnamespace = pg_my_temp_schema()),
        'advisory', (select count(*) from pg_locks
            where locktype = 'advisory' and pid = pg_backend_pid()),
        'cursors', (select count(*) from pg_cursors where name <> ''),
        'channels', (select count(*) from pg_listening_channels()))
$$;
"""
_SAMPLE: Final = """
select application_name, extract(epoch from clock_timestamp())::float8 from pg_stat_activity
where usename = 'faults_server' and state <> 'idle' and application_name like 'client-%'
"""
_OPEN: Final = """
select count(*) from pg_stat_activity
where usename = 'faults_server' and (xact_start is not null or state <> 'idle')
"""
_LINGERING: Final = """
select application_name, state, query from pg_stat_activity
where usename = 'faults_server' and state <> 'idle' and application_name like 'client-%'
"""
_BETWEEN: Final = 0.003
_WATCHED: Final = 3.0  # seconds that a query is waited for to end


@dataclass(slots=True)
class Verdict:
    """What was found: how long queries outlived their clients, in seconds, by the way these
    left; `caught` of them were seen running. `direct`: how long queries ran on that were
    cancelled without the server. `wrong` names each broken promise."""

    outlived: dict[Way, list[float]] = field(default_factory=dict)
    direct: list[float] = field(default_factory=list)
    caught: int = 0
    wrong: list[str] = field(default_factory=list)


class Disconnects:
    """Clients that leave, and somebody who watches the database."""

    def __init__(
        self,
        server: ServerProcess,
        admin: Admin,
        own: Admin,
        size: int,
        seed: int,
        authority: trustme.CA | None,
        within: float,
        light: bool,
        heavy: bool,
    ) -> None:
        self._own = own
        self._direct: list[tuple[float, float]] = []
        self._light = light
        self._heavy = heavy
        self._at = (server.host, server.port, authority)
        self._admin = admin
        self._size = size
        self._within = within
        self._dice = random.Random(seed)
        self._seen: dict[str, float] = {}
        self._watching = True
        self._shared: list[Http2] = []
        self.left: dict[str, tuple[Way, float]] = {}

    async def run(self, clients: int, at_once: int) -> Verdict:
        """Have so many clients come and go; then look at what they left."""
        before = await self._states()
        self._shared = [await Http2.connect(*self._at) for _ in range(8)]
        watch = asyncio.gather(self._watch(), self._cancel_directly())
        room = asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._come_and_go(number, room))
        last = max(at for _, at in self.left.values())
        while time.time() - max(last, *self._seen.values()) < 0.3:
            if time.time() - last > _WATCHED:
                break
            await asyncio.sleep(0.1)
        self._watching = False
        await watch
        for connection in self._shared:
            connection.abort()
        verdict = self._verdict()
        await self._look_at_what_is_left(before, verdict)
        return verdict

    async def _watch(self) -> None:
        while self._watching:
            for tag, at in await self._admin.fetch(_SAMPLE):
                self._seen[tag] = at
            await asyncio.sleep(_BETWEEN)

    async def _cancel_directly(self) -> None:
        """Note from when until when a query runs on that is cancelled without the server."""
        private: Any = self._own
        while self._watching:
            query = asyncio.create_task(self._own.execute("select pg_sleep(60)"))
            await asyncio.sleep(0.02)
            begun = time.time()
            # It may come before the query: asked again until the query has ended.
            while not query.done():
                await connect_utils._cancel(  # type: ignore[attr-defined]
                    loop=asyncio.get_running_loop(),
                    addr=private._addr,
                    params=private._params,
                    backend_pid=private._protocol.backend_pid,
                    backend_secret=private._protocol.backend_secret,
                )
                await asyncio.wait([query], timeout=1)
            assert isinstance(query.exception(), asyncpg.QueryCanceledError)
            self._direct.append((begun, time.time()))

    def _direct_meanwhile(self, begin: float, end: float) -> float:
        """How long the slowest ran on of those cancelled directly in that time; 0: none was."""
        meanwhile = (to - at for at, to in self._direct if at < end and to > begin)
        return max(meanwhile, default=0.0)

    async def _come_and_go(self, number: int, room: asyncio.Semaphore) -> None:
        tag, way = f"client-{number}", WAYS[number % len(WAYS)]
        async with room:
            method, path, body = self._request(tag)
            headers = {"x-tag": tag}
            stay = self._dice.uniform(0, 0.4)
            if way == "http/1.1 connection closed":
                http1 = await Http1.connect(*self._at)
                http1.send(method, path, headers, body)
                await asyncio.sleep(stay)
                http1.abort()
                await http1.gone()
            elif way == "http/2 connection closed":
                http2 = await Http2.connect(*self._at)
                http2.send(method, path, headers, body)
                await asyncio.sleep(stay)
                http2.abort()
                await http2.gone()
            else:
                shared = self._shared[number % len(self._shared)]
                stream = shared.send(method, path, headers, body)
                await asyncio.sleep(stay)
                shared.reset(stream)
            self.left[tag] = way, time.time()

    def _request(self, tag: str) -> tuple[str, str, bytes]:
        match self._dice.randrange(3):
            case n if n == 0 or (n == 1 and self._light):
                return "GET", "/rpc/nap?seconds=60", b""
            case 1 if not self._heavy:
                path = f"/big?filler=not.like.*{tag}*&order=filler.desc,id&limit=100"
                return "GET", path, b""
            case 1 if self._dice.random() < 0.5:
                return "GET", "/rpc/grind", b""
            case 1:
                return "GET", f"/big?filler=not.like.*{tag}*&order=filler.desc,id", b""
            case _:
                write = {"tag": tag, "seconds": self._dice.choice((0.05, 60))}
                return "POST", "/rpc/write_slowly", json.dumps(write).encode()

    def _verdict(self) -> Verdict:
        verdict = Verdict({way: [] for way in WAYS}, [to - at for at, to in self._direct])
        for tag, (way, at) in self.left.items():
            outlived = max(self._seen.get(tag, 0.0) - at, 0.0)
            verdict.caught += tag in self._seen
            verdict.outlived[way].append(outlived)
            direct = self._direct_meanwhile(at, at + outlived)
            if outlived > self._within + direct:
                verdict.wrong.append(
                    f"{tag} ({way}): its query ran on for {outlived:.3f} s,"
                    f" one cancelled directly for {direct:.3f} s"
                )
        return verdict

    async def _look_at_what_is_left(self, before: list[Any], verdict: Verdict) -> None:
        rows = await self._admin.fetch(_LINGERING)
        verdict.wrong += [f"still there: {dict(row)}" for row in rows]
        open_ = await self._admin.fetchval(_OPEN)
        if open_:
            verdict.wrong.append(f"{open_} connections with a transaction open")
        after = await self._states()
        pids = {state.pop("pid") for state in after}
        if len(pids) != self._size:
            verdict.wrong.append(f"{len(pids)} of {self._size} connections are left")
        for state in before:
            state.pop("pid", None)
        for state in after:
            if state != before[0]:
                verdict.wrong.append(f"a session differs: {_difference(before[0], state)}")

    async def _states(self) -> list[Any]:
        """The state of every connection of the pool, each asked at the same time."""
        connection = await Http2.connect(*self._at)
        path = "/rpc/session_state"
        body = json.dumps({"seconds": 0.5}).encode()
        try:
            answers = await asyncio.gather(
                *(connection.request("POST", path, {}, body) for _ in range(self._size))
            )
        except Broken as error:
            raise RuntimeError(f"the server does not answer any more: {error}") from error
        finally:
            connection.abort()
        if any(answer.status != 200 for answer in answers):
            raise RuntimeError(str([(a.status, bytes(a.body)) for a in answers][:3]))
        return [json.loads(answer.body) for answer in answers]


def _difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in one:
        if isinstance(one[key], dict):
            found |= _difference(one[key], other[key])
        elif one[key] != other[key]:
            found[key] = (one[key], other[key])
    return found


def disconnects(
    *,
    clients: int,
    tls: bool = False,
    seed: int = 0,
    size: int = 20,
    light: bool = False,
    heavy: bool = False,
) -> Verdict:
    """Run the whole against a private PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="disconnects-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            # As if on a machine of its own: what it computes must not keep the server waiting.
            # Behind this process, which `nice` may have put back itself.
            behind = os.getpriority(os.PRIO_PROCESS, 0) + 10
            os.setpriority(os.PRIO_PROCESS, database.pid or 0, behind)
            return disconnects_from(
                database,
                "postgres",
                scratch,
                clients=clients,
                tls=tls,
                seed=seed,
                size=size,
                light=light,
                heavy=heavy,
            )


def disconnects_from(
    server: EmbeddedPostgres,
    database: str,
    scratch: Path,
    *,
    clients: int,
    tls: bool = False,
    seed: int = 0,
    size: int = 20,
    within: float = 0.2,
    light: bool = False,
    heavy: bool = False,
) -> Verdict:
    """Run the whole against an empty `database`; queries must end `within` so many seconds.
    When `light`, none of them computes; when `heavy`, some compute until they are cancelled,
    and some have answers of megabytes."""
    dsn = server.dsn_for(database)
    asyncio.run(_prepare(dsn))
    settings = {
        "db-uri": server.dsn_for(database, "faults_server"),
        "db-schemas": "faults",
        "db-anon-role": "faults_anon",
        "db-pool": size,
        "db-pre-request": "faults.name_it",
        "server-host": "127.0.0.1",
        "server-port": 0,
        "log-level": "crit",
    }
    authority = None
    if tls:
        authority = trustme.CA()
        pem = scratch / "server.pem"
        certificate = authority.issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        settings |= {"server-tls-cert": str(pem), "server-tls-key": str(pem)}
    config = scratch / "disconnects.conf"
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    with running([sys.executable, "-m", "tests.http.edge_server", str(config)]) as edge:
        watched = _watched(edge, dsn, clients, size, seed, authority, within, light, heavy)
        verdict = asyncio.run(watched)
        if "Traceback" in edge.log:
            verdict.wrong.append(edge.log[-2000:])
    return verdict


async def _prepare(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(SCHEMA)
    await connection.close()


async def _watched(
    server: ServerProcess,
    dsn: str,
    clients: int,
    size: int,
    seed: int,
    authority: trustme.CA | None,
    within: float,
    light: bool,
    heavy: bool,
) -> Verdict:
    admin, own = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        run = Disconnects(server, admin, own, size, seed, authority, within, light, heavy)
        # More than the pool has connections: some leave the queue.
        return await run.run(clients, at_once=int(size * 1.5))
    finally:
        await own.close()
        await admin.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.disconnects")
    parser.add_argument("--clients", type=int, default=1000, help="in all (1000)")
    parser.add_argument("--tls", action="store_true", help="encrypted")
    parser.add_argument(
        "--light",
        action="store_true",
        help="no query that computes, so that the processor is free and what is told is ours",
    )
    parser.add_argument(
        "--heavy",
        action="store_true",
        help="queries that compute until they are cancelled, and answers of megabytes: with as"
        " many as there are connections, what is told is how little of the processor is left",
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is asked (0)")
    options = parser.parse_args(arguments)
    verdict = disconnects(
        clients=options.clients,
        tls=options.tls,
        seed=options.seed,
        light=options.light,
        heavy=options.heavy,
    )
    protocol = "TLS" if options.tls else "plain"
    print(f"{options.clients} clients left, {protocol}; {verdict.caught} queries seen running")
    for way, outlived in verdict.outlived.items():
        percentiles = quantiles([1000 * value for value in outlived], n=100)
        print(
            f"  {way:28} {len(outlived):5} clients; their queries ended after"
            f" p50 {percentiles[49]:.0f} ms, p99 {percentiles[98]:.0f} ms,"
            f" max {1000 * max(outlived):.0f} ms"
        )
    percentiles = quantiles([1000 * value for value in verdict.direct], n=100)
    print(
        f"  {'cancelled directly':28} {len(verdict.direct):5} queries; they ended after"
        f" p50 {percentiles[49]:.0f} ms, p99 {percentiles[98]:.0f} ms,"
        f" max {1000 * max(verdict.direct):.0f} ms"
    )
    print(f"  {len(verdict.wrong)} broken promises")
    for wrong in verdict.wrong[:20]:
        print(f"  {wrong}")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
