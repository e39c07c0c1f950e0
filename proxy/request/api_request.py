"""From what came over the wire to what it means: `HttpRequest` to `ApiRequest`.

In: a request and the few settings that decide how it is understood. Out: an `ApiRequest`,
or the `ApiError` for the first thing wrong with it, in PostgREST's order: resource,
schema, method, query string, ranges, body. A QUERY is first turned into the read it means
(`proxy.request.query_method`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, unquote_to_bytes

from proxy.errors import api_error
from proxy.request.headers import header_values
from proxy.request.media_types import JSON, MediaType, parse_accept, parse_media_type
from proxy.request.model import (
    Action,
    ActionKind,
    ApiRequest,
    EmbedPath,
    Headers,
    HttpRequest,
    QueryParams,
)
from proxy.request.payload import parse_payload
from proxy.request.pieces import Between, nothing
from proxy.request.preferences import parse_preferences
from proxy.request.query_method import QUERY, with_query_of_body
from proxy.request.query_string import parse_query
from proxy.request.ranges import ALL_ROWS, Range, combine_ranges
from proxy.schema_cache.model import QualifiedName


@dataclass(frozen=True, slots=True)
class RequestRules:
    """The settings a request is read under (config: db-schemas, openapi-mode,
    db-root-spec, db-tx-end, url-schema-prefix). `schemas` holds at least one; the first
    is the default. `schema_prefix`: a path may begin with the schema, as `/v1/items`."""

    schemas: tuple[str, ...]
    openapi_mode: str = "follow-privileges"
    root_spec: str | None = None
    allow_transaction_override: bool = False
    schema_prefix: bool = False
    base_path: str = ""


Resource = Literal["root", "relation", "function"]

_ACTIONS: Final[Mapping[Resource, Mapping[str, ActionKind]]] = {
    "root": {"GET": "inspect", "HEAD": "inspect", "OPTIONS": "schema_info"},
    "relation": {
        "GET": "read",
        "HEAD": "read",
        "POST": "create",
        "PUT": "upsert",
        "PATCH": "update",
        "DELETE": "delete",
        "OPTIONS": "relation_info",
        QUERY: "read",
    },
    "function": {
        "GET": "call_read",
        "HEAD": "call_read",
        "POST": "call",
        "OPTIONS": "routine_info",
        QUERY: "call_read",
    },
}
_WRITING_METHODS: Final = frozenset({"POST", "PATCH", "PUT", "DELETE"})
_READ_HEADERS: Final = frozenset(
    (b"accept", b"accept-profile", b"content-profile", b"content-type", b"range")
)
_ROOT: Final[EmbedPath] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about and does to it. `prefix`: the schema that its path began with;
    `negotiated`: there was a choice of schemas; `said`: the headers it was read by."""

    said: Mapping[bytes, bytes]
    action: Action
    prefix: str | None
    negotiated: bool
    content_type: MediaType


def read_api_request(
    request: HttpRequest, rules: RequestRules, between: Between = nothing
) -> ApiRequest:
    """What `request` asks for; `between` is called between the pieces that a large body is
    read in. Raises `ApiError` PGRST100 to 126, EDGE413 and EDGE415."""
    request = with_query_of_body(request)
    headers = request.headers
    target = read_target(request, rules)
    action, prefix, said = target.action, target.prefix, target.said
    query, range_ = read_query(request, target)
    payload, columns = parse_payload(request.body, target.content_type, query, action, between)
    accept = said.get(b"accept")
    return ApiRequest(
        action=action,
        schema=action.target.schema,
        negotiated_by_profile=target.negotiated,
        method=request.method,
        path=_text(request.path),
        path_prefix="" if prefix is None else f"/{quote(prefix, safe='')}",
        base_path=rules.base_path,
        query=query,
        range=range_,
        preferences=parse_preferences(
            headers, allow_transaction_override=rules.allow_transaction_override
        ),
        payload=payload,
        columns=columns,
        accept=parse_accept(None if accept is None else _latin(accept)),
        content_type=target.content_type,
        headers=headers_for_database(headers),
        cookies=parse_cookies(headers),
    )


def read_target(request: HttpRequest, rules: RequestRules) -> Target:
    """What `request` is about, from its path, method and headers.

    Raises `ApiError` PGRST101, 106, 117, 125 and 126.
    """
    method, said = request.method, header_values(request.headers, _READ_HEADERS)
    segments = path_segments(request.path)
    prefix = _schema_prefix(segments, rules)
    resource, name = _resource(segments if prefix is None else _below(segments), rules)
    schema, negotiated = _schema(method, said, rules.schemas, prefix)
    action = _action(resource, method, QualifiedName(schema, name))
    content_type = said.get(b"content-type")
    media_type = JSON if content_type is None else parse_media_type(_latin(content_type))
    return Target(said, action, prefix, negotiated, media_type)


def read_query(request: HttpRequest, target: Target) -> tuple[QueryParams, Range]:
    """The parameters of `request`, and which rows it wants. Raises `ApiError` PGRST100 and
    103."""
    query = parse_query(request.query, is_call_read=target.action.kind == "call_read")
    limits = query.ranges.get(_ROOT, ALL_ROWS)
    return query, combine_ranges(request.method, limits, target.said.get(b"range"))


def resource_of(request: HttpRequest, rules: RequestRules) -> tuple[Resource, QualifiedName]:
    """What a GET, HEAD or QUERY is about, from its path and profile alone, as
    `read_api_request` finds it. Raises `ApiError` PGRST106, 125 and 126."""
    segments = path_segments(request.path)
    prefix = _schema_prefix(segments, rules)
    resource, name = _resource(segments if prefix is None else _below(segments), rules)
    said = header_values(request.headers, _READ_HEADERS)
    schema, _ = _schema(request.method, said, rules.schemas, prefix)
    return resource, QualifiedName(schema, name)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _latin(raw: bytes) -> str:
    return raw.decode("latin-1")


def path_segments(path: bytes) -> list[str]:
    """The decoded segments of a path; a slash at the end is followed by an empty one."""
    if path in (b"", b"/"):
        return []
    return [_text(unquote_to_bytes(part)) for part in path.removeprefix(b"/").split(b"/")]


def _schema_prefix(segments: list[str], rules: RequestRules) -> str | None:
    """The schema that the path begins with. `rpc` always begins a function's path."""
    if rules.schema_prefix and segments and segments[0] != "rpc":
        return segments[0] if segments[0] in rules.schemas else None
    return None


def _below(segments: list[str]) -> list[str]:
    """The path below its first segment, where `/v1/` is the root as `/v1` is."""
    return [] if segments[1:] == [""] else segments[1:]


def _resource(segments: list[str], rules: RequestRules) -> tuple[Resource, str]:
    match segments:
        case []:
            if rules.openapi_mode == "disabled":
                raise api_error("PGRST126")
            if rules.root_spec is None:
                return "root", ""
            # Written `schema.function` or `function`; the request's schema is used.
            return "function", rules.root_spec.partition(".")[2] or rules.root_spec
        case [name]:
            return "relation", name
        case ["rpc", name]:
            return "function", name
        case _:
            raise api_error("PGRST125")


def _schema(
    method: str, said: Mapping[bytes, bytes], schemas: tuple[str, ...], prefix: str | None
) -> tuple[str, bool]:
    """The schema that path or profile choose, and whether there was a choice."""
    name = b"content-profile" if method in _WRITING_METHODS else b"accept-profile"
    profile = said.get(name)
    if profile is None:
        return schemas[0] if prefix is None else prefix, len(schemas) != 1
    schema = _text(profile)
    if schema not in schemas:
        hint = f"Only the following schemas are exposed: {', '.join(schemas)}"
        raise api_error("PGRST106", schema=schema, hint=hint)
    if prefix is not None and schema != prefix:
        raise api_error(
            "PGRST106", schema=schema, hint=f"The path has chosen the schema {prefix}"
        )
    return schema, True


def _action(resource: Resource, method: str, target: QualifiedName) -> Action:
    kind = _ACTIONS[resource].get(method)
    if kind is None:
        raise api_error("PGRST101" if resource == "function" else "PGRST117", method=method)
    return Action(kind, target, head=method == "HEAD")


def headers_for_database(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Each header once, the last value of equal names, without the cookies."""
    return tuple(
        {_text(name): _text(value) for name, value in headers if name != b"cookie"}.items()
    )


def parse_cookies(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The cookies by name, the last value of equal names; HTTP/2 may spread them over
    several headers (RFC 9113, 8.2.3)."""
    return tuple(dict(_cookies(headers)).items())


def _cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name == b"cookie" and value:
            for part in value.removesuffix(b";").split(b";"):
                key, _, text = part.partition(b"=")
                yield _text(key.lstrip(b" ")), _text(text)
