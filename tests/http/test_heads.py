"""Whatever is answered may be kept and passed on: one table of kinds of responses, over every
protocol, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from tests.conftest import MakeToken, StartEdge
from tests.http.processes import ServerProcess

ORIGIN = "https://page.example"
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
READ_BY_PAGES = (
    *("content-range", "content-location", "location"),  # PostgREST's list
    *("etag", "retry-after", "cache-status", "proxy-status", "ratelimit", "ratelimit-policy"),
    *("server-timing", "preference-applied"),
)


@dataclass(frozen=True)
class Kind:
    """A request and the status of its answer; `token`: with one; `told`: its Cache-Control."""

    method: str
    target: str
    status: int
    told: str = "no-store"
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    token: bool = False


UNKEPT = "private, no-cache"
KINDS = {
    "rows": Kind("GET", "/products", 200, UNKEPT),
    "head": Kind("HEAD", "/products", 200, UNKEPT),
    "counted head": Kind("HEAD", "/products", 200, UNKEPT, {"Prefer": "count=exact"}),
    "part": Kind("GET", "/products?limit=1", 206, UNKEPT, {"Prefer": "count=exact"}),
    "csv": Kind("GET", "/products", 200, UNKEPT, {"Accept": "text/csv"}),
    "with a token": Kind("GET", "/products", 200, UNKEPT, token=True),
    "empty": Kind("GET", "/products?id=lt.0", 200, UNKEPT),
    "description": Kind("GET", "/", 200, UNKEPT),
    "info": Kind("OPTIONS", "/products", 200),
    "no table": Kind("GET", "/no_such_table", 404),
    "no table to OPTIONS": Kind("OPTIONS", "/no_such_table", 404),
    "no path": Kind("GET", "/products/1/2", 404),
    "bad filter": Kind("GET", "/products?id=what.1", 400),
    "bad timeout": Kind("GET", "/products", 400, headers={"X-Request-Timeout": "soon"}),
    "bad timeout to HEAD": Kind("HEAD", "/products", 400, headers={"X-Request-Timeout": "-1"}),
    "no such form": Kind("GET", "/products", 406, headers={"Accept": "image/png"}),
    "no such schema": Kind("GET", "/products", 406, headers={"Accept-Profile": "nope"}),
    "beyond the rows": Kind(
        "GET", "/products?offset=9999", 416, headers={"Prefer": "count=exact"}
    ),
    "not permitted": Kind("DELETE", "/products?id=eq.1", 401),
    "bad token": Kind("GET", "/products", 401, headers={"Authorization": "Bearer x"}),
    "wrong method": Kind("BREW", "/products", 405),
    "not kept": Kind("GET", "/products", 504, headers={"Cache-Control": "only-if-cached"}),
    "failed precondition": Kind("GET", "/products", 412, headers={"If-Match": '"other"'}),
    "long": Kind("GET", "/products?" + "a" * 30_000, 414),
    "heads too large": Kind("GET", "/products", 431, headers={"X-Large": "a" * 30_000}),
    "preflight": Kind(
        "OPTIONS", "/products", 200, headers={"Access-Control-Request-Method": "PATCH"}
    ),
    "page": Kind("GET", "/docs/", 200, "no-cache"),
    "redirect": Kind("GET", "/docs", 302, "no-cache"),
    "no file": Kind("GET", "/docs/none.js?release=1", 404, "no-cache"),
}


@pytest.fixture(scope="module", params=["any origin", "listed origins"])
def server(start_edge: StartEdge, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    listed = {"server_cors_allowed_origins": ORIGIN} if "listed" in request.param else {}
    limits = {"server_max_url": 20_000, "server_max_header": 20_000}
    page = {"openapi_docs_path": "/docs", "server_trace_header": "X-Trace"}
    with start_edge(**limits, **page, **listed) as edge:
        yield edge


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def client(server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    second = request.param == "HTTP/2"
    with httpx.Client(http1=not second, http2=second, base_url=server.url) as made:
        yield made


@pytest.mark.parametrize("name", KINDS)
def test_every_answer_may_be_kept_and_passed_on(
    client: httpx.Client, token: MakeToken, server: ServerProcess, name: str
) -> None:
    kind = KINDS[name]
    for origin in ({}, {"Origin": ORIGIN}):
        headers = kind.headers | origin | (token("web_user") if kind.token else {})
        got = client.request(kind.method, kind.target, headers=headers, content=kind.content)
        if name == "preflight" and not origin:
            continue  # Without an Origin it is none.
        assert got.status_code == kind.status, got.text
        lines = got.headers.multi_items()
        names = [line for line, _ in lines]
        assert got.headers.get_list("cache-control") == [kind.told]
        assert names.count("vary") <= 1
        assert names.count("access-control-allow-origin") <= 1
        assert "set-cookie" not in names
        if got.http_version == "HTTP/2":
            assert not HOP_BY_HOP & set(names)
        assert all(len(value) <= 4096 for _, value in lines)
        if not kind.target.startswith("/docs"):
            _is_for_pages(got, origin, listed="Origin" in got.headers.get("vary", ""))


def _is_for_pages(got: httpx.Response, origin: dict[str, str], *, listed: bool) -> None:
    shared = got.headers.get("access-control-allow-origin")
    if not listed:
        assert shared == "*"
    elif got.request.method != "OPTIONS":
        assert shared == origin.get("Origin")
    if got.request.method != "OPTIONS" and shared is not None:
        exposed = {
            each.strip()
            for each in got.headers["access-control-expose-headers"].lower().split(",")
        }
        assert exposed >= {*READ_BY_PAGES, "x-trace"}


def test_vary_names_what_an_answer_depends_on(server: ServerProcess, token: MakeToken) -> None:
    with httpx.Client(base_url=server.url) as client:
        plain = client.get("/products").headers.get_list("vary")
        own = client.get("/products", headers=token("web_user")).headers.get_list("vary")
    assert [line.removesuffix(", Origin") for line in (*plain, *own)] == [
        "Accept, Prefer, Range, Accept-Profile",
        "Accept, Prefer, Range, Accept-Profile, Authorization",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "QUERY"])
def test_no_address_is_too_long_for_a_header(server: ServerProcess, method: str) -> None:
    """Node's fetch refuses heads of more than 16 KiB, nginx of more than 4 to 8."""
    with httpx.Client(base_url=server.url) as client:
        for many, has in ((10, True), (3000, False)):
            query = f"id=in.({','.join(map(str, range(many)))})"
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            if method == "QUERY":
                got = client.request(method, "/products", content=query, headers=form)
            else:
                got = client.request(method, f"/products?{query}")
            assert got.status_code == 200
            assert ("content-location" in got.headers) is has


@pytest.mark.parametrize("form, found", [("items", "items 0-0/"), ("none", None)])
def test_content_range_is_written_as_it_is_set(
    start_edge: StartEdge, form: str, found: str | None
) -> None:
    with (
        start_edge(server_content_range=form) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        counted = {"Prefer": "count=exact"}
        page = client.get("/products?limit=1", headers=counted)
        beyond = client.get("/products?offset=9999", headers=counted)
    assert (page.status_code, beyond.status_code) == (206, 416)
    if found is None:
        assert "content-range" not in {*page.headers, *beyond.headers}
    else:
        assert page.headers["content-range"].startswith(found)
        assert beyond.headers["content-range"].startswith("items */")


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics", "/config", "/apps", "/none"])
def test_the_admin_server_has_nothing_kept(edge: ServerProcess, path: str) -> None:
    transport = httpx.HTTPTransport(uds=edge.admin)
    with httpx.Client(transport=transport, base_url="http://admin") as client:
        got = client.get(path)
    assert got.headers.get_list("cache-control") == ["no-store"]
    assert "set-cookie" not in got.headers
