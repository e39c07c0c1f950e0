"""Rights that change in the differential test, while everybody reads.

In: connections to the cached servers, and one to PostgreSQL as superuser. Out: a `Log`. Each
round makes objects and roles of its own, has what may be read of them kept by all servers,
takes some rights away and gives others (`rights_changes`), and goes on reading. Whoever asks
after the bound must be answered what the change's author says; so must those among whom an
answer was shared, until a policy told them apart.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import jwt

from tests.cache.rights_changes import HELPERS, KINDS, Case, Rows, cases
from tests.faults.clients import Http1
from tests.faults.differential_people import SECRET, Log, Person

BOUND: Final = 1.0
"""Seconds (cache-rights-interval) after which nobody is answered from the cache with what he
has lost."""
_PATIENCE: Final = 120.0
_REST: Final = 4
"""How many times as long as a round takes is rested after it: all that is kept goes with it."""
_LONGEST_REST: Final = 20.0
"""Seconds after which a connection that rests is still open (server-idle-timeout)."""
_POLICIES: Final = (
    "@cache max-age=600",
    "@cache max-age=0 stale-while-revalidate=600",
    "@cache max-age=600 stale-if-error=600",
)
_STRANGERS: Final = """
create role {n}_one;
create role {n}_two;
grant {n}_one, {n}_two to rights_server;
grant usage on schema api to {n}_one, {n}_two;
create table api.{n} (owner text);
insert into api.{n} values ('{n}_one'), ('{n}_two');
grant select on api.{n} to {n}_one, {n}_two;
comment on table api.{n} is '@cache max-age=600 scope=public';
"""
_PARTED: Final = """
alter table api.{n} enable row level security;
create policy own on api.{n} using (owner = current_user);
"""


@dataclass(frozen=True, slots=True)
class _Read:
    """What `role` is answered for `target` once the change is made. Not `strict`: as soon as
    the server has read the schema anew."""

    role: str
    target: str
    after: Rows | int
    strict: bool = True


class Keeper:
    """Changes rights; `clients` are connections to all servers, some to different workers."""

    def __init__(
        self,
        clients: Sequence[Http1],
        database: asyncpg.Connection[Any],
        log: Log,
        seed: int,
    ) -> None:
        self._clients = clients
        self._database = database
        self._log = log
        self._random = random.Random(f"{seed} keeper")
        self._number = 0

    async def live(self, people: Sequence[Person], rounds: int) -> None:
        """Play so many rounds at least, and until all people are done."""
        kinds = self._random.sample(list(KINDS), len(KINDS))
        await self._execute(HELPERS)
        for played in range(1_000_000):
            began = time.monotonic()
            await self._play(kinds[played % len(kinds)])
            if self._log.wrong or (played + 1 >= rounds and _over(people)):
                return
            if played + 1 >= rounds:
                await self._rest(time.monotonic() - began, people)

    async def _rest(self, took: float, people: Sequence[Person]) -> None:
        ends = time.monotonic() + min(_REST * took, _LONGEST_REST)
        while time.monotonic() < ends and not _over(people):  # noqa: ASYNC110 -- no event
            await asyncio.sleep(0.05)

    async def _play(self, kind: str) -> None:
        version = self._database.get_server_version().major
        scene = cases(_POLICIES, version, (kind,), self._number)
        self._number += len(scene)
        strangers = f"strangers{self._number}"
        await self._execute("".join([case.made for case in scene]))
        # Only here: that one change is noticed hides that another is not.
        apart = kind == "row security"
        two = [f"{strangers}_one", f"{strangers}_two"] if apart else []
        parted = [_Read(role, f"/{strangers}", [{"owner": role}]) for role in two]
        # Those first that are not waited for.
        reads = sorted([*map(_read_of, scene), *parted], key=lambda read: not read.strict)
        if apart:
            await self._execute(_STRANGERS.replace("{n}", strangers))
        if unkept := await self._all(reads, self._is_kept):
            self._log.wrong.append(f"{kind}: never kept: {unkept}")
            return
        for case in scene:
            await self._execute(case.sql)
        if apart:
            await self._execute(_PARTED.replace("{n}", strangers))
        changed = time.monotonic()
        while time.monotonic() < changed + BOUND:
            # What is in use is what stays.
            await self._answer(self._random.choice(reads), self._random.choice(self._clients))
        for _ in range(3):
            for read in reads:
                if not self._log.wrong:
                    await self._check(read)
        self._log.rights += len(reads)

    async def _check(self, read: _Read) -> None:
        if not read.strict:
            await self._all([read], self._is_right)
        for client in self._clients:
            found = await self._answer(read, client)
            if found != read.after:
                self._log.wrong.append(
                    f"{read.role} reads {read.target} after his rights have changed:\n"
                    f"  {found}\n  not {read.after}"
                )

    async def _all(
        self, reads: Sequence[_Read], holds: Callable[[_Read, Http1], Any]
    ) -> list[_Read]:
        """The reads for which it does not hold in time over some connection."""
        left = [(read, client) for read in reads for client in self._clients]
        ends = time.monotonic() + _PATIENCE
        while left and time.monotonic() < ends:
            left = [each for each in left if not await holds(*each)]
        # Others may have gone meanwhile.
        return [read for read, _ in left]

    async def _is_right(self, read: _Read, client: Http1) -> bool:
        return bool(await self._answer(read, client) == read.after)

    async def _is_kept(self, read: _Read, client: Http1) -> bool:
        # Twice in a row: some writes of the others end the use of all that is kept.
        for _ in range(2):
            answer = await client.request("GET", read.target, _headers(read.role))
            if "; hit" in answer.headers.get("cache-status", ""):
                return True
        return False

    async def _answer(self, read: _Read, client: Http1) -> Any:
        answer = await client.request("GET", read.target, _headers(read.role))
        return json.loads(answer.body) if answer.status == 200 else answer.status

    async def _execute(self, sql: str) -> None:
        await self._database.execute(sql.replace("rights_server", "differential_server"))


def _over(people: Sequence[Person]) -> bool:
    return all(person.done for person in people)


def _read_of(case: Case) -> _Read:
    return _Read(case.role, case.target, case.change.after, not case.change.applied)


def _headers(role: str) -> dict[str, str]:
    claims = {"role": role, "exp": int(time.time()) // 86400 * 86400 + 2 * 86400}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}
