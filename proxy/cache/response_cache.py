"""The answers an app keeps: which of them may answer a request, and which new ones are kept.

In: a read, whose it is, and the app's state. Out: a kept answer, one that is being made for
somebody else, or a flight for the caller to make one; and then, of what the database said,
what everybody gets for whom it is the same.

The policy is found by path, role and profile, then the entry by its key. An entry answers
only while no table it was made of has been written since (`Versions`) and the rights it was
made under are known to hold (`Rights`); what age and the request make of it is `freshness`.
The versions of the tables are taken before a read's query.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Final, get_args

from pool.model import Outcome
from proxy.auth.model import Identity
from proxy.cache.applied import AppliedPolicies, Place, apply_policies, serves_alike
from proxy.cache.coalescing import Flight, Flights
from proxy.cache.freshness import Lifetimes, Verdict, judge, lifetimes_of, survives_error
from proxy.cache.headers import header_values
from proxy.cache.invalidation import Invalidation
from proxy.cache.key import Key
from proxy.cache.replay import Replays
from proxy.cache.representation import Representation, deliver, of_entry, representation
from proxy.cache.rights import Rights
from proxy.cache.scope_check import embeds_what_is_public
from proxy.cache.store import Entry, Store
from proxy.cache.tokens import Tokens
from proxy.cache_rules.policy import Policies
from proxy.observability.cache_counts import CacheCounts, CacheResult
from proxy.plan.model import FunctionCall, Plan, TableRead
from proxy.prepared.query import BoundQuery
from proxy.request.cache_control import Wants, parse_directives
from proxy.request.model import Headers, HttpRequest
from proxy.request.request_headers import CONSISTENCY_TOKEN, RequestHeaders
from proxy.response.commit_check import is_explained
from proxy.response.model import Response
from proxy.state.app_state import AppState

_KNOWN_VARY: Final = frozenset(
    b"accept accept-encoding accept-profile authorization origin prefer range".split()
)
"""What entries are told apart by, or what makes no difference to what is kept."""
_LEADERS: Final = ("no-store", "token-expires")
"""Why an answer is not kept that is nevertheless as good for others who ask the same."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is kept in a place. `entry` is None where there is nothing of use, not even in
    place of an error; `verdict` is what may be done with it, `age` its seconds, `forwarded`
    why the database is asked otherwise (RFC 9211, section 2.2)."""

    entry: Entry | None
    verdict: Verdict
    age: float
    forwarded: str


class ResponseCache:
    """The answers of one app. `invalidation` knows what has been written, and is told; `rights`
    knows whether those hold that answers were made under. `is_away` tells whether the
    database is known to be away."""

    def __init__(
        self,
        invalidation: Invalidation,
        rights: Rights,
        is_away: Callable[[], bool] = lambda: False,
        current_state: Callable[[], AppState | None] = lambda: None,
    ) -> None:
        self.invalidation = invalidation
        self.rights = rights
        self.tokens = Tokens()
        self.replays = Replays(current_state, self._holds, self._count_replay)
        self._is_away = is_away
        self._current_state = current_state
        self._versions = invalidation.versions
        self._store = Store(0, 0)
        self._applied: AppliedPolicies | None = None
        self._flights: Flights = Flights(self._is_current)
        self._reads: dict[CacheResult, int] = dict.fromkeys(get_args(CacheResult), 0)
        self._refreshes = 0
        self._invalidations = 0
        self._evicted = 0
        self._not_modified = 0

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
            rights_looks=self.rights.looks,
            rights_changes=self.rights.changes,
            entries=len(store),
            bytes=store.size,
        )

    async def close(self) -> None:
        """End what is being fetched."""
        await self._flights.close()

    def use(self, state: AppState) -> AppliedPolicies:
        """Get ready for `state`; the policies that are followed under it."""
        before, newest = self._applied, self._current_state()
        if before is not None and before.state is state:
            return before
        if before is not None and newest is not None and newest is not state:
            # It was taken before a reload, which came while the request's body did: what is
            # kept stays that of the newest.
            return replace(before, state=state, policies=Policies())
        self._applied = apply_policies(state)
        if before is None or not serves_alike(before.state, state):
            rules = state.response_cache
            self._evicted += self._store.evictions
            self._store = Store(rules.max_bytes, rules.max_entry_bytes)
            self._flights.part()
            self.replays.clear()
        return self._applied

    # --- before the query ----------------------------------------------------------------

    def place(
        self, state: AppState, http: HttpRequest, headers: RequestHeaders, identity: Identity
    ) -> Place | None:
        """Where the answer to a GET, HEAD or QUERY may be kept; None when it may not."""
        return self.use(state).place(http, headers.caching, identity)

    def known_since(self, headers: RequestHeaders) -> float:
        """When answers must have been begun (monotonic, seconds) to have all that the caller
        knows of."""
        token = headers.caching.get(CONSISTENCY_TOKEN)
        return -math.inf if token is None else self.tokens.known_since(token)

    async def rights_of(self, key: Key, deadline: float | None) -> int | None:
        """The stamp of the rights under which what is kept under `key`, or under way, may be
        used; None when it may not, nobody can tell by the `deadline`, or there is nothing to
        look at them for."""
        if time.monotonic() < self.rights.until:
            return self.rights.in_use
        kept = self._versions.trusted and self._store.get(key) is not None
        if kept or self._flights.find(key) is not None:
            return await self.rights.holding(deadline)
        return None

    def find(self, place: Place, wants: Wants, since: float, rights: int | None) -> Found:
        """What is kept in `place`, and whether it may answer under these rights."""
        entry, forwarded = self._unwritten(place), "fwd=miss"
        if entry is not None and entry.asked_at < since:
            entry, forwarded = None, "fwd=request"
        if entry is None:
            return Found(None, Verdict.FETCH, 0.0, forwarded)
        age = time.monotonic() - entry.made_at
        verdict = Verdict.FETCH
        if self._versions.trusted and rights is not None:
            verdict = judge(age, entry.lifetimes, wants)
        if verdict is Verdict.FETCH:
            forwarded = "fwd=stale" if age >= entry.lifetimes.fresh else "fwd=request"
            return Found(entry if self.spares(entry, wants) else None, verdict, age, forwarded)
        self._reads["hit" if verdict is Verdict.FRESH else "stale"] += 1
        return Found(entry, verdict, age, forwarded)

    def _unwritten(self, place: Place) -> Entry | None:
        """What is kept for this identity, if nothing it was made of has been written."""
        entry = self._store.get(place.key)
        if entry is None or (entry.claims is not None and not entry.is_for(place.identity)):
            return None
        if self._versions.unwritten(entry.tags, entry.vector):
            return entry
        self._invalidations += 1
        self._store.drop(place.key, entry)
        return None

    def spares(self, entry: Entry, wants: Wants) -> bool:
        """Whether it may be used in place of an error."""
        age = time.monotonic() - entry.made_at
        if not self._versions.unwritten(entry.tags, entry.vector):
            return False
        # What somebody is promised while the database is away includes that nobody can ask it
        # about rights. Without such a promise, they have to be known.
        if not (entry.lifetimes.on_error or self.rights.known()):
            return False
        return survives_error(age, entry.lifetimes, wants)

    def count(self, result: CacheResult) -> None:
        """What became of a read."""
        self._reads[result] += 1

    # --- one query for all who ask the same ----------------------------------------------

    def join(self, place: Place, wants: Wants, since: float) -> Flight | None:
        """The flight of another that this read may share."""
        flight = None if wants.no_cache or wants.no_store else self._flights.find(place.key)
        if flight is None or flight.background or flight.began < since:
            return None
        return flight if flight.is_for(place.identity) else None

    def begin(self, place: Place) -> Flight:
        """A flight whose answer is to be made."""
        self._reads["miss"] += 1
        return self._flights.begin(place)

    def begin_refresh(self, place: Place) -> Flight | None:
        """One that nobody waits for; None when there is one already."""
        if self._flights.find(place.key) is not None:
            return None
        self._refreshes += 1
        return self._flights.begin(place, background=True)

    def run(self, flight: Flight, making: Coroutine[None, None, Representation]) -> None:
        """Make the answer of a flight that was begun."""
        self._flights.run(flight, making)

    async def wait(self, flight: Flight, *, while_there: bool = False) -> Representation | None:
        """The flight's answer; None when the database goes away meanwhile, with
        `while_there`."""
        return await self._flights.wait(flight, self._is_away if while_there else None)

    # --- around the query of a flight ----------------------------------------------------

    async def find_elsewhere(
        self, flight: Flight, headers: RequestHeaders
    ) -> Representation | None:
        """What another server keeps, which is kept here from now on."""
        place, shared = flight.place, self.invalidation.shared
        # Another server may have put there what is older than the caller's token.
        if shared is None or headers.wants.no_cache or CONSISTENCY_TOKEN in headers.caching:
            return None
        if await self.rights.holding() is None:
            return None
        found = await shared.find(place.key, self._versions)
        if found is None or self._applied is not place.applied:
            return None
        if not found.is_for(place.identity):
            return None
        flight.claims = found.claims
        self._store.put(place.key, found)
        return of_entry(found, detail="shared")

    async def note_reads(self, flight: Flight, query: BoundQuery) -> None:
        """The flight's query is about to begin: take the versions of what it reads."""
        reads = query.prepared.reads
        shared = self.invalidation.shared
        if shared is not None and not reads.unknown:
            flight.stamp = await shared.stamp(reads.tags)
        flight.depends_on(reads, self._versions)
        flight.alone |= not _is_for_all(query, flight.place)

    async def keep(
        self,
        flight: Flight,
        query: BoundQuery,
        headers: RequestHeaders,
        response: Response,
    ) -> Representation:
        """What all get for whom the `response` to a flight's query is the same; kept, if it
        may be."""
        place = flight.place
        lifetimes, detail = _lifetimes(flight, query, headers, response)
        if lifetimes is not None and not await self._may_be_told(place):
            lifetimes, detail = None, "rights"
        made = await representation(
            response,
            place.applied,
            policy=place.policy,
            lifetimes=lifetimes,
            tags=flight.tags,
            detail=detail,
            anonymous=not headers.authorized,
        )
        if lifetimes is None:
            return made if detail in _LEADERS else made.for_one()
        if made.tag is None or flight.tags is None:
            return made
        if self._applied is not place.applied:
            return made.unkept("reloaded-meanwhile")
        entry = Entry(
            made.response,
            made.tag,
            flight.began,
            lifetimes,
            flight.tags,
            flight.vector,
            made.compressible,
            asked_at=flight.began,
            claims=flight.claims,
        )
        if not self._versions.unchanged(entry.tags, entry.vector):
            return made.unkept("written-meanwhile")
        if not self._store.put(place.key, entry):
            return made.unkept("too-large")
        shared = self.invalidation.shared
        if shared is not None and flight.stamp is not None:
            await shared.put(place.key, entry, flight.stamp)
        return made.kept_as(entry)

    async def _may_be_told(self, place: Place) -> bool:
        """Whether what is for everybody by the policy of `place` still is. A CDN that was told
        so shares it, and asks nobody about rights."""
        if place.policy.scope != "public":
            return True
        if await self.rights.holding() is None:
            return False
        newest = self._current_state()
        return newest is None or newest.schema is place.applied.state.schema

    async def deliver(
        self,
        made: Representation,
        headers: RequestHeaders,
        lines: Headers,
        place: Place | None = None,
        *,
        head: bool,
    ) -> Response:
        """The answer as one request gets it: the right coding, a 304, or ApiError EDGE412."""
        response, coding = await deliver(made, headers, lines, head=head)
        if coding is not None and made.entry is not None and place is not None:
            self._store.add_coded(place.key, made.entry, coding, response.body)
        if response.status == 304:
            self._not_modified += 1
        return response

    def token_of(self, outcome: Outcome) -> bytes:
        """A token for a write that other servers need not have heard of; none where they
        need not, or where its position in the log is one."""
        if outcome.position is not None:
            self.tokens.known_since(outcome.position.encode())
            return outcome.position.encode()
        applied, speaks = self._applied, self.invalidation.announcements.speaks
        if outcome.kept and applied is not None and applied.policies and speaks:
            return self.tokens.new()
        return b""

    # --- what entries and flights are asked ----------------------------------------------

    def _holds(self, key: Key, entry: Entry, now: float) -> bool:
        """Whether `entry` is still kept, nothing it was made of has been written, and the
        rights it was made under are known to hold."""
        return (
            now < self.rights.until
            and self._store.get(key) is entry
            and self._versions.unchanged(entry.tags, entry.vector)
        )

    def _count_replay(self, status: int) -> None:
        self._reads["hit"] += 1
        if status == 304:
            self._not_modified += 1

    def _is_current(self, flight: Flight) -> bool:
        """Whether a flight's query sees all that has been written by now."""
        if flight.alone or flight.tags is None:
            return not flight.alone
        return self._versions.unwritten(flight.tags, flight.vector)


def _lifetimes(
    flight: Flight, query: BoundQuery, headers: RequestHeaders, response: Response
) -> tuple[Lifetimes | None, str]:
    """How long an answer may be kept; or None, and why not."""
    place = flight.place
    if response.status not in (200, 206):
        return None, ""
    if query.prepared.schema_cache is not place.applied.state.schema:
        return None, "reloaded-meanwhile"
    if not _is_repeatable(query.prepared.planned.plan):
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
    lifetimes = lifetimes_of(place.policy, directives)
    if lifetimes is None:
        return None, "cache-control"
    if headers.wants.no_store:
        return None, "no-store"
    expires = place.identity.expires_at
    if expires is not None:
        lifetimes = lifetimes.capped(expires - time.time())
        if lifetimes.kept <= 0:
            return None, "token-expires"
    return lifetimes, ""


def _is_repeatable(plan: Plan) -> bool:
    """Whether the same question has the same answer until something is written."""
    if isinstance(plan, FunctionCall):
        return plan.call.function.volatility != "volatile" and not is_explained(plan)
    return isinstance(plan, TableRead) and not is_explained(plan)


def _is_for_all(query: BoundQuery, place: Place) -> bool:
    """Whether the answer may be for others than the one who asks, if it depends on nothing
    that tells them apart."""
    plan = query.prepared.planned.plan
    if not isinstance(plan, TableRead | FunctionCall) or not _is_repeatable(plan):
        return False
    if place.policy.scope != "public":
        return True
    policies = place.applied.policies
    schema = query.prepared.schema_cache
    return embeds_what_is_public(plan, schema, policies, place.identity.role)
