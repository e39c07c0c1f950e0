"""Serve settings: the App they describe, on the engine and addresses they name.

In: `Settings`. Out: an exit code, after the server was told to stop and has drained.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from proxy.admin import Reports
from proxy.app import EdgeApp, edge_options
from proxy.apps import App
from proxy.engines.model import EngineOptions
from proxy.engines.runner import Address, OnReady, ServerOptions, run_server
from proxy.engines.sockets import ServerError
from proxy.schema_cache.dump import schema_cache_json
from proxy.settings import Loaded, Settings
from proxy.settings.dump import dump_settings
from proxy.telemetry import Telemetry

__all__ = ["ServerError", "serve", "server_options"]


def serve(
    settings: Settings,
    *,
    on_ready: OnReady | None = None,
    reread: Callable[[], Loaded] | None = None,
) -> int:
    """Serve `settings` until SIGTERM or SIGINT; the exit code is 0 after a clean end.

    SIGUSR1 reloads the schema cache; SIGUSR2 the settings, those of file and environment
    through `reread`. Raises `ServerError` when an address, a certificate or the engine
    can't be had, and SettingsError when the database's settings make no sense. With
    `db-pool-automatic-recovery` off it ends with 1 when the database is lost.
    """
    service = App(settings, reread=reread, on_loss=lambda: signal.raise_signal(signal.SIGTERM))
    telemetry = Telemetry(settings, service)

    def watch_and_follow(edge: EdgeApp, worker: int) -> None:
        def apply(settings: Settings) -> None:
            edge.data_plane.options = edge_options(settings)
            telemetry.follow(settings)

        telemetry.open(worker, edge.data_plane)
        service.follow(apply)

    def schema_cache() -> bytes:
        cache = service.state.cache
        return b"" if cache is None else schema_cache_json(cache)

    code = run_server(
        service,
        server_options(settings),
        on_ready=on_ready,
        on_app=watch_and_follow,
        on_end=telemetry.close,
        actions={
            signal.SIGUSR1: lambda: service.ask_reload(frozenset(("schema",))),
            signal.SIGUSR2: lambda: service.ask_reload(frozenset(("config",))),
        },
        reports=Reports(
            schema_cache=schema_cache,
            config=lambda: dump_settings(service.settings, redacted=True),
            metrics=telemetry.metrics,
        ),
    )
    return 1 if service.gave_up else code


def server_options(settings: Settings) -> ServerOptions:
    """What the settings say about serving."""
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
        engine=settings.server_engine,
        workers=settings.server_workers,
        engine_options=EngineOptions(
            idle_timeout=settings.server_idle_timeout,
            drain_timeout=settings.server_drain_timeout,
            max_head=2 * (settings.server_max_url + settings.server_max_header),
            cert=settings.server_tls_cert,
            key=settings.server_tls_key,
        ),
        edge=edge_options(settings),
    )
