"""Cached servers against the database itself: nobody ever sees what is no longer so.

Run as `python -m tests.faults.differential --operations 100000`. Several people, each with
rows of their own behind row security, write and read through two cached servers, one of
which has two workers, over many connections at once. What a read must answer is asked of
PostgreSQL directly, as that person, in SQL of our own. Three promises are checked:

- after a write was answered, whoever made it reads what it left, whichever worker answers;
- others, on the other server, read it once the notification has arrived: the delay is
  measured, for writes through edgerest and for those of other programs;
- no answer ever contains a row of somebody else, nor, a second later, what somebody has lost
  the right to see (`differential_rights`).

Reads also overlap with writes: some by chance, and some for certain, held up in PostgreSQL
until the write is committed. `--defect cascades` (see broken_server) breaks the
invalidation, to see that it is noticed; `--defect all` does so with one defect after the
other. One person alone does the same whenever the seed is the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from proxy.cache.trigger_sql import trigger_script, watched
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.schema_cache.model import QualifiedName
from tests.cache.conftest import load
from tests.cache.rights_changes import KINDS
from tests.faults.broken_server import DEFECTS, OF_RIGHTS
from tests.faults.clients import Http1
from tests.faults.differential_people import (
    SECRET,
    Identity,
    Log,
    Outsider,
    Person,
    notification_delays,
)
from tests.faults.differential_rights import BOUND, Keeper
from tests.faults.verdicts import tell, try_defects
from tests.http.processes import ServerProcess, running

_CHANNEL: Final = "pgrst_cache"
_ENOUGH: Final = 10_000
"""Operations within which every defect has to be noticed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was done and found out. Delays in seconds, sorted: under load, and `quiet` on idle
    servers; `wrong` describes each answer that should not have been."""

    operations: int
    writes: int
    effective: int
    reads: int
    hits: int
    rights: int
    seconds: float
    delays: tuple[float, ...]
    quiet_delays: tuple[float, ...]
    outside_delays: tuple[float, ...]
    quiet_outside_delays: tuple[float, ...]
    wrong: tuple[str, ...]


def differential(
    *,
    operations: int,
    people: int = 6,
    seed: int = 1,
    defect: str | None = None,
    samples: int = 0,
) -> Verdict:
    """Do it. `defect` is a key of `DEFECTS`, None for servers as they are; `samples` is how
    often to measure the quiet delays."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="differential-")))
        database = stack.enter_context(EmbeddedPostgres(scratch, durable=False))
        asyncio.run(_prepare(database))
        servers = [
            stack.enter_context(_server(database, scratch / f"{name}.conf", workers, defect))
            for name, workers in (("one", 2), ("other", 1))
        ]
        rounds = 1
        if defect in OF_RIGHTS:
            # Each shows in the changes of one kind; and not where others write what ends the
            # use of all that is kept.
            rounds, operations = len(KINDS), 0
        elif defect is not None:
            # A change of rights ends that, too.
            rounds = 0
        verdict = asyncio.run(
            _run(database, servers, operations, people, seed, samples, rounds)
        )
        for server in servers:
            if "Traceback" in server.log:
                raise RuntimeError(server.log[-3000:])
    return verdict


async def _prepare(database: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        version = connection.get_server_version().major
        invoker = "with (security_invoker)" if version >= 15 else ""
        schema = Path(__file__).with_suffix(".sql").read_text()
        await connection.execute(schema.replace("{invoker}", invoker))
        effects = Path(__file__).with_name("differential_effects.sql").read_text()
        host, port = database.dsn.partition("host=")[2].split("&port=")
        for name, value in (("invoker", invoker), ("host", host), ("port", port)):
            effects = effects.replace(f"{{{name}}}", value)
        await connection.execute(effects)
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
        "jwt-secret": SECRET,
        "server-host": "127.0.0.1",
        "server-port": 0,
        "server-workers": workers,
        "cache-announce": True,
        "cache-channel": _CHANNEL,
        "cache-rights-interval": BOUND,
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
    samples: int,
    rounds: int,
) -> Verdict:
    log = Log()
    async with AsyncExitStack() as stack:

        async def client(server: ServerProcess) -> Http1:
            made = await Http1.connect(server.host, server.port)
            stack.callback(made.abort)
            return made

        async def connection() -> asyncpg.Connection[Any]:
            made = await asyncpg.connect(database.dsn)
            stack.push_async_callback(made.close)
            return made

        async def identity(name: str) -> Identity:
            return await Identity.of(name, await connection())

        living = []
        for number in range(people):
            own, other = servers[number % 2], servers[1 - number % 2]
            me, guest = await identity(f"p{number}"), await identity(f"g{number}")
            clients = [await client(own) for _ in range(3)]
            elsewhere, gate = await client(other), await connection()
            living.append(Person(me, guest, clients, elsewhere, gate, log, seed))
        outsider = Outsider([await client(each) for each in servers], await connection(), log)
        seats = [await client(servers[number % 2]) for number in (0, 0, 0, 1)]
        keeper = Keeper(seats, await connection(), log, seed)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for person in living:
                group.create_task(person.live(operations))
            group.create_task(outsider.live(living))
            if rounds:
                group.create_task(keeper.live(living, rounds))
        seconds = time.perf_counter() - began
        quiet, quiet_outside = [], []
        if not log.wrong and samples:
            here, there = [await client(each) for each in servers]
            quiet = await notification_delays(await identity("q"), here, there, samples)
            quiet_outside = [await outsider.write() for _ in range(samples)]
    return Verdict(
        operations=log.operations,
        writes=log.writes,
        effective=log.effective,
        reads=log.reads,
        hits=log.hits,
        rights=log.rights,
        seconds=seconds,
        delays=tuple(sorted(log.delays)),
        quiet_delays=tuple(sorted(quiet)),
        outside_delays=tuple(sorted(log.outside_delays)),
        quiet_outside_delays=tuple(sorted(quiet_outside)),
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
    parser.add_argument("--samples", type=int, default=200, help="of the quiet delays")
    parser.add_argument("--defect", choices=[*DEFECTS, "all"])
    options = parser.parse_args()
    if options.defect == "all":
        people, seed = options.people, options.seed

        def run(defect: str) -> tuple[int, Sequence[str]]:
            found = differential(operations=_ENOUGH, people=people, seed=seed, defect=defect)
            return found.operations, found.wrong

        return try_defects(DEFECTS, run, "operations")
    verdict = differential(
        operations=options.operations,
        people=options.people,
        seed=options.seed,
        defect=options.defect,
        samples=options.samples,
    )
    print(
        f"{verdict.operations} operations in {verdict.seconds:.0f} s,"
        f" {verdict.operations / verdict.seconds:.0f} a second: {verdict.writes} writes,"
        f" {verdict.reads} reads, {verdict.hits} of them hits;"
        f" {verdict.effective} writes changed an answer that was watched,"
        f" {verdict.rights} answers were changed by their readers' rights"
    )
    print(_delays("the other server shows a write after", verdict.delays))
    print(_delays("the same on idle servers", verdict.quiet_delays))
    print(_delays("both show a write of another program after", verdict.outside_delays))
    print(_delays("the same on idle servers", verdict.quiet_outside_delays))
    return tell(verdict.wrong, "wrong answers")


if __name__ == "__main__":
    sys.exit(main())
