"""PgBouncer in between, in transaction mode: nothing of one caller reaches another.

Run as `python -m tests.faults.pgbouncer`. Two pools, as of two servers, share a PgBouncer that
has a few sessions with the database for all their callers. Each caller runs as one of three
roles, and some of them leave what they can: settings, a role, another time zone for the
session; a failed transaction; a query that is cancelled. Each looks first at what it finds: its
own role, its own settings, and nothing else. In the end PgBouncer must have as few sessions as
it was allowed, none of them in a transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import asyncpg

from pool import Pool
from pool.errors import DatabaseError
from pool.model import Statement, Transaction
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.ports import free_port

_SERVER_SESSIONS: Final = 5
_USERS: Final = ("bouncer_web", "authenticator", "postgres")
_ROLES: Final = ("anna", "bert", "carl")
_SCHEMA: Final = """
create role bouncer_web login noinherit;
create role anna; create role bert; create role carl;
grant anna, bert, carl to bouncer_web;
create table public.seen (role text, number int, primary key (role, number));
grant all on public.seen to anna, bert, carl;
create function public.leave(mark text) returns text language plpgsql as $$
begin
    perform set_config('edge.left', mark, false);
    perform set_config('role', mark, false);
    perform set_config('timezone', 'Asia/Tokyo', false);
    perform set_config('application_name', mark, false);
    perform set_config('statement_timeout', '1234567', false);
    return mark;
end
$$;
"""
_LOOK: Final = (
    "select current_user::text, coalesce(current_setting('edge.left', true), ''),"
    " current_setting('edge.caller'), current_setting('timezone'),"
    " current_setting('application_name'), current_setting('statement_timeout')"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What callers did, by kind; `wrong`: what they found that was not theirs."""

    done: Counter[str]
    seconds: float
    wrong: tuple[str, ...]


@contextmanager
def bouncer(database: EmbeddedPostgres, scratch: Path, mode: str) -> Iterator[int]:
    """The port of a PgBouncer in front of `database`. FileNotFoundError without the program."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise FileNotFoundError("pgbouncer is not installed")
    port = free_port()
    users = scratch / "users.txt"
    users.write_text("".join(f'"{user}" ""\n' for user in _USERS))
    config = scratch / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={database.socket_directory} port={database.port}\n"
        "[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir =\n"
        f"listen_port = {port}\npool_mode = {mode}\nauth_type = trust\n"
        f"auth_file = {users}\ndefault_pool_size = {_SERVER_SESSIONS}\n"
        "max_client_conn = 200\n"
    )
    identity = {}
    if os.geteuid() == 0:
        # It does not run as root, as PostgreSQL does not.
        owner = Path(str(database.socket_directory)).stat()
        identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": ()}
    with subprocess.Popen(
        [program, "-q", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **identity,  # type: ignore[call-overload]
    ) as process:
        try:
            _await_port(port, process)
            yield port
        finally:
            process.terminate()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("PgBouncer does not accept connections")


class Callers:
    """Callers of two pools that share a PgBouncer."""

    def __init__(self, port: int, seed: int) -> None:
        dsn = f"postgresql://bouncer_web@127.0.0.1:{port}/postgres?sslmode=disable"
        self._pools = [
            Pool(dsn, size=12, prepared_statements=False, application_name=f"edge-{n}")
            for n in range(2)
        ]
        self._dice = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.acknowledged: set[tuple[str, int]] = set()

    async def run(self, callers: int, seconds: float) -> None:
        """So many callers at a time."""
        end = time.monotonic() + seconds
        try:
            await asyncio.gather(*(self._calls(n, end) for n in range(callers)))
        finally:
            for pool in self._pools:
                await pool.close()

    async def _calls(self, caller: int, end: float) -> None:
        number = 0
        while time.monotonic() < end:
            number += 1
            await self._call(caller, number)

    async def _call(self, caller: int, number: int) -> None:
        which = self._dice.randrange(2)
        pool, role = self._pools[which], self._dice.choice(_ROLES)
        mark = f"{caller}-{number}"
        mine = (("role", role), ("edge.caller", mark))
        kind = self._dice.choice(("look", "look", "block", "write", "leave", "fail", "cancel"))
        self.done[kind] += 1
        match kind:
            case "look" | "block":
                await self._look(which, role, mark, in_block=kind == "block")
            case "write":
                insert = "insert into public.seen values (current_user, $1) returning role"
                key = caller * 1_000_000 + number
                tx = Transaction(Statement(insert, (str(key),)), "read write", settings=mine)
                outcome = await pool.run(tx)
                self.acknowledged.add((role, key))
                if outcome.rows[0][0] != role.encode():
                    self.wrong.append(f"{mark} wrote as another")
            case "leave":
                leave = Statement("select public.leave($1)", (role,))
                await pool.run(Transaction(leave, "read write", settings=mine))
            case "fail":
                try:
                    await pool.run(
                        Transaction(Statement("select 1 / 0"), "read write", settings=mine)
                    )
                except DatabaseError as error:
                    if error.sqlstate != "22012":
                        self.wrong.append(f"{mark} met another's error: {error}")
            case "cancel":
                sleep = Transaction(Statement("select pg_sleep(0.05)"), settings=mine)
                try:
                    async with asyncio.timeout(self._dice.uniform(0, 0.04)):
                        await pool.run(sleep)
                except TimeoutError:
                    pass

    async def _look(self, which: int, role: str, mark: str, *, in_block: bool) -> None:
        tx = Transaction(Statement(_LOOK), settings=(("role", role), ("edge.caller", mark)))
        if in_block:
            tx = replace(tx, keep=lambda rows: len(rows) == 1)
        outcome = await self._pools[which].run(tx)
        found = [value.decode() for value in outcome.rows[0]]
        name = f"edge-{which}"
        if found[:3] != [role, "", mark] or found[4:] != [name, "0"]:
            self.wrong.append(f"{mark} as {role} of {name} found {found}")
        if found[3] == "Asia/Tokyo":
            self.wrong.append(f"{mark} found another's time zone")


def run(*, callers: int, seconds: float, seed: int = 0) -> Verdict:
    """Run the whole; FileNotFoundError where PgBouncer is not installed."""
    with tempfile.TemporaryDirectory(prefix="bouncer-") as directory:
        scratch = Path(directory)
        scratch.chmod(0o755)
        with EmbeddedPostgres(scratch / "pg", durable=False) as database:
            asyncio.run(_execute(database.dsn, _SCHEMA))
            with bouncer(database, scratch, "transaction") as port:
                return asyncio.run(_run(database.dsn, port, callers, seconds, seed))


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


async def _run(dsn: str, port: int, callers: int, seconds: float, seed: int) -> Verdict:
    began = time.monotonic()
    work = Callers(port, seed)
    await work.run(callers, seconds)
    admin = await asyncpg.connect(dsn)
    states = await admin.fetch(
        "select state, count(*) from pg_stat_activity where usename = 'bouncer_web' group by 1"
    )
    written = {(row[0], row[1]) for row in await admin.fetch("select * from public.seen")}
    await admin.close()
    wrong = list(work.wrong)
    if written != work.acknowledged:
        wrong.append(f"writes differ: {sorted(written ^ work.acknowledged)[:5]}")
    if sum(row[1] for row in states) > _SERVER_SESSIONS:
        wrong.append(f"too many sessions: {states}")
    if any("transaction" in (row[0] or "") for row in states):
        wrong.append(f"left in a transaction: {states}")
    return Verdict(work.done, time.monotonic() - began, tuple(wrong))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 when something leaked, 2 without PgBouncer."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.pgbouncer")
    parser.add_argument("--callers", type=int, default=60, help="at the same time (60)")
    parser.add_argument("--seconds", type=float, default=20, help="how long (20)")
    parser.add_argument("--seed", type=int, default=0, help="of what they do (0)")
    options = parser.parse_args(arguments)
    try:
        verdict = run(callers=options.callers, seconds=options.seconds, seed=options.seed)
    except FileNotFoundError as error:
        print(f"skipped: {error}")
        return 2
    print(
        f"{options.callers} callers, {verdict.seconds:.0f} s: {verdict.done.total()}"
        f" transactions ({dict(verdict.done)}); {len(verdict.wrong)} leaks"
    )
    for wrong in verdict.wrong[:20]:
        print(wrong)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
