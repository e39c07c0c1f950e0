"""The two clients: they perform what `engine` asks for, one at once, one by awaiting.

In: the address of a server and how to behave. Out: tables and functions to query. The HTTP
client is httpx's, or any like it: `http_client=` takes `httpx2`'s, one with a transport of
fetch, one with a cache (`edge_client.caching`).
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from edge_client.connections import Connections, HttpResponse, Lease, default_client
from edge_client.curl import curl_command
from edge_client.engine import (
    AskToken,
    Context,
    Effect,
    Memory,
    Replace,
    Send,
    Steps,
    Wait,
    final_request,
    perform,
    primary_key,
)
from edge_client.errors import DeadlineError, TransportError, transport_error
from edge_client.literals import text_of
from edge_client.operation import (
    Operation,
    Reply,
    Request,
    function_path,
    table_path,
)
from edge_client.query import Async, Count, Result, Row, RowKind, Rows, Sync, Table
from edge_client.rows import RowMaker, row_maker
from edge_client.settings import Limits, Retry, Timeout
from edge_client.store import ReplyStore
from edge_client.stream import Emit, Fetch, FindKey, Keys, Page, Step, StreamPlan, pages
from edge_client.tokens import Credentials, TokenSource
from edge_client.waiting import within

T = TypeVar("T")
R = TypeVar("R")
M = TypeVar("M")

_TOLD_BY_NAME = frozenset(("select", "columns", "on_conflict", "order", "limit", "offset"))
_OPERATORS = frozenset(
    "eq gte gt lte lt like ilike match imatch neq cs cd ov sl sr nxr nxl adj in is"
    " isdistinct fts plfts phfts wfts not".split()
)


class _Client(Generic[M]):
    """What both clients are, apart from how they wait."""

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource | None = None,
        schema: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        retry: Retry | None = None,
        limits: Limits | None = None,
        tracing: Callable[[], Mapping[str, str]] | None = None,
        debug: bool | Callable[[str], None] = False,
        http_client: Any = None,
        http2: bool | None = None,
    ) -> None:
        """`url`: where the API's root is, http or https; ValueError for what is neither.

        `token`: a token or where to get one (`edge_client.tokens`). `timeout`: a `Timeout`,
        or a total in seconds. `tracing` returns headers for each call, such as
        `traceparent`. `debug` writes the equivalent curl command of each request to stderr,
        or gives it to a function. `http_client` stays the caller's, to close too. `http2`:
        None uses it over TLS where the package `h2` is there, True also without TLS.
        """
        limits = limits or Limits()
        if isinstance(timeout, int | float):
            timeout = Timeout(total=timeout)
        scheme, _, rest = url.partition("://")
        if scheme not in ("http", "https") or not rest.strip("/"):
            # It is not shown: taken for another address, it may hold a password.
            raise ValueError("url: that is no URL of an API: https://api.example.com")
        self.url = url.rstrip("/")
        self._connections = Connections(
            http_client,
            lambda: default_client(self.url, asynchronous=self._asynchronous, http2=http2),
        )
        self._context = Context(
            memory=Memory(ReplyStore(limits.stored), limits.long_reads),
            credentials=Credentials(token),
            schema=schema,
            headers=tuple((name.lower(), text) for name, text in (headers or {}).items()),
            timeout=timeout or Timeout(),
            retry=retry or Retry(),
            limits=limits,
            tracing=tracing,
            debug=self._debugger(debug),
        )

    _asynchronous: bool

    def _debugger(
        self, debug: bool | Callable[[str], None]
    ) -> Callable[[Request], None] | None:
        if debug is False:
            return None
        write = _write_line if debug is True else debug
        return lambda request: write(curl_command(self.url, request))

    def _view(self, **changes: Any) -> Self:
        view = object.__new__(type(self))
        view.__dict__ |= self.__dict__
        view._context = replace(self._context, **changes)
        return view

    def schema(self, name: str) -> Self:
        """The same client with another of the exposed schemas."""
        return self._view(schema=name)

    def with_token(self, token: TokenSource | None) -> Self:
        """The same client (and connections) with another identity."""
        return self._view(credentials=Credentials(token))

    @overload
    def table(self, name: str) -> Table[Row, M]: ...
    @overload
    def table(self, name: str, row: RowKind[R]) -> Table[R, M]: ...
    def table(self, name: str, row: Any = None) -> Any:
        """A table or view; `row` is what its rows become instead of dicts."""
        return Table(self, Operation("GET", table_path(name)), row)

    from_ = table

    @overload
    def rpc(
        self,
        function: str,
        arguments: Mapping[str, object] | None = None,
        *,
        count: Count | None = None,
        head: bool = False,
        get: bool = False,
    ) -> Rows[Any, Any, M]: ...
    @overload
    def rpc(
        self,
        function: str,
        arguments: Mapping[str, object] | None = None,
        *,
        row: RowKind[R],
        count: Count | None = None,
        head: bool = False,
        get: bool = False,
    ) -> Rows[R, list[R], M]: ...
    def rpc(
        self,
        function: str,
        arguments: Mapping[str, object] | None = None,
        *,
        row: Any = None,
        count: Count | None = None,
        head: bool = False,
        get: bool = False,
    ) -> Any:
        """Call a function; `get` reads only, may be cached and is tried again.

        Raises ValueError for arguments that the URL of a GET can't hold.
        """
        path, given = function_path(function), dict(arguments or {})
        if get or head:
            params = tuple((name, _argument(name, value)) for name, value in given.items())
            method = "HEAD" if head else "GET"
            operation = Operation(method, path, params, repeatable=True)  # type: ignore[arg-type]
        else:
            operation = Operation("POST", path, body=given)
        return Rows(self, operation.preferring(count=count), row_maker(row))

    def curl(self, operation: Operation) -> str:
        return curl_command(self.url, final_request(self._context, operation))

    def run(self, operation: Operation, make: RowMaker | None) -> Any:
        raise NotImplementedError

    def run_stream(self, plan: StreamPlan, make: RowMaker | None) -> Any:
        raise NotImplementedError


def _write_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _argument(name: str, value: object) -> str:
    text = text_of(value)
    word = text.partition(".")[0].partition("(")[0]
    if name in _TOLD_BY_NAME or ("." in text and word in _OPERATORS):
        raise ValueError(
            f"{name}={text!r} would be read as a filter in a URL: call it without get=True"
        )
    return text


def _built(client: Any, url: str, effect: Send) -> Any:
    request = effect.request
    return client.build_request(
        request.method,
        url + request.target,
        headers=dict(request.headers),
        content=request.body,
        timeout=(effect.connect, effect.read, effect.read, effect.connect),
    )


def _reply(response: HttpResponse, body: bytes) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body)


def _failure(error: Exception, lease: Lease) -> TransportError:
    """What `error` means for the call; raises it again if it is none of the transport's."""
    failure = error if isinstance(error, TransportError) else transport_error(error)
    if failure is None:
        raise error
    failure.generation = lease.generation
    return failure


def _finished(rows: list[Any], make: RowMaker | None) -> list[Any]:
    return rows if make is None else [make(row) for row in rows]


class EdgeClient(_Client[Sync]):
    """Ask a PostgREST-compatible server; every call waits for its answer.

    May be used by several threads. `with EdgeClient(...) as db:` closes its connections.
    """

    _asynchronous = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, except those of a client that was handed in."""
        for client in self._connections.all_of_ours():
            client.close()

    def run(self, operation: Operation, make: RowMaker | None) -> Any:
        return self._drive(perform(self._context, operation, make))

    def run_stream(self, plan: StreamPlan, make: RowMaker | None) -> Iterator[Any]:
        steps = pages(plan)
        answer: Page | Keys | None = None
        while True:
            try:
                step: Step = steps.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Emit):
                yield from _finished(step.rows, make)
            elif isinstance(step, Fetch):
                fetched: Result[Any] = self.run(step.operation, None)
                answer = Page(fetched.data, fetched.count)
            elif isinstance(step, FindKey):
                answer = self._drive(primary_key(self._context, step.operation))

    def _drive(self, steps: Steps[T]) -> T:
        try:
            effect = next(steps)
            while True:
                try:
                    outcome = self._perform(effect)
                except TransportError as failure:
                    effect = steps.throw(failure)
                else:
                    effect = steps.send(outcome)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send():
                return self._send(effect)
            case Wait(seconds):
                time.sleep(seconds)
            case AskToken(source):
                token = source()
                if inspect.isawaitable(token):
                    raise TypeError("an EdgeClient needs a token source that is no coroutine")
                return token
            case Replace(generation):
                self._connections.replace(generation)
                for client in self._connections.unused():
                    client.close()
        return None

    def _send(self, effect: Send) -> Reply:
        deadline = time.monotonic() + effect.total
        lease = self._connections.lease()
        try:
            response = lease.client.send(
                _built(lease.client, self.url, effect), stream=True, follow_redirects=False
            )
            try:
                pieces = []
                for piece in response.iter_bytes():
                    pieces.append(piece)
                    # A thread can't be interrupted, but between two pieces it can stop.
                    if time.monotonic() > deadline:
                        raise DeadlineError("the answer did not end in time")
            finally:
                response.close()
            return _reply(response, b"".join(pieces))
        except Exception as error:
            raise _failure(error, lease) from error
        finally:
            self._connections.give_back(lease)


class AsyncEdgeClient(_Client[Async]):
    """Ask a PostgREST-compatible server; every call is to be awaited (asyncio or trio).

    `async with AsyncEdgeClient(...) as db:` closes its connections.
    """

    _asynchronous = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, except those of a client that was handed in."""
        for client in self._connections.all_of_ours():
            await client.aclose()

    async def run(self, operation: Operation, make: RowMaker | None) -> Any:
        return await self._drive(perform(self._context, operation, make))

    async def run_stream(self, plan: StreamPlan, make: RowMaker | None) -> AsyncIterator[Any]:
        steps = pages(plan)
        answer: Page | Keys | None = None
        while True:
            try:
                step: Step = steps.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Emit):
                for row in _finished(step.rows, make):
                    yield row
            elif isinstance(step, Fetch):
                fetched: Result[Any] = await self.run(step.operation, None)
                answer = Page(fetched.data, fetched.count)
            elif isinstance(step, FindKey):
                answer = await self._drive(primary_key(self._context, step.operation))

    async def _drive(self, steps: Steps[T]) -> T:
        try:
            effect = next(steps)
            while True:
                try:
                    outcome = await self._perform(effect)
                except TransportError as failure:
                    effect = steps.throw(failure)
                else:
                    effect = steps.send(outcome)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send():
                return await self._send(effect)
            case Wait(seconds):
                # httpx brings anyio; imported late because it takes a while.
                from anyio import sleep

                await sleep(seconds)
            case AskToken(source, total):
                return await self._ask(source, total)
            case Replace(generation):
                self._connections.replace(generation)
                for client in self._connections.unused():
                    await client.aclose()
        return None

    async def _ask(self, source: Any, total: float) -> Any:
        token = source()
        if not inspect.isawaitable(token):
            return token
        try:
            return await within(total, token)
        except TimeoutError as error:
            raise DeadlineError("no token came in time", maybe_done=False) from error

    async def _send(self, effect: Send) -> Reply:
        lease = self._connections.lease()
        try:
            return await within(effect.total, self._exchange(lease.client, effect))
        except Exception as error:
            raise _failure(error, lease) from error
        finally:
            self._connections.give_back(lease)

    async def _exchange(self, client: Any, effect: Send) -> Reply:
        response = await client.send(
            _built(client, self.url, effect), stream=True, follow_redirects=False
        )
        try:
            pieces = [piece async for piece in response.aiter_bytes()]
        finally:
            await response.aclose()
        return _reply(response, b"".join(pieces))
