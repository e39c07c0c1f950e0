"""The prepared queries of an app: how a request of a known fingerprint is answered at once.

In: an `HttpRequest`. Out: its `BoundQuery`, as reading, planning and rendering it in full would
give it, in a tenth of the time; or that it has to be done in full. Values are read by the
functions that read them otherwise, and never become part of SQL.

Keyed by the fingerprint (`proxy.prepared.fingerprint`), for writes and calls with a body also
by the names in it. `PreparedQueries` belong to one schema cache and one set of rules: whoever
changes those makes new ones. A query gets in when its fingerprint is met for the second time,
so that requests of all kinds, met once each, cost little and displace nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from pool.model import Argument
from proxy.errors import ApiError
from proxy.lru import LRU
from proxy.plan.model import DATABASE_PLANS
from proxy.prepared.fingerprint import Fingerprint, Key, filled, fingerprint
from proxy.prepared.query import BoundQuery
from proxy.prepared.rules import QueryRules
from proxy.prepared.template import Template, template_of
from proxy.request.media_types import MediaType
from proxy.request.model import (
    Action,
    ApiRequest,
    Headers,
    HttpRequest,
    JsonPayload,
    QueryParams,
)
from proxy.request.payload import parse_payload
from proxy.request.request_headers import RequestHeaders
from proxy.schema_cache.model import SchemaCache

Read = Callable[[HttpRequest], ApiRequest]
Plan = Callable[[ApiRequest], BoundQuery]

_CHARACTERS: Final = 8_000_000
"""Of SQL and names in the templates kept; each takes some five bytes of memory."""
_KEY_BYTES: Final = 1_000_000
_HEADER_SETS: Final = 500
_HEADER_BYTES: Final = 1_000_000
_LONGEST_NAMES: Final = 4000
_LARGE: Final = 32 * 1024
"""Bytes of a body that is not worth the care here."""
_BODY_KINDS: Final = frozenset(("create", "update", "upsert", "call"))
_SPECIAL_BODIES: Final = frozenset((b"[]", b"{}"))
"""Planned otherwise than other bodies with the same names: none."""


class Counts(NamedTuple):
    """Requests so far: those looked at, and those recognised."""

    requests: int
    hits: int


class _Body(NamedTuple):
    """How the bodies of a fingerprint are read; the names in them decide on the template."""

    content_type: MediaType
    query: QueryParams
    action: Action


class _Full(NamedTuple):
    """The key of a template: the fingerprint's, and what names the body has."""

    fingerprint: Key
    names: frozenset[str] | None = None
    is_array: bool = False


_Known = Template | _Body | Literal["unfit"]


class PreparedQueries:
    """Those that requests to one schema cache, under one set of rules, have come to.

    `schema` is None until the schema cache was loaded for the first time. At most `entries`
    are kept, those used last; 0 keeps none and knows nothing again.
    """

    def __init__(
        self, schema: SchemaCache | None, rules: QueryRules, entries: int = 1000
    ) -> None:
        self.schema: Final = schema
        self.rules: Final = rules
        self._entries = entries
        self._known: LRU[Key | _Full, _Known] = LRU(2 * entries, _CHARACTERS)
        self._met: LRU[Key | _Full, bool] = LRU(2 * entries, _KEY_BYTES)
        self._header_sets: LRU[Headers, RequestHeaders] = LRU(_HEADER_SETS, _HEADER_BYTES)
        # Nobody else can write it, so that whatever holds it was made of a mark.
        self._mark = f"mark{secrets.token_hex(16)}"
        self._requests = 0
        self._hits = 0

    @property
    def size(self) -> int:
        """How many entries there are; writes have one more for all of a fingerprint."""
        return len(self._known)

    @property
    def counts(self) -> Counts:
        return Counts(self._requests, self._hits)

    def headers(self, headers: Headers) -> RequestHeaders:
        """What `headers` come to."""
        known = self._header_sets.get(headers)
        if known is None:
            known = RequestHeaders(headers)
            size = sum([len(name) + len(value) for name, value in headers])
            self._header_sets.put(headers, known, size)
        return known

    def fingerprint(self, http: HttpRequest, headers: RequestHeaders) -> Fingerprint | None:
        """What to know `http` again by, None when it must be read in full."""
        if not self._entries or len(http.body) > _LARGE:
            return None
        self._requests += 1
        return fingerprint(http, headers)

    def find(self, found: Fingerprint, body: bytes) -> BoundQuery | None:
        """The query of the request with this fingerprint, None when that is new."""
        known = self._known.get(found.key)
        values: tuple[Argument, ...] = found.values
        if type(known) is _Body:
            payload = _payload(known, body)
            if payload is None:
                return None
            known = self._known.get(_Full(found.key, payload.keys, payload.is_array))
            values = (*values, payload.raw)
        if type(known) is not Template:
            return None
        self._hits += 1
        return known.bound(found.texts, values)

    def learn(
        self,
        found: Fingerprint,
        http: HttpRequest,
        headers: RequestHeaders,
        query: BoundQuery,
        read: Read,
        plan: Plan,
    ) -> None:
        """Note that a request with this fingerprint was read in full, as `query`."""
        request = query.prepared.request
        if request.method != http.method or not isinstance(
            query.prepared.planned.plan, DATABASE_PLANS
        ):
            return
        values: tuple[Argument, ...] = found.values
        key: Key | _Full = found.key
        if request.action.kind in _BODY_KINDS:
            payload = request.payload
            if not isinstance(payload, JsonPayload) or payload.raw in _SPECIAL_BODIES:
                return
            if sum(map(len, payload.keys)) > _LONGEST_NAMES:
                return
            values = (*values, payload.raw)
            key = _Full(found.key, payload.keys, payload.is_array)
            body = _Body(request.content_type, request.query, request.action)
            self._known.put(found.key, body, 1000)
        if self._known.get(key) is not None:
            return
        if self._met.get(key) is None:
            self._met.put(key, True, len(http.path) + len(http.query) + headers.weight + 200)
            return
        template = self._template(found, http, query, values, read, plan)
        if template is None:
            self._known.put(key, "unfit", 1000)
        else:
            self._known.put(key, template, template.weight)

    def _template(
        self,
        found: Fingerprint,
        http: HttpRequest,
        query: BoundQuery,
        values: tuple[Argument, ...],
        read: Read,
        plan: Plan,
    ) -> Template | None:
        holes = [part[2] for part in found.key[3] if len(part) == 3]
        marks = [f"{self._mark}n{number}e" for number in range(len(holes))]
        marks = [
            f"({mark})" if hole == "in" else mark
            for mark, hole in zip(marks, holes, strict=True)
        ]
        marked_query = filled(found.key, tuple(marks))
        marked_http = HttpRequest(http.method, http.path, marked_query, http.headers, http.body)
        marked_found = fingerprint(marked_http, RequestHeaders(http.headers))
        if marked_found is None or marked_found.key != found.key:
            return None
        marked_values: tuple[Argument, ...] = marked_found.values
        try:
            request = read(marked_http)
            if isinstance(request.payload, JsonPayload):
                raw = f"{self._mark}body".encode()
                request = replace(request, payload=replace(request.payload, raw=raw))
                marked_values = (*marked_values, raw)
            marked = plan(request)
        except ApiError:
            return None
        return template_of(
            query, found.texts, values, marked, marked_found.texts, marked_values
        )


def _payload(body: _Body, raw: bytes) -> JsonPayload | None:
    """The payload, None when the full reading has more to say about it."""
    try:
        payload, _ = parse_payload(raw, body.content_type, body.query, body.action)
    except ApiError:
        return None
    if not isinstance(payload, JsonPayload) or payload.raw in _SPECIAL_BODIES:
        return None
    return payload
