"""Whole requests: resource, schema, action, and the order in which they are checked."""

from __future__ import annotations

import pytest

from proxy.errors import ApiError
from proxy.request.api_request import (
    RequestRules,
    parse_cookies,
    path_segments,
    read_api_request,
)
from proxy.request.media_types import ANY, CSV, JSON, TEXT
from proxy.request.model import Action, ActionKind, ApiRequest, HttpRequest, JsonPayload
from proxy.request.ranges import Range
from proxy.schema_cache.model import QualifiedName

RULES = RequestRules(("public", "api"))


def read(
    method: str,
    path: bytes,
    query: bytes = b"",
    *headers: tuple[bytes, bytes],
    body: bytes = b"",
    rules: RequestRules = RULES,
) -> ApiRequest:
    return read_api_request(HttpRequest(method, path, query, headers, body), rules)


def refused(
    method: str,
    path: bytes,
    query: bytes = b"",
    *headers: tuple[bytes, bytes],
    body: bytes = b"",
    rules: RequestRules = RULES,
) -> ApiError:
    with pytest.raises(ApiError) as raised:
        read(method, path, query, *headers, body=body, rules=rules)
    return raised.value


@pytest.mark.parametrize(
    "method, path, kind, name, head",
    [
        ("GET", b"/t", "read", "t", False),
        ("HEAD", b"/t", "read", "t", True),
        ("POST", b"/t", "create", "t", False),
        ("PUT", b"/t", "upsert", "t", False),
        ("PATCH", b"/t", "update", "t", False),
        ("DELETE", b"/t", "delete", "t", False),
        ("OPTIONS", b"/t", "relation_info", "t", False),
        ("GET", b"/rpc/f", "call_read", "f", False),
        ("HEAD", b"/rpc/f", "call_read", "f", True),
        ("POST", b"/rpc/f", "call", "f", False),
        ("OPTIONS", b"/rpc/f", "routine_info", "f", False),
        ("GET", b"/", "inspect", "", False),
        ("HEAD", b"/", "inspect", "", True),
        ("OPTIONS", b"/", "schema_info", "", False),
        ("GET", b"", "inspect", "", False),
        ("GET", b"/rpc", "read", "rpc", False),
        ("GET", b"/my%20table", "read", "my table", False),
        ("GET", b"/a%2Fb", "read", "a/b", False),
        ("GET", b"/a+b", "read", "a+b", False),
        ("GET", b"/%ff", "read", "\ufffd", False),
    ],
)
def test_actions(method: str, path: bytes, kind: ActionKind, name: str, head: bool) -> None:
    request = read(method, path, body=b"{}")
    assert request.action == Action(kind, QualifiedName("public", name), head)
    assert request.method == method
    assert request.path == path.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "path", [b"/t/", b"/a/b", b"/rpc/f/", b"/rpc/f/g", b"//", b"/v1/rpc/f"]
)
def test_there_are_no_other_paths(path: bytes) -> None:
    error = refused("GET", path)
    assert (error.code, error.status) == ("PGRST125", 404)


@pytest.mark.parametrize(
    "method, path, code, message",
    [
        ("TRACE", b"/t", "PGRST117", "Unsupported HTTP method: TRACE"),
        ("get", b"/t", "PGRST117", "Unsupported HTTP method: get"),
        ("POST", b"/", "PGRST117", "Unsupported HTTP method: POST"),
        ("PATCH", b"/rpc/f", "PGRST101", "Cannot use the PATCH method on RPC"),
    ],
)
def test_other_methods_are_refused(method: str, path: bytes, code: str, message: str) -> None:
    error = refused(method, path)
    assert (error.code, error.status, error.message) == (code, 405, message)


def test_the_root_may_be_closed_or_a_function() -> None:
    error = refused("GET", b"/", rules=RequestRules(("public",), "disabled"))
    assert (error.code, error.status) == ("PGRST126", 404)
    for spec in ("api.root", "root"):
        rules = RequestRules(("public",), root_spec=spec)
        target = QualifiedName("public", "root")
        assert read("GET", b"/", rules=rules).action == Action("call_read", target)


@pytest.mark.parametrize(
    "method, header, schema",
    [
        ("GET", b"accept-profile", "api"),
        ("HEAD", b"accept-profile", "api"),
        ("OPTIONS", b"accept-profile", "api"),
        ("POST", b"content-profile", "api"),
        ("PATCH", b"content-profile", "api"),
        ("PUT", b"content-profile", "api"),
        ("DELETE", b"content-profile", "api"),
        ("GET", b"content-profile", "public"),
        ("POST", b"accept-profile", "public"),
    ],
)
def test_profiles_choose_the_schema(method: str, header: bytes, schema: str) -> None:
    request = read(method, b"/t", b"", (header, b"api"), body=b"{}")
    assert request.schema == request.action.target.schema == schema
    assert request.negotiated_by_profile


def test_a_single_schema_is_not_negotiated_until_asked_for() -> None:
    rules = RequestRules(("public",))
    assert not read("GET", b"/t", rules=rules).negotiated_by_profile
    asked = read("GET", b"/t", b"", (b"accept-profile", b"public"), rules=rules)
    assert asked.negotiated_by_profile


def test_an_unknown_schema_is_refused() -> None:
    error = refused("GET", b"/t", b"", (b"accept-profile", b"x\xff"))
    assert (error.code, error.status) == ("PGRST106", 406)
    assert error.message == "Invalid schema: x\ufffd"
    assert error.hint == "Only the following schemas are exposed: public, api"
    assert error.details is None


def test_the_first_thing_wrong_is_told() -> None:
    """Resource, schema, method, query, range, body."""
    headers = [(b"content-profile", b"no"), (b"range", b"9-0")]
    body = b"{"
    assert refused("PATCH", b"/a/b", b"a=no", *headers, body=body).code == "PGRST125"
    assert refused("PATCH", b"/rpc/f", b"a=no", *headers, body=body).code == "PGRST106"
    assert refused("PATCH", b"/rpc/f", b"a=no", body=body).code == "PGRST101"
    assert refused("PATCH", b"/t", b"a=no&limit=-1", body=body).code == "PGRST100"
    assert refused("PATCH", b"/t", b"limit=-1", body=body).code == "PGRST103"
    assert refused("PATCH", b"/t", body=body).code == "PGRST102"


def test_ranges_are_combined() -> None:
    assert read("GET", b"/t", b"limit=5", (b"range", b"2-9")).range == Range(2, 3)
    assert read("HEAD", b"/t", b"limit=5", (b"range", b"2-9")).range == Range(0, 5)


def test_media_types_and_their_defaults() -> None:
    plain = read("POST", b"/rpc/f")
    assert (plain.accept, plain.content_type) == ((ANY,), JSON)
    request = read(
        "POST",
        b"/rpc/f",
        b"",
        (b"accept", b"text/csv;q=0.1, application/json"),
        (b"accept", b"text/plain"),
        (b"content-type", b"text/plain; charset=utf-8"),
    )
    assert request.accept == (JSON, CSV)
    assert request.content_type == TEXT


def test_the_body_and_its_columns() -> None:
    request = read("POST", b"/t", b"", body=b'{"a":1}')
    assert request.payload == JsonPayload(b'{"a":1}', frozenset("a"), is_array=False)
    assert request.columns == {"a"}


def test_preferences_heed_the_settings() -> None:
    prefer = (b"prefer", b"tx=rollback, return=minimal")
    assert read("GET", b"/t", b"", prefer).preferences.transaction is None
    rules = RequestRules(("public",), allow_transaction_override=True)
    preferences = read("GET", b"/t", b"", prefer, rules=rules).preferences
    assert (preferences.transaction, preferences.representation) == ("rollback", "minimal")


def test_a_call_by_get_has_arguments() -> None:
    assert read("GET", b"/rpc/f", b"a=1").query.arguments == (("a", "1"),)
    assert refused("POST", b"/rpc/f", b"a=1").code == "PGRST100"


def test_headers_reach_the_database_once_and_without_cookies() -> None:
    request = read(
        "GET",
        b"/t",
        b"",
        (b"x-a", b"1"),
        (b"cookie", b"c=1"),
        (b"x-a", b"2"),
        (b"x-b", b"\xff"),
    )
    assert request.headers == (("x-a", "2"), ("x-b", "\ufffd"))
    assert request.cookies == (("c", "1"),)


@pytest.mark.parametrize(
    "headers, cookies",
    [
        ([], {}),
        ([b""], {}),
        ([b"a=1; b=2"], {"a": "1", "b": "2"}),
        ([b"a=1;b=2;"], {"a": "1", "b": "2"}),
        ([b"a=1; a=2"], {"a": "2"}),
        ([b"a=1", b"b=2"], {"a": "1", "b": "2"}),
        ([b"a=x=y; b; =c"], {"a": "x=y", "b": "", "": "c"}),
        ([b'a="1 2"'], {"a": '"1 2"'}),
    ],
)
def test_cookies(headers: list[bytes], cookies: dict[str, str]) -> None:
    assert dict(parse_cookies(tuple((b"cookie", value) for value in headers))) == cookies


@pytest.mark.parametrize(
    "path, segments",
    [
        (b"", []),
        (b"/", []),
        (b"/a", ["a"]),
        (b"/a/", ["a", ""]),
        (b"//", ["", ""]),
        (b"/%zz", ["%zz"]),
    ],
)
def test_path_segments(path: bytes, segments: list[str]) -> None:
    assert path_segments(path) == segments
