"""The stamp of the rights in force, and looks that processes share."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from pool import Pool
from pool.errors import ConnectionFailed
from pool.model import Statement, Transaction
from proxy.cache.looks import Looks
from proxy.cache.rights import Rights, Rows
from proxy.cache.versions import Slots, Versions
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.schema_cache.queries import SETTINGS
from tests.cache.rights_changes import PROLOGUE, cases, version_of
from tests.conftest import execute
from tests.waiting import until

TAGS = frozenset(("api.t",))

# What PostgreSQL does all day, and what takes nothing away from anybody.
HARMLESS = """
vacuum api.plain
vacuum (freeze, analyze) api.plain
analyze
insert into api.plain select n from generate_series(1, 2000) n
update api.plain set id = id + 1
create index on api.plain (id)
reindex table api.plain
create temporary table passing (id serial primary key, other int check (other > 0))
create temporary view passing_view as select * from api.plain
refresh materialized view api.materialized
comment on table api.plain is 'nothing'
alter table api.plain alter id set statistics 50
create temporary table filled as select 1 as id; alter table filled add primary key (id)
select pg_stat_force_next_flush()
""".strip().splitlines()

# What no answer shows, or only with what a test can't easily have.
MORE = """
alter role stamped_alice set statement_timeout = '1s'
alter database {database} set row_security = off
alter role stamped_alice in database {database} set row_security = off
alter database {database} owner to stamped_alice
create foreign data wrapper stamped; create server stamped foreign data wrapper stamped
alter server stamped options (add host 'elsewhere')
create user mapping for stamped_alice server stamped
grant select on sequence api.numbers to stamped_alice
grant execute on function pg_catalog.pg_ls_dir(text) to stamped_alice
grant select on pg_catalog.pg_authid to stamped_alice
alter view api.seen set (security_barrier)
alter policy stamped on api.secured rename to other
create or replace rule stamped as on insert to api.plain do also nothing
create role stamped_bob
grant stamped_bob to stamped_alice with admin option
drop role stamped_bob
""".strip().splitlines()

SETUP = """
create role stamped_alice;
create table api.plain (id int); create table api.t (id int);
create sequence api.numbers;
create view api.seen as select * from api.plain;
create materialized view api.materialized as select * from api.plain;
create table api.secured (id int);
create policy stamped on api.secured using (true);
"""


@asynccontextmanager
async def looking(
    dsn: str, slots: Slots | None = None, interval: float = 1.0
) -> AsyncIterator[Rights]:
    """The rights in a database, asked on a connection of their own."""
    pool = Pool(dsn, size=1)

    async def ask(statement: Statement) -> Rows:
        return (await pool.run(Transaction(statement, settings=SETTINGS))).rows

    rights = Rights(ask, Versions(slots, dsn.partition("@")[2]), interval=interval)
    try:
        yield rights
    finally:
        await rights.close()
        await pool.close()


@pytest.fixture(scope="module")
def stamped(cluster: EmbeddedPostgres) -> str:
    """The name of a database with all the changes before they are made."""
    everything = cases(("@cache max-age=1",), asyncio.run(version_of(cluster)))
    # Other tests have roles of these names.
    made = "".join((PROLOGUE, *[case.made for case in everything], SETUP))
    asyncio.run(execute(cluster.dsn, "create database stamped"))
    asyncio.run(execute(cluster.dsn_for("stamped"), apart(made)))
    return "stamped"


def apart(sql: str) -> str:
    """With other names of roles than those of the served tests; schemas share them."""
    return sql.replace("rights", "stamp")


async def test_every_change_leaves_another_stamp(
    cluster: EmbeddedPostgres, stamped: str
) -> None:
    everything = cases(("@cache max-age=1",), await version_of(cluster))
    changes = [apart(case.sql) for case in everything]
    changes += [line.format(database=stamped) for line in MORE]
    admin = await asyncpg.connect(cluster.dsn_for(stamped))
    try:
        async with looking(cluster.dsn_for(stamped, "stamp_server")) as rights:
            stamps = [await rights.read()]
            for change in changes:
                await admin.execute(change)
                stamps.append(await rights.read())
                assert stamps[-1] != stamps[-2], change
    finally:
        await admin.close()


@pytest.mark.parametrize("harmless", HARMLESS)
async def test_what_happens_all_day_leaves_the_stamp_as_it_is(
    cluster: EmbeddedPostgres, stamped: str, harmless: str
) -> None:
    admin = await asyncpg.connect(cluster.dsn_for(stamped))
    try:
        async with looking(cluster.dsn_for(stamped, "stamp_server")) as rights:
            # Other tests change roles meanwhile only if they run at once.
            before = await rights.read()
            await admin.execute(harmless)
            assert await rights.read() == before
    finally:
        await admin.close()


GIVEN_AND_TAKEN = """
grant select on api.plain to public / revoke select on api.plain from public
grant usage on schema api to public / revoke usage on schema api from public
grant pg_read_all_data to stamped_alice / revoke pg_read_all_data from stamped_alice
create policy every on api.secured using (true) / drop policy every on api.secured
alter table api.t force row level security / alter table api.t no force row level security
alter role stamped_alice bypassrls / alter role stamped_alice nobypassrls
alter role stamped_alice set work_mem = '1MB' / alter role stamped_alice reset work_mem
alter view api.seen set (security_barrier) / alter view api.seen reset (security_barrier)
""".strip().splitlines()


@pytest.mark.parametrize("change", GIVEN_AND_TAKEN)
async def test_what_is_given_and_taken_between_two_looks_is_noticed(
    cluster: EmbeddedPostgres, stamped: str, change: str
) -> None:
    """Or what was read meanwhile would be good for ever after."""
    dsn = cluster.dsn_for(stamped)
    async with looking(cluster.dsn_for(stamped, "stamp_server")) as rights:
        before = await rights.read()
        for each in change.split(" / "):
            await execute(dsn, each)

        async def noticed() -> bool:
            return await rights.read() != before

        # What only counters of PostgreSQL's show, it shows within seconds.
        await until(noticed, seconds=30)


async def test_all_users_see_one_stamp(cluster: EmbeddedPostgres, stamped: str) -> None:
    async with (
        looking(cluster.dsn_for(stamped)) as one,
        looking(cluster.dsn_for(stamped, "stamp_server")) as other,
    ):
        assert await one.read() == await other.read()


async def test_a_look_is_shared_and_is_good_for_its_interval(
    cluster: EmbeddedPostgres, stamped: str
) -> None:
    slots, dsn = Slots(), cluster.dsn_for(stamped, "stamp_server")
    async with (
        looking(dsn, slots, interval=600.0) as one,
        looking(dsn, slots, interval=600.0) as other,
    ):
        stamp = await one.read()
        one.use(stamp)
        other.use(stamp)
        found = await asyncio.gather(*(each.holding() for each in (one, other) * 50))
        assert found == [stamp] * 100
        assert (one.looks, other.looks) == (1, 0)
        assert one.known()
        assert other.known()


async def test_those_who_come_at_once_wait_for_one_look(
    cluster: EmbeddedPostgres, stamped: str
) -> None:
    slots, dsn = Slots(), cluster.dsn_for(stamped, "stamp_server")
    async with (
        looking(dsn, slots, interval=600.0) as one,
        looking(dsn, slots, interval=600.0) as other,
    ):
        async with looking(dsn) as third:
            stamp = await third.read()
        one.use(stamp)
        other.use(stamp)
        found = await asyncio.gather(*(each.holding() for each in (one, other) * 50))
        assert found == [stamp] * 100
        assert one.looks + other.looks == 1


async def test_without_an_interval_each_use_is_looked_at(
    cluster: EmbeddedPostgres, stamped: str
) -> None:
    async with looking(cluster.dsn_for(stamped, "stamp_server"), interval=0.0) as rights:
        stamp = await rights.read()
        rights.use(stamp)
        for looks in range(2, 6):
            assert not rights.known()
            assert await rights.holding() == stamp
            assert rights.looks == looks
        await execute(cluster.dsn_for(stamped), "alter table api.plain owner to stamped_alice")
        assert await rights.holding() is None


async def test_a_change_outdates_what_was_made_before_it_is_told(
    cluster: EmbeddedPostgres, stamped: str
) -> None:
    told: list[None] = []
    slots, dsn = Slots(), cluster.dsn_for(stamped, "stamp_server")
    neighbour = Versions(slots, dsn.partition("@")[2])
    before = neighbour.vector(TAGS)
    async with looking(dsn, slots, interval=0.0) as rights:
        rights._on_change = lambda: told.append(None)
        rights.use(await rights.read())
        before = neighbour.vector(TAGS)
        assert await rights.holding() is not None
        assert neighbour.unchanged(TAGS, before)
        await execute(cluster.dsn_for(stamped), "grant update on api.plain to stamped_alice")
        assert await rights.holding() is None
        assert not neighbour.unchanged(TAGS, before)
        assert told
        assert rights.changes == 1
        rights.use(await rights.read())
        assert await rights.holding() is not None


async def test_nothing_holds_while_nobody_can_look() -> None:
    asked: list[Statement] = []

    async def ask(statement: Statement) -> Sequence[object]:
        asked.append(statement)
        raise ConnectionFailed("the database is away")

    rights = Rights(ask, Versions())
    rights.use(1)
    assert [await rights.holding() for _ in range(5)] == [None] * 5
    assert not rights.known()
    # It is not asked again for every request.
    assert len(asked) == 1
    await rights.close()


async def test_nobody_waits_long_for_a_look() -> None:
    async def ask(_: Statement) -> Sequence[object]:
        await asyncio.sleep(60)
        return ()

    rights = Rights(ask, Versions())
    rights.use(1)
    began = time.monotonic()
    assert await rights.holding() is None
    assert time.monotonic() - began < 30
    await rights.close()


# --- what processes share ---------------------------------------------------------------------


async def test_nobody_waits_for_a_look_beyond_a_deadline() -> None:
    begun: list[Statement] = []

    async def ask(statement: Statement) -> Sequence[object]:
        begun.append(statement)
        await asyncio.sleep(60)
        return ()

    rights = Rights(ask, Versions())
    rights.use(1)
    assert await rights.holding(time.monotonic()) is None
    assert not begun
    assert await rights.holding() is None
    assert begun
    await rights.close()


def test_the_newest_look_is_that_of_all_processes() -> None:
    look = Looks().of("h:1/a")
    pid = os.fork()
    if pid == 0:
        look.publish(5.0, 17)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert look.newest() == (5.0, 17)


def test_an_older_look_does_not_hide_a_newer_one() -> None:
    look = Looks().of("h:1/a")
    look.publish(5.0, 17)
    look.publish(4.0, 16)
    assert look.newest() == (5.0, 17)
    assert not look.differs(17)


def test_no_two_databases_share_a_look() -> None:
    looks = Looks()
    found = [looks.of(f"h:1/{number}") for number in range(5000)]
    for number, look in enumerate(found, 1):
        look.publish(float(number), number)
    assert [look.newest() for look in found] == [(float(n), n) for n in range(1, 5001)]
    assert looks.of("h:1/7").newest() == (8.0, 8)


def test_one_process_looks_for_all_until_it_is_done_or_gone() -> None:
    look = Looks().of("h:1/a")
    assert look.take(600)
    assert not look.take(600)
    look.give_back()
    assert look.take(0.0)
    assert look.take(600)
