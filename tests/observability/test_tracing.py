"""Traces: spans of requests that a real database answers, and how they leave the server."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from proxy.app.app import App
from proxy.app.front import EdgeApp
from proxy.engines.sockets import ServerError
from proxy.http.data_plane import EdgeOptions
from proxy.observability.tracing import GOODBYE, Tracing
from proxy.server.telemetry import Telemetry
from proxy.settings import Settings
from tests.http.processes import ROOT
from tests.observability.conftest import Serve

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


@dataclass
class Traced:
    """An app whose requests are traced, and the spans that ended so far."""

    client: httpx.AsyncClient
    exporter: InMemorySpanExporter

    def spans(self) -> dict[str, ReadableSpan]:
        """By name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}


@asynccontextmanager
async def traced(dsn: str, sampler: Sampler | None = None) -> AsyncIterator[Traced]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = App(Settings(db_uri=dsn, db_schemas=("api",), db_anon_role="web_anon", db_pool=2))
    edge, tracing = EdgeApp(app, EdgeOptions()), Tracing(provider)
    edge.data_plane.observer = tracing
    await app.start()
    try:
        transport = httpx.ASGITransport(edge)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            yield Traced(client, exporter)
    finally:
        await app.close()
        tracing.close()


async def test_a_request_is_a_span_with_children(database: str) -> None:
    async with traced(database) as app:
        answer = await app.client.get("/items?id=eq.1", headers={"traceparent": PARENT})
        assert answer.status_code == 200
        spans = app.spans()
    assert set(spans) == {"GET table", "parse", "plan", "transaction"}
    root = spans["GET table"]
    assert root.context is not None
    assert root.parent is not None
    assert (root.context.trace_id, root.parent.span_id) == (TRACE, SPAN)
    assert root.kind is SpanKind.SERVER
    assert root.attributes is not None
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["url.path"] == "/items"
    assert root.attributes["edgerest.role"] == "web_anon"
    assert "eq.1" not in str(root.attributes)
    assert root.start_time is not None
    at = root.start_time
    for name in ("parse", "plan", "transaction"):
        child = spans[name]
        assert child.parent is not None
        assert child.parent.span_id == root.context.span_id
        assert child.start_time is not None
        assert child.end_time is not None
        assert at <= child.start_time <= child.end_time
        at = child.end_time
    assert root.end_time is not None
    assert at <= root.end_time
    transaction = spans["transaction"]
    assert transaction.kind is SpanKind.CLIENT
    assert transaction.attributes is not None
    assert transaction.attributes["db.system.name"] == "postgresql"
    assert '"api"."items"' in str(transaction.attributes["db.query.text"])


@pytest.mark.parametrize(
    "header", [None, "", "nonsense", PARENT.replace("00-", "ff-", 1), PARENT.upper() + "\xff"]
)
async def test_without_a_valid_parent_a_trace_begins(database: str, header: str | None) -> None:
    headers = [] if header is None else [(b"traceparent", header.encode("latin-1"))]
    async with traced(database) as app:
        await app.client.get("/items", headers=headers)
        root = app.spans()["GET table"]
    assert root.parent is None
    assert root.context is not None
    assert root.context.trace_id not in (0, TRACE)


async def test_the_database_is_told_of_the_span(database: str) -> None:
    async with traced(database) as app:
        told: dict[str, str] = {}
        for name in ("request.traceparent", "pg_tracing.trace_context"):
            headers = {"traceparent": PARENT}
            answer = await app.client.get("/rpc/told", params={"name": name}, headers=headers)
            told[name] = answer.json()
        roots = [span for span in app.exporter.get_finished_spans() if span.parent is not None]
        ids = [s.context.span_id for s in roots if s.name == "GET rpc" and s.context]
    assert told == {
        "request.traceparent": f"00-{TRACE:032x}-{ids[0]:016x}-01",
        "pg_tracing.trace_context": f"traceparent='00-{TRACE:032x}-{ids[1]:016x}-01'",
    }


async def test_what_is_told_ends_with_the_transaction(database: str) -> None:
    async with traced(database) as app:
        await app.client.get("/items", headers={"traceparent": PARENT})
        edge = app.client._transport.app  # type: ignore[attr-defined]
        edge.data_plane.observer = None
        answer = await app.client.get("/rpc/told", params={"name": "request.traceparent"})
    assert answer.json() in (None, "")


async def test_a_trace_that_is_not_sampled_leaves_no_span(database: str) -> None:
    async with traced(database, ALWAYS_OFF) as app:
        params = {"name": "request.traceparent"}
        headers = {"traceparent": PARENT}
        answer = await app.client.get("/rpc/told", params=params, headers=headers)
        assert app.spans() == {}
    # What is called further on is told that nobody records.
    assert answer.json()[:36] == PARENT[:36]
    assert answer.json()[-3:] == "-00"


@pytest.mark.parametrize(
    "path, status, code, failed",
    [
        ("/rpc/fail", 503, "PT503", True),
        ("/nothing", 404, "PGRST205", False),
        ("/items?x=1", 400, "PGRST100", False),
    ],
)
async def test_errors_are_named(
    database: str, path: str, status: int, code: str, failed: bool
) -> None:
    async with traced(database) as app:
        answer = await app.client.get(path)
        root = next(span for name, span in app.spans().items() if name.startswith("GET"))
    assert answer.status_code == status
    assert root.attributes is not None
    assert root.attributes["http.response.status_code"] == status
    assert root.attributes["edgerest.error_code"] == code
    assert (root.status.status_code is StatusCode.ERROR) == failed
    assert ("error.type" in root.attributes) == failed


# --- a real server ------------------------------------------------------------------------


@dataclass
class Collector:
    """What an OpenTelemetry collector was sent."""

    endpoint: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.requests.append(ExportTraceServiceRequest.FromString(body))
            got.arrived.set()
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield got
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_sends_its_spans_before_it_ends(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    with collector() as got, contextlib.ExitStack() as stack:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", got.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
        server = stack.enter_context(
            serve(server_tracing_enabled=True, server_workers=workers, log_level="crit")
        )
        assert httpx.get(server.url + "/items", headers={"traceparent": PARENT}).is_success
        server.signal()
        assert server.wait()[0] == 0
        assert got.arrived.is_set()
    [resource] = got.requests[0].resource_spans
    names = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert names["service.name"] == "edgerest"
    spans = [span for scope in resource.scope_spans for span in scope.spans]
    assert {span.name for span in spans} == {"GET table", "parse", "plan", "transaction"}
    assert {span.trace_id.hex() for span in spans} == {f"{TRACE:032x}"}


def test_without_the_extra_tracing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    settings = Settings(server_tracing_enabled=True)
    with pytest.raises(ServerError, match=re.escape('needs the extra "edgerest[otel]"')):
        Telemetry(settings)


def test_nothing_of_it_is_loaded_when_it_is_off() -> None:
    script = "import sys, proxy.server.serve; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_a_collector_that_is_away_holds_nothing_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with serve(server_tracing_enabled=True) as server:
        assert all(httpx.get(server.url + "/items").is_success for _ in range(3))
        server.signal()
        assert server.wait(timeout=GOODBYE + 3)[0] == 0
