"""The second level that servers share, over a real Redis."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache import redis_store
from proxy.cache.freshness import Lifetimes
from proxy.cache.redis_store import RedisStore, pack, unpack
from proxy.cache.store import Entry
from proxy.cache.versions import Versions
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.response.model import Response
from tests.cache.served.conftest import SCHEMA
from tests.conftest import MakeDatabase, MakeToken, StartEdge, execute
from tests.ports import free_port
from tests.waiting import eventually, until

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
needs_redis = pytest.mark.skipif(SERVER is None, reason="no redis-server is installed")

KEY = (b"/items", b"", b"", b"")
TAGS = frozenset(("api.items",))


def _entry(body: bytes = b"[]", tags: frozenset[str] = TAGS) -> Entry:
    response = Response(200, ((b"content-type", b"application/json"),), body)
    return Entry(response, b'"tag"', time.monotonic(), Lifetimes(60.0), tags, (), True)


class _Redis:
    """A Redis of this test's own, which may be stopped and started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        assert SERVER is not None
        command = [
            SERVER,
            "--port",
            str(self._port),
            "--save",
            "",
            "--dir",
            str(self._directory),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise RuntimeError("Redis does not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[_Redis]:
    running = _Redis(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def two(redis: _Redis) -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    """Two servers' ends; both have looked at what is there."""
    stores = [RedisStore(redis.url, 1 << 20) for _ in range(2)]
    for store in stores:
        store.use("app")
        assert await store.stamp(TAGS) is not None
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


@needs_redis
async def test_what_one_has_made_the_other_finds(two: tuple[RedisStore, RedisStore]) -> None:
    one, other = two
    stamp = await one.stamp(TAGS)
    assert stamp is not None
    await one.put(KEY, _entry(b"[1]"), stamp)
    versions = Versions()
    found = await other.find(KEY, versions)
    assert found is not None
    assert found.response == _entry(b"[1]").response
    assert versions.unchanged(TAGS, found.vector)
    assert await other.find((b"/other", b"", b"", b""), versions) is None


@needs_redis
@pytest.mark.parametrize("tags", [TAGS, None])
async def test_a_write_outdates_it_for_all(
    two: tuple[RedisStore, RedisStore], tags: frozenset[str] | None
) -> None:
    one, other = two
    stamp = await one.stamp(TAGS)
    assert stamp is not None
    await one.put(KEY, _entry(), stamp)
    await other.touch(tags)
    for store in two:
        assert await store.find(KEY, Versions()) is None
    # What was read before the write is of no use afterwards either.
    await one.put(KEY, _entry(), stamp)
    assert await other.find(KEY, Versions()) is None


@needs_redis
def test_a_reload_outdates_what_is_there(
    redis: _Redis,
    make_database: MakeDatabase,
    postgres: EmbeddedPostgres,
    start_edge: StartEdge,
    token: MakeToken,
) -> None:
    """A policy has become stricter: none of the tables or functions shows that."""
    name = make_database(SCHEMA)
    dsn = postgres.dsn_for(name)
    ada = token("web_user", sub="ada")
    with (
        start_edge(
            db_uri=postgres.dsn_for(name, "authenticator"),
            db_schemas="api",
            cache_store=redis.url,
        ) as server,
        httpx.Client(base_url=server.url, headers=ada) as client,
    ):
        assert "stored" in client.get("/notes").headers["cache-status"]
        assert "; hit" in client.get("/notes").headers["cache-status"]
        stricter = "alter policy own on api.notes using (false); notify pgrst, 'reload schema'"
        asyncio.run(execute(dsn, stricter))
        answers = [client.get("/notes")]

        def is_new() -> bool:
            answers.append(client.get("/notes"))
            return "; hit" not in answers[-1].headers["cache-status"]

        eventually(is_new)
        assert answers[-1].json() == []


@needs_redis
async def test_nothing_is_used_until_a_write_heard_of_is_known_there(
    two: tuple[RedisStore, RedisStore],
) -> None:
    one, other = two
    stamp = await one.stamp(TAGS)
    assert stamp is not None
    await one.put(KEY, _entry(), stamp)
    other.touch_soon(TAGS)
    assert not other.usable()
    assert await other.find(KEY, Versions()) is None

    async def usable() -> bool:
        return other.usable()

    await until(usable)
    assert await other.find(KEY, Versions()) is None


@needs_redis
async def test_other_settings_share_nothing(
    redis: _Redis, two: tuple[RedisStore, RedisStore]
) -> None:
    one, other = two
    stamp = await one.stamp(TAGS)
    assert stamp is not None
    await one.put(KEY, _entry(), stamp)
    other.use("another app")
    assert await other.find(KEY, Versions()) is None


@needs_redis
async def test_without_redis_nothing_is_found_and_nothing_fails(
    redis: _Redis, two: tuple[RedisStore, RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "PAUSE", 0.0)
    one, other = two
    stamp = await one.stamp(TAGS)
    assert stamp is not None
    redis.stop()
    assert await one.find(KEY, Versions()) is None
    assert await one.stamp(TAGS) is None
    await one.put(KEY, _entry(), stamp)
    await one.touch(TAGS)
    redis.start()
    # What is there now is another Redis: nothing was handed over.
    stamp = await one.stamp(TAGS)
    assert stamp is not None
    await one.put(KEY, _entry(), stamp)

    async def shared() -> bool:
        stamp = await one.stamp(TAGS)
        if stamp is not None:
            await one.put(KEY, _entry(), stamp)
        return await other.find(KEY, Versions()) is not None

    # The other one declares it all outdated when it comes back; then it is shared again.
    assert await other.find(KEY, Versions()) is None
    await until(shared)


@needs_redis
async def test_what_missed_a_write_is_not_believed(
    redis: _Redis, two: tuple[RedisStore, RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "PAUSE", 0.0)
    one, other = two
    stamp = await one.stamp(TAGS)
    assert stamp is not None
    await one.put(KEY, _entry(), stamp)
    assert await other.find(KEY, Versions()) is not None
    assert redis._process is not None
    redis._process.send_signal(19)  # SIGSTOP: it is there, and answers nobody
    await other.touch(TAGS)
    assert not other.usable()
    redis._process.send_signal(18)
    assert await other.find(KEY, Versions()) is None
    assert await one.find(KEY, Versions()) is None


@needs_redis
async def test_large_entries_stay_out(redis: _Redis) -> None:
    store = RedisStore(redis.url, 1000)
    store.use("app")
    stamp = await store.stamp(TAGS)
    assert stamp is not None
    await store.put(KEY, _entry(b"x" * 2000), stamp)
    assert await store.find(KEY, Versions()) is None
    await store.close()


@given(
    st.binary(max_size=50),
    st.frozensets(st.text(max_size=5), max_size=3),
    st.lists(st.binary(max_size=8), max_size=3),
    st.none() | st.binary(max_size=16),
)
def test_entries_come_back_as_they_were(
    body: bytes, tags: frozenset[str], stamp: list[bytes], claims: bytes | None
) -> None:
    entry = _entry(body, tags)
    entry.claims = claims
    unpacked = unpack(pack(entry, tuple(stamp)))
    assert unpacked is not None
    found, found_stamp = unpacked
    assert found_stamp == tuple(stamp)
    assert found.response == entry.response
    assert found.claims == claims
    assert (found.tag, found.lifetimes, found.tags) == (entry.tag, entry.lifetimes, tags)
    assert abs(found.made_at - entry.made_at) < 1


@given(st.binary(max_size=60))
def test_anything_else_is_none(data: bytes) -> None:
    unpacked = unpack(data)
    assert unpacked is None or isinstance(unpacked[0], Entry)
