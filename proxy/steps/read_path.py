"""Reads: answers that are kept, that another is asking for, or that are made for the caller.

In: a call and its GET, HEAD or QUERY. Out: the response, with a validator and Cache-Status.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Final

from proxy.cache.applied import Place
from proxy.cache.coalescing import Flight
from proxy.cache.freshness import Verdict
from proxy.cache.headers import age_line, cache_status, hit_lines
from proxy.cache.replay import Replay
from proxy.cache.representation import Representation, of_entry, representation
from proxy.cache.response_cache import Found
from proxy.cache.store import Entry
from proxy.errors import ApiError, api_error
from proxy.observability.record import Record
from proxy.request.model import Headers, HttpRequest
from proxy.request.query_method import QUERY, as_get
from proxy.response.errors import error_response
from proxy.response.model import Response
from proxy.steps.ask import ask
from proxy.steps.call import Call

NO_POLICY: Final = cache_status("fwd=bypass", detail="no-policy")
_NOT_SHARED: Final = cache_status("fwd=bypass", detail="not-shared")
_OF_SERVER: Final = ("PGRST00", "EDGE5")
"""How the codes of errors begin that tell of the server and not of the request."""
_LOST: Final = "PGRST00"
"""How those begin that tell of a database which can't be asked."""


async def read(call: Call, http: HttpRequest) -> Response:
    """The response to `http`. Raises ApiError."""
    place = call.app.cache.place(call.state, http, call.headers, call.identity)
    if place is None:
        return await _unkept(call, http, NO_POLICY)
    call.record.resource = place.resource
    return await _kept(call, http, place)


async def _unkept(call: Call, http: HttpRequest, line: tuple[bytes, bytes]) -> Response:
    """An answer of this moment, for nobody else, with a validator."""
    cache, headers, head = call.app.cache, call.headers, http.method == "HEAD"
    call.told = (line,)
    if headers.wants.only_if_cached:
        raise api_error("EDGE510")
    # A HEAD that counts, as SDKs do on tables of any size, has no content unless it must.
    counts = b"count=" in headers.caching.get(b"prefer", b"")
    shown = not head or not counts or headers.conditions is not None
    asked = as_get(http) if head and shown else http
    _, response = await ask(call, asked, told_method=http.method if head else None)
    anonymous = not headers.authorized
    made = await representation(
        response, cache.use(call.state), shown=shown, anonymous=anonymous
    )
    call.told = ()
    return await cache.deliver(made, headers, (line,), head=head)


async def _kept(call: Call, http: HttpRequest, place: Place) -> Response:
    """An answer under a policy."""
    cache, wants = call.app.cache, call.headers.wants
    rights = await cache.rights_of(place.key, call.deadline)
    since = cache.known_since(call.headers)
    found = cache.find(place, wants, since, rights)
    if found.entry is not None and found.verdict is not Verdict.FETCH:
        return await _hit(call, http, place, found, found.entry)
    if wants.only_if_cached:
        call.told = (cache_status(found.forwarded),)
        raise api_error("EDGE510")
    spare, made = found.entry, None
    joined = None if rights is None else cache.join(place, wants, since)
    if joined is not None:
        made = await _made_for_another(call, joined, while_there=spare is not None)
        if spare is not None and _is_lost(made) and cache.spares(spare, wants):
            # Nobody can be asked about rights either, which the spare does not need.
            return await _spared(call, http, place, spare, made)
        if await cache.rights.holding(call.deadline) != rights:
            # It was asked for under whatever rights were in force later on.
            return await _unkept(call, http, _NOT_SHARED)
        if not joined.is_for(place.identity):
            joined = None
        elif made is not None and not _is_shared(joined, made):
            return await _unkept(call, http, _NOT_SHARED)
    if joined is None:
        flight = cache.begin(place)
        cache.run(flight, _fill(call, http, flight))
        made = await cache.wait(flight, while_there=spare is not None)
    if made is None or (spare is not None and made.response.status >= 500):
        if spare is not None and cache.spares(spare, wants):
            return await _spared(call, http, place, spare, made)
        if made is None:
            # The place, too, may be another by now.
            return await read(call, http)
    return await _made(call, http, place, made, found.forwarded, joined=joined is not None)


async def _made_for_another(
    call: Call, flight: Flight, *, while_there: bool
) -> Representation | None:
    """What another asks for, in this caller's time: who began it has the deadline in the query
    itself."""
    try:
        async with asyncio.timeout_at(call.deadline):
            return await call.app.cache.wait(flight, while_there=while_there)
    except TimeoutError:
        raise api_error("EDGE504") from None


async def _hit(
    call: Call, http: HttpRequest, place: Place, found: Found, entry: Entry
) -> Response:
    if found.verdict is Verdict.REFRESH:
        _refresh(call, http, place)
    lines = hit_lines(found.age, entry.lifetimes.fresh - found.age)
    response = await _delivered(call, http, of_entry(entry), lines, place)
    call.record.lap("cache")
    if call.state.server_timing:
        timing = call.record.server_timing()
        return replace(response, headers=(*response.headers, timing))
    if found.verdict is Verdict.FRESH and http.method != QUERY:
        # A QUERY's head does not tell what it asks.
        replay = Replay(call.state, place.key, entry, place.identity, place.resource)
        return replace(response, replay=replay)
    return response


async def _spared(
    call: Call, http: HttpRequest, place: Place, entry: Entry, made: Representation | None
) -> Response:
    """What is kept, in place of an error (RFC 5861, section 4)."""
    if made is None:
        # It is what finds out that the database is back.
        _refresh(call, http, place)
    call.app.cache.count("spared")
    status = 503 if made is None else made.response.status
    line = cache_status(f"fwd=stale; fwd-status={status}", detail="stale-if-error")
    lines = (age_line(time.monotonic() - entry.made_at), line)
    return await _delivered(call, http, of_entry(entry), lines, place)


async def _made(
    call: Call,
    http: HttpRequest,
    place: Place,
    made: Representation,
    forwarded: str,
    *,
    joined: bool,
) -> Response:
    """What the database said."""
    call.record.code = made.code
    if joined:
        call.app.cache.count("shared")
    how = "; collapsed" if joined else "; stored" if made.entry is not None else ""
    ttl = None if made.entry is None else made.entry.lifetimes.fresh
    line = cache_status(f"{forwarded}{how}", ttl=ttl, detail=made.detail)
    return await _delivered(call, http, made, (line,), place)


async def _delivered(
    call: Call, http: HttpRequest, made: Representation, lines: Headers, place: Place
) -> Response:
    head = http.method == "HEAD"
    return await call.app.cache.deliver(made, call.headers, lines, place, head=head)


def _is_lost(made: Representation | None) -> bool:
    """Whether the database could not be asked, whoever had done so."""
    if made is None:
        return True
    return made.code is not None and made.code.startswith(_LOST)


def _is_shared(flight: Flight, made: Representation) -> bool:
    """Whether an answer that was made for another is for others, too."""
    if flight.alone or made.alone or made.code == "EDGE504":
        return False
    # What SQL says of its failure may be meant for one.
    failed = made.code is not None and not made.code.startswith(_OF_SERVER)
    return not failed or flight.place.policy.scope == "claims"


def _refresh(call: Call, http: HttpRequest, place: Place) -> None:
    """Make a new answer when nobody waits for a connection, unless that is under way."""
    flight = call.app.cache.begin_refresh(place)
    if flight is not None:
        alone = replace(call, record=Record(), background=True, deadline=None)
        call.app.cache.run(flight, _fill(alone, http, flight))


async def _fill(call: Call, http: HttpRequest, flight: Flight) -> Representation:
    """Make the answer of a flight, and keep it if it may be kept."""
    cache = call.app.cache
    elsewhere = await cache.find_elsewhere(flight, call.headers)
    if elsewhere is not None:
        return elsewhere
    try:
        asked = as_get(http) if http.method == "HEAD" else http
        query, response = await ask(call, asked, flight=flight)
    except ApiError as error:
        refusal = error_response(error, call.state.verbosity)
        return Representation(refusal, code=error.code)
    return await cache.keep(flight, query, call.headers, response)
