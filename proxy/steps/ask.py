"""Ask the database: prepare, execute, respond; once more where the schema has changed.

In: a call and the request as it is to be understood. Out: the query and the response to it.
A call's flight, if it has one, is told what the query reads before it begins.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pool.errors import ConnectionFailed, DatabaseError, PoolError
from pool.model import Outcome, Run, Transaction
from proxy.cache.coalescing import Flight
from proxy.cache.preconditions import guarded, may_try_again, mismatch
from proxy.errors import ApiError
from proxy.plan.model import Info, Inspect
from proxy.prepared.describe import api_description
from proxy.prepared.prepare import prepare
from proxy.prepared.query import BoundQuery
from proxy.prepared.respond import respond
from proxy.prepared.transaction import transaction_of
from proxy.prepared.worker_threads import aside
from proxy.request.model import HttpRequest
from proxy.request.request_headers import CONSISTENCY_TOKEN, RequestHeaders
from proxy.response.answer import info_response, with_warnings
from proxy.response.database_errors import pool_error
from proxy.response.model import Response
from proxy.steps.call import Call
from proxy.steps.deadline import in_time


async def ask(
    call: Call,
    http: HttpRequest,
    *,
    told_method: str | None = None,
    flight: Flight | None = None,
) -> tuple[BoundQuery, Response]:
    """What the database says. SQL is told the request's method, or `told_method`.

    A failure that an outdated schema cache may explain is tried once more with a newer one:
    its transaction was rolled back, so nothing is done twice. Raises ApiError.
    """
    try:
        return await _ask(call, http, told_method, flight)
    except ApiError as error:
        newer = await call.app.newer(call.state, error)
        if newer is None:
            raise
    call.state = newer
    return await _ask(call, http, told_method, flight)


async def _ask(
    call: Call, http: HttpRequest, told_method: str | None, flight: Flight | None
) -> tuple[BoundQuery, Response]:
    state, record, headers = call.state, call.record, call.headers
    if http.headers is not call.http.headers:
        # What it is understood as has others, and is known again by those.
        headers = state.queries.headers(http.headers)
    query = await prepare(state.queries, http, headers, record, call.deadline)
    plan = query.prepared.planned.plan
    if isinstance(plan, Info):
        response = info_response(plan)
    else:
        if flight is not None:
            await call.app.cache.note_reads(flight, query)
        outcome = await _execute(call, http, headers, query, told_method, flight)
        if isinstance(plan, Inspect):
            mode = state.rules.openapi_mode
            prepared, options = query.prepared, state.openapi
            describe = partial(api_description, prepared, plan, mode, options, outcome)
            late = "Describing the schema took too long."
            response = await aside(lambda _: describe(), call.deadline, late=late)
        else:
            response = respond(query, state.queries.rules.transaction.max_rows, outcome)
    record.lap("response")
    if query.prepared.planned.warnings:
        response = with_warnings(response, query.prepared.planned.warnings)
    if state.server_timing:
        response = replace(response, headers=(*response.headers, record.server_timing()))
    return query, response


async def _execute(
    call: Call,
    http: HttpRequest,
    headers: RequestHeaders,
    query: BoundQuery,
    told_method: str | None,
    flight: Flight | None,
) -> Outcome:
    trace, record = call.record.trace, call.record
    transaction = transaction_of(
        query,
        call.state.queries,
        call.identity,
        headers,
        told_method,
        traceparent=None if trace is None else trace.traceparent,
        deadline=call.deadline,
        background=call.background,
        # A replica may not have what the versions say was written.
        on_primary=flight is not None,
        after_position=call.headers.seen,
    )
    conditions = call.headers.conditions
    if conditions is not None and not call.reads:
        transaction = guarded(transaction, http, query, conditions, call.state.rules)
    record.transaction = transaction
    try:
        if transaction.access == "read write":
            outcome = await _write(call, query, transaction)
        elif flight is not None:
            outcome = await _read_from_primary(call, transaction, flight)
        else:
            outcome = await _run(call.app.run, transaction)
    except ApiError as error:
        # The pool's own answer to a deadline.
        if isinstance(error.__cause__, PoolError):
            record.waited = error.__cause__.waited
        raise
    except PoolError as error:
        record.waited = error.waited
        raise pool_error(error, authenticated=call.identity.authenticated) from error
    finally:
        record.lap("transaction")
    record.waited = outcome.waited
    return outcome


async def _read_from_primary(call: Call, transaction: Transaction, flight: Flight) -> Outcome:
    try:
        return await _run(call.app.run, transaction)
    except ConnectionFailed:
        # A replica's answer is good for the one who asks, and may be too old to be kept.
        flight.tags, flight.alone = None, True
    return await _run(call.app.run, replace(transaction, on_primary=False))


async def _write(call: Call, query: BoundQuery, transaction: Transaction) -> Outcome:
    """What is kept of what it touches no longer holds before its caller has the answer."""
    cache, tags = call.app.cache, query.prepared.writes
    transaction = cache.invalidation.announced(transaction, tags)

    async def run(transaction: Transaction) -> Outcome:
        # Within its deadline, by which it may have been committed as well as not.
        with cache.invalidation.in_doubt(tags):
            return await call.app.run(transaction)

    outcome = await _run(run, transaction)
    if outcome.kept and not transaction.rollback:
        await cache.invalidation.touch(tags)
    token = cache.token_of(outcome)
    if token:
        call.told = (*call.told, (CONSISTENCY_TOKEN, token))
    return outcome


async def _run(run: Run, transaction: Transaction) -> Outcome:
    """`run` it in time; a guarded one again when another got in its way.

    Raises `ApiError` EDGE504, and EDGE412 when the guard turns it down.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            if transaction.deadline is None:
                outcome = await run(transaction)
            else:
                async with in_time(transaction):
                    outcome = await run(transaction)
        except DatabaseError as error:
            if transaction.guard is None or not may_try_again(error, attempts):
                raise
        else:
            if not outcome.admitted:
                raise mismatch()
            return outcome
