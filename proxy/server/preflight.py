"""What can be told of a server before it starts, and without its database.

In: a configuration and the environment. Out: findings, good and bad, each a sentence that
names the setting. `edgerest serve` starts with none that is bad, and `edgerest check` shows
them all: there is one list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal

from proxy.cache.compression import AVAILABLE
from proxy.engines.runner import Address
from proxy.engines.sockets import ServerError
from proxy.server.serve import server_options
from proxy.server.telemetry import NO_TRACING, tracing_is_installed
from proxy.settings import Loaded, Settings

Verdict = Literal["good", "doubtful", "bad"]

_PLACES: Final = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
_NO_URI: Final = Settings().db_uri


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out; `text` is a sentence. `app`: about which, of several."""

    verdict: Verdict
    text: str
    app: str = ""

    def __str__(self) -> str:
        return f"apps.{self.app}: {self.text}" if self.app else self.text


def preflight(loaded: Loaded, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that is known of `loaded` now. Takes its addresses for a moment."""
    for warning in loaded.warnings:
        yield Finding("doubtful", warning)
    if not loaded.apps and loaded.settings.db_uri == _NO_URI:
        yield from _no_database_named(environ)
    for look in _LOOKS:
        yield from look(loaded)


def _no_database_named(environ: Mapping[str, str]) -> Iterator[Finding]:
    if not any(environ.get(name) for name in _PLACES):
        yield Finding(
            "doubtful",
            "db-uri is not set, nor are PGHOST and its like: a PostgreSQL of this machine is"
            ' asked; write e.g. db-uri = "postgresql://user@localhost/app"',
        )


def _certificate(loaded: Loaded) -> Iterator[Finding]:
    options = server_options(loaded).engine_options
    if options.cert is not None:
        fault = options.certificate_fault()
        good = f"server-tls-cert: {options.cert}"
        yield Finding("good", good) if fault is None else Finding("bad", fault)


def _addresses(loaded: Loaded) -> Iterator[Finding]:
    options = server_options(loaded)
    with ExitStack() as held:
        for name, address in (("server", options.main), ("admin-server", options.admin)):
            if address is None:
                continue
            key = f"{name}-{'port' if address.unix_socket is None else 'unix-socket'}"
            workers = options.workers if address is options.main else 1
            try:
                for sock in address.bind_for(workers):
                    held.enter_context(sock)
            except ServerError as error:
                yield Finding("bad", f"{key}: {error}")
                continue
            if address.unix_socket is not None:
                held.callback(address.unix_socket.unlink, missing_ok=True)
            yield Finding("good", f"{key}: {_shown(address)} is free")


def _shown(address: Address) -> str:
    return str(address.unix_socket or address.port or "any port")


def _extras(loaded: Loaded) -> Iterator[Finding]:
    if loaded.settings.server_tracing_enabled and not tracing_is_installed():
        yield Finding("bad", NO_TRACING)
    stores = [app for app in loaded.apps if app.settings.cache_store is not None]
    if (stores or loaded.settings.cache_store is not None) and find_spec("redis") is None:
        for name in [app.name for app in stores] or [""]:
            yield Finding("bad", 'cache-store needs the extra "edgerest[redis]"', name)
    if loaded.settings.server_compress_from:
        missing = "" if len(AVAILABLE) > 1 else '; "edgerest[compression]" has br and zstd'
        yield Finding("good", f"server-compress-from: {', '.join(AVAILABLE)}{missing}")


_LOOKS: Final[tuple[Callable[[Loaded], Iterator[Finding]], ...]] = (
    _certificate,
    _addresses,
    _extras,
)
