"""Those who write and read in the differential test, and what they find wrong.

In: connections to two cached servers and to PostgreSQL. Out: a `Log`. What one person does
follows from the seed alone, not from what the others do meanwhile: nobody else writes rows
that one can see, so what one reads must be what PostgreSQL says, to the letter.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import jwt

from tests.faults.clients import Answer, Http1
from tests.faults.differential_effects import EFFECTS
from tests.faults.differential_scenes import (
    SCENES,
    UNGATED,
    Scene,
    Write,
    truth_of,
    unheard_of,
)

SECRET: Final = "a secret for the differential test, long enough"
_PATIENCE: Final = 5.0
"""Seconds that a notification may take before it counts as lost, or a query to begin."""
_SCENES: Final = (*SCENES, *EFFECTS)
_GATE: Final = 4711
_ELSEWHERE: Final = 0.2
"""The share of writes after which the other server is asked, too."""


@dataclass(slots=True)
class Log:
    """What the people did and found so far; asking again until an answer changes is not
    counted. `effective`: writes that changed an answer that was being watched; `rights`:
    answers that a change of rights has changed. Delays in seconds."""

    writes: int = 0
    reads: int = 0
    hits: int = 0
    effective: int = 0
    rights: int = 0
    delays: list[float] = field(default_factory=list)
    outside_delays: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def operations(self) -> int:
        return self.writes + self.reads


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody's token, and a connection to PostgreSQL with his rights."""

    name: str
    headers: dict[str, str]
    truth: asyncpg.Connection[Any]

    @classmethod
    async def of(cls, name: str, truth: asyncpg.Connection[Any]) -> Identity:
        """Takes over the connection `truth`."""
        await truth.execute(
            "select set_config('role', 'differential_member', false),"
            " set_config('request.jwt.claims', $1, false)",
            json.dumps({"sub": name}),
        )
        expires = int(time.time()) + 86400
        claims = {"role": "differential_member", "sub": name, "exp": expires}
        token = jwt.encode(claims, SECRET, "HS256")
        return cls(name, {"authorization": f"Bearer {token}"}, truth)

    async def expected(self, target: str) -> Any:
        """What he must be answered."""
        return json.loads(await self.truth.fetchval(truth_of(target)))


class Person:
    """One who writes, and reads as himself and as his guest. Each of `clients` is a
    connection to the server where he writes, `elsewhere` one to the other; `gate` is one to
    PostgreSQL as superuser."""

    def __init__(
        self,
        me: Identity,
        guest: Identity,
        clients: Sequence[Http1],
        elsewhere: Http1,
        gate: asyncpg.Connection[Any],
        log: Log,
        seed: int,
    ) -> None:
        self._me = me
        self._guest = guest
        self._clients = clients
        self._elsewhere = elsewhere
        self._gate = gate
        self._log = log
        self._random = random.Random(f"{seed} {me.name}")
        self._number = 0
        self.done = False

    async def live(self, until: int) -> None:
        """Play all scenes in an order of one's own, again and again, until so many
        operations were done by all, or something is wrong."""
        try:
            while True:
                for scene in self._random.sample(_SCENES, len(_SCENES)):
                    if self._log.operations >= until or self._log.wrong:
                        return
                    await self._play(scene)
        finally:
            self.done = True

    async def _play(self, scene: Scene) -> None:
        self._number += 1
        team = self._random.randint(1, 4)
        names = {"me": self._me.name, "guest": self._guest.name, "n": self._number}
        names |= {"name": f"{self._me.name}-{self._number}", "team": team}
        before = [write.filled(**names) for write in scene.before]
        write = scene.write.filled(**names)
        for each in before:
            await self._write(each, self._random.choice(self._clients))
        reader = self._guest if scene.guest else self._me
        watched = self._random.sample(scene.reads, min(2, len(scene.reads)))
        watched.append(self._random.choice(UNGATED))
        if scene.gated is not None:
            await self._overtake(reader, scene.gated, write)
        else:
            await self._change(reader, watched, write)

    # --- a write between reads -------------------------------------------------------------

    async def _change(self, reader: Identity, watched: list[str], write: Write) -> None:
        shown = [await self._warm(reader, target) for target in watched]
        elsewhere = self._random.random() < _ELSEWHERE
        if elsewhere:
            await self._read(reader, watched[0], self._elsewhere)
        writer, other = self._random.sample(self._clients, 2)
        overlapping = unheard_of(watched[0], self._number) if not elsewhere else None
        async with asyncio.TaskGroup() as group:
            if overlapping is not None:
                group.create_task(self._read(reader, overlapping, other))
            written = group.create_task(self._write(write, writer))
        began = written.result()
        # Before a notification could have come, and through the other worker first.
        others = [client for client in self._clients if client is not writer]
        at_once = [await self._read(reader, watched[0], client) for client in others]
        expected = [await reader.expected(target) for target in watched]
        self._log.effective += expected != shown
        if elsewhere:
            await self._await_elsewhere(reader, watched[0], expected[0], write, began)
        for found in at_once:
            if found != expected[0]:
                self._blame("at once", reader, watched[0], found, expected[0], write)
        if overlapping is not None:
            await self._compare(reader, overlapping, expected[0], write, [other])
        for target, answer in zip(watched, expected, strict=True):
            await self._compare(reader, target, answer, write, self._clients)

    async def _warm(self, reader: Identity, target: str) -> Any:
        """Read it over all connections: all workers have it now."""
        found = [self._read(reader, target, client) for client in self._clients]
        return (await asyncio.gather(*found))[0]

    async def _await_elsewhere(
        self, reader: Identity, target: str, expected: Any, write: Write, began: float
    ) -> None:
        """The other server shows the write once it was told."""
        found = await self._read(reader, target, self._elsewhere)
        while found != expected:
            if time.perf_counter() - began > _PATIENCE:
                self._blame("on the other server", reader, target, found, expected, write)
                return
            answer = await self._elsewhere.request("GET", target, reader.headers)
            found = _content_of(answer, target, self._log)
        self._log.delays.append(time.perf_counter() - began)

    # --- a read around a write -------------------------------------------------------------

    async def _overtake(self, reader: Identity, gated: str, write: Write) -> None:
        """A read begins, a write is committed, and only then the read ends: it may tell what
        was before, but nobody after it. In half the cases somebody asks the same while the
        read still waits; that is after the write, so he must not share its query."""
        target = unheard_of(gated, self._number)
        assert target is not None
        slow, writer, late = self._random.sample(self._clients, 3)
        asks_meanwhile = self._random.random() < 0.5
        await self._gate.execute(
            "select pg_advisory_lock($1, hashtext($2))", *self._key(reader)
        )
        try:
            before = asyncio.create_task(self._read(reader, target, slow))
            await self._waiting(reader, 1, before)
            await self._write(write, writer)
            meanwhile = None
            if asks_meanwhile:
                meanwhile = asyncio.create_task(self._read(reader, target, late))
                await self._waiting(reader, 2, meanwhile)
        finally:
            await self._gate.execute("select pg_advisory_unlock_all()")
        expected = await reader.expected(gated)
        self._log.effective += await before != expected
        if meanwhile is not None and (found := await meanwhile) != expected:
            self._blame("at the same time", reader, target, found, expected, write)
        clients = [slow, *(client for client in self._clients if client is not slow)]
        await self._compare(reader, target, expected, write, clients)

    def _key(self, reader: Identity) -> tuple[int, str]:
        return _GATE, reader.name

    async def _waiting(self, reader: Identity, amount: int, read: asyncio.Task[Any]) -> None:
        """Until so many queries wait at the gate, or the read was answered without one. If
        it shares the query of another it never comes to that; what it is told is wrong then."""
        give_up = time.perf_counter() + _PATIENCE
        while not read.done() and time.perf_counter() < give_up:
            found = await self._gate.fetchval(
                "select count(*) from pg_locks where locktype = 'advisory' and not granted"
                " and classid = $1 and objid = (hashtext($2)::bigint & 4294967295)::oid",
                *self._key(reader),
            )
            if found >= amount:
                return
            await asyncio.sleep(0.001)

    # --- requests --------------------------------------------------------------------------

    async def _write(self, write: Write, client: Http1) -> float:
        """Returns when (`time.perf_counter`) it was answered."""
        answer = await client.request(
            write.method, write.target, self._me.headers, write.body.encode()
        )
        answered = time.perf_counter()
        self._log.writes += 1
        # A member may join again.
        if answer.status >= 400 and answer.status != 409:
            self._log.wrong.append(f"{write}: {answer.body.decode()}")
        return answered

    async def _read(self, reader: Identity, target: str, client: Http1) -> Any:
        answer = await client.request("GET", target, reader.headers)
        self._log.reads += 1
        self._log.hits += "; hit" in answer.headers.get("cache-status", "")
        found = _content_of(answer, target, self._log)
        for row in found if isinstance(found, list) else ():
            if isinstance(row, dict) and row.get("owner", reader.name) != reader.name:
                self._log.wrong.append(f"{reader.name} sees {row} in {target}")
        return found

    async def _compare(
        self,
        reader: Identity,
        target: str,
        expected: Any,
        write: Write,
        clients: Sequence[Http1],
    ) -> None:
        """One after the other, so that each finds what the one before has left."""
        for client in clients:
            found = await self._read(reader, target, client)
            if found != expected:
                self._blame("", reader, target, found, expected, write)

    def _blame(
        self, when: str, reader: Identity, target: str, found: Any, expected: Any, write: Write
    ) -> None:
        self._log.wrong.append(
            f"{reader.name} reads {target} {when} after {write.method} {write.target}"
            f" {write.body}:\n  {found}\n  not {expected}"
        )


class Outsider:
    """A program that writes without edgerest, to a table for which there are triggers."""

    def __init__(
        self, clients: Sequence[Http1], database: asyncpg.Connection[Any], log: Log
    ) -> None:
        self._clients = clients
        self._database = database
        self._log = log
        self._amount = 0

    async def live(self, people: Sequence[Person]) -> None:
        """Write, see when each server shows it, pause, until all are done."""
        while not (all(person.done for person in people) or self._log.wrong):
            self._log.outside_delays.append(await self.write())
            await asyncio.sleep(0.1)

    async def write(self) -> float:
        """Write once. Returns the seconds from COMMIT until both servers answer anew."""
        for client in self._clients:
            await self._read(client)
        self._amount += 1
        await self._database.execute("update api.prices set amount = $1", self._amount)
        began = time.perf_counter()
        for client in self._clients:
            while await self._read(client) != self._amount:
                if time.perf_counter() - began > _PATIENCE:
                    self._log.wrong.append("a server shows old prices")
                    return _PATIENCE
        return time.perf_counter() - began

    async def _read(self, client: Http1) -> int:
        answer = await client.request("GET", "/prices?select=amount&limit=1")
        found = _content_of(answer, "/prices", self._log)
        return int(found[0]["amount"]) if answer.status == 200 else self._amount


async def notification_delays(
    reader: Identity, here: Http1, there: Http1, samples: int
) -> list[float]:
    """Seconds from a write's answer by one server until the other one answers anew, on
    otherwise idle servers. The last read, with its query, is part of it."""
    target, delays = "/notes?select=body&order=id.desc&limit=1", []
    for number in range(samples):
        await there.request("GET", target, reader.headers)
        body = f"sample {number}"
        await here.request(
            "POST", "/notes", reader.headers, json.dumps({"body": body}).encode()
        )
        began = time.perf_counter()
        while True:
            answer = await there.request("GET", target, reader.headers)
            found = json.loads(answer.body)
            if found and found[0]["body"] == body:
                break
            if time.perf_counter() - began > _PATIENCE:
                break
        delays.append(time.perf_counter() - began)
    return delays


def _content_of(answer: Answer, target: str, log: Log) -> Any:
    found = json.loads(answer.body)
    if answer.status != 200:
        log.wrong.append(f"{target}: {found}")
    return found
