"""A primary with a real streaming replica: who answers, and what happens when one fails."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from pool import Pool
from pool.connection import connect
from pool.dsn import parse_dsn
from pool.errors import DatabaseError, PoolError, StandbyServer
from pool.model import Outcome, Statement, Transaction, keep_always
from pool.replicas import Backends
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import Admin, execute, sessions_of
from tests.pool.relay import Relay
from tests.pool.standby import pair
from tests.waiting import until

Pair = tuple[EmbeddedPostgres, EmbeddedPostgres]

_WHO = Transaction(Statement("select pg_is_in_recovery(), (select max(n) from public.kept)"))
_TABLE = "create table public.kept (n int); insert into public.kept values (0)"


def keeping(number: int, **options: object) -> Transaction:
    statement = Statement("insert into public.kept values ($1) returning n", (str(number),))
    return Transaction(statement, access="read write", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as scratch,
        pair(Path(scratch)) as both,
    ):
        asyncio.run(execute(both[0].dsn, _TABLE))
        yield both


@pytest.fixture
async def primary(servers: Pair) -> AsyncIterator[Admin]:
    connection = await asyncpg.connect(servers[0].dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def standby(servers: Pair) -> AsyncIterator[Admin]:
    connection = await asyncpg.connect(servers[1].dsn)
    yield connection
    await connection.execute("select pg_wal_replay_resume()")
    await connection.close()


@asynccontextmanager
async def serving(
    primary_dsn: str, *read_uris: str, max_lag: float = 10.0
) -> AsyncIterator[Backends]:
    pool = Pool(primary_dsn, size=4)
    backends = Backends(
        pool,
        primary_dsn,
        lambda uri: Pool(uri, size=4),
        read_uris=read_uris,
        max_lag=max_lag,
        interval=0.05,
        application_name="checks",
    )
    backends.start()
    try:
        yield backends
    finally:
        await backends.close()
        await pool.close(0)


@pytest.fixture
async def backends(servers: Pair) -> AsyncIterator[Backends]:
    async with serving(servers[0].dsn, servers[1].dsn) as backends:
        await until(answered_by(backends, replica=True))
        yield backends


def answered_by(
    backends: Backends, *, replica: bool, tx: Transaction = _WHO
) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return bool((await backends.run(tx)).rows[0][0]) == replica

    return asked


def after(outcome: Outcome) -> Transaction:
    assert outcome.position is not None
    return Transaction(_WHO.statement, after_position=outcome.position)


async def caught_up(primary: Admin, standby: Admin) -> None:
    position = await primary.fetchval("select pg_current_wal_insert_lsn()::text")

    async def replayed() -> bool:
        past = "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
        return bool(await standby.fetchval(past, position))

    await until(replayed)


async def test_reads_go_to_the_replica_and_writes_to_the_primary(backends: Backends) -> None:
    (before,) = backends.replicas
    assert (await backends.run(keeping(1))).kept
    for tx in (
        _WHO,
        Transaction(_WHO.statement, keep=lambda rows: True),
        Transaction(_WHO.statement, isolation="repeatable read"),
    ):
        assert (await backends.run(tx)).rows[0][0] is True
    serializable = Transaction(_WHO.statement, isolation="serializable")
    assert (await backends.run(serializable)).rows[0][0] is False
    assert (await backends.fetch(_WHO.statement))[0][0] is False
    (stats,) = backends.replicas
    assert (stats.fit, stats.reason) == (True, "")
    assert (stats.reads, stats.retried) == (before.reads + 3, before.retried)


@pytest.mark.parametrize("keep", [keep_always, lambda rows: True])
async def test_whoever_wrote_sees_it(
    backends: Backends, primary: Admin, standby: Admin, keep: object
) -> None:
    await standby.execute("select pg_wal_replay_pause()")
    written = await backends.run(keeping(100, keep=keep))
    assert tuple((await backends.run(after(written))).rows[0]) == (False, 100)
    # Others may be told what was.
    assert (await backends.run(_WHO)).rows[0][0] is True
    await standby.execute("select pg_wal_replay_resume()")
    await until(answered_by(backends, replica=True, tx=after(written)))
    assert (await backends.run(after(written))).rows[0][1] == 100
    await primary.execute("delete from public.kept where n = 100")


async def test_what_was_not_kept_has_no_position(backends: Backends) -> None:
    for options in ({"rollback": True}, {"keep": lambda rows: False}):
        assert (await backends.run(keeping(1, **options))).position is None
    assert (await backends.run(_WHO)).position is None


@pytest.mark.parametrize(
    "token", ["", "nonsense", "00000000-ffffffffffffffff", "x" * 10_000, "\0", "'; drop", "-1"]
)
async def test_a_token_that_is_none_is_ignored(backends: Backends, token: str) -> None:
    tx = Transaction(_WHO.statement, after_position=token)
    assert (await backends.run(tx)).rows[0][0] is True


async def test_a_replica_that_is_behind_is_not_used(
    servers: Pair, primary: Admin, standby: Admin
) -> None:
    async with serving(servers[0].dsn, servers[1].dsn, max_lag=0.5) as backends:
        await until(answered_by(backends, replica=True))
        # An idle primary makes nobody lag, however long.
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 1.0:
            assert (await backends.run(_WHO)).rows[0][0] is True
            await asyncio.sleep(0.05)
        await standby.execute("select pg_wal_replay_pause()")
        await backends.run(keeping(2))
        await until(answered_by(backends, replica=False))
        assert "behind" in backends.replicas[0].reason
        await standby.execute("select pg_wal_replay_resume()")
        await until(answered_by(backends, replica=True))


async def test_what_is_not_there_yet_is_answered_by_the_primary(
    backends: Backends, primary: Admin, standby: Admin
) -> None:
    await caught_up(primary, standby)
    await standby.execute("select pg_wal_replay_pause()")
    await primary.execute("create table public.later as select 7 as n")
    tx = Transaction(Statement("select pg_is_in_recovery(), n from public.later"))
    assert tuple((await backends.run(tx)).rows[0]) == (False, 7)
    assert backends.replicas[0].retried == 1
    await primary.execute("drop table public.later")
    with pytest.raises(DatabaseError, match="42P01"):
        await backends.run(tx)


async def test_errors_of_the_callers_are_not_asked_twice(backends: Backends) -> None:
    with pytest.raises(DatabaseError, match="22012"):
        await backends.run(Transaction(Statement("select 1 / 0")))
    limited = Transaction(
        Statement("select pg_sleep(10)"), settings=(("statement_timeout", "50ms"),)
    )
    with pytest.raises(DatabaseError, match="57014"):
        await backends.run(limited)
    assert backends.replicas[0].retried == 0


async def test_a_conflict_with_recovery_is_answered_by_the_primary(
    backends: Backends, primary: Admin, standby: Admin
) -> None:
    await primary.execute("create table public.doomed as select 1 as n")
    await caught_up(primary, standby)
    slow = Transaction(
        Statement(
            "select pg_is_in_recovery(), n, pg_sleep(case when pg_is_in_recovery() then 30"
            " else 0 end) from public.doomed"
        )
    )
    read = asyncio.create_task(backends.run(slow))

    async def sleeps() -> bool:
        sql = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
        return bool(await standby.fetchval(sql))

    await until(sleeps)
    # Taking the lock on the standby ends the read there.
    await primary.execute("begin; lock table public.doomed; commit")
    await primary.execute("vacuum full public.doomed")
    assert tuple((await read).rows[0])[:2] == (False, 1)
    assert backends.replicas[0].retried == 1
    await primary.execute("drop table public.doomed")


async def test_a_replica_that_falls_silent_delays_nobody_for_long(servers: Pair) -> None:
    primary, standby = servers
    async with Relay(f"{standby.socket_directory}/.s.PGSQL.{standby.port}") as relay:
        password = standby.dsn_for(tcp=True).partition("postgres:")[2].partition("@")[0]
        uri = relay.dsn().replace("postgres@", f"postgres:{password}@")
        async with serving(primary.dsn, uri) as backends:
            await until(answered_by(backends, replica=True))
            relay.hold()
            async with asyncio.timeout(5):
                assert (await backends.run(_WHO)).rows[0][0] is False
            assert "no answer" in backends.replicas[0].reason
            relay.flow()
            await until(answered_by(backends, replica=True))


async def test_a_replica_that_is_killed_costs_no_read(servers: Pair) -> None:
    primary, standby = servers
    async with serving(primary.dsn, standby.dsn) as backends:
        await until(answered_by(backends, replica=True))
        stopping, answers = asyncio.Event(), {True: 0, False: 0}

        async def read() -> None:
            while not stopping.is_set():
                outcome = await backends.run(_WHO)
                answers[outcome.rows[0][0]] += 1
                await asyncio.sleep(0.002)

        readers = [asyncio.create_task(read()) for _ in range(8)]
        for stop in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            assert standby.pid is not None
            os.kill(standby.pid, stop)
            await until(answered_by(backends, replica=False))
            await asyncio.to_thread(standby.stop)
            await asyncio.to_thread(standby.start)
            await until(answered_by(backends, replica=True), seconds=20)
        stopping.set()
        await asyncio.gather(*readers)
        assert min(answers.values()) >= 3


async def test_the_replicas_can_be_changed(servers: Pair, primary: Admin) -> None:
    admin, standby = primary, servers[1]
    async with serving(servers[0].dsn) as backends:
        assert (await backends.run(keeping(3))).position is None
        backends.use((standby.dsn, "host=/nonexistent", "not a dsn"), 5.0)
        assert [stats.fit for stats in backends.replicas] == [False, False]
        await until(answered_by(backends, replica=True))
        assert [stats.fit for stats in backends.replicas] == [True, False]
        backends.use((standby.dsn,), 5.0)
        assert [stats.fit for stats in backends.replicas] == [True]
        assert await sessions_of(admin, "checks") == 1
        backends.use((), 5.0)
        assert (await backends.run(_WHO)).rows[0][0] is False

        async def checks_no_more() -> bool:
            return await sessions_of(admin, "checks") == 0

        await until(checks_no_more)
        backends.use((standby.dsn,), 5.0)
        await until(answered_by(backends, replica=True))


async def test_what_is_no_replica_of_the_primary_is_not_used(
    servers: Pair, server: EmbeddedPostgres
) -> None:
    async with serving(servers[0].dsn, server.dsn, servers[0].dsn) as backends:

        async def judged() -> bool:
            return all("checked" not in stats.reason for stats in backends.replicas)

        await until(judged)
        reasons = [stats.reason for stats in backends.replicas]
        assert reasons == [
            "it is not a replica of the primary",
            "it is no replica: it accepts writes",
        ]
        assert (await backends.run(_WHO)).rows[0][0] is False


@pytest.mark.parametrize(
    "kind, in_recovery",
    [
        ("any", False),
        ("primary", False),
        ("read-write", False),
        ("standby", True),
        ("read-only", True),
        ("prefer-standby", True),
    ],
)
async def test_of_several_hosts_one_of_the_wanted_kind_is_taken(
    servers: Pair, kind: str, in_recovery: bool
) -> None:
    hosts = ",".join(str(server.socket_directory) for server in servers)
    ports = ",".join(str(server.port) for server in servers)
    dsn = f"host={hosts} port={ports} user=postgres target_session_attrs={kind}"
    session = await connect(parse_dsn(dsn, application_name="kinds", env={}))
    assert session.in_standby == in_recovery
    await session.close(5)


async def test_a_failover_is_followed() -> None:
    """The primary dies, its standby is promoted: who wrote to one writes to the other."""
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as scratch,
        pair(Path(scratch)) as (primary, standby),
    ):
        await execute(primary.dsn, _TABLE)
        hosts = f"{primary.socket_directory},{standby.socket_directory}"
        dsn = (
            f"host={hosts} port={primary.port},{standby.port} user=postgres"
            " target_session_attrs=read-write"
        )
        async with serving(dsn, standby.dsn) as backends:
            await until(answered_by(backends, replica=True))
            assert (await backends.run(keeping(1))).kept
            assert primary.pid is not None
            os.kill(primary.pid, signal.SIGQUIT)
            await asyncio.to_thread(primary.stop)
            # Reads go on while there is nobody to write to.
            assert (await backends.run(_WHO)).rows[0][0] is True
            await execute(standby.dsn, "select pg_promote()")

            async def writes() -> bool:
                try:
                    return (await backends.run(keeping(2))).kept
                except PoolError:
                    return False

            await until(writes, seconds=20)
            assert tuple((await backends.run(_WHO)).rows[0]) == (False, 2)


async def test_a_pool_that_is_connected_to_a_standby_looks_for_the_primary(
    servers: Pair, tmp_path: Path
) -> None:
    """As after a switch of roles that left its connections alone; nothing is lost."""
    primary, standby = servers
    sockets = (standby.socket_directory, primary.socket_directory)
    name = tmp_path / "database"
    name.symlink_to(str(sockets[0]))
    # The name of the one host leads elsewhere later, as a name in DNS does.
    pool = Pool(f"host={name} port={standby.port} user=postgres", size=3)
    backends = Backends(pool, standby.dsn, Pool)
    try:
        answers = await asyncio.gather(*(backends.run(_WHO) for _ in range(3)))
        assert [outcome.rows[0][0] for outcome in answers] == [True] * 3
        for tx in (keeping(5), keeping(5, keep=lambda rows: True)):
            with pytest.raises(StandbyServer):
                await backends.run(tx)
        name.unlink()
        name.mkdir()
        (name / f".s.PGSQL.{standby.port}").symlink_to(
            Path(str(sockets[1])) / f".s.PGSQL.{primary.port}"
        )
        assert (await backends.run(keeping(6))).kept
        answers = await asyncio.gather(*(backends.run(_WHO) for _ in range(3)))
        assert [tuple(outcome.rows[0]) for outcome in answers] == [(False, 6)] * 3
    finally:
        await backends.close()
        await pool.close(0)
    await execute(primary.dsn, "delete from public.kept where n > 0")
