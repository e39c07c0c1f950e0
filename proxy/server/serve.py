"""Serve a configuration: its apps, on the engine and addresses that it names.

In: `Loaded`. Out: an exit code, after the server was told to stop and has drained.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from proxy.admin.control import Control
from proxy.admin.exchange import Exchange
from proxy.admin.reports import reports_on
from proxy.app.front import EdgeApp, edge_options
from proxy.app.holds import Holds
from proxy.app.registry import Apps
from proxy.engines.model import EngineOptions
from proxy.engines.runner import Address, OnReady, ServerOptions, run_server
from proxy.engines.sockets import ServerError
from proxy.observability.board import SLOTS
from proxy.server.telemetry import Telemetry
from proxy.settings import Loaded

__all__ = ["ServerError", "serve", "server_options"]

HEAD_MARGIN: Final = 16 * 1024
"""Bytes of a head beyond the limits with which it still gets an answer that says so."""


def serve(
    loaded: Loaded,
    *,
    on_ready: OnReady | None = None,
    reread: Callable[[], Loaded] | None = None,
) -> int:
    """Serve `loaded` until SIGTERM or SIGINT; the exit code is 0 after a clean end.

    SIGUSR1 reloads the schema cache; SIGUSR2 the settings, those of file and environment
    through `reread`. Raises `ServerError` when an address, a certificate or the engine
    can't be had, and SettingsError when the database's settings make no sense. With
    `db-pool-automatic-recovery` off it ends with 1 when the database is lost.
    """
    settings = loaded.settings
    telemetry = Telemetry(settings)
    apps = Apps(
        loaded,
        reread=reread,
        on_loss=lambda: signal.raise_signal(signal.SIGTERM),
        holds=Holds(SLOTS, telemetry.slot_of),
    )
    options = server_options(loaded)
    exchange = Exchange(options.workers if options.admin is not None else 1)
    control = Control(apps, telemetry.tally, exchange)

    def tell_worker(number: int) -> None:
        apps.worker = number
        apps.accompany(lambda: exchange.open(number, control.answer), exchange.close)

    def watch(edge: EdgeApp, worker: int) -> None:
        # Nobody's requests find no docs page either.
        edge.data_plane.options = replace(edge.data_plane.options, docs=None)
        edge.choose = apps.choose
        telemetry.open(worker, apps, edge.data_plane)

    try:
        code = run_server(
            apps,
            options,
            on_ready=on_ready,
            on_worker=tell_worker,
            on_app=watch,
            on_end=telemetry.close,
            on_death=apps.mourn,
            actions={
                signal.SIGUSR1: lambda: apps.ask_reload(frozenset(("schema",))),
                signal.SIGUSR2: lambda: apps.ask_reload(frozenset(("config",))),
            },
            reports=reports_on(apps, telemetry.metrics, control),
        )
    finally:
        exchange.remove()
    return 1 if apps.gave_up else code


def server_options(loaded: Loaded) -> ServerOptions:
    """What the settings say about serving."""
    settings = loaded.settings
    admin = None
    if settings.admin_server_port is not None or settings.admin_server_unix_socket is not None:
        admin = Address(
            host=settings.admin_server_host or settings.server_host,
            port=settings.admin_server_port or 0,
            unix_socket=settings.admin_server_unix_socket,
            unix_socket_mode=settings.admin_server_unix_socket_mode,
        )
    return ServerOptions(
        main=Address(
            host=settings.server_host,
            port=settings.server_port,
            unix_socket=settings.server_unix_socket,
            unix_socket_mode=settings.server_unix_socket_mode,
            reuse_port=settings.server_reuseport,
        ),
        admin=admin,
        workers=settings.server_workers,
        engine_options=EngineOptions(
            idle_timeout=settings.server_idle_timeout,
            drain_timeout=settings.server_drain_timeout,
            max_head=settings.server_max_url + settings.server_max_header + HEAD_MARGIN,
            cert=settings.server_tls_cert,
            key=settings.server_tls_key,
        ),
        drain_delay=settings.server_drain_delay,
        edge=edge_options(settings),
    )
