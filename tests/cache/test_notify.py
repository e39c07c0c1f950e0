"""Hearing of writes elsewhere: payloads, transactions that announce themselves, and the
ear that may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool import Pool
from pool.errors import DatabaseError
from pool.model import Statement, Transaction
from proxy.cache.notify import Announcement, Announcements, payload_of, read_payload
from proxy.cache.versions import Versions
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, execute
from tests.waiting import until

TABLE = frozenset(("api.t",))

_tags = st.frozensets(st.text(max_size=63))


@given(_tags, st.sampled_from(["", "0123456789abcdef"]))
def test_a_payload_says_what_was_written_or_more(tags: frozenset[str], sender: str) -> None:
    payload = payload_of(Announcement(tags, sender))
    heard = read_payload(payload)
    assert len(payload.encode()) < 8000
    assert heard.sender == sender
    assert heard.tags is None or heard.tags == tags


def test_too_many_tags_are_everything() -> None:
    many = frozenset(f"api.{'x' * 60}{number}" for number in range(200))
    assert read_payload(payload_of(Announcement(many))).tags is None


@pytest.mark.parametrize(
    "payload, tags",
    [
        ("api.t", {"api.t"}),
        ("*", None),
        ('["x","api.t","api.u"]', {"api.t", "api.u"}),
        ('["x","*"]', None),
        ('["x"]', set()),
        ("[", {"["}),
        ("[1]", {"[1]"}),
        ('[a.b"].t', {'[a.b"].t'}),
        ("", {""}),
    ],
)
def test_payloads_of_others(payload: str, tags: set[str] | None) -> None:
    heard = read_payload(payload).tags
    assert (None if heard is None else set(heard)) == tags


@pytest.fixture(scope="module")
def dsn(
    make_database: MakeDatabase,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    schema = tmp_path_factory.mktemp("notify") / "schema.sql"
    schema.write_text(
        "create schema api; create table api.t (id int primary key);"
        "create function api.first() returns void language plpgsql as"
        " $$ begin perform set_config('test.first', 'done', true); end $$;"
        "create function api.none() returns setof int language sql as 'select 1 where false';"
    )
    return postgres.dsn_for(make_database(schema))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = Pool(dsn, size=1)
    await execute(dsn, "truncate api.t")
    yield pool
    await pool.close()


@pytest.fixture
async def heard(dsn: str) -> AsyncIterator[asyncio.Queue[str]]:
    """What is announced on channel `c`."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    connection = await asyncpg.connect(dsn)
    await connection.add_listener("c", lambda *args: queue.put_nowait(str(args[-1])))
    yield queue
    await connection.close()


def _insert(number: int, *, before: str | None = None) -> Transaction:
    return Transaction(
        Statement(
            "insert into api.t values ($1) returning current_setting('test.first', true)",
            (str(number),),
        ),
        access="read write",
        before=None if before is None else Statement(before),
    )


async def test_a_write_is_announced_when_it_is_committed(
    pool: Pool, heard: asyncio.Queue[str]
) -> None:
    voice = Announcements("c", Versions(), lambda: None, speaks=True)
    await pool.run(voice.announce(_insert(1), TABLE))
    with pytest.raises(DatabaseError):
        await pool.run(voice.announce(_insert(1), None))
    undone = replace(_insert(2), keep=lambda _: False)
    await pool.run(voice.announce(undone, None))
    await pool.run(voice.announce(replace(_insert(2), rollback=True), None))
    await pool.run(Transaction(voice.statement(frozenset(("last",))), access="read write"))
    assert read_payload(await heard.get()).tags == TABLE
    assert read_payload(await heard.get()).tags == frozenset(("last",))


@pytest.mark.parametrize("first", ["SELECT api.first()", "SELECT api.none()"])
async def test_the_function_that_runs_first_still_does(
    pool: Pool, heard: asyncio.Queue[str], first: str
) -> None:
    voice = Announcements("c", Versions(), lambda: None, speaks=True)
    outcome = await pool.run(voice.announce(_insert(1, before=first), TABLE))
    assert outcome.rows[0][0] == (b"done" if "first" in first else None)
    assert read_payload(await heard.get()).tags == TABLE


async def test_what_needs_no_telling_is_not_told() -> None:
    voice = Announcements("c", Versions(), lambda: None, speaks=True)
    write = _insert(1)
    assert voice.announce(write, frozenset()) is write
    voice = Announcements("c", Versions(), lambda: None, speaks=False)
    assert voice.announce(write, TABLE) is write


async def test_writes_elsewhere_change_versions(dsn: str, pool: Pool) -> None:
    versions = Versions()
    ear = Announcements("c", versions, lambda: None, speaks=True)
    ear.listen(dsn)
    try:
        assert not versions.unchanged(TABLE, versions.vector(TABLE))
        await ear.first_attempt()
        before = versions.vector(TABLE)
        assert versions.unchanged(TABLE, before)
        # Its own it knows already.
        await pool.run(ear.announce(_insert(1), TABLE))
        other_changed = _changed(versions, "api.other")
        await pool.run(Transaction(Statement("select pg_notify('c', 'api.other')")))
        await until(other_changed)
        assert versions.unchanged(TABLE, before)
        other = Announcements("c", Versions(), lambda: None, speaks=True)
        await pool.run(other.announce(_insert(2), TABLE))
        await until(_changed(versions, "api.t", before))
    finally:
        await ear.close()


async def test_a_lost_connection_empties_the_cache(dsn: str) -> None:
    versions = Versions()
    ear = Announcements("c", versions, lambda: None, speaks=True)
    ear.listen(dsn)
    try:
        await ear.first_attempt()
        before = versions.vector(TABLE)
        assert versions.unchanged(TABLE, before)
        await execute(
            dsn,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query ilike '%listen%' and pid <> pg_backend_pid()"
            " and datname = current_database()",
        )
        await until(_holds(lambda: not versions.trusted))
        await until(_holds(lambda: versions.trusted))
        assert not versions.unchanged(TABLE, before)
        assert versions.unchanged(TABLE, versions.vector(TABLE))
    finally:
        await ear.close()
    assert not versions.trusted


def _holds(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return condition()

    return holds


def _changed(
    versions: Versions, tag: str, before: tuple[int, ...] | None = None
) -> Callable[[], Awaitable[bool]]:
    tags = frozenset((tag,))
    vector = versions.vector(tags) if before is None else before
    return _holds(lambda: not versions.unchanged(tags, vector))
