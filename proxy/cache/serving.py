"""The response cache around the pipeline: what it answers itself, and what it lets through.

In: a request, the app's state, and what `proxy.pipeline.answer` needs. Out: the response,
with validators on every read (entity tags, 304, 412), kept answers under a policy, one query
for identical reads at the same time, and content codings. A kept answer costs no parsing, no
planning and no query.

Order of things: the token is verified first, always. Then the policy is found by path, role
and profile, then the entry by its key. An entry answers only while no table it was made of
has been written since (`Versions`); what age and the request make of it is `freshness`.
The versions of the tables are taken before a read's query; `proxy.cache.writing` sees to what
writes change.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Final, TypeVar, get_args

from pool.errors import ConnectionFailed
from pool.model import Outcome, Transaction
from proxy import consistency, pipeline
from proxy.auth.model import Identity
from proxy.cache import delivery
from proxy.cache.counts import CacheCounts, CacheResult
from proxy.cache.delivery import Made
from proxy.cache.dependencies import dependencies
from proxy.cache.directives import Wants, parse_directives, wants_of
from proxy.cache.flights import Flight, Flights
from proxy.cache.freshness import Lifetimes, Verdict, judge, lifetimes_of, survives_error
from proxy.cache.headers import (
    age_line,
    cache_status,
    header_values,
    hit_lines,
)
from proxy.cache.instant import Hit, Instants
from proxy.cache.invalidation import Invalidation
from proxy.cache.key import Asked, Key, as_get, asked_of, key_of
from proxy.cache.policy import Policy
from proxy.cache.prepared import Prepared, prepare, serves_alike
from proxy.cache.safety import embeds_what_is_public
from proxy.cache.store import Entry, Store
from proxy.cache.tokens import Tokens
from proxy.cache.validators import Conditions, read_conditions
from proxy.cache.writing import Writing
from proxy.deadline import deadline_of
from proxy.errors import ApiError, api_error
from proxy.pipeline import AppState, Renew, Run
from proxy.plan.model import FunctionCall, Plan, TableRead
from proxy.record import Record, Resource
from proxy.request.model import HttpRequest
from proxy.request.query_method import QUERY, with_query_of_body
from proxy.response.commit_check import is_explained
from proxy.response.errors import error_response
from proxy.response.model import Response
from proxy.schema_cache.model import SchemaCache

T = TypeVar("T")

_KNOWN_VARY: Final = frozenset(
    b"accept accept-encoding accept-profile authorization origin prefer range".split()
)
"""What entries are told apart by, or what makes no difference to what is kept."""
_LEADERS: Final = ("no-store", "token-expires")
"""Why an answer is not kept that is nevertheless as good for others who ask the same."""
_LOOK: Final = 0.2
"""Seconds between two looks at whether the database is there, while an answer is awaited in
whose place a kept one would do."""
_OURS: Final = ("PGRST00", "EDGE5")
"""How the codes of errors begin that tell of the server and not of the request."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A read to be answered: the request, what it asks of caches, and the way to the
    database."""

    setup: Prepared
    http: HttpRequest
    asked: Asked
    wants: Wants
    conditions: Conditions | None
    run: Run
    renew: Renew | None
    record: Record


@dataclass(frozen=True, slots=True)
class _Kept:
    """What makes a read one that may be kept."""

    key: Key
    policy: Policy
    identity: Identity
    resource: Resource


class ResponseCache:
    """The cache of one app. `invalidation` knows what has been written, and is told.
    `is_away` tells whether the database is known to be away."""

    def __init__(
        self,
        invalidation: Invalidation,
        is_away: Callable[[], bool] = lambda: False,
        current_state: Callable[[], AppState | None] = lambda: None,
    ) -> None:
        self.instants = Instants(current_state, self._holds, self._count_instant)
        self._invalidation = invalidation
        self._is_away = is_away
        self._tokens = Tokens()
        self._writing = Writing(invalidation, self._tokens)
        self._versions = invalidation.versions
        self._store = Store(0, 0)
        self._setup: Prepared | None = None
        self._flights: Flights[Made] = Flights(self._is_current)
        self._reads: dict[CacheResult, int] = dict.fromkeys(get_args(CacheResult), 0)
        self._not_modified = 0
        self._refreshes = 0
        self._invalidations = 0
        self._evicted = 0

    @property
    def counts(self) -> CacheCounts:
        """What it did so far."""
        store = self._store
        return CacheCounts(
            reads=dict(self._reads),
            not_modified=self._not_modified,
            refreshes=self._refreshes,
            invalidations=self._invalidations,
            evictions=self._evicted + store.evictions,
            entries=len(store),
            bytes=store.size,
        )

    def prepare(self, state: AppState) -> bool:
        """Get ready for `state`; whether anything is to be kept under it."""
        return bool(self._set_up(state).policies)

    async def close(self) -> None:
        """End what is being fetched."""
        await self._flights.close()

    async def answer(
        self,
        state: AppState,
        run: Run,
        http: HttpRequest,
        renew: Renew | None,
        record: Record,
    ) -> Response:
        """The response to `http`, as `proxy.pipeline.answer` would give it or has given it."""
        setup = self._setup
        if setup is None or setup.state is not state:
            setup = self._set_up(state)
        asked = asked_of(http.headers)
        read = _read_of(http)
        if read is None:
            return await self._writing.answer(setup, run, http, asked, renew, record)
        reading = _Read(
            setup,
            read,
            asked,
            wants_of(asked.get(b"cache-control")),
            read_conditions(asked),
            run,
            renew,
            record,
        )
        if setup.policies:
            try:
                identity = state.authenticator.identify(http.headers, time.time())
            except ApiError:
                # The pipeline refuses it in the same way.
                return await self._unkept(reading)
            resource, policy = setup.policy_for(read, asked, identity.role)
            if policy is not None:
                key = key_of(
                    read, asked, policy.scope, identity, setup.manners.get(identity.role, b"")
                )
                return await self._kept(reading, _Kept(key, policy, identity, resource))
        return await self._unkept(reading)

    # --- what follows from the state -----------------------------------------------------

    def _set_up(self, state: AppState) -> Prepared:
        before, self._setup = self._setup, prepare(state)
        if before is None or not serves_alike(before.state, state):
            rules = state.cache_rules
            self._evicted += self._store.evictions
            self._store = Store(rules.max_bytes, rules.max_entry_bytes)
            self._flights.part()
            self.instants.clear()
        return self._setup

    # --- reads without a policy ----------------------------------------------------------

    async def _unkept(self, reading: _Read, detail: str = "no-policy") -> Response:
        """An answer of this moment, for nobody else, with a validator."""
        status = cache_status("fwd=bypass", detail=detail)
        if reading.wants.only_if_cached:
            return self._gateway_timeout(reading, status)
        state, http, record = reading.setup.state, reading.http, reading.record
        run = reading.run
        shown = http.method != "HEAD" or _needs_content(reading)
        if http.method == "HEAD" and shown:
            http, run = as_get(http), _told_head(run)
        response = await pipeline.answer(state, run, http, reading.renew, record)
        made = await delivery.unkept(
            response, reading.setup.vary, state.cache_rules.compress_from, shown=shown
        )
        return await self._deliver(reading, made, (status,))

    # --- reads under a policy ------------------------------------------------------------

    async def _kept(self, reading: _Read, kept: _Kept) -> Response:
        wants, entry = reading.wants, self._find(kept)
        forwarded, since = "fwd=miss", self._since(reading)
        if entry is not None and not self._versions.unwritten(entry.tags, entry.vector):
            self._invalidations += 1
            self._store.drop(kept.key, entry)
            entry = None
        if entry is not None and entry.asked_at < since:
            entry, forwarded = None, "fwd=request"
        if entry is not None:
            age = time.monotonic() - entry.made_at
            verdict = Verdict.FETCH
            if self._versions.trusted:
                verdict = judge(age, entry.lifetimes, wants)
            if verdict is not Verdict.FETCH:
                if verdict is Verdict.REFRESH:
                    self._refresh(reading, kept)
                return await self._hit(reading, kept, entry, age, verdict)
            forwarded = "fwd=stale" if age >= entry.lifetimes.fresh else "fwd=request"
        if wants.only_if_cached:
            return self._gateway_timeout(reading, cache_status(forwarded))
        obtained = None
        if entry is not None and self._survives_error(entry, wants):
            obtained = await self._unless_away(self._obtain(reading, kept, since))
            if obtained is None and self._survives_error(entry, wants):
                # It is what finds out that the database is back.
                self._refresh(reading, kept)
                return await self._spare(reading, kept, entry, 503)
        how, made = obtained or await self._obtain(reading, kept, since)
        if made is None:
            return await self._unkept(reading, "not-shared")
        status = made.response.status
        if status >= 500 and entry is not None and self._survives_error(entry, wants):
            return await self._spare(reading, kept, entry, status)
        ttl = None if made.entry is None else made.entry.lifetimes.fresh
        line = cache_status(f"{forwarded}{how}", ttl=ttl, detail=made.detail)
        return await self._deliver(reading, made, (line,), kept.key)

    def _find(self, kept: _Kept) -> Entry | None:
        entry = self._store.get(kept.key)
        if entry is None or entry.claims is None:
            return entry
        return entry if entry.is_for(kept.identity) else None

    def _since(self, reading: _Read) -> float:
        """When answers must have been begun (monotonic, seconds) to have all that the caller
        knows of."""
        token = reading.asked.get(consistency.HEADER)
        return -math.inf if token is None else self._tokens.known_since(token)

    async def _obtain(
        self, reading: _Read, kept: _Kept, since: float
    ) -> tuple[str, Made | None]:
        """What the database says, asked here or by another request, and a word for how; None
        when it is another request's own."""
        flight = self._joinable(reading, kept, since)
        if flight is not None:
            made = await self._share(reading, kept, flight)
            if flight.is_for(kept.identity):
                self._reads["shared"] += 1
                return "; collapsed", made
        self._reads["miss"] += 1
        flight = self._flights.start(kept.key, self._filling(reading, kept))
        made = await self._flights.wait(kept.key, flight)
        return "" if made.entry is None else "; stored", made

    def _joinable(self, reading: _Read, kept: _Kept, since: float) -> Flight[Made] | None:
        """A flight whose answer may do for this request, too."""
        flight = self._flights.find(kept.key)
        if flight is None or flight.background or flight.began < since:
            return None
        wants = reading.wants
        fits = flight.is_for(kept.identity) and not wants.no_cache and not wants.no_store
        return flight if fits else None

    async def _unless_away(self, obtaining: Coroutine[None, None, T]) -> T | None:
        """What comes of `obtaining`; None once the database is known to be away."""
        task = asyncio.get_running_loop().create_task(obtaining)
        try:
            while not task.done() and not self._is_away():
                await asyncio.wait((task,), timeout=_LOOK)
            return task.result() if task.done() else None
        finally:
            task.cancel()

    def _survives_error(self, entry: Entry, wants: Wants) -> bool:
        age = time.monotonic() - entry.made_at
        unwritten = self._versions.unwritten(entry.tags, entry.vector)
        return unwritten and survives_error(age, entry.lifetimes, wants)

    async def _spare(self, reading: _Read, kept: _Kept, entry: Entry, status: int) -> Response:
        """What is kept, in place of an error with this status."""
        self._reads["spared"] += 1
        reading.record.start()
        self._note(reading, kept)
        reading.record.code = None
        spared = f"fwd=stale; fwd-status={status}"
        line = cache_status(spared, detail="stale-if-error")
        lines = (age_line(time.monotonic() - entry.made_at), line)
        return await self._deliver(reading, delivery.of_entry(entry), lines, kept.key)

    async def _hit(
        self, reading: _Read, kept: _Kept, entry: Entry, age: float, verdict: Verdict
    ) -> Response:
        self._reads["hit" if verdict is Verdict.FRESH else "stale"] += 1
        record = reading.record
        record.start()
        self._note(reading, kept)
        lines = hit_lines(age, entry.lifetimes.fresh - age)
        response = await self._deliver(reading, delivery.of_entry(entry), lines, kept.key)
        record.lap("cache")
        if reading.setup.state.server_timing:
            timing = record.server_timing()
            response = replace(response, headers=(*response.headers, timing))
        elif verdict is Verdict.FRESH and reading.http.method != QUERY:
            # A QUERY's head does not tell what it asks.
            state = reading.setup.state
            record.hit = Hit(state, kept.key, entry, kept.identity, kept.resource)
        return response

    def _holds(self, key: Key, entry: Entry) -> bool:
        """Whether `entry` is still kept, and nothing it was made of has been written."""
        return self._store.get(key) is entry and self._versions.unchanged(
            entry.tags, entry.vector
        )

    def _count_instant(self, status: int) -> None:
        self._reads["hit"] += 1
        if status == 304:
            self._not_modified += 1

    def _note(self, reading: _Read, kept: _Kept) -> None:
        record = reading.record
        record.role, record.identity = kept.identity.role, kept.identity
        record.resource = kept.resource

    async def _share(self, reading: _Read, kept: _Kept, flight: Flight[Made]) -> Made | None:
        """What another request is fetching; None when it is for that one or its token."""
        record = reading.record
        self._note(reading, kept)
        timeout = reading.setup.state.request_timeout
        try:
            deadline = deadline_of(reading.http.headers, timeout, record.began)
            async with asyncio.timeout_at(deadline):
                made = await self._flights.wait(kept.key, flight)
        except ApiError as error:
            return Made(self._refuse(reading, error))
        except TimeoutError:
            return Made(self._refuse(reading, api_error("EDGE504")))
        if (
            flight.alone
            or made.alone
            or made.code == "EDGE504"
            or not flight.is_for(kept.identity)
        ):
            return None
        failed = made.code is not None and not made.code.startswith(_OURS)
        if failed and kept.policy.scope != "claims":
            # What SQL says of its failure may be meant for one.
            return None
        record.code = made.code
        return made

    def _refresh(self, reading: _Read, kept: _Kept) -> None:
        if self._flights.find(kept.key) is None:
            self._refreshes += 1
            alone = replace(reading, record=Record(), run=_in_background(reading.run))
            self._flights.start(kept.key, self._filling(alone, kept)).background = True

    def _filling(
        self, reading: _Read, kept: _Kept
    ) -> Callable[[Flight[Made]], Coroutine[None, None, Made]]:
        return lambda flight: self._fill(flight, reading, kept)

    async def _fill(self, flight: Flight[Made], reading: _Read, kept: _Kept) -> Made:
        """Fetch an answer and keep it, if it may be kept."""
        state, record, began = reading.setup.state, reading.record, flight.began

        shared, stamp = self._invalidation.shared, None
        # Another server may have put there what is older than the caller's token.
        takes_shared = not reading.wants.no_cache and consistency.HEADER not in reading.asked
        if shared is not None and takes_shared:
            found = await shared.find(kept.key, self._versions)
            usable = found is not None and found.is_for(kept.identity)
            if found is not None and usable and self._setup is reading.setup:
                flight.claims = found.claims
                self._store.put(kept.key, found)
                return replace(delivery.of_entry(found), detail="shared")

        async def watched(transaction: Transaction) -> Outcome:
            nonlocal stamp
            plan, schema_cache = record.plan, record.schema_cache
            if plan is not None and schema_cache is not None:
                depends_on = dependencies(plan, schema_cache)
                if shared is not None and not depends_on.unknown:
                    stamp = await shared.stamp(depends_on.tags)
                flight.depends_on(depends_on, self._versions, kept.policy.scope, kept.identity)
                flight.alone |= not _is_for_all(plan, schema_cache, reading, kept)
            try:
                # A replica may not have what the versions say was written.
                return await reading.run(replace(transaction, on_primary=True))
            except ConnectionFailed:
                flight.tags, flight.alone = None, True
                return await reading.run(transaction)

        http = as_get(reading.http) if reading.http.method == "HEAD" else reading.http
        response = await pipeline.answer(state, watched, http, reading.renew, record)
        lifetimes, detail = self._lifetimes(reading, kept, flight, response)
        made = await delivery.kept(
            response,
            reading.setup.vary,
            kept.policy,
            lifetimes,
            flight.tags,
            state.cache_rules.compress_from,
            detail=detail,
            code=record.code,
        )
        if record.code is None and lifetimes is None and detail not in _LEADERS:
            made = replace(made, alone=True)
        if lifetimes is None or made.tag is None or flight.tags is None:
            return made
        if self._setup is not reading.setup:
            return replace(made, detail="reloaded-meanwhile")
        entry = Entry(
            made.response,
            made.tag,
            began,
            lifetimes,
            flight.tags,
            flight.vector,
            made.compressible,
            asked_at=began,
            claims=flight.claims,
        )
        detail = self._keep(kept.key, entry)
        if detail:
            return replace(made, detail=detail)
        if shared is not None and stamp is not None:
            await shared.put(kept.key, entry, stamp)
        return replace(made, entry=entry)

    def _keep(self, key: Key, entry: Entry) -> str:
        """Keep it; or why not."""
        if not self._versions.unchanged(entry.tags, entry.vector):
            return "written-meanwhile"
        return "" if self._store.put(key, entry) else "too-large"

    def _lifetimes(
        self, reading: _Read, kept: _Kept, flight: Flight[Made], response: Response
    ) -> tuple[Lifetimes | None, str]:
        """How long an answer may be kept; or None, and why not."""
        record, state = reading.record, reading.setup.state
        if record.code is not None or response.status not in (200, 206):
            return None, ""
        if record.schema_cache is not state.cache:
            return None, "reloaded-meanwhile"
        if not _is_repeatable(record.plan):
            return None, "volatile"
        if flight.tags is None:
            return None, "unknown-dependencies"
        if flight.alone:
            return None, "scope"
        if header_values(response.headers, b"set-cookie"):
            return None, "set-cookie"
        vary = b",".join(header_values(response.headers, b"vary")).lower()
        if any(name.strip() not in _KNOWN_VARY for name in vary.split(b",") if name.strip()):
            return None, "vary"
        chosen = header_values(response.headers, b"cache-control")
        directives = parse_directives(b",".join(chosen)) if chosen else None
        lifetimes = lifetimes_of(kept.policy, directives)
        if lifetimes is None:
            return None, "cache-control"
        if reading.wants.no_store:
            return None, "no-store"
        expires = kept.identity.expires_at
        if expires is not None:
            lifetimes = lifetimes.capped(expires - time.time())
            if lifetimes.kept <= 0:
                return None, "token-expires"
        return lifetimes, ""

    def _is_current(self, flight: Flight[Made]) -> bool:
        """Whether a flight's query sees all that has been written by now."""
        if flight.alone or flight.tags is None:
            return not flight.alone
        return self._versions.unwritten(flight.tags, flight.vector)

    # --- the last step of a read ---------------------------------------------------------

    async def _deliver(
        self,
        reading: _Read,
        made: Made,
        lines: tuple[tuple[bytes, bytes], ...],
        key: Key | None = None,
    ) -> Response:
        """The answer as this request gets it: the right coding, a 304 or a 412."""
        try:
            delivered = await delivery.deliver(
                made,
                reading.asked,
                reading.conditions,
                lines,
                head=reading.http.method == "HEAD",
            )
        except ApiError as error:
            return self._refuse(reading, error)
        if delivered.new_coding is not None and made.entry is not None and key is not None:
            coding = delivered.new_coding
            self._store.add_coded(key, made.entry, coding, delivered.response.body)
        if delivered.response.status == 304:
            self._not_modified += 1
        return delivered.response

    def _refuse(self, reading: _Read, error: ApiError) -> Response:
        reading.record.code = error.code
        return error_response(error, reading.setup.state.verbosity)

    def _gateway_timeout(self, reading: _Read, status: tuple[bytes, bytes]) -> Response:
        response = self._refuse(reading, api_error("EDGE510"))
        return replace(response, headers=(*response.headers, status))


# --- parts ----------------------------------------------------------------------------------


def _read_of(http: HttpRequest) -> HttpRequest | None:
    """`http` as a GET, HEAD or QUERY; None when it is something else, or wrong."""
    if http.method in ("GET", "HEAD"):
        return http
    try:
        read = with_query_of_body(http)
    except ApiError:
        return None
    return read if read.method == QUERY else None


def _is_repeatable(plan: Plan | None) -> bool:
    """Whether the same question has the same answer until something is written."""
    if isinstance(plan, FunctionCall):
        return plan.call.function.volatility != "volatile" and not is_explained(plan)
    return isinstance(plan, TableRead) and not is_explained(plan)


def _is_for_all(plan: Plan, cache: SchemaCache, reading: _Read, kept: _Kept) -> bool:
    """Whether the answer may be for others than the one who asks, if it depends on nothing
    that tells them apart."""
    if not isinstance(plan, TableRead | FunctionCall) or not _is_repeatable(plan):
        return False
    if kept.policy.scope != "public":
        return True
    policies = reading.setup.policies
    return embeds_what_is_public(plan, cache, policies, kept.identity.role)


def _needs_content(reading: _Read) -> bool:
    """Whether a HEAD is answered with a validator, for which its content is made. One that
    counts rows, as SDKs do on tables of any size, is only if it is conditional."""
    return reading.conditions is not None or b"count=" not in reading.asked.get(b"prefer", b"")


def _told_head(run: Run) -> Run:
    """Lets SQL see the method that the request has."""

    async def told(transaction: Transaction) -> Outcome:
        settings = tuple(
            (name, "HEAD" if name == "request.method" else value)
            for name, value in transaction.settings
        )
        return await run(replace(transaction, settings=settings))

    return told


def _in_background(run: Run) -> Run:
    async def patient(transaction: Transaction) -> Outcome:
        return await run(replace(transaction, background=True, deadline=None))

    return patient
