"""LISTEN through everything that may happen to its connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pool.errors import ConnectionLost
from pool.listener import Listener
from pool.model import Statement
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import Admin, execute
from tests.pool.relay import Relay
from tests.waiting import until

NAME = "a listener"
OTHERS = "select pid from pg_stat_activity where application_name = $1"


class Ear:
    """A listener, and what it has heard."""

    def __init__(self, dsn: str, channel: str = "news", heartbeat: float = 30.0) -> None:
        self.heard: list[str] = []
        self.returns = 0
        self.listener = Listener(
            dsn,
            channel,
            on_message=self.heard.append,
            on_return=self._returned,
            heartbeat=heartbeat,
            application_name=NAME,
        )

    def _returned(self) -> None:
        self.returns += 1

    async def hears(self, text: str) -> bool:
        return text in self.heard

    async def came_back(self) -> bool:
        return self.returns > 0 and self.listener.listening

    async def is_deaf(self) -> bool:
        return not self.listener.listening


@asynccontextmanager
async def listening(
    dsn: str, channel: str = "news", heartbeat: float = 30.0
) -> AsyncIterator[Ear]:
    ear = Ear(dsn, channel, heartbeat)
    ear.listener.start()
    try:
        await ear.listener.first_attempt()
        yield ear
    finally:
        await ear.listener.close()


@pytest.mark.parametrize("channel", ["news", 'a "quoted" Name'])
async def test_notifications_are_heard_in_order(
    server: EmbeddedPostgres, admin: Admin, channel: str
) -> None:
    async with listening(server.dsn, channel) as ear:
        assert ear.listener.listening
        for text in ("one", "", "two"):
            await admin.execute("select pg_notify($1, $2)", channel, text)
        await until(lambda: ear.hears("two"))
        assert ear.heard == ["one", "", "two"]
        assert ear.returns == 0


async def test_a_terminated_listener_comes_back_and_says_so(
    server: EmbeddedPostgres, admin: Admin
) -> None:
    async with listening(server.dsn) as ear:
        for round_ in range(3):
            pid = await admin.fetchval(OTHERS, NAME)
            ear.returns = 0
            await admin.execute("select pg_terminate_backend($1)", pid)
            await until(ear.came_back)
            await admin.execute("select pg_notify('news', $1)", f"again {round_}")
            await until(lambda n=round_: ear.hears(f"again {n}"))  # type: ignore[misc]
        assert (
            await admin.fetchval(
                "select count(*) from pg_stat_activity where application_name = $1", NAME
            )
            == 1
        )


async def test_a_restart_of_the_database_is_survived(own_server: EmbeddedPostgres) -> None:
    async with listening(own_server.dsn) as ear:
        dsn = own_server.dsn
        await asyncio.to_thread(own_server.stop)
        await until(ear.is_deaf)
        assert ear.returns == 0
        await asyncio.to_thread(own_server.start)
        assert own_server.dsn == dsn
        await until(ear.came_back)
        assert ear.returns == 1
        await execute(own_server.dsn, "notify news, 'after'")
        await until(lambda: ear.hears("after"))


async def test_a_database_that_is_away_at_first_is_found_later(
    relay: Relay, server: EmbeddedPostgres
) -> None:
    dsn = relay.dsn()
    await relay.go_away()
    async with listening(dsn) as ear:
        assert not ear.listener.listening
        await relay.listen()
        await until(ear.came_back)
        await execute(server.dsn, "notify news, 'found'")
        await until(lambda: ear.hears("found"))


async def test_a_silent_network_is_noticed(relay: Relay) -> None:
    async with listening(relay.dsn(), heartbeat=0.2) as ear:
        relay.hold()
        await until(ear.is_deaf)
        relay.cut()
        relay.flow()
        await until(ear.came_back)


async def test_quiet_is_not_taken_for_silence(relay: Relay) -> None:
    async with listening(relay.dsn(), heartbeat=0.05) as ear:
        before = relay.turns

        async def some_heartbeats() -> bool:
            return relay.turns > before + 5

        await until(some_heartbeats)
        assert ear.listener.listening
        assert (ear.returns, relay.connections) == (0, 1)


async def test_of_several_hosts_the_one_that_accepts_writes_is_chosen(
    server: EmbeddedPostgres, own_server: EmbeddedPostgres
) -> None:
    await execute(own_server.dsn, "alter system set default_transaction_read_only = on")
    await execute(own_server.dsn, "select pg_reload_conf()")
    hosts = f"{own_server.socket_directory},{server.socket_directory}"
    ports = f"{own_server.port},{server.port}"
    dsn = f"host={hosts} port={ports} user=postgres target_session_attrs=any"
    async with listening(dsn) as ear:
        await execute(server.dsn, "notify news, 'from the primary'")
        await until(lambda: ear.hears("from the primary"))


@pytest.mark.parametrize("held", [False, True])
async def test_closing_takes_no_time(relay: Relay, held: bool) -> None:
    """Even when the network swallows the goodbye."""
    async with listening(relay.dsn()) as ear:
        if held:
            relay.hold()
        began = time.monotonic()
        await ear.listener.close()
        assert time.monotonic() - began < 5
        assert not ear.listener.listening
        relay.flow()


async def test_closing_in_the_middle_of_an_attempt_takes_no_time(relay: Relay) -> None:
    relay.hold()
    ear = Ear(relay.dsn())
    ear.listener.start()

    async def connecting() -> bool:
        return relay.connections == 1

    await until(connecting)
    began = time.monotonic()
    await ear.listener.close()
    assert time.monotonic() - began < 5
    relay.flow()


async def test_it_answers_questions_between_notifications(
    server: EmbeddedPostgres, admin: Admin
) -> None:
    async with listening(server.dsn) as ear:
        asked = Statement("select $1::text", ("one",))
        found = await asyncio.gather(*(ear.listener.fetch(asked, 60.0) for _ in range(20)))
        assert [rows[0][0] for rows in found] == ["one"] * 20
        with pytest.raises(ConnectionLost):
            await ear.listener.fetch(Statement("select pg_sleep(60)"), 0.05)
        await admin.execute("select pg_notify('news', 'still here')")
        await until(lambda: ear.hears("still here"))
    with pytest.raises(ConnectionLost):
        await ear.listener.fetch(asked, 60.0)
