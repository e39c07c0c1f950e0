"""HTTP clients with an RFC 9111 cache, for answers that carry `Cache-Control: max-age`.

Needs the extra `cache` (hishel). Hand one in as `http_client=`, with `Limits(stored=0)`: the
cache revalidates by itself. The cache is private: its key includes the token, so that what
one identity was shown is never shown to another.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import httpx
from hishel import AsyncSqliteStorage, CacheOptions, SqliteStorage
from hishel.httpx import AsyncCacheTransport, CacheTransport

_OPTIONS: Final = CacheOptions(shared=False)
_IDENTIFYING: Final = ("authorization", "accept-profile")


def caching_client(
    database: Path, *, max_bytes: int = 64 * 1024 * 1024, http2: bool = False
) -> httpx.Client:
    """A client for `EdgeClient` that keeps answers in the SQLite file `database`."""
    storage = SqliteStorage(database_path=database, max_size=max_bytes)
    inner = CacheTransport(httpx.HTTPTransport(http2=http2), storage, _OPTIONS)
    return httpx.Client(transport=_KeyedTransport(inner))


def async_caching_client(
    database: Path, *, max_bytes: int = 64 * 1024 * 1024, http2: bool = False
) -> httpx.AsyncClient:
    """A client for `AsyncEdgeClient` that keeps answers in the SQLite file `database`."""
    storage = AsyncSqliteStorage(database_path=database, max_size=max_bytes)
    inner = AsyncCacheTransport(httpx.AsyncHTTPTransport(http2=http2), storage, _OPTIONS)
    return httpx.AsyncClient(transport=_AsyncKeyedTransport(inner))


def _key_for(request: httpx.Request) -> str:
    parts = [str(request.url), *(request.headers.get(name, "") for name in _IDENTIFYING)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class _KeyedTransport(httpx.BaseTransport):
    def __init__(self, inner: CacheTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["caching"] = {"key": _key_for(request)}
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class _AsyncKeyedTransport(httpx.AsyncBaseTransport):
    def __init__(self, inner: AsyncCacheTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["caching"] = {"key": _key_for(request)}
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()
