"""Cached servers against the database itself: nobody ever sees what is no longer so.

Run as `python -m tests.faults.differential --operations 100000`. Several people, each with
rows of their own behind row security, write and read through two cached servers, one of
which has two workers, over many connections at once. What a read must answer is asked of
PostgreSQL directly, as that person, in SQL of our own. Three promises are checked:

- after a write was answered, whoever made it reads what it left, whichever worker answers;
- others, on the other server, read it once the notification has arrived: the delay is
  measured, for writes through edgerest and for those of other programs;
- no answer ever contains a row of somebody else.

Each person also reads without pause while writing, so that reads overlap with commits.
`--defect cascades` (see broken_server) breaks the invalidation, to see that it is noticed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import jwt

from pool.embedded import EmbeddedPostgres
from proxy.cache.trigger_sql import trigger_script, watched
from proxy.schema_cache.model import QualifiedName
from tests.cache.conftest import load
from tests.faults.broken_server import DEFECTS
from tests.http.processes import ServerProcess, running

_SECRET: Final = "a secret for the differential test, long enough"
_CHANNEL: Final = "pgrst_cache"
_PATIENCE: Final = 5.0
"""Seconds that a notification may take before it counts as lost."""

# What is asked, and the same of PostgreSQL; the rows of one person, in a fixed order.
READS: Final[dict[str, str]] = {
    "/accounts?select=id,owner,name,code&order=id": (
        "select id, owner, name, code from api.accounts order by id"
    ),
    "/accounts?select=owner,id,documents(id,title,revision)&order=id&documents.order=id": (
        "select owner, id, (select coalesce(json_agg(d), '[]') from (select d.id, title,"
        " revision from api.documents d where d.account_id = a.id order by d.id) d)"
        " as documents from api.accounts a order by id"
    ),
    "/documents?select=id,title,revision&order=id": (
        "select id, title, revision from api.documents order by id"
    ),
    "/documents?select=id,tags(id)&order=id&tags.order=id": (
        "select id, (select coalesce(json_agg(t), '[]') from (select t.id from"
        " api.document_tags x join api.tags t on t.id = x.tag_id where x.document_id = d.id"
        " order by t.id) t) as tags from api.documents d order by id"
    ),
    "/notes?select=id,owner,document_id,account_code,body&order=id": (
        "select id, owner, document_id, account_code, body from api.notes order by id"
    ),
    "/audit?select=id,owner,action,what&order=id": (
        "select id, owner, action, what from api.audit order by id"
    ),
    "/totals": "select owner, changes from api.totals",
    "/events?select=owner,kind,n&order=kind,n": (
        "select owner, kind, n from api.events order by kind, n"
    ),
    "/evens?select=owner,kind,n&order=kind,n": (
        "select owner, kind, n from api.evens order by kind, n"
    ),
    "/slow_documents?order=id": "select id, title from api.documents order by id",
    "/my_documents?order=id": "select * from api.my_documents order by id",
    "/account_names?order=id": "select * from api.account_names order by id",
    "/summary?order=account": "select * from api.summary order by account",
    "/rpc/titles": "select titles from api.titles() as titles",
    "/rpc/obscure": "select titles from api.titles() as titles",
    "/rpc/note_count": "select api.note_count()",
}
_SCALARS: Final = ("/rpc/titles", "/rpc/obscure")
_KINDS: Final = ("document", "note") * 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was done and found out. Delays in seconds, sorted; `wrong` describes each answer
    that should not have been."""

    operations: int
    writes: int
    reads: int
    hits: int
    seconds: float
    delays: tuple[float, ...]
    outside_delays: tuple[float, ...]
    wrong: tuple[str, ...]


@dataclass(slots=True)
class _Log:
    writes: int = 0
    reads: int = 0
    hits: int = 0
    delays: list[float] = field(default_factory=list)
    outside_delays: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def operations(self) -> int:
        return self.writes + self.reads


class _Person:
    """One who writes and reads, one request at a time, over several connections."""

    def __init__(
        self,
        name: str,
        clients: Sequence[httpx.AsyncClient],
        others: httpx.AsyncClient,
        truth: asyncpg.Connection[Any],
        log: _Log,
        seed: int,
    ) -> None:
        self.name = name
        self._clients = clients
        self._other_server = others
        self._truth = truth
        self._log = log
        self._random = random.Random(f"{seed} {name}")
        claims = {"role": "differential_member", "sub": name, "exp": int(time.time()) + 86400}
        self._headers = {"Authorization": f"Bearer {jwt.encode(claims, _SECRET, 'HS256')}"}
        self._claims = json.dumps({"sub": name})
        self._number = 0
        self._watched = next(iter(READS))
        self.done = False

    async def live(self, until: int) -> None:
        """Write and look, until so many operations were done by all."""
        try:
            while self._log.operations < until and not self._log.wrong:
                self._watched = self._random.choice([*READS])
                for client in self._clients:
                    await self._read(self._watched, client)
                elsewhere = self._random.random() < 0.2
                if elsewhere:
                    await self._read(self._watched, self._other_server)
                written = await self._write()
                if elsewhere:
                    await self._measure(self._watched, written)
                for client in self._clients:
                    await self._compare(self._watched, client, written)
                await self._compare(self._some_read(), self._some_client(), written)
        finally:
            self.done = True

    async def glance(self) -> None:
        """Read at any time; what is found is only looked through for others' rows."""
        while not self.done:
            await self._read(self._some_read(), self._some_client())

    def _some_read(self) -> str:
        """Often what is being watched, so that reads of it overlap with writes."""
        return self._random.choice([*READS, *[self._watched] * len(READS)])

    def _some_client(self) -> httpx.AsyncClient:
        return self._random.choice(self._clients)

    async def _write(self) -> str:
        self._number += 1
        method, target, body = self._some_write()
        response = await self._some_client().request(
            method, target, json=body, headers=self._headers
        )
        self._log.writes += 1
        if response.status_code >= 400 and response.status_code != 409:
            self._log.wrong.append(f"{method} {target}: {response.text}")
        return f"{method} {target} {json.dumps(body)}"

    def _some_write(self) -> tuple[str, str, Any]:
        chance, n = self._random, self._number
        name = f"{self.name}-{n}"
        writes: list[tuple[str, str, Any]] = [
            ("POST", "/accounts", {"name": name, "code": name}),
            ("POST", "/accounts", [{"name": name}, {"name": f"{name}b"}]),
            ("PATCH", f"/accounts?name=like.{self.name}*", {"name": name}),
            ("PATCH", f"/accounts?code=not.is.null&name=like.*{n % 3}", {"code": name}),
            *([("DELETE", f"/accounts?id=not.is.null&name=like.*{n % 4}", None)] * 3),
            *([("POST", "/rpc/give_away", {"ending": f"{n % 4}"})] * 2),
            ("PATCH", "/account_names?name=like.*5", {"name": name}),
            ("POST", "/rpc/rename_all", {"suffix": f"-{n}"}),
            *([("POST", "/rpc/wipe_notes", {})] if n % 7 == 0 else []),
            ("PATCH", "/documents?title=like.*1", {"title": name}),
            ("PATCH", "/documents?id=gt.0", {"title": name}),
            ("DELETE", f"/documents?title=like.*{n % 3}", None),
            ("POST", "/notes", {"body": name}),
            ("PATCH", "/notes?body=like.*2", {"body": name}),
            ("DELETE", f"/notes?body=like.*{n % 5}", None),
            ("POST", "/events", {"kind": n % 2, "n": n}),
            ("POST", "/evens", {"kind": 0, "n": n}),
            ("PATCH", f"/events?n=gt.{n - 9}", {"kind": (n + 1) % 2}),
            ("DELETE", f"/events?n=lt.{n - 9}", None),
            ("DELETE", "/document_tags?tag_id=gt.0", None),
            *([("POST", "/rpc/attach_tags", {})] if n % 3 == 0 else []),
            *(("POST", "/rpc/attach", {"kind": kind, "name": name}) for kind in _KINDS),
        ]
        return chance.choice(writes)

    async def _read(self, target: str, client: httpx.AsyncClient) -> Any:
        response = await client.get(target, headers=self._headers)
        self._log.reads += 1
        self._log.hits += "; hit" in response.headers.get("cache-status", "")
        found = response.json()
        if response.status_code != 200:
            self._log.wrong.append(f"{target}: {response.text}")
        for row in found if isinstance(found, list) else ():
            if isinstance(row, dict) and row.get("owner", self.name) != self.name:
                self._log.wrong.append(f"{self.name} sees {row} in {target}")
        return found

    async def _expected(self, target: str) -> Any:
        async with self._truth.transaction(readonly=True):
            await self._truth.execute(
                "select set_config('role', 'differential_member', true),"
                " set_config('request.jwt.claims', $1, true)",
                self._claims,
            )
            sql = READS[target]
            if target == "/rpc/note_count":
                return await self._truth.fetchval(sql)
            rows = "r.titles" if target in _SCALARS else "r"
            text = await self._truth.fetchval(
                f"select coalesce(json_agg({rows}), '[]')::text from ({sql}) as r"
            )
        return json.loads(text)

    async def _compare(self, target: str, client: httpx.AsyncClient, written: str) -> None:
        """After one's own write: nobody else writes rows that one can see."""
        found = await self._read(target, client)
        expected = await self._expected(target)
        if found != expected:
            self._log.wrong.append(
                f"{self.name} reads {target} after {written}:\n  {found}\n  not {expected}"
            )

    async def _measure(self, target: str, written: str) -> None:
        """How long the other server shows what was before the last write."""
        began = time.perf_counter()
        expected = await self._expected(target)
        while await self._read(target, self._other_server) != expected:
            if time.perf_counter() - began > _PATIENCE:
                self._log.wrong.append(
                    f"the other server shows {self.name} an old {target} after {written}"
                )
                return
        self._log.delays.append(time.perf_counter() - began)


class _Outsider:
    """A program that writes without edgerest, to a table for which there are triggers."""

    def __init__(
        self, clients: Sequence[httpx.AsyncClient], database: asyncpg.Connection[Any], log: _Log
    ) -> None:
        self._clients = clients
        self._database = database
        self._log = log

    async def write(self, people: Sequence[_Person]) -> None:
        """Write and see when each server shows it."""
        amount = 0
        while not all(person.done for person in people):
            amount += 1
            await asyncio.gather(*(self._amount(client) for client in self._clients))
            began = time.perf_counter()
            await self._database.execute("update api.prices set amount = $1", amount)
            for client in self._clients:
                while await self._amount(client) != amount:
                    if time.perf_counter() - began > _PATIENCE:
                        self._log.wrong.append("a server shows old prices")
                        return
            self._log.outside_delays.append(time.perf_counter() - began)
            await asyncio.sleep(0.05)

    async def _amount(self, client: httpx.AsyncClient) -> int:
        response = await client.get("/prices?select=amount&limit=1")
        self._log.reads += 1
        return int(response.json()[0]["amount"])


def differential(
    *, operations: int, people: int = 6, seed: int = 1, defect: str | None = None
) -> Verdict:
    """Do it. `defect` is a key of `DEFECTS`, None for servers as they are."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="differential-")))
        database = stack.enter_context(EmbeddedPostgres(scratch, durable=False))
        asyncio.run(_prepare(database))
        servers = [
            stack.enter_context(_server(database, scratch / f"{name}.conf", workers, defect))
            for name, workers in (("one", 2), ("other", 1))
        ]
        verdict = asyncio.run(_run(database, servers, operations, people, seed))
        for server in servers:
            if "Traceback" in server.log:
                raise RuntimeError(server.log)
    return verdict


async def _prepare(database: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        version = connection.get_server_version().major
        invoker = "with (security_invoker)" if version >= 15 else ""
        schema = Path(__file__).with_suffix(".sql").read_text()
        await connection.execute(schema.replace("{invoker}", invoker))
        cache = await load(database.dsn)
        assert cache.facts is not None
        script = trigger_script(
            watched(cache.facts, [QualifiedName("api", "prices")]),
            schema="api",
            channel=_CHANNEL,
            server_version=cache.server_version,
        )
        await connection.execute(script)
    finally:
        await connection.close()


def _server(
    database: EmbeddedPostgres, config: Path, workers: int, defect: str | None
) -> AbstractContextManager[ServerProcess]:
    settings = {
        "db-uri": database.dsn_for("postgres", "differential_server"),
        "db-schemas": "api",
        "db-anon-role": "differential_anon",
        "db-pool": 8,
        "jwt-secret": _SECRET,
        "server-host": "127.0.0.1",
        "server-port": 0,
        "server-workers": workers,
        "cache-announce": True,
        "cache-channel": _CHANNEL,
    }
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
    module = ["tests.http.edge_server"]
    if defect is not None:
        module = ["tests.faults.broken_server", defect]
    return running([sys.executable, "-m", *module, str(config)])


async def _run(
    database: EmbeddedPostgres,
    servers: Sequence[ServerProcess],
    operations: int,
    people: int,
    seed: int,
) -> Verdict:
    log, began = _Log(), time.perf_counter()
    async with AsyncExitStack() as stack:

        async def client(server: ServerProcess) -> httpx.AsyncClient:
            # A connection of its own each, so that both workers are met.
            limits = httpx.Limits(max_connections=1)
            made = httpx.AsyncClient(base_url=server.url, limits=limits, timeout=30)
            return await stack.enter_async_context(made)

        async def connection() -> asyncpg.Connection[Any]:
            made = await asyncpg.connect(database.dsn)
            stack.push_async_callback(made.close)
            return made

        living = []
        for number in range(people):
            own, other = servers[number % 2], servers[1 - number % 2]
            clients = [await client(own) for _ in range(3)]
            name, truth = f"p{number}", await connection()
            living.append(_Person(name, clients, await client(other), truth, log, seed))
        outsider = _Outsider([await client(each) for each in servers], await connection(), log)
        async with asyncio.TaskGroup() as group:
            for person in living:
                group.create_task(person.live(operations))
                group.create_task(person.glance())
            group.create_task(outsider.write(living))
    return Verdict(
        operations=log.operations,
        writes=log.writes,
        reads=log.reads,
        hits=log.hits,
        seconds=time.perf_counter() - began,
        delays=tuple(sorted(log.delays)),
        outside_delays=tuple(sorted(log.outside_delays)),
        wrong=tuple(log.wrong),
    )


def _delays(name: str, seconds: Sequence[float]) -> str:
    if not seconds:
        return f"{name}: none measured"
    median, late = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    return (
        f"{name}: median {median * 1000:.1f} ms, 99 % {late * 1000:.1f} ms,"
        f" longest {seconds[-1] * 1000:.1f} ms, of {len(seconds)}"
    )


def main() -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--defect", choices=[*DEFECTS])
    options = parser.parse_args()
    verdict = differential(
        operations=options.operations,
        people=options.people,
        seed=options.seed,
        defect=options.defect,
    )
    print(
        f"{verdict.operations} operations in {verdict.seconds:.0f} s: {verdict.writes} writes,"
        f" {verdict.reads} reads, {verdict.hits} of them hits"
    )
    print(_delays("others read a write after", verdict.delays))
    print(_delays("a write of another program after", verdict.outside_delays))
    print(f"{len(verdict.wrong)} wrong answers")
    for line in verdict.wrong[:5]:
        print(line)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
