"""How a call is made, without making it: retries, tokens, revalidation, deadlines.

In: an operation and the client's `Context`. Out: a generator that yields effects (send
this, wait so long, ask for a token, replace the connections) and is told what came of
them; `EdgeClient` and `AsyncEdgeClient` only perform effects. So there is one code for
both, and a test can play any course of events without a clock or a socket.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar
from uuid import uuid4

from edge_client.errors import (
    APIError,
    ConnectionLostError,
    DeadlineError,
    DecodingError,
    RowCountError,
    TransportError,
    UnavailableError,
    api_error,
)
from edge_client.operation import (
    SINGULAR,
    LongReads,
    Operation,
    Reply,
    Request,
    as_long_read,
    request_of,
)
from edge_client.query import Result
from edge_client.rows import RowMaker
from edge_client.settings import (
    CONSISTENCY_HEADER,
    DEADLINE_HEADER,
    Limits,
    Retry,
    Timeout,
)
from edge_client.store import ReplyStore, refreshed, store_key
from edge_client.stream import Keys, key_operation, keys_of
from edge_client.tokens import Credentials

T = TypeVar("T")

_NOT_DONE: Final = frozenset(("PGRST000", "PGRST002", "PGRST003"))
"""Errors of a request that never reached the database."""
_PASSING: Final = frozenset((429, 502, 503, 504, 520))
"""Statuses that may be gone at the next attempt."""
_REFUSALS: Final = frozenset((400, 403, 405, 501))
"""How those in between refuse a method that they don't know."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send `request`; within `connect`, `read` and altogether `total` seconds. → `Reply`."""

    request: Request
    connect: float
    read: float
    total: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Let `seconds` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AskToken:
    """Ask a token source, within `total` seconds. → the token"""

    source: Any
    total: float


@dataclass(frozen=True, slots=True)
class Replace:
    """Use no connection of `generation` any more."""

    generation: int


Effect = Send | Wait | AskToken | Replace
Steps = Generator[Effect, Any, T]


@dataclass(slots=True)
class Memory:
    """What a client and all its views learn on the way."""

    store: ReplyStore
    long_reads: LongReads
    consistency: str | None = None
    keys: dict[str | None, dict[str, Keys]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """All that making calls depends on; `tracing` gives headers for each call."""

    memory: Memory
    credentials: Credentials
    schema: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    timeout: Timeout = field(default_factory=Timeout)
    retry: Retry = field(default_factory=Retry)
    limits: Limits = field(default_factory=Limits)
    tracing: Callable[[], Mapping[str, str]] | None = None
    debug: Callable[[Request], None] | None = None
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


@dataclass(slots=True)
class _Call:
    """One call under way."""

    context: Context
    operation: Operation
    request: Request
    deadline: float
    request_id: str
    attempts: int = 0
    renewed_token: bool = False

    @property
    def left(self) -> float:
        return self.deadline - self.context.clock()


def perform(
    context: Context, operation: Operation, make: RowMaker | None
) -> Steps[Result[Any]]:
    """The steps of a call; ends with its `Result`, or raises an `EdgeError`."""
    call = _begin(context, operation)
    kept_key = kept = None
    if operation.method == "GET" and context.limits.stored > 0:
        yield from _authorize(call)
        kept_key = store_key(call.request)
        kept = context.memory.store.find(kept_key)
        if kept is not None:
            _add_header(call, "if-none-match", kept.headers["etag"])
    reply = yield from _answered(call)
    revalidated = reply.status == 304 and kept is not None
    if revalidated and kept is not None:
        reply = refreshed(kept, reply.headers)
    token = reply.headers.get(CONSISTENCY_HEADER)
    if token is not None:
        context.memory.consistency = token
    if not 200 <= reply.status < 300:
        raise _api_error(call, reply)
    # A token that was replaced on the way means another identity's answer.
    if kept_key is not None and not call.renewed_token:
        context.memory.store.keep(kept_key, reply)
    return _result(call, operation, reply, make, revalidated=revalidated)


def primary_key(context: Context, operation: Operation) -> Steps[Keys]:
    """The primary key of the operation's table, () if it can't be told."""
    known = context.memory.keys
    schema = operation.schema
    if schema not in known:
        try:
            answer = yield from perform(context, key_operation(operation), None)
        except (DecodingError, APIError):
            known[schema] = {}
        else:
            known[schema] = keys_of(answer.data)
    return known[schema].get(operation.path.removeprefix("/"), ())


def final_request(context: Context, operation: Operation) -> Request:
    """The request as it would go out first, for showing it."""
    return _begin(context, operation).request


# --- the course of a call -------------------------------------------------------------------


def _begin(context: Context, operation: Operation) -> _Call:
    if operation.schema is None and context.schema is not None:
        operation = replace(operation, schema=context.schema)
    request = request_of(operation)
    if operation.method == "GET" and len(request.target) > context.limits.url:
        request = as_long_read(request, context.memory.long_reads)
    request_id = uuid4().hex
    headers = dict(context.headers)
    if context.tracing is not None:
        headers.update((name.lower(), value) for name, value in context.tracing().items())
    headers.setdefault("x-request-id", request_id)
    if context.memory.consistency is not None:
        headers[CONSISTENCY_HEADER] = context.memory.consistency
    if context.credentials.token is not None:
        headers["authorization"] = f"Bearer {context.credentials.token}"
    headers.update(request.headers)
    total = context.timeout.total if operation.timeout is None else operation.timeout
    return _Call(
        context,
        operation,
        replace(request, headers=headers),
        context.clock() + total,
        headers["x-request-id"],
    )


def _answered(call: _Call) -> Steps[Reply]:
    """The reply that counts, after as many attempts as it takes and may take."""
    while True:
        yield from _authorize(call)
        try:
            reply = yield from _sent(call)
        except TransportError as error:
            yield from _replace_broken(call, error)
            wait = _wait_after_failure(call, error)
            if wait is None:
                raise
        else:
            if _changed_way(call, reply) or (yield from _renewed(call, reply)):
                continue
            wait = _wait_after_reply(call, reply)
            if wait is None:
                return reply
        yield Wait(wait)


def _sent(call: _Call) -> Steps[Reply]:
    left, timeout = call.left, call.context.timeout
    if left <= 0:
        raise DeadlineError("the time for the call is over", maybe_done=call.attempts > 0)
    if call.attempts:
        _add_header(call, "x-retry-count", str(call.attempts))
    _add_header(call, DEADLINE_HEADER, f"{left:.3f}")
    call.attempts += 1
    if call.context.debug is not None:
        call.context.debug(call.request)
    reply = yield Send(call.request, min(timeout.connect, left), min(timeout.read, left), left)
    assert isinstance(reply, Reply)
    return reply


def _authorize(call: _Call) -> Steps[None]:
    """Puts the token into the request, asking the source if there is none or an old one."""
    credentials, context = call.context.credentials, call.context
    if credentials.needs_asking(context.now()):
        token = yield AskToken(credentials.source, max(call.left, 0.001))
        credentials.take(str(token), context.now())
    if credentials.token is not None and "authorization" not in dict(call.operation.headers):
        _add_header(call, "authorization", f"Bearer {credentials.token}")


def _renewed(call: _Call, reply: Reply) -> Steps[bool]:
    """Whether a 401 was met with a new token, so that it is worth another attempt."""
    credentials = call.context.credentials
    if reply.status != 401 or call.renewed_token or not credentials.can_renew():
        return False
    call.renewed_token = True
    used = call.request.headers.get("authorization")
    if used == f"Bearer {credentials.token}":
        token = yield AskToken(credentials.source, max(call.left, 0.001))
        credentials.take(str(token), call.context.now())
    # What was stored belongs to the old token.
    headers = {name: v for name, v in call.request.headers.items() if name != "if-none-match"}
    call.request = replace(call.request, headers=headers)
    return call.left > 0


def _changed_way(call: _Call, reply: Reply) -> bool:
    """Whether a QUERY was refused on the way, so that it goes as a POST from now on."""
    if call.request.method != "QUERY" or reply.status not in _REFUSALS or _is_ours(reply):
        return False
    call.context.memory.long_reads = "post"
    long = as_long_read(request_of(call.operation), "post")
    call.request = replace(long, headers={**call.request.headers, **long.headers})
    return call.left > 0


def _is_ours(reply: Reply) -> bool:
    """Whether the answer is the API's own, and not of something in between."""
    code = _code(reply)
    return bool(code) and not code.isdigit()


def _code(reply: Reply) -> str:
    return api_error(reply.status, reply.headers, reply.body).code


def _replace_broken(call: _Call, error: TransportError) -> Steps[None]:
    # A connection that was told to go away can stay in a pool and fail again and again
    # (httpx #3324); a fresh pool is cheap beside that.
    if isinstance(error, ConnectionLostError):
        yield Replace(error.generation)


def _wait_after_failure(call: _Call, error: TransportError) -> float | None:
    """Seconds until the next attempt; None: there is none."""
    if error.maybe_done and not call.operation.repeatable:
        return None
    return _wait(call, None)


def _wait_after_reply(call: _Call, reply: Reply) -> float | None:
    if reply.status not in _PASSING:
        return None
    if not call.operation.repeatable and reply.status != 429 and _code(reply) not in _NOT_DONE:
        return None
    return _wait(call, retry_after(reply.headers, call.context.now()))


def _wait(call: _Call, asked: float | None) -> float | None:
    retry = call.context.retry
    if call.attempts >= retry.attempts:
        return None
    chance = call.context.chance()
    if asked is not None:
        wait = asked + chance * retry.first_wait
    else:
        wait = chance * min(retry.first_wait * 2 ** (call.attempts - 1), retry.longest_wait)
    return wait if wait < call.left else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that Retry-After asks to wait: a number, or a date."""
    text = headers.get("retry-after")
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except ValueError:
        return None


def _add_header(call: _Call, name: str, value: str) -> None:
    call.request = replace(call.request, headers={**call.request.headers, name: value})


# --- the answer ---------------------------------------------------------------------------


def _api_error(call: _Call, reply: Reply) -> Exception:
    error = api_error(
        reply.status,
        reply.headers,
        reply.body,
        request_id=call.request_id,
        attempts=call.attempts,
    )
    if isinstance(error, UnavailableError):
        error.retry_after = retry_after(reply.headers, call.context.now())
    if call.request.method == "QUERY" and error.code == "PGRST117" and error.hint is None:
        error.hint = (
            f"The URL would be longer than {call.context.limits.url} bytes, and this server"
            " does not know the QUERY method: ask for less at once, or raise Limits(url=)"
        )
    return error


def _result(
    call: _Call, asked: Operation, reply: Reply, make: RowMaker | None, *, revalidated: bool
) -> Result[Any]:
    data = _data(call, reply)
    if make is not None:
        if isinstance(data, list):
            data = [make(row) for row in data]
        elif data is not None:
            data = make(data)
    return Result(
        data=data,
        count=total_of(reply.headers.get("content-range", "")),
        status=reply.status,
        headers=reply.headers,
        request_id=reply.headers.get("x-request-id", call.request_id),
        revalidated=revalidated,
        attempts=call.attempts,
        asked=asked,
    )


def _data(call: _Call, reply: Reply) -> Any:
    shape = call.operation.shape
    if shape == "text":
        return reply.body.decode()
    if not reply.body:
        empty_rows = shape == "rows" and not call.operation.path.startswith("/rpc/")
        return [] if empty_rows else None
    try:
        data = json.loads(reply.body)
    except ValueError as error:
        start = reply.body[:100].decode("utf-8", "replace")
        raise DecodingError(f"the answer is not JSON: {error}; it begins {start!r}") from error
    if shape == "rows" and call.operation.accept.startswith(SINGULAR):
        # A write that goes by what was read as one row answers as that did.
        return [data]
    if shape != "maybe" or not isinstance(data, list):
        return data
    if len(data) > 1:
        raise RowCountError(
            "Cannot coerce the result to a single JSON object",
            code="PGRST116",
            status=406,
            details=f"The result contains {len(data)} rows",
            request_id=call.request_id,
        )
    return data[0] if data else None


def total_of(content_range: str) -> int | None:
    """The number behind the slash of `0-9/57`, None for `*`."""
    _, _, total = content_range.partition("/")
    return int(total) if total.isdigit() else None
