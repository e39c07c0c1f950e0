"""OpenTelemetry: a span per request, with children for what it was spent on.

In: a request's scope and `Record`, a tracer. Out: spans, given to the exporter's own
thread. The span that the client names in `traceparent` (W3C Trace Context) is the parent;
ours is passed on to PostgreSQL by the pipeline, as `Record.trace`. The children are made of
the record's laps when the request is done, so that the way of a request knows nothing of
spans. Needs the extra `edgerest[otel]`: without it importing this module fails.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter, time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from edgerest import __version__
from proxy.observability.metrics import METHODS
from proxy.observability.record import Record
from proxy.response.model import Response, body_size

CHILDREN: Final = ("parse", "plan", "transaction")
"""The laps that become spans."""

GOODBYE: Final = 2.0
"""Seconds that the last spans may take to be sent when the server stops."""

_CONTEXT_HEADERS: Final = (b"traceparent", b"tracestate")
_LONGEST_CONTEXT: Final = 512
"""Bytes of such a header, the least that W3C Trace Context asks for; longer ones are passed
over, for what reads them takes time with the square of their length, and logs each."""
_PROPAGATOR: Final = TraceContextTextMapPropagator()


def exporting_provider() -> TracerProvider:
    """A provider that sends spans over OTLP/HTTP, set up by the OTEL_* variables of the
    OpenTelemetry specification (endpoint, headers, sampler, service name …)."""
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    attributes = {"service.version": __version__}
    if not named:
        attributes["service.name"] = "edgerest"
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


@dataclass(slots=True, eq=False)
class RequestSpan:
    """The span of a request under way; `began` is in nanoseconds since the epoch."""

    span: Span
    began: int

    @property
    def traceparent(self) -> str:
        """The W3C header of what this request causes."""
        context = self.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


class Tracing:
    """Traces requests with a tracer of `provider`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("edgerest", __version__)

    def began(self, scope: Any, record: Record) -> None:
        """Begin the span of a request and put it into `record.trace`."""
        began, method = time_ns(), _method(scope)
        span = self._tracer.start_span(
            method, _parent(scope), SpanKind.SERVER, start_time=began
        )
        record.trace = RequestSpan(span, began)

    def ended(self, scope: Any, record: Record, response: Response | None) -> None:
        """End it; `response` is None when the client left."""
        trace = record.trace
        if not isinstance(trace, RequestSpan):
            return
        if trace.span.is_recording():
            self._children(trace, record)
            trace.span.update_name(f"{_method(scope)} {record.resource}")
            trace.span.set_attributes(dict(_attributes(scope, record, response)))
            if response is not None and response.status >= 500:
                trace.span.set_status(Status(StatusCode.ERROR))
        trace.span.end(trace.began + _nanoseconds(perf_counter() - record.began))

    def close(self) -> None:
        """Send what was not sent yet, and stop; a collector that is away is not waited for
        longer than `GOODBYE`."""
        # The SDK itself would go on trying for as long as an export may take.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(GOODBYE)

    def _children(self, trace: RequestSpan, record: Record) -> None:
        within = set_span_in_context(trace.span, Context())
        at = trace.began + _nanoseconds(record.answering_since - record.began)
        for name, seconds in record.laps.items():
            until = at + _nanoseconds(seconds)
            if name in CHILDREN:
                in_database = name == "transaction"
                child = self._tracer.start_span(
                    name,
                    within,
                    SpanKind.CLIENT if in_database else SpanKind.INTERNAL,
                    _database_attributes(record) if in_database else None,
                    start_time=at,
                )
                child.end(until)
            at = until


def _parent(scope: Any) -> Context:
    """What the request's headers say; nothing of them when they say it wrongly."""
    carrier: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _CONTEXT_HEADERS and len(value) <= _LONGEST_CONTEXT:
            carrier.setdefault(name.decode(), value.decode("latin-1"))
    return _PROPAGATOR.extract(carrier, Context()) if carrier else Context()


def _method(scope: Any) -> str:
    method: str = scope["method"]
    return method if method in METHODS else "HTTP"


def _attributes(
    scope: Any, record: Record, response: Response | None
) -> Iterator[tuple[str, str | int | float]]:
    """OpenTelemetry's semantic conventions for HTTP servers; names of ours for what they
    lack. The query is left out: it holds values."""
    yield "http.request.method", scope["method"]
    yield "url.path", scope["raw_path"].decode("latin-1")
    yield "url.scheme", scope.get("scheme", "http")
    yield "network.protocol.version", scope["http_version"]
    if scope.get("client"):
        yield "client.address", scope["client"][0]
    if record.app:
        yield "edgerest.app", record.app
    yield "edgerest.resource", record.resource
    if record.role is not None:
        yield "edgerest.role", record.role
    if response is None:
        yield "error.type", "client_gone"
        return
    yield "http.response.status_code", response.status
    yield "http.response.body.size", body_size(scope["method"], response) or 0
    if record.code is not None:
        yield "edgerest.error_code", record.code
        if response.status >= 500:
            yield "error.type", record.code


def _database_attributes(record: Record) -> Mapping[str, str | float]:
    attributes: dict[str, str | float] = {
        "db.system.name": "postgresql",
        "edgerest.pool.wait": record.waited,
    }
    if record.transaction is not None:
        attributes["db.query.text"] = record.transaction.statement.sql
    return attributes


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
