"""Result → Response: status, headers and body of every successful request.

Pure. Raises ApiError for a range beyond the rows (PGRST103) and for broken response GUCs.
PostgREST docs: "Pagination and Count", "Prefer Header", "Resource Representation".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote

from proxy.errors import api_error
from proxy.plan.model import FunctionCall, Info, InsertPlan, TableRead, TableWrite
from proxy.plan.read import Warned
from proxy.request.media_types import MediaType, content_type_header
from proxy.request.model import ApiRequest, Headers
from proxy.request.preferences import Preferences, preference_applied
from proxy.request.query_string import filter_key
from proxy.request.ranges import Range
from proxy.response.gucs import with_overrides
from proxy.response.header_line import as_value
from proxy.response.model import Response
from proxy.response.result import Result
from proxy.schema_cache.model import QualifiedName

POSTGREST_VERSION = "16.2"
"""The release whose behaviour this is, named where a header tells it."""

_LONGEST_LOCATION = 4096
"""Bytes of a Location or Content-Location: clients and proxies take 8 to 16 KiB for all
headers together, and refuse the whole answer where there is more."""

_VARY = (b"vary", b"Accept, Prefer, Range")


def info_response(info: Info) -> Response:
    """The answer to OPTIONS."""
    headers = (
        (b"content-length", b"0"),
        (b"access-control-allow-origin", b"*"),
        (b"allow", info.allow.encode()),
        _VARY,
    )
    return Response(200, headers)


@dataclass(frozen=True, slots=True)
class ReadForm:
    """The answer to GET and HEAD on a relation, but for the rows and the query string.

    `location` is the path that Content-Location begins with; `headers` are those that depend
    on neither.
    """

    head: bool
    range: Range
    location: str
    headers: Headers


def read_form(plan: TableRead, request: ApiRequest) -> ReadForm:
    """What answers to a read have in common, whatever its values."""
    return ReadForm(
        plan.head,
        request.range,
        _path(request, plan.target),
        (
            *_content_headers(plan.answering.media_type, request),
            *_applied(_shared_preferences(request.preferences)),
        ),
    )


def read_response(form: ReadForm, canonical: str, result: Result) -> Response:
    """The answer to GET and HEAD on a relation; `canonical` is the query string to find the
    same by."""
    status, content_range = _page_status(form.range, result)
    body = b"" if form.head else result.body
    headers: Headers = (
        content_range,
        *_content_location(form, canonical),
        *(() if form.head else (_content_length(body),)),
        *form.headers,
    )
    return _finished(status, headers, body, result)


def write_response(plan: TableWrite, request: ApiRequest, result: Result) -> Response:
    """The answer to POST, PATCH, PUT and DELETE on a relation."""
    preferences = request.preferences
    shows_rows = preferences.representation == "representation"
    applied = _applied(_write_preferences(plan, request))
    body = result.body if shows_rows else b""
    content: Headers = (
        (_content_length(body), *_content_headers(plan.answering.media_type, request))
        if shows_rows
        else ()
    )
    counted = result.page if preferences.count in ("exact", "estimated") else None
    headers: Headers
    if plan.kind == "create":
        merged = preferences.resolution == "merge-duplicates"
        status = 200 if merged and (result.inserted or 0) <= 0 else 201
        content = content or (_content_length(body),)
        content_range = _content_range(1, 0, counted)
        location = _location(_path(request, plan.target), result)
        headers = (*location, content_range, *applied, *content)
    elif plan.kind == "upsert":
        created = (result.inserted or 0) > 0
        status = (201 if created else 200) if shows_rows else 204
        headers = (*content, *applied)
    else:
        status = 200 if shows_rows else 204
        first, last = (0, result.page - 1) if plan.kind == "update" else (1, 0)
        headers = (_content_range(first, last, counted), *applied, *content)
    return _finished(status, headers, body, result)


def call_response(plan: FunctionCall, request: ApiRequest, result: Result) -> Response:
    """The answer to a function call."""
    status, content_range = _page_status(request.range, result)
    preferences = _shared_preferences(request.preferences)
    preferences = replace(preferences, max_affected=request.preferences.max_affected)
    headers: Headers = (content_range, *_applied(preferences))
    if plan.call.function.returns_void:
        return _finished(204, headers, b"", result)
    body = b"" if plan.head else result.body
    headers = (
        *headers,
        *(() if plan.head else (_content_length(body),)),
        *_content_headers(plan.answering.media_type, request),
    )
    return _finished(status, headers, body, result)


def plan_response(media_type: MediaType, request: ApiRequest, explained: bytes) -> Response:
    """The answer that shows PostgreSQL's execution plan."""
    headers = (_content_length(explained), *_content_headers(media_type, request), _VARY)
    return Response(200, headers, explained)


def inspect_response(
    media_type: MediaType, request: ApiRequest, document: bytes, *, head: bool
) -> Response:
    """The answer to GET and HEAD on the root."""
    headers = (
        *(() if head else (_content_length(document),)),
        *_content_headers(media_type, request),
        _VARY,
    )
    return Response(200, headers, b"" if head else document)


def with_warnings(response: Response, warnings: tuple[Warned, ...]) -> Response:
    """The response with a Warning header for deprecated ways of addressing embeds."""
    changes = ", ".join(f"`{warned.name}` to `{warned.alias}`" for warned in warnings)
    text = (
        "Embedded resource was referenced by relation name even though it has an alias."
        " This is deprecated and will stop working in a future release."
        f" Update {changes} in query string filters, orders or limits."
    )
    value = as_value(f'299 PostgRESTv{POSTGREST_VERSION} "{text}"')
    return replace(response, headers=(*response.headers, (b"warning", value)))


# --- parts ----------------------------------------------------------------------------------


def _finished(status: int, headers: Headers, body: bytes, result: Result) -> Response:
    if result.status_guc is None and result.headers_guc is None:
        return Response(status, (*headers, _VARY), body)
    status, headers = with_overrides(status, headers, result.status_guc, result.headers_guc)
    if not any(name.lower() == b"vary" for name, _ in headers):
        headers = (*headers, _VARY)
    return Response(status, headers, body)


def _content_location(form: ReadForm, canonical: str) -> Headers:
    """Where a GET finds the same."""
    query = f"?{canonical}" if canonical else ""
    return _address(b"content-location", f"{form.location}{query}")


def _address(name: bytes, target: str) -> Headers:
    """The header that says where something is, unless it is too long for one."""
    value = target.encode(errors="replace")
    return ((name, value),) if len(value) <= _LONGEST_LOCATION else ()


def _content_length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


def _content_headers(media_type: MediaType, request: ApiRequest) -> Headers:
    content_type = (b"content-type", content_type_header(media_type))
    if not request.negotiated_by_profile:
        return (content_type,)
    return content_type, (b"content-profile", as_value(request.schema))


def _page_status(asked: Range, result: Result) -> tuple[int, tuple[bytes, bytes]]:
    """200, or 206 when a counted page is not all there is.

    Raises PGRST103 (416) when the page starts beyond the last row.
    """
    first, last, total = asked.offset, asked.offset + result.page - 1, result.total
    if total is not None and first > total:
        raise api_error(
            "PGRST103",
            details=f"An offset of {first} was requested, but there are only {total} rows.",
            headers=(_content_range(first, last, total),),
        )
    partial = total is not None and last - first + 1 < total
    return 206 if partial else 200, _content_range(first, last, total)


def _content_range(first: int, last: int, total: int | None) -> tuple[bytes, bytes]:
    """`0-14/*`, `0-14/200` or `*/0`; a range that ends before it starts is written `*`."""
    rows = f"{first}-{last}" if first <= last and total != 0 else "*"
    return b"content-range", f"{rows}/{'*' if total is None else total}".encode()


def _path(request: ApiRequest, target: QualifiedName) -> str:
    """Where the relation is, as a URL writes it."""
    return f"{request.prefix}/{quote(target.name, safe='')}"


def _location(path: str, result: Result) -> Headers:
    if not result.location:
        return ()
    pairs = "&".join(
        f"{quote(filter_key(key), safe='', errors='replace')}"
        f"={quote(value, safe='', errors='replace')}"
        for key, value in result.location
    )
    return _address(b"location", f"{path}?{pairs}")


def _applied(preferences: Preferences) -> Headers:
    value = preference_applied(preferences)
    return () if value is None else ((b"preference-applied", value),)


def _shared_preferences(given: Preferences) -> Preferences:
    """The preferences that every kind of request honours."""
    return Preferences(
        count=given.count,
        transaction=given.transaction,
        handling=given.handling,
        timezone=given.timezone,
    )


def _write_preferences(plan: TableWrite, request: ApiRequest) -> Preferences:
    given = request.preferences
    honoured = replace(_shared_preferences(given), representation=given.representation)
    if isinstance(plan.mutation, InsertPlan) and plan.kind == "create":
        if plan.mutation.primary_key or request.query.on_conflict is not None:
            honoured = replace(honoured, resolution=given.resolution)
        return replace(honoured, missing=given.missing)
    if plan.kind == "update":
        honoured = replace(honoured, missing=given.missing, update=given.update)
    if plan.kind in ("update", "delete"):
        honoured = replace(honoured, max_affected=given.max_affected)
    return honoured
