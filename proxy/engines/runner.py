"""Run the server: bind, start the service, serve until a signal says stop, drain, close.

In: a service and the options of a server. Out: an exit code. Sockets are bound before
anything else, so that a port in use is reported at once; the admin server answers while
the service starts; the main socket listens only when the service has started, so no
client ever meets a half-made one.

The end comes in steps, so that nobody loses a request: it is not ready any more, and load
balancers have `drain_delay` to notice; new connections are left to others on the port; the
socket is closed and what is in flight is finished; the rest is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from proxy.admin.server import Reports, admin_app
from proxy.app.front import EdgeApp, Service
from proxy.engines import collector, hypercorn_engine
from proxy.engines.handover import SETTLE, share_evenly, steer_away
from proxy.engines.model import EngineOptions
from proxy.engines.sockets import ServerError, bind_beside, bind_tcp, bind_unix, describe
from proxy.engines.workers import run_workers
from proxy.http.data_plane import EdgeOptions

logger = logging.getLogger(__name__)

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, or a Unix socket when `unix_socket` is set."""

    host: str = "!4"
    port: int = 3000
    unix_socket: Path | None = None
    unix_socket_mode: int = 0o660
    reuse_port: bool = False

    def bind(self) -> socket.socket:
        """A bound socket that does not listen yet. Raises `ServerError`."""
        if self.unix_socket is not None:
            return bind_unix(self.unix_socket, self.unix_socket_mode)
        return bind_tcp(self.host, self.port, reuse_port=self.reuse_port)

    def bind_for(self, workers: int) -> list[socket.socket]:
        """A bound socket for each of the workers, or one for all of them. Raises `ServerError`.

        Other systems than Linux don't share connections out among sockets. With `reuse_port`
        the server is to count as one, for whom it leaves them to when it ends.
        """
        first = self.bind()
        shares = sys.platform.startswith("linux") and first.family != socket.AF_UNIX
        if workers == 1 or not shares or self.reuse_port:
            return [first]
        with ExitStack() as stack:
            stack.enter_context(first)
            several = [first, *bind_beside(first, workers - 1)]
            stack.pop_all()
        return several


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Everything `run_server` needs to know; `admin` is None when there is no admin server.

    `drain_delay`: seconds between saying not to be ready and letting nobody in any more.
    """

    main: Address = field(default_factory=Address)
    admin: Address | None = None
    workers: int = 1
    engine_options: EngineOptions = field(default_factory=EngineOptions)
    drain_delay: float = 0.0
    edge: EdgeOptions = field(default_factory=EdgeOptions)


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses the server listens on, ports filled in: `127.0.0.1:3000`, `/run/x`."""

    main: str
    admin: str | None


OnReady = Callable[[Listening], None]
OnApp = Callable[[EdgeApp, int], None]
"""Given the application and the number of the worker that it serves in."""
SignalActions = Mapping[signal.Signals, Callable[[], object]]


def run_server(
    service: Service,
    options: ServerOptions,
    *,
    on_ready: OnReady | None = None,
    on_app: OnApp | None = None,
    on_worker: Callable[[int], object] | None = None,
    on_end: Callable[[], object] | None = None,
    on_death: Callable[[], object] = lambda: None,
    actions: SignalActions | None = None,
    reports: Reports | None = None,
) -> int:
    """Serve `service` until SIGTERM or SIGINT; blocks, and owns the event loop.

    With several workers `service` must not have been started: each forks its own copy, and
    the first one alone serves the admin server and calls `on_ready`. `on_worker` is given the
    worker's number in each, before the service starts. `on_app` is given the
    application before it serves, and `on_end` called in each worker after its last request;
    `on_death` in their parent, when one of them has died.
    `actions` says what other signals do; `reports` is what the admin server shows. Returns
    0, or 1 when a worker failed. Raises `ServerError`.
    """
    if (fault := options.engine_options.certificate_fault()) is not None:
        raise ServerError(fault)
    with ExitStack() as stack:
        sockets = options.main.bind_for(options.workers)
        stack.callback(_close, sockets)
        admin = stack.enter_context(options.admin.bind()) if options.admin else None
        if options.main.unix_socket is not None:
            stack.callback(options.main.unix_socket.unlink, missing_ok=True)
        if options.admin is not None and options.admin.unix_socket is not None:
            stack.callback(options.admin.unix_socket.unlink, missing_ok=True)

        def work(number: int, parent: int | None) -> int:
            first = number == 0
            if on_worker is not None:
                on_worker(number)
            main = sockets[number % len(sockets)]
            # As long as anybody has one open, connections are let in there.
            _close(each for each in sockets if each is not main)
            own_admin = admin if first else None
            run = _Run(number, service, options, main, own_admin, reports or Reports())
            ready = on_ready if first else None
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                try:
                    runner.run(run.until_stopped(ready, on_app, actions or {}, parent))
                finally:
                    if on_end is not None:
                        on_end()
            return 0

        if options.workers == 1:
            return work(0, None)
        # Else clients could connect to a socket that no worker listens to any more.
        on_stop = partial(_close, sockets)
        return run_workers(options.workers, work, on_stop=on_stop, on_death=on_death)


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class _Run:
    """One run of the server, from start to stop; what the admin server reports on."""

    def __init__(
        self,
        number: int,
        service: Service,
        options: ServerOptions,
        main: socket.socket,
        admin: socket.socket | None,
        reports: Reports,
    ) -> None:
        self._number = number
        self._service = service
        self._options = options
        self._main = main
        self._admin = admin
        self._reports = reports
        self._listening = False
        self._leaving: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    @property
    def live(self) -> bool:
        return self._listening

    @property
    def stopping(self) -> bool:
        return self._leaving is not None

    @property
    def pending(self) -> bool:
        return not self._service.ready

    async def until_stopped(
        self,
        on_ready: OnReady | None,
        on_app: OnApp | None,
        actions: SignalActions,
        parent: int | None,
    ) -> None:
        """Serve; `parent` is a file descriptor that reads as closed when the parent died."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report)
        stop = asyncio.Event()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop, number, stop)
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        if parent is not None:
            loop.add_reader(parent, self._orphaned, parent, stop)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_STOP_SIGNALS, *actions))
        admin_stop = asyncio.Event()
        admin = self._serve_admin(admin_stop)
        try:
            if await self._start(stop):
                await self._serve_main(stop, on_ready, on_app)
        finally:
            await self._service.close()
            admin_stop.set()
            if admin is not None:
                await admin

    def _stop(self, number: signal.Signals, stop: asyncio.Event) -> None:
        if self._leaving is not None:
            self._hurry.set()
            return
        logger.info("Received %s, finishing what is in flight", number.name)
        self._leaving = asyncio.create_task(self._leave(stop))

    def _orphaned(self, parent: int, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        if self._leaving is None:
            logger.warning("The parent process is gone, finishing what is in flight")
            self._leaving = asyncio.create_task(self._leave(stop))

    async def _leave(self, stop: asyncio.Event) -> None:
        """Let `stop` be set when no client comes any more, or a second signal says so."""
        if self._listening:
            await self._pause(self._options.drain_delay)
            if self._options.main.reuse_port and steer_away(self._main):
                await self._pause(SETTLE)
        self._listening = False
        stop.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _serve_admin(self, stop: asyncio.Event) -> asyncio.Task[None] | None:
        if self._admin is None:
            return None
        idle_timeout = self._options.engine_options.idle_timeout
        options = EngineOptions(idle_timeout=idle_timeout, farewell=0.0)
        app: Any = admin_app(self, self._reports)
        logger.info("Admin server listening on %s", describe(self._admin))
        return asyncio.create_task(
            hypercorn_engine.serve_admin(app, self._admin, options, stop)
        )

    async def _start(self, stop: asyncio.Event) -> bool:
        """Start the service, unless a signal comes first."""
        starting = asyncio.create_task(self._service.start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            return False
        await starting
        return not stop.is_set()

    async def _serve_main(
        self, stop: asyncio.Event, on_ready: OnReady | None, on_app: OnApp | None
    ) -> None:
        app = EdgeApp(self._service, self._options.edge)
        if on_app is not None:
            on_app(app, self._number)
        address = describe(self._main)
        try:
            # The engine listens as well; here a port lost in between is found out.
            self._main.listen(hypercorn_engine.BACKLOG)
        except OSError as error:
            raise ServerError(f"Cannot listen on {address}: {error.strerror}") from error
        if self._options.main.reuse_port:
            share_evenly(self._main)
        self._listening = True
        logger.info("API server listening on %s", address)
        if on_ready is not None:
            on_ready(Listening(address, describe(self._admin) if self._admin else None))
        with collector.out_of_the_way():
            await hypercorn_engine.serve(app, self._main, self._options.engine_options, stop)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A peer that fails to speak TLS is no news; everything else is."""
    if not hypercorn_engine.is_handshake_failure(context):
        loop.default_exception_handler(context)
