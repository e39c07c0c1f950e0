"""The keys at `jwt-jwks-uri`, kept up to date while the server runs.

In: where they are, how long they serve, whom to tell. Out: a call of `on_keys` whenever
they have changed. They are fetched at the start, when they are `max_age` old, and when a
token names a key that is not among them. Such tokens come cheap, so however many there are,
they cause one fetch in `UNKNOWN_INTERVAL` seconds at most, and wait for it together. While
the provider is away or answers nonsense the keys stay, and it is asked again with back-off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import httpx

from pool.backoff import pauses
from proxy.auth.jwks import MAX_BODY, parse_jwks
from proxy.auth.keys import KeySet
from proxy.schema_cache.rechecks import Rechecks

logger = logging.getLogger(__name__)

TIMEOUT: Final = 4.0
"""Seconds that a fetch may take, connecting included; shorter than requests wait for it."""
UNKNOWN_INTERVAL: Final = 10.0
"""Seconds at least between two fetches that unknown keys cause."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class KeySource:
    """Fetches the keys at `uri`; `keys` are the last ones, None before the first success.

    `max_age` and `timeout`, of one fetch, are in seconds. `on_keys` is called in the event
    loop and must not raise.
    """

    def __init__(
        self,
        uri: str,
        on_keys: Callable[[KeySet], None],
        *,
        max_age: float,
        timeout: float = TIMEOUT,
    ) -> None:
        self.keys: KeySet | None = None
        self._uri = uri
        self._on_keys = on_keys
        self._max_age = max_age
        self._timeout = timeout
        self._fetching = asyncio.Lock()
        self._fetches = 0
        self._failing = False
        self._asked = Rechecks(self._refresh)
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to fetch; returns at once."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop, in the middle of a fetch if need be."""
        await self._asked.close()
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker

    async def look_for_more(self) -> None:
        """Fetch because a key is missing, or wait for the fetch under way, or return at once
        when the last one is too recent."""
        await self._asked.look(UNKNOWN_INTERVAL)

    async def _work(self) -> None:
        waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            await self._refresh()
            if self._failing:
                await asyncio.sleep(min(next(waits), self._max_age))
            else:
                waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
                await asyncio.sleep(self._max_age)

    async def _refresh(self) -> None:
        """Fetch, or wait for who does; never raises."""
        before = self._fetches
        async with self._fetching:
            if self._fetches == before:
                await self._try_to_fetch()
                self._fetches += 1

    async def _try_to_fetch(self) -> None:
        try:
            keys = await fetch_keys(self._uri, self._timeout)
        except ValueError as error:
            if not self._failing:
                kept = "the old ones serve" if self.keys else "there are none yet"
                logger.warning("jwt-jwks-uri: no keys, %s: %s", kept, error)
            self._failing = True
            return
        self._failing = False
        if keys != self.keys:
            logger.info("Keys fetched from jwt-jwks-uri: %d", len(keys.keys))
            self.keys = keys
            self._on_keys(keys)


async def fetch_keys(uri: str, patience: float = TIMEOUT) -> KeySet:
    """The keys at `uri`, within `patience` seconds. Raises ValueError, with the reason."""
    try:
        async with asyncio.timeout(patience):
            return parse_jwks(await _fetch(uri))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TimeoutError) as error:
        # What httpx says of a URL that it can't read quotes it.
        said = "" if isinstance(error, httpx.InvalidURL) else str(error)
        raise ValueError(said or type(error).__name__) from None


async def _fetch(uri: str) -> bytes:
    """The body at `uri`. Raises httpx.HTTPError, and ValueError for an answer that is not
    200, is compressed or too long. Redirects are not followed: where keys come from is for
    the operator to say."""
    headers = {
        "Accept": "application/jwk-set+json, application/json",
        "Accept-Encoding": "identity",
    }
    async with (
        httpx.AsyncClient(follow_redirects=False, timeout=TIMEOUT) as client,
        client.stream("GET", uri, headers=headers) as response,
    ):
        if response.is_redirect:
            raise ValueError(f"redirected to {_place_in(response)}; set that instead")
        if response.status_code != 200:
            raise ValueError(f"answered {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ValueError("the answer is compressed, unasked")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BODY:
                raise ValueError(f"the answer is longer than {MAX_BODY} bytes")
        return bytes(body)


def _place_in(response: httpx.Response) -> str:
    """Where Location says, without what may be repeated there of our URI's query."""
    try:
        place = httpx.URL(response.headers.get("location", ""))
    except httpx.InvalidURL:
        return "no URL"
    return str(place.copy_with(username=None, password=None, query=None, fragment=None))
