"""The way of a request, whole and in order.

    identify   whose it is                                     proxy.auth
    find       a kept answer, in its place                     steps/read_path
    prepare    known by its fingerprint, or read and planned   proxy.prepared   ┐
    execute    in one transaction                              pool             ├ steps/ask
    respond    status, headers, body                           proxy.response   ┘
    keep       for all for whom it is the same                 steps/read_path
    deliver    in the right coding, or that it is unchanged    proxy.cache

Every step is a plain call; the only ones that wait are those that ask for keys, the database
or Redis, and those that work on something large beside the event loop. What a request may
read of its app stands in `AppState`, a value taken once, so that a reload never changes a
request under way.
"""

from __future__ import annotations

from dataclasses import replace

from proxy.cache.representation import compressed
from proxy.errors import ApiError
from proxy.observability.record import Record
from proxy.request.model import Headers, HttpRequest
from proxy.request.query_method import as_read
from proxy.response.errors import error_response
from proxy.response.model import Response
from proxy.steps.ask import ask
from proxy.steps.call import App, Call
from proxy.steps.deadline import deadline_of
from proxy.steps.read_path import NO_POLICY, read


async def begin(app: App, http: HttpRequest, record: Record, begun: Call | None = None) -> Call:
    """The call that `http` makes, whose body may be still to come, or the one that was `begun`
    before it came. Raises ApiError."""
    if begun is not None:
        begun.http, begun.record = http, record
        record.role = begun.identity.role
        record.resume()
        return begun
    record.start()
    state = app.state
    headers = state.queries.headers(http.headers)
    deadline = deadline_of(headers.timeouts, state.request_timeout, record.began)
    identity = await app.identify(headers)
    record.role = identity.role
    record.lap("jwt")
    return Call(app, app.state, http, headers, identity, record, deadline)


async def answer(
    app: App, http: HttpRequest, record: Record, call: Call | None = None
) -> Response:
    """The response to `http`; failures that were foreseen are responses too. `call` is the one
    that was begun before the body came."""
    reading = as_read(http)
    told: Headers = () if reading is None else (NO_POLICY,)
    try:
        call = await begin(app, http, record, call)
        call.reads = reading is not None
        return await (_write(call) if reading is None else read(call, reading))
    except ApiError as error:
        record.code = error.code
        response = error_response(error, app.state.verbosity)
        told = told if call is None else call.told
        return replace(response, headers=(*response.headers, *told))


async def _write(call: Call) -> Response:
    _, response = await ask(call, call.http)
    response = replace(response, headers=(*response.headers, *call.told))
    compress_from = call.state.response_cache.compress_from
    return await compressed(response, call.headers.caching, compress_from)
