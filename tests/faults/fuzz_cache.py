"""A caching and an uncached server on one database: their answers differ in nothing but age.

Run as `python -m tests.faults.fuzz_cache --requests 50000`. Requests come in batches
(`tests.faults.fuzz_requests`), over several connections at once; each is asked of both
servers. Between batches something is written, through the caching server, or the rights
change (`--rights`). Compared are status, headers and content; age, date and how the cache
came to an answer are left out. The two have other hash seeds.

`--defect lines` (see broken_server) breaks the keys of the caching server, to see that it is
noticed; `--defect all` does so with one defect after the other. The requests are the same
whenever the seed is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence, Set
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.faults.broken_server import KEY_DEFECTS
from tests.faults.clients import Answer, Http1, Lines
from tests.faults.fuzz_requests import SECRET, Ask, Source, Write, token_line
from tests.faults.verdicts import tell, try_defects
from tests.http.processes import ServerProcess, running

_CONNECTIONS: Final = 4
_ENOUGH: Final = 20_000
"""Requests within which every defect has to be noticed."""
_BOUND: Final = 0.3
"""Seconds (cache-rights-interval) after which a change of rights is noticed."""
_PATIENCE: Final = 60.0
"""Seconds within which both servers have read the schema anew after it."""
_IGNORED: Final = frozenset(("age", "cache-status", "date", "server-timing"))
_CANARY: Final = Ask("/items", lines=(("accept-profile", "other"),))
"""What may be kept for everybody whatever rights change."""
_WRITER: Final = token_line((("role", '"fuzz_member"'), ("sub", '"writer"')))

RIGHTS: Final = True
"""Whether rights change meanwhile unless it is said otherwise."""
_RIGHTS: Final[tuple[tuple[str, Ask, str, str], ...]] = tuple(
    (name, Ask(path, claims=claims), take, give)
    for name, path, claims, take, give in (
        (
            "select",
            "/items",
            (("role", '"fuzz_other"'), ("sub", '"a"')),
            "revoke select on api.items from fuzz_other",
            "grant select on api.items to fuzz_other",
        ),
        (
            "execute",
            "/rpc/whoami",
            (("role", '"fuzz_other"'), ("sub", '"a"')),
            "revoke execute on function api.whoami() from public",
            "grant execute on function api.whoami() to public",
        ),
        (
            "usage",
            "/by_role",
            (("role", '"fuzz_other"'), ("sub", '"a"')),
            "revoke usage on schema api from fuzz_other",
            "grant usage on schema api to fuzz_other",
        ),
        (
            "membership",
            "/by_role",
            (("role", '"fuzz_other"'), ("sub", '"a"')),
            "revoke fuzz_other from fuzz_server",
            "grant fuzz_other to fuzz_server",
        ),
        (
            "row security",
            "/items",
            (("role", '"fuzz_member"'), ("sub", '"a"')),
            "alter table api.items enable row level security",
            "alter table api.items disable row level security",
        ),
        (
            "policy",
            "/by_sub",
            (("role", '"fuzz_member"'), ("sub", '"a"')),
            "alter policy p on api.by_sub using (id = 3)",
            "alter policy p on api.by_sub using (owner = hidden.sub())",
        ),
        (
            "role setting",
            "/by_order",
            (("sub", '"a"'), ("role", '"fuzz_member"')),
            "alter role fuzz_member bypassrls",
            "alter role fuzz_member nobypassrls",
        ),
    )
)
"""Rights: what is read with them and by whom, and how they are taken away and given again."""


@dataclass(slots=True)
class Verdict:
    """What was asked and found out; `wrong` describes each difference."""

    requests: int = 0
    hits: int = 0
    writes: int = 0
    changes: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def fuzz(
    *, requests: int, seed: int = 1, defect: str | None = None, rights: bool = RIGHTS
) -> Verdict:
    """Do it. `defect` is a key of `KEY_DEFECTS`, None for servers as they are."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        database = stack.enter_context(EmbeddedPostgres(scratch, durable=False))
        asyncio.run(_prepare(database))
        cached = stack.enter_context(_server(database, scratch / "cached.conf", 1, defect))
        plain = stack.enter_context(_server(database, scratch / "plain.conf", 2, max_bytes=1))
        verdict = asyncio.run(_Fuzz(database, cached, plain, seed).run(requests, rights))
        for server in (cached, plain):
            if "Traceback" in server.log:
                raise RuntimeError(server.log[-3000:])
    return verdict


async def _prepare(database: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(Path(__file__).with_suffix(".sql").read_text())
    finally:
        await connection.close()


def _server(
    database: EmbeddedPostgres,
    config: Path,
    hash_seed: int,
    defect: str | None = None,
    max_bytes: int = 64 * 1024 * 1024,
) -> AbstractContextManager[ServerProcess]:
    config.write_text(
        f'db-uri = "{database.dsn_for("postgres", "fuzz_server")}"\n'
        'db-schemas = "api, other"\ndb-anon-role = "fuzz_anon"\ndb-pool = 4\n'
        f'jwt-secret = "{SECRET}"\nserver-host = "127.0.0.1"\nserver-port = 0\n'
        f"cache-max-bytes = {max_bytes}\ncache-rights-interval = {_BOUND}\n"
    )
    module = ["tests.http.edge_server"]
    if defect is not None:
        module = ["tests.faults.broken_server", defect]
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    return running([sys.executable, "-m", *module, str(config)], **environment)


class _Client:
    """A client with one connection at a time: a server ends it that refuses a body unread."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._connection: Http1 | None = None

    async def request(
        self, method: str, path: str, headers: Lines, body: bytes = b""
    ) -> Answer:
        if self._connection is None or not self._connection.usable:
            self._connection = await Http1.connect(*self._address)
        return await self._connection.request(method, path, headers, body)

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()


class _Fuzz:
    """Asks two servers the same."""

    def __init__(
        self,
        database: EmbeddedPostgres,
        cached: ServerProcess,
        plain: ServerProcess,
        seed: int,
    ) -> None:
        self._database = database
        self._servers = (cached, plain)
        self._source = Source(seed)
        self._random = Random(f"{seed} rights")
        self._found = Verdict()

    async def run(self, requests: int, rights: bool) -> Verdict:
        found, began = self._found, time.perf_counter()
        async with AsyncExitStack() as stack:
            pairs = []
            for _ in range(_CONNECTIONS):
                cached, plain = (_Client(each.host, each.port) for each in self._servers)
                stack.callback(cached.abort)
                stack.callback(plain.abort)
                pairs.append((cached, plain))
            superuser = await asyncpg.connect(self._database.dsn)
            stack.push_async_callback(superuser.close)
            while found.requests < requests and not found.wrong:
                await self._batch(pairs)
                await self._write(pairs[0][0], self._source.write())
                if rights and self._random.random() < 0.05:
                    await self._change_rights(pairs[0], superuser)
        found.seconds = time.perf_counter() - began
        return found

    async def _batch(self, pairs: Sequence[tuple[_Client, _Client]]) -> None:
        """Some families one after the other, each over all connections at once."""
        for _ in range(self._random.randint(2, 10)):
            family = list(self._source.family())
            # Again and again, so that what one has left answers the others.
            family += self._random.choices(family, k=len(family))
            waiting = iter(family)

            async def ask(pair: tuple[_Client, _Client], asks: Any = waiting) -> None:
                for each in asks:
                    await self._compare(pair, each)

            await asyncio.gather(*(ask(pair) for pair in pairs))

    async def _compare(self, pair: tuple[_Client, _Client], ask: Ask) -> None:
        cached, plain = pair
        # Not even with others at the same time does it share an answer.
        alone = (*ask.head, ("cache-control", "no-cache"))
        found, expected = await asyncio.gather(
            cached.request(ask.method, ask.target, ask.head, ask.body),
            plain.request(ask.method, ask.target, alone, ask.body),
        )
        self._found.requests += 1
        self._found.hits += "; hit" in found.headers.get("cache-status", "")
        self._found.statuses[found.status] += 1
        # A HEAD that counts makes no content of its own accord, and then has no tag.
        ignored = {"etag"} if ask.method == "HEAD" and "count=" in str(ask.lines) else set()
        shown, wanted = _shown(found, ignored), _shown(expected, ignored)
        if shown != wanted or found.status >= 500:
            how = found.headers.get("cache-status", "")
            self._found.wrong.append(f"{ask}\n  found {shown} ({how})\n  not   {wanted}")

    async def _write(self, client: _Client, write: Write) -> None:
        answer = await client.request(
            write.method, write.target, [_WRITER], write.body.encode()
        )
        self._found.writes += 1
        # What is there already may be inserted again.
        if answer.status >= 400 and answer.status != 409:
            self._found.wrong.append(f"{write}: {answer.body.decode()}")

    async def _change_rights(
        self, pair: tuple[_Client, _Client], superuser: asyncpg.Connection[Any]
    ) -> None:
        """Take rights away and give them back. Both servers must answer the same as soon as the
        bound is over, and tell caches the same once they have read the new rules."""
        name, ask, *statements = self._random.choice(_RIGHTS)
        for statement in statements:
            await pair[0].request(ask.method, ask.target, ask.head)
            await superuser.execute(statement)
            await asyncio.sleep(_BOUND)
            found, expected = [
                await client.request(ask.method, ask.target, ask.head) for client in pair
            ]
            if (found.status, found.body) != (expected.status, expected.body):
                self._found.wrong.append(f"{name}: {statement} was not noticed")
            if not await self._settled(pair):
                self._found.wrong.append(f"{name}: nothing is kept after {statement}")
            await self._compare(pair, ask)
            self._found.changes += 1
            await self._batch([pair])

    async def _settled(self, pair: tuple[_Client, _Client]) -> bool:
        """Whether both servers soon know the rules in force: the one keeps answers again, and
        the other calls them `public`."""
        give_up = time.perf_counter() + _PATIENCE
        while time.perf_counter() < give_up:
            kept, told = [
                await client.request("GET", _CANARY.target, _CANARY.head) for client in pair
            ]
            hit = "; hit" in kept.headers["cache-status"]
            if hit and told.headers["cache-control"].startswith("public"):
                return True
        return False


def _shown(answer: Answer, ignored: Set[str]) -> tuple[int, bytes, list[tuple[str, str]]]:
    lines = [line for line in answer.lines if line[0] not in _IGNORED | ignored]
    return answer.status, bytes(answer.body), sorted(lines)


def main() -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rights", action=argparse.BooleanOptionalAction, default=RIGHTS)
    parser.add_argument("--defect", choices=[*KEY_DEFECTS, "all"])
    options = parser.parse_args()
    if options.defect == "all":

        def run(defect: str) -> tuple[int, Sequence[str]]:
            found = fuzz(requests=_ENOUGH, seed=options.seed, defect=defect)
            return found.requests, found.wrong

        return try_defects(KEY_DEFECTS, run, "requests")
    verdict = fuzz(
        requests=options.requests,
        seed=options.seed,
        defect=options.defect,
        rights=options.rights,
    )
    print(
        f"{verdict.requests} requests in {verdict.seconds:.0f} s, {verdict.hits} of them hits;"
        f" {verdict.writes} writes, {verdict.changes} changes of rights; by status:"
        f" {dict(sorted(verdict.statuses.items()))}"
    )
    return tell(verdict.wrong, "differences")


if __name__ == "__main__":
    sys.exit(main())
