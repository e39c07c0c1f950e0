"""The apps of one server: each by its place, started, changed and ended on its own.

In: a `Loaded` configuration, and what it says later (`reread`). Out: for each request the
front of the app that it is for. Without tables in the configuration there is the one app
that the top level describes, and it gets every request.

What happens to one app never holds up another: each is started in a task of its own, an app
whose database is away or refuses it is answered 503 for and tried again, one whose new
settings need another pool is started anew beside the old one, which ends once its requests
are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pool import ConnectionFailed, PoolError
from pool.budget import Budget, share_of
from pool.pace import PER_TURN, UNLIMITED, Pace
from proxy.app.app import App
from proxy.app.front import Front, edge_options
from proxy.app.holds import Holds, State
from proxy.app.reloads import Part, Reloads
from proxy.cache.versions import Slots
from proxy.errors import ApiError, api_error
from proxy.http.asgi import Scope
from proxy.http.data_plane import Answer, place_of
from proxy.http.in_flight import STALLED, InFlight
from proxy.observability.logs import CURRENT_APP
from proxy.observability.record import Record
from proxy.request.model import HttpRequest
from proxy.response.errors import error_response
from proxy.response.model import Response
from proxy.settings import DEFAULT_APP, Loaded, NamedApp, Settings, SettingsError
from proxy.settings.reload import as_it_runs, changed_apps, process_changes
from proxy.settings.routing import Router

logger = logging.getLogger(__name__)

START_GRACE: Final = 5.0
"""Seconds that the server waits for its apps before it serves those that are there."""
REPLACE_PATIENCE: Final = 15.0
"""Seconds that an app's successor may take to be ready before the app stays as it is."""


@dataclass(slots=True, eq=False)
class Served:
    """An app that is served: as it is configured, running, and as requests meet it."""

    named: NamedApp
    app: App
    front: Front
    state: State = "running"

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests; while paused they wait."""
        return self.state != "draining" and self.app.ready

    @property
    def busy(self) -> int:
        """How many transactions run, on any of the app's servers."""
        replicas = self.app.backends.replicas
        return self.app.pool.stats.busy + sum(each.pool.busy for each in replicas)

    @property
    def settled(self) -> bool:
        """Whether nothing runs any more that the state does not allow."""
        match self.state:
            case "running":
                return True
            case "paused":
                return not self.busy
            case "draining":
                return not self.front.requests


Watch = Callable[[Served], None]
Step = Callable[[], Awaitable[None]]


class Apps:
    """The service of a server: its apps.

    `reread` gives what the configuration says now. `on_loss` is called when the only app's
    database is lost and it is not to be waited for. `holds` has what operators told apps to
    do, which those that begin later do as well.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        reread: Callable[[], Loaded] | None = None,
        on_loss: Callable[[], None] | None = None,
        holds: Holds | None = None,
    ) -> None:
        self._loaded = loaded
        self._holds = holds
        self._at_start: list[Step] = []
        self._at_end: list[Step] = []
        self._reread = reread
        self._on_loss = on_loss
        self._served: dict[str, Served] = {}
        self._router: Router[Front] = Router(())
        self._watch: Watch | None = None
        self._reloads = Reloads(self._reload)
        self._told: tuple[str, ...] = ()
        self._ending: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._budget: Budget | None = None
        self._pace = Pace(_per_turn(loaded))
        settings = loaded.settings
        self._bodies = InFlight(settings.server_max_bodies_in_flight)
        self._answers = InFlight(settings.server_max_answers_in_flight, stalled=STALLED)
        # Now, for workers are forked from here on.
        self._slots = Slots()
        self.worker = 0
        """Which of the server's workers this process is; told before it starts."""

    @property
    def served(self) -> Mapping[str, Served]:
        """The apps that requests reach, by their names."""
        return self._served

    @property
    def named(self) -> bool:
        """Whether the configuration has tables, so that apps are told apart by name."""
        return bool(self._loaded.apps)

    @property
    def settings(self) -> Settings:
        """What is written at the top level: with tables, the process's settings."""
        return self._loaded.settings

    @property
    def ready(self) -> bool:
        """Whether any app can answer.

        One that can't must not take the others out of a load balancer, which may ask for
        each by name.
        """
        return any(each.ready for each in self._served.values())

    @property
    def gave_up(self) -> bool:
        """Whether the only app's database was lost and is not to be waited for."""
        return any(each.app.gave_up for each in self._served.values())

    def choose(self, scope: Scope) -> Front | None:
        """Whose a request is; nobody's when no app claims its host and path."""
        router = self._router
        if router.only is not None:
            return router.only
        place = place_of(scope)
        return None if place is None else router.find(*place)

    async def answer(self, request: HttpRequest, record: Record) -> Response:
        """The answer to requests that are for no app."""
        error = _nobodys(request)
        record.code = error.code
        return error_response(error, self._loaded.settings.client_error_verbosity)

    async def admit(self, head: HttpRequest, record: Record) -> Answer:
        """Raises the `ApiError` that these are answered with."""
        raise _nobodys(head)

    def watch(self, watch: Watch) -> None:
        """Tell `watch` of the apps, now and as they come."""
        self._watch = watch
        for each in self._served.values():
            watch(each)

    def accompany(self, start: Step, end: Step) -> None:
        """Have something begin and end with the apps."""
        self._at_start.append(start)
        self._at_end.append(end)

    def mourn(self) -> None:
        """A worker has died, and what it wrote last is in doubt; called in its parent."""
        self._slots.doubt_all()

    # --- what operators say ---------------------------------------------------------------

    async def hold(self, name: str, state: State, patience: float) -> bool:
        """Put the app `name` into `state`; whether within `patience` seconds all has ended
        that is not to go on. KeyError when there is no such app."""
        served = self._served[name]
        if self._holds is not None:
            self._holds.put(served.front.name, state)
        await self._put(served, state, patience)
        return served.settled

    async def _put(self, served: Served, state: State, patience: float) -> None:
        served.state = state
        served.front.refuse(_draining if state == "draining" else None)
        if state == "paused":
            await served.app.backends.pause(patience)
            return
        served.app.backends.resume()
        if state == "draining":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await served.front.drained()

    async def _hold_again(self, served: Served) -> None:
        """Put an app that has begun into the state that the one before it was in."""
        if self._holds is not None:
            state = self._holds.of(served.front.name)
            if state != "running":
                await self._put(served, state, 0.0)

    # --- life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts all apps; with tables none of them keeps the others waiting for long.

        Raises what `App.start` does, if there is but the one that has no table.
        """
        for start in self._at_start:
            await start()
        settings = self._loaded.settings
        if settings.pool_max_connections is not None:
            self._budget = Budget(
                share_of(settings.pool_max_connections, settings.server_workers, self.worker)
            )
        for named in _apps_of(self._loaded):
            self._served[named.name] = self._make(named)
        self._route()
        if not self.named:
            for each in self._served.values():
                await each.app.start()
                await self._hold_again(each)
        else:
            await self._start_patiently(self._served.values())
        self._reloads.start()

    async def close(self) -> None:
        """Ends all apps, waiting for what runs on their pools."""
        for end in self._at_end:
            await end()
        await self._reloads.close()
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(each.app.close() for each in self._served.values()))
        await asyncio.gather(*self._ending)

    def _make(self, named: NamedApp) -> Served:
        name = named.name if self.named else ""
        # A table's app hears of the file through us, for the file is about others as well.
        reread = None if self.named else self._reread_for_only_app
        on_loss = None if self.named else self._on_loss
        try:
            app = App(
                named.settings,
                reread=reread,
                on_loss=on_loss,
                budget=self._budget,
                pace=self._pace,
                slots=self._slots,
                name=name,
            )
        except (PoolError, SettingsError, ValueError) as error:
            # A connection string that can't be read, what is not installed, or connections
            # that are to be had in any case and can't be beside those of the others.
            if not self.named:
                raise
            key = "db-uri: " if isinstance(error, ConnectionFailed) else ""
            raise SettingsError([f"apps.{named.name}: {key}{error}"]) from error
        front = Front(
            app.answer,
            edge_options(named.settings),
            name,
            app.cache.replays,
            admit=app.admit,
            bodies=self._bodies,
            answers=self._answers,
        )
        return Served(named, app, front)

    async def _start_patiently(self, several: Iterable[Served]) -> None:
        tasks = [self._spawn(each, self._begin(each)) for each in several]
        if tasks:
            self._starting.update(tasks)
            await asyncio.wait(tasks, timeout=START_GRACE)
        for task in tasks:
            task.add_done_callback(self._started)

    async def _begin(self, each: Served) -> None:
        await each.app.start(patient=True)
        await self._hold_again(each)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("An app could not be started", exc_info=error)

    def _spawn(self, each: Served, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose diagnostics name the app, and all that it causes."""

        async def run() -> None:
            CURRENT_APP.set(each.front.name)
            await work

        return asyncio.create_task(run())

    def _route(self) -> None:
        self._router = Router((each.named.place, each.front) for each in self._served.values())

    # --- reloads ------------------------------------------------------------------------

    def ask_reload(self, parts: frozenset[Part]) -> None:
        """Reload `parts` soon; returns at once."""
        if "config" in parts and self._reread is not None:
            self._reloads.ask(frozenset(("config",)))
            parts -= {"config"}
        for each in self._served.values():
            each.app.ask_reload(parts)

    async def _reload(self, _parts: frozenset[Part]) -> bool:
        """Follow the configuration; True, for a faulty one is not tried again unasked."""
        assert self._reread is not None
        try:
            # Files may be slow, or pipes.
            loaded = await asyncio.to_thread(self._reread)
        except SettingsError as error:
            for problem in error.problems:
                logger.warning("The settings stay as they were: %s", problem)
            return True
        if not loaded.apps and not self.named:
            self._loaded = loaded
        else:
            self._tell_of_process(loaded)
            await self._follow(as_it_runs(self._loaded.settings, loaded))
        for each in self._served.values():
            each.app.ask_reload(frozenset(("config",)))
        return True

    def _reread_for_only_app(self) -> Loaded:
        assert self._reread is not None
        loaded = self._reread()
        if loaded.apps:
            raise SettingsError(["there are tables of apps now; SIGUSR2 applies them"])
        return loaded

    def _tell_of_process(self, loaded: Loaded) -> None:
        keys = process_changes(self._loaded.settings, loaded.settings)
        if keys != self._told:
            for key in keys:
                logger.warning("%s has changed; a restart applies it", key)
        self._told = keys

    async def _follow(self, loaded: Loaded) -> None:
        changes = changed_apps((each.named for each in self._served.values()), _apps_of(loaded))
        were_named, self._loaded = self.named, loaded
        self._pace.limit(_per_turn(loaded))
        if were_named != self.named:
            # The app without a name becomes one with a name, or the other way round.
            changes = changed_apps((), _apps_of(loaded))
        for named in changes.kept:
            kept = self._served[named.name]
            kept.named = named
            kept.app.rewrite(named.settings)
        added = self._make_those_possible(changes.added)
        successors = self._make_those_possible(changes.replaced)
        for each in (*added, *successors):
            if self._watch is not None:
                self._watch(each)
        await self._start_patiently(added)
        former = self._served
        stay = {named.name for named in (*changes.kept, *changes.replaced)}
        self._served = {name: each for name, each in former.items() if name in stay}
        self._served |= {each.named.name: each for each in added}
        self._route()
        for each in former.values():
            if self._served.get(each.named.name) is not each:
                self._end(each)
        await asyncio.gather(*(self._succeed(each) for each in successors))
        logger.info("Serving %s", ", ".join(sorted(self._served)))

    def _make_those_possible(self, several: Iterable[NamedApp]) -> list[Served]:
        made = []
        for named in several:
            try:
                made.append(self._make(named))
            except SettingsError as error:
                logger.error("An app can not begin. %s", error)
        return made

    async def _succeed(self, successor: Served) -> None:
        """Put `successor` in the place of the app of its name as soon as it is ready."""
        name = successor.named.name
        try:
            async with asyncio.timeout(REPLACE_PATIENCE):
                await self._spawn(successor, successor.app.start())
                ready = successor.app.ready
            problem = "" if ready else "its database is away"
        except (PoolError, SettingsError) as error:
            problem = str(error)
        except TimeoutError:
            problem = f"it was not ready after {REPLACE_PATIENCE:g} seconds"
        if problem:
            logger.error("apps.%s stays as it was: %s", name, problem)
            await successor.app.close()
            return
        await self._hold_again(successor)
        former, self._served[name] = self._served[name], successor
        self._route()
        self._end(former)

    def _end(self, former: Served) -> None:
        task = self._spawn(former, self._drain(former))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _drain(self, former: Served) -> None:
        """Close an app that gets no more requests once those it has are done."""
        patience = self._loaded.settings.server_drain_timeout
        try:
            async with asyncio.timeout(patience):
                await former.front.drained()
        except TimeoutError:
            logger.warning("Requests still ran after %g seconds", patience)
        await former.app.close()
        logger.info("The app of the former settings has ended")


def _nobodys(request: HttpRequest) -> ApiError:
    if sum(name == b"host" for name, _ in request.headers) > 1:
        return api_error("EDGE400", message="A request has one Host header")
    return api_error("EDGE404", hint="Check the Host header and the path's beginning")


def _draining() -> ApiError:
    return api_error("EDGE530", headers=((b"retry-after", b"5"),))


def _per_turn(loaded: Loaded) -> int:
    """How many waiters are let in at a turn: a single app has none to spare from it."""
    return PER_TURN if loaded.apps else UNLIMITED


def _apps_of(loaded: Loaded) -> tuple[NamedApp, ...]:
    return loaded.apps or (NamedApp(DEFAULT_APP, loaded.settings),)
