"""Apps that come, change and go while others are in use."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import asyncpg
import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.engines.workers import MIN_LIFE
from tests.apps.conftest import Config, Server, Start
from tests.waiting import eventually

SHOP, BLOG, NEWS = "shop.example.com", "blog.example.com", "news.example.com"


class Load:
    """Clients that ask an app without pause; what they were answered, by status."""

    def __init__(self, server: Server, host: str) -> None:
        self.seen: Counter[str] = Counter()
        self._server = server
        self._host = host
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._server.process.url) as client:
            while not self._stop.is_set():
                try:
                    answer = client.get("/things", headers={"host": self._host})
                    self.seen[str(answer.status_code)] += 1
                except httpx.HTTPError as error:
                    self.seen[type(error).__name__] += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Wait until it was answered some more."""
        before = self.seen["200"]
        eventually(lambda: self.seen["200"] > before + 20)


def backends(postgres: EmbeddedPostgres, database: str, *, asleep: bool = False) -> set[int]:
    """The server processes of a database's clients, or those that sleep in a query."""

    async def ask() -> set[int]:
        connection = await asyncpg.connect(postgres.dsn)
        try:
            rows = await connection.fetch(
                "select pid from pg_stat_activity where datname = $1"
                " and (wait_event = 'PgSleep' or not $2)",
                database,
                asleep,
            )
            return {row[0] for row in rows}
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_apps_come_change_and_go_without_a_failure_elsewhere(
    config: Config,
    start: Start,
    databases: list[str],
    postgres: EmbeddedPostgres,
) -> None:
    config.top["server-workers"] = 2
    config.top["db-pool-max-idletime"] = 600
    with start(config) as server, Load(server, SHOP) as load:
        load.goes_on()
        before = backends(postgres, databases[0])

        # Added.
        assert server.name(NEWS) == "EDGE404"
        news = {**config.apps["blog"], "hosts": NEWS}
        config.apps["news"] = news
        server.reload()
        settled(server, NEWS, databases[1])
        load.goes_on()

        # Another database: the app begins anew, and what runs on the old one ends there.
        with ThreadPoolExecutor(1) as aside:
            url = f"{server.process.url}/rpc/wait?seconds=1.5"
            slow = aside.submit(httpx.get, url, headers={"host": NEWS}, timeout=20)
            eventually(lambda: bool(backends(postgres, databases[1], asleep=True)))
            news["db-uri"] = postgres.dsn_for(databases[2], "authenticator")
            server.reload()
            settled(server, NEWS, databases[2])
            assert (slow.result().status_code, slow.result().json()) == (200, databases[1])
        load.goes_on()

        # What a reload can change: the pool stays.
        news["hosts"] = [NEWS, "news.example.org"]
        config.apps["blog"]["db-schemas"] = "other"
        server.reload()
        settled(server, "news.example.org", databases[2])
        eventually(lambda: server.get(BLOG, "/elsewhere").status_code == 200)
        load.goes_on()

        # Removed.
        del config.apps["news"]
        server.reload()
        settled(server, NEWS, "EDGE404")
        eventually(lambda: not backends(postgres, databases[2]))
        load.goes_on()
        assert backends(postgres, databases[0]) >= before
    assert load.seen.keys() == {"200"}


def settled(server: Server, host: str, name: str) -> None:
    """Wait until all workers answer from the database `name`."""
    eventually(lambda: all(server.name(host) == name for _ in range(6)))


def test_a_worker_that_is_replaced_knows_of_the_reloads_before_it(
    config: Config, start: Start, databases: list[str], postgres: EmbeddedPostgres
) -> None:
    config.top["server-workers"] = 2
    with start(config) as server:
        config.apps["blog"]["db-uri"] = postgres.dsn_for(databases[2], "authenticator")
        server.reload()
        settled(server, BLOG, databases[2])
        # One that dies sooner ends the server.
        eventually(lambda: time.monotonic() - server.began > MIN_LIFE)
        os.kill(server.process.workers[0], signal.SIGKILL)
        eventually(lambda: "is replaced" in server.process.log)
        # So many that by chance none of them misses the new worker.
        eventually(lambda: all(server.name(BLOG) == databases[2] for _ in range(30)))


def test_a_faulty_configuration_keeps_all_as_it_was(
    config: Config, start: Start, databases: list[str]
) -> None:
    with start(config) as server:
        config.apps["news"] = {**config.apps["blog"]}
        config.apps["shop"]["server-port"] = 1
        server.reload()
        eventually(lambda: "belongs to the whole process" in server.process.log)
        assert "apps.news: blog.example.com without a path-prefix is apps.blog's already" in (
            server.process.log
        )
        assert server.name(SHOP) == databases[0]
        assert server.name(BLOG) == databases[1]


def test_an_app_that_can_not_even_be_made_is_tried_with_the_next_reload(
    config: Config, start: Start, databases: list[str]
) -> None:
    with start(config) as server:
        uri = config.apps["blog"]["db-uri"]
        for wrong in ("nothing", "postgresql://127.0.0.1:port/x"):
            config.apps["news"] = {**config.apps["blog"], "hosts": NEWS, "db-uri": wrong}
            config.apps["blog"]["hosts"] = [BLOG, f"{len(wrong)}.example.com"]
            server.reload()
            settled(server, f"{len(wrong)}.example.com", databases[1])
            assert server.name(NEWS) == "EDGE404"
        assert 'apps.news: db-uri: missing "=" after a keyword' in server.process.log
        assert (
            'apps.news: db-uri: invalid integer value for connection option "port"'
            in server.process.log
        )
        config.apps["news"]["db-uri"] = uri
        server.reload()
        settled(server, NEWS, databases[1])
        assert server.name(SHOP) == databases[0]


def answers(server: Server, host: str, path: str) -> bool:
    return server.get(host, path).status_code == 200


def test_what_of_the_process_has_changed_is_told_once(
    config: Config, start: Start, databases: list[str]
) -> None:
    with start(config) as server:
        config.top["server-idle-timeout"] = 60
        for schema, host in (("other", "one.example.com"), ("api", "two.example.com")):
            config.apps["blog"] |= {"db-schemas": schema, "hosts": [BLOG, host]}
            server.reload()
            path = "/elsewhere" if schema == "other" else "/things"
            eventually(partial(answers, server, host, path))
        # As it is still running: nothing needs a restart any more.
        del config.top["server-idle-timeout"]
        config.apps["blog"]["hosts"] = [BLOG, "three.example.com"]
        server.reload()
        settled(server, "three.example.com", databases[1])
        lines = [line for line in server.process.log.splitlines() if "a restart" in line]
        assert len(lines) == 1
        assert lines[0].endswith(":server-idle-timeout has changed; a restart applies it")


def test_an_app_whose_successor_can_not_start_stays_as_it_was(
    config: Config, start: Start, databases: list[str], postgres: EmbeddedPostgres
) -> None:
    with start(config) as server:
        config.apps["shop"]["db-uri"] = postgres.dsn_for("no_such_database", "authenticator")
        config.apps["news"] = {**config.apps["blog"], "hosts": NEWS}
        server.reload()
        eventually(lambda: "apps.shop stays as it was" in server.process.log)
        assert server.name(SHOP) == databases[0]
        assert server.name(NEWS) == databases[1]
        # Put right, it is taken.
        config.apps["shop"]["db-uri"] = postgres.dsn_for(databases[2], "authenticator")
        server.reload()
        settled(server, SHOP, databases[2])


def test_the_only_app_becomes_one_of_several_and_back(
    config: Config, start: Start, databases: list[str]
) -> None:
    tables, top = config.apps, config.top
    single = {key: value for key, value in tables["shop"].items() if key != "hosts"}
    config.apps, config.top = {}, top | single
    with start(config) as server:
        assert server.name("anything") == databases[0]
        config.apps, config.top = tables, top
        server.reload()
        settled(server, "anything", "EDGE404")
        assert server.name(BLOG) == databases[1]
        config.apps, config.top = {}, top | single
        server.reload()
        settled(server, "anything", databases[0])
