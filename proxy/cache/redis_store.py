"""A second level of kept answers that servers share: Redis, or Valkey.

In: entries of the first level and the tags that are written. Out: entries that other servers
have made, if it is certain that they still hold. The first level stays what it is; without
Redis everything works as if this module were not there.

How an entry is known to hold: Redis has a version for every tag, a random number. Whoever
makes an answer takes the versions of its tags before the query (`stamp`) and puts them with
the entry; whoever writes replaces them after its commit, before the writer gets its answer.
So does everyone who hears of a write elsewhere, and uses nothing from here until Redis has
confirmed that. Hence an entry whose stamp equals the versions in Redis is of after every
write that this process knows of; of what it hears later, the first level's own versions
take care. A version that Redis has evicted equals no stamp.

What is here is not trusted blindly: after any failure, and when another Redis answers (its
run_id is part of every key, so a restart with old data, or a replica that took over, has
other keys), the version of everything is replaced before anything is used.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from proxy.cache.freshness import Lifetimes
from proxy.cache.key import Key
from proxy.cache.store import Entry
from proxy.cache.versions import Versions
from proxy.response.model import Response

logger = logging.getLogger(__name__)

PAUSE: Final = 2.0
"""Seconds after a failure in which Redis is not asked again."""
_TIMEOUT: Final = 0.25
"""Seconds that Redis may take for an answer; the database is not much slower."""
_VERSION_LIFE: Final = 7 * 86400
"""Seconds after which an untouched version is forgotten, and with it what was stamped so."""
_LONGEST_LIFE: Final = 86400
_CONNECTIONS: Final = 16

_FAILURES: Final = (RedisError, OSError, TimeoutError, asyncio.TimeoutError)

_NONE: Final[frozenset[str]] = frozenset()

Stamp = tuple[bytes, ...]
"""The versions in Redis of everything and of some tags, at one moment."""
T = TypeVar("T")


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    """An entry as it lies in Redis; times are of the wall clock."""

    status: int
    reason: str | None
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    tag: bytes
    made_at: float
    lifetimes: tuple[float, float, float, bool, float]
    tags: tuple[str, ...]
    compressible: bool
    stamp: tuple[bytes, ...]
    claims: bytes | None


_PACKER: Final = msgspec.msgpack.Encoder()
_UNPACKER: Final = msgspec.msgpack.Decoder(_Packed)


def pack(entry: Entry, stamp: Stamp) -> bytes:
    """An entry and its stamp as bytes; without its other content codings."""
    response, lifetimes = entry.response, entry.lifetimes
    packed = _Packed(
        response.status,
        response.reason,
        response.headers,
        response.body,
        entry.tag,
        time.time() - (time.monotonic() - entry.made_at),
        (
            lifetimes.fresh,
            lifetimes.revalidating,
            lifetimes.on_error,
            lifetimes.tolerant,
            lifetimes.end,
        ),
        tuple(sorted(entry.tags)),
        entry.compressible,
        stamp,
        entry.claims,
    )
    return _PACKER.encode(packed)


def unpack(data: bytes) -> tuple[Entry, Stamp] | None:
    """The entry, without its vector, and its stamp; None for what is none of ours."""
    try:
        packed = _UNPACKER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    age = max(time.time() - packed.made_at, 0.0)
    entry = Entry(
        Response(packed.status, packed.headers, packed.body, packed.reason),
        packed.tag,
        time.monotonic() - age,
        Lifetimes(*packed.lifetimes),
        frozenset(packed.tags),
        (),
        packed.compressible,
        claims=packed.claims,
    )
    return entry, packed.stamp


def _kind_of(error: BaseException) -> str:
    """What is wrong, in the system's words or by its class: what Redis or its client says
    may quote the URL or the password that it was sent."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.strerror and not isinstance(at, RedisError):
            return at.strerror
        at = at.__cause__ or at.__context__
    return type(error).__name__


class RedisStore:
    """One app's share of a Redis.

    `url` as `redis.from_url` reads it; ValueError when it can't. Nothing is shared before
    `use`. Entries of more than `max_entry_bytes` stay out. No method raises.
    """

    def __init__(self, url: str, max_entry_bytes: int) -> None:
        try:
            # Its answers are typed for all that it may be told to decode.
            self._redis: Any = Redis.from_url(
                url,
                socket_timeout=_TIMEOUT,
                socket_connect_timeout=_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
                max_connections=_CONNECTIONS,
                redis_connect_func=self._connected,
            )
            # What the URL says beyond place and password is read when a connection is made.
            pool: Any = self._redis.connection_pool
            pool.make_connection()
        except (RedisError, ValueError, TypeError):
            # They quote it, and it may hold a password.
            raise ValueError("the URL can't be used") from None
        self._max_entry_bytes = max_entry_bytes
        self._name = ""
        self._run_id = ""
        self._trusted = False
        self._asked_again_at = 0.0
        self._renewing: asyncio.Lock = asyncio.Lock()
        self._pending = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def usable(self) -> bool:
        """Whether entries from here may be used now."""
        return self._trusted and not self._pending

    def use(self, namespace: str) -> None:
        """Share with those of the same `namespace`, which tells apps apart, and whatever else
        makes the answers of two servers differ."""
        name = blake2b(namespace.encode(), digest_size=12).hexdigest()
        if name != self._name:
            # What was written there meanwhile is not known.
            self._name, self._trusted, self._asked_again_at = name, False, 0.0

    async def close(self) -> None:
        """End what is under way and the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    # --- reads --------------------------------------------------------------------------

    async def find(self, key: Key, versions: Versions) -> Entry | None:
        """The entry of `key`, if it holds now; its vector is of before that was found out."""
        if not await self._ready() or not self.usable():
            return None
        data = await self._ask(lambda: self._redis.get(self._entry_key(key)))
        unpacked = None if data is None else unpack(data)
        if unpacked is None:
            return None
        entry, stamp = unpacked
        # First ours, then theirs: what is written in between changes one or the other.
        entry.vector = versions.vector(entry.tags)
        if not self.usable():
            return None
        keys = self._version_keys(entry.tags)
        now = await self._ask(lambda: self._redis.mget(keys))
        if now is None or tuple(now) != stamp or not self.usable():
            return None
        return entry if versions.unchanged(entry.tags, entry.vector) else None

    async def stamp(self, tags: frozenset[str]) -> Stamp | None:
        """The versions of `tags`; take it before the query. None: keep nothing here."""
        if not await self._ready() or not self.usable():
            return None
        keys = self._version_keys(tags)
        found = await self._ask(lambda: self._redis.mget(keys))
        if found is not None and None in found:
            missing = [key for key, value in zip(keys, found, strict=True) if value is None]
            found = await self._ask(lambda: self._make_versions(missing, keys))
        if found is None or None in found or not self.usable():
            return None
        return tuple(found)

    async def put(self, key: Key, entry: Entry, stamp: Stamp) -> None:
        """Offer `entry` to the others."""
        data = pack(entry, stamp)
        life = int(min(entry.lifetimes.kept, _LONGEST_LIFE))
        if len(data) <= self._max_entry_bytes and life > 0 and self.usable():
            await self._ask(lambda: self._redis.set(self._entry_key(key), data, ex=life))

    # --- writes -------------------------------------------------------------------------

    async def touch(self, tags: frozenset[str] | None) -> None:
        """`tags` (None: everything) were written. Returns when Redis knows it, or when
        nothing of what it has is trusted any more."""
        self._pending += 1
        try:
            # What was found to be in order before this write is not the end of it.
            if await self._ready(wait=True):
                names = self._version_keys(frozenset() if tags is None else tags)
                names = names[:1] if tags is None else names[1:]
                await self._ask(lambda: self._replace_versions(names))
        except asyncio.CancelledError:
            self._distrust()
            raise
        finally:
            self._pending -= 1

    def touch_soon(self, tags: frozenset[str] | None) -> None:
        """The same in the background: nothing from here is used until it is done."""
        self._pending += 1
        task = asyncio.get_running_loop().create_task(self._touch_pending(tags))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _touch_pending(self, tags: frozenset[str] | None) -> None:
        try:
            await self.touch(tags)
        finally:
            self._pending -= 1

    # --- the other end -------------------------------------------------------------------

    def _entry_key(self, key: Key) -> str:
        digest = blake2b(digest_size=24)
        for part in key:
            digest.update(b"%d:" % len(part) + part)
        # Numbered as its form is: who knows the former knows nothing of `claims`.
        return f"edgerest:{self._name}:{self._run_id}:e2:{digest.hexdigest()}"

    def _version_keys(self, tags: frozenset[str]) -> list[str]:
        prefix = f"edgerest:{self._name}:{self._run_id}:v:"
        return [prefix, *(prefix + tag for tag in sorted(tags))]

    async def _make_versions(self, missing: list[str], keys: list[str]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in missing:
            pipeline.set(key, secrets.token_bytes(8), nx=True, ex=_VERSION_LIFE)
        pipeline.mget(keys)
        return list((await pipeline.execute())[-1])

    async def _replace_versions(self, keys: list[str]) -> bool:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.set(key, secrets.token_bytes(8), ex=_VERSION_LIFE)
        await pipeline.execute()
        return True

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T | None:
        """The answer to `command`; None, and no trust any more, when there is none."""
        try:
            async with asyncio.timeout(2 * _TIMEOUT):
                return await command()
        except _FAILURES as error:
            if self._trusted:
                logger.warning(
                    "The shared cache is left alone for a while: %s", _kind_of(error)
                )
            self._distrust()
            return None

    def _distrust(self) -> None:
        self._trusted = False
        self._asked_again_at = time.monotonic() + PAUSE

    async def _ready(self, *, wait: bool = False) -> bool:
        """Whether Redis can be asked. The first after a pause finds out and renews it; others
        go without it meanwhile, unless they `wait`."""
        if self._renewing.locked() and not wait:
            return False
        if not self._name:
            return False
        if self._trusted and not self._renewing.locked():
            return True
        async with self._renewing:
            if self._trusted:
                return True
            if time.monotonic() < self._asked_again_at:
                return False
            self._pending += 1
            try:
                # Connects, which tells the run_id that the keys are made of.
                if not await self._ask(self._redis.ping):
                    return False
                if await self._ask(lambda: self._replace_versions(self._version_keys(_NONE))):
                    self._trusted = True
            finally:
                self._pending -= 1
        return self._trusted  # a connection may have met another Redis

    async def _connected(self, connection: Any) -> None:
        """A new connection: is it to the same Redis as the others?"""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        text = await connection.read_response()
        lines = (text if isinstance(text, str) else text.decode()).splitlines()
        run_id = next((line[7:] for line in lines if line.startswith("run_id:")), "")
        if run_id != self._run_id:
            self._run_id = run_id
            self._trusted = False
