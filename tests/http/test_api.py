"""Requests to the whole: HTTP in, PostgreSQL behind, HTTP out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeToken, StartEdge, execute
from tests.http.processes import ServerProcess

REPRESENTATION = {"Prefer": "return=representation"}


@pytest.fixture
def writer(http: httpx.Client, token: MakeToken) -> Iterator[httpx.Client]:
    """A client that may write, whose writes are undone by deleting what it made."""
    http.headers.update(token())
    yield http
    for table in ("order_items?order_id=gt.100", "orders?id=gt.99", "customers?id=gt.99"):
        assert http.delete(f"/{table}").status_code == 204


# --- reading ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/customers?select=name&id=eq.1", [{"name": "Ada"}]),
        ("/customers?select=name&name=eq.B%C3%A9la", [{"name": "Béla"}]),
        ("/customers?select=id&email=is.null", [{"id": 2}]),
        ("/customers?select=id&id=in.(1,3)&order=id.desc", [{"id": 3}, {"id": 1}]),
        ("/customers?select=id&or=(id.eq.1,name.like.C*)&order=id", [{"id": 1}, {"id": 3}]),
        ("/orders?select=id&status=eq.open&order=id", [{"id": 1}, {"id": 3}]),
        ("/orders?select=id&tags=cs.{gift}&amount=gt.20", [{"id": 3}]),
        ("/orders?select=id,net&id=eq.1", [{"id": 1, "net": 10.0}]),
        ("/orders?select=day:placed_on::text&id=eq.2", [{"day": "2026-03-02"}]),
        ("/profiles?select=dark:settings->theme->dark", [{"dark": True}]),
        ("/profiles?select=last:settings->n->>1", [{"last": "2"}]),
        ("/customers?select=id,total_of&id=eq.1", [{"id": 1, "total_of": 18.0}]),
        ("/open_orders?select=id&order=id", [{"id": 1}, {"id": 3}]),
        ("/customers?select=id&order=id&limit=1&offset=1", [{"id": 2}]),
    ],
)
def test_reading(http: httpx.Client, target: str, expected: object) -> None:
    response = http.get(target)
    assert (response.status_code, response.json()) == (200, expected)
    assert response.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/orders?select=customers(name)&id=eq.1", [{"customers": {"name": "Ada"}}]),
        ("/customers?select=orders(id)&id=eq.2", [{"orders": [{"id": 3}]}]),
        ("/customers?select=profiles(bio)&id=eq.1", [{"profiles": {"bio": "first"}}]),
        (
            "/orders?select=products(name)&id=eq.1&products.order=name",
            [{"products": [{"name": "box"}, {"name": "lid"}]}],
        ),
        (
            "/customers?select=id,orders!inner(id)&orders.id=eq.3",
            [{"id": 2, "orders": [{"id": 3}]}],
        ),
        ("/customers?select=id,orders()&orders=is.null", [{"id": 3}]),
        ("/open_orders?select=customers(name)&id=eq.3", [{"customers": {"name": "Béla"}}]),
        ("/orders?select=id,...customers(buyer:name)&id=eq.1", [{"id": 1, "buyer": "Ada"}]),
        (
            "/customers?select=id,orders(id,order_items(quantity))&id=eq.2",
            [{"id": 2, "orders": [{"id": 3, "order_items": [{"quantity": 5}]}]}],
        ),
    ],
)
def test_embedding(http: httpx.Client, target: str, expected: object) -> None:
    response = http.get(target)
    assert (response.status_code, response.json()) == (200, expected)


def test_ranges_and_counts(http: httpx.Client) -> None:
    page = http.get("/orders", headers={"Range": "0-1", "Prefer": "count=exact"})
    assert (page.status_code, page.headers["content-range"]) == (206, "0-1/3")
    assert page.headers["preference-applied"] == "count=exact"
    all_of_them = http.get("/orders", headers={"Prefer": "count=exact"})
    assert (all_of_them.status_code, all_of_them.headers["content-range"]) == (200, "0-2/3")
    beyond = http.get("/orders?offset=10", headers={"Prefer": "count=exact"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "PGRST103")


def test_head_is_get_without_the_body(http: httpx.Client) -> None:
    head = http.head("/orders", headers={"Prefer": "count=exact"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-range"] == "0-2/3"
    missing = http.head("/nothing")
    assert (missing.status_code, missing.content) == (404, b"")


def test_a_single_object_and_csv(http: httpx.Client) -> None:
    single = {"Accept": "application/vnd.pgrst.object+json"}
    one = http.get("/customers?select=id&id=eq.1", headers=single)
    assert (one.status_code, one.json()) == (200, {"id": 1})
    many = http.get("/customers", headers=single)
    assert (many.status_code, many.json()["code"]) == (406, "PGRST116")
    csv = http.get("/customers?select=id,name&id=eq.3", headers={"Accept": "text/csv"})
    assert (csv.status_code, csv.text) == (200, "id,name\n3,Cy")


# --- writing ------------------------------------------------------------------------------


def test_the_life_of_a_row(writer: httpx.Client) -> None:
    made = writer.post("/customers", json={"name": "Dee"}, headers=REPRESENTATION)
    assert made.status_code == 201
    (row,) = made.json()
    where = f"/customers?id=eq.{row['id']}"
    changed = writer.patch(where, json={"email": "dee@example.org"}, headers=REPRESENTATION)
    assert (changed.status_code, changed.json()) == (200, [{**row, "email": "dee@example.org"}])
    assert writer.delete(where).status_code == 204
    assert writer.get(where).json() == []


def test_inserting_many_and_saying_where(writer: httpx.Client) -> None:
    rows = [{"id": 201, "name": "E"}, {"id": 202, "name": "F"}]
    made = writer.post("/customers", json=rows)
    assert (made.status_code, made.content) == (201, b"")
    headers = {"Prefer": "return=headers-only"}
    one = writer.post("/customers", json={"id": 203, "name": "G"}, headers=headers)
    assert one.headers["location"] == "/customers?id=eq.203"
    csv = writer.post(
        "/customers", content="id,name\n204,H\n", headers={"Content-Type": "text/csv"}
    )
    assert csv.status_code == 201
    found = writer.get("/customers?select=id&id=gt.200&order=id").json()
    assert [row["id"] for row in found] == [201, 202, 203, 204]


def test_upserts(writer: httpx.Client) -> None:
    merge = {"Prefer": "resolution=merge-duplicates,return=representation"}
    first = writer.post("/customers", json={"id": 210, "name": "I"}, headers=merge)
    again = writer.post("/customers", json={"id": 210, "name": "J"}, headers=merge)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == [{"id": 210, "name": "J", "email": None}]
    body = {"id": 211, "name": "K", "email": None}
    put = writer.put("/customers?id=eq.211", json=body, headers=REPRESENTATION)
    assert (put.status_code, put.json()) == (201, [body])


def test_a_write_embeds_what_it_returns(writer: httpx.Client) -> None:
    made = writer.post(
        "/orders?select=amount,customers(name)",
        json={"customer_id": 1, "amount": 3.5, "tags": ["a", "b"], "status": "open"},
        headers=REPRESENTATION,
    )
    assert made.json() == [{"amount": 3.5, "customers": {"name": "Ada"}}]


def test_a_rolled_back_write_leaves_nothing(start_edge: StartEdge, token: MakeToken) -> None:
    with (
        start_edge(db_tx_end="rollback-allow-override") as server,
        httpx.Client(base_url=server.url, headers=token()) as client,
    ):
        made = client.post("/customers", json={"id": 999, "name": "L"}, headers=REPRESENTATION)
        assert (made.status_code, made.json()[0]["id"]) == (201, 999)
        assert client.get("/customers?id=eq.999").json() == []


# --- functions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, target, body, status, expected",
    [
        ("GET", "/rpc/add?a=1", None, 200, 11),
        ("GET", "/rpc/add?a=1&b=2", None, 200, 3),
        ("POST", "/rpc/add", {"a": 4, "b": 5}, 200, 9),
        ("GET", "/rpc/customers_named?pattern=C*&select=id", None, 200, []),
        ("POST", "/rpc/customers_named?select=id", {"pattern": "C%"}, 200, [{"id": 3}]),
        ("GET", "/rpc/touch?order_id=1", None, 405, "25006"),
        ("POST", "/rpc/teapot", {}, 418, "PT418"),
        ("POST", "/rpc/with_headers", {}, 202, "seen"),
        ("GET", "/rpc/nothing", None, 404, "PGRST202"),
        ("PATCH", "/rpc/add", {"a": 1}, 405, "PGRST101"),
    ],
)
def test_calling(
    writer: httpx.Client,
    method: str,
    target: str,
    body: dict[str, object] | None,
    status: int,
    expected: object,
) -> None:
    response = writer.request(method, target, json=body)
    found = response.json()
    assert response.status_code == status
    assert (found["code"] if isinstance(found, dict) else found) == expected


def test_a_void_function_answers_204(writer: httpx.Client) -> None:
    response = writer.post("/rpc/touch", json={"order_id": 3})
    assert (response.status_code, response.content) == (204, b"")


def test_a_function_that_writes_returns_its_row(writer: httpx.Client) -> None:
    order = {"customer": 2, "amount": 5, "tags": ["x"]}
    response = writer.post("/rpc/place_order?select=amount,tags", json=order)
    assert (response.status_code, response.json()) == (200, {"amount": 5.0, "tags": ["x"]})


def test_the_database_sets_headers(http: httpx.Client) -> None:
    response = http.post("/rpc/with_headers")
    assert (response.status_code, response.headers["cache-control"]) == (202, "max-age=60")


# --- who asks -----------------------------------------------------------------------------


def test_each_role_sees_what_is_its(http: httpx.Client, token: MakeToken) -> None:
    def notes(headers: dict[str, str]) -> list[str]:
        found = http.get("/notes?select=body&order=id", headers=headers).json()
        return [row["body"] for row in found]

    assert notes(token(sub="ada")) == ["hers"]
    assert notes(token(sub="cy")) == ["his"]
    assert notes(token("web_auditor")) == ["hers", "his"]
    denied = http.get("/notes")
    assert (denied.status_code, denied.json()["code"]) == (401, "42501")
    assert denied.headers["www-authenticate"] == "Bearer"
    forbidden = http.post("/notes", json={"body": "x"}, headers=token("web_auditor"))
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "42501")


def test_a_row_can_only_be_written_for_oneself(http: httpx.Client, token: MakeToken) -> None:
    ada = token(sub="ada")
    made = http.post("/notes", json={"body": "mine"}, headers={**ada, **REPRESENTATION})
    assert made.json()[0]["owner"] == "ada"
    theirs = http.post("/notes", json={"owner": "cy", "body": "not mine"}, headers=ada)
    assert (theirs.status_code, theirs.json()["code"]) == (403, "42501")
    assert http.delete("/notes?id=gt.99", headers=ada).status_code == 204


def test_the_database_knows_who_asks(http: httpx.Client, token: MakeToken) -> None:
    anonymous = http.get("/rpc/whoami").json()
    assert (anonymous["role"], anonymous["claims"]) == ("web_anon", {"role": "web_anon"})
    assert (anonymous["method"], anonymous["path"]) == ("GET", "/rpc/whoami")
    known = http.get("/rpc/whoami", headers=token(sub="ada")).json()
    assert (known["role"], known["claims"]["sub"]) == ("web_user", "ada")
    assert http.get("/rpc/whoami").json() == anonymous


@pytest.mark.parametrize(
    "authorization, code",
    [
        ("Bearer ", "PGRST301"),
        ("Bearer nonsense", "PGRST301"),
        ("Bearer a.b.c", "PGRST301"),
    ],
)
def test_a_bad_token_is_401(http: httpx.Client, authorization: str, code: str) -> None:
    response = http.get("/customers", headers={"Authorization": authorization})
    assert (response.status_code, response.json()["code"]) == (401, code)
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_an_expired_token_is_401(http: httpx.Client, token: MakeToken) -> None:
    response = http.get("/customers", headers=token(exp=1))
    assert (response.status_code, response.json()["message"]) == (401, "JWT expired")


# --- schemas, errors, options -------------------------------------------------------------


def test_profiles_choose_the_schema(http: httpx.Client, token: MakeToken) -> None:
    auditor = token("web_auditor")
    there = http.get("/events", headers={**auditor, "Accept-Profile": "audit"})
    assert (there.status_code, there.headers["content-profile"]) == (200, "audit")
    assert there.json() == [{"id": 1, "what": "started"}]
    unknown = http.get("/events", headers={**auditor, "Accept-Profile": "private"})
    assert (unknown.status_code, unknown.json()["code"]) == (406, "PGRST106")


@pytest.mark.parametrize(
    "target, status, code",
    [
        ("/nothing", 404, "PGRST205"),
        ("/customers?id=equals.1", 400, "PGRST100"),
        ("/customers?select=nothing", 400, "42703"),
        ("/customers?select=products(id)", 400, "PGRST200"),
        ("/customers?id=eq.x", 400, "22P02"),
        ("/a/b/c", 404, "PGRST125"),
        ("/customers%00", 404, None),
        ("/customers%FF", 404, None),
        ("/customers?name=eq.%00", 400, None),
        ("/customers?name=eq.%FF", None, None),
    ],
)
def test_errors(http: httpx.Client, target: str, status: int | None, code: str | None) -> None:
    response = http.get(target)
    if status is not None:
        assert response.status_code == status
    assert response.status_code < 500
    if code is not None:
        found = response.json()
        assert found["code"] == code
        assert set(found) == {"code", "message", "details", "hint"}
        assert response.headers["proxy-status"] == f"PostgREST; error={code}"


def test_constraint_violations(writer: httpx.Client) -> None:
    twice = writer.post("/customers", json={"id": 1, "name": "x"})
    assert (twice.status_code, twice.json()["code"]) == (409, "23505")
    orphan = writer.post("/orders", json={"customer_id": 12345})
    assert (orphan.status_code, orphan.json()["code"]) == (409, "23503")
    negative = writer.post("/orders", json={"amount": -1})
    assert (negative.status_code, negative.json()["code"]) == (400, "23514")
    broken = writer.post("/orders", content=b"{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["code"]) == (400, "PGRST102")


@pytest.mark.parametrize(
    "target, allowed",
    [
        ("/customers", "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("/totals", "OPTIONS,GET,HEAD"),
        ("/rpc/teapot", "OPTIONS,POST"),
        ("/rpc/whoami", "OPTIONS,GET,HEAD,POST"),
        ("/", "OPTIONS,GET,HEAD"),
    ],
)
def test_options(http: httpx.Client, target: str, allowed: str) -> None:
    response = http.options(target)
    assert (response.status_code, response.headers["allow"]) == (200, allowed)


def test_the_root_describes_the_api(http: httpx.Client) -> None:
    response = http.get("/")
    assert response.headers["content-type"] == "application/openapi+json; charset=utf-8"
    document = response.json()
    assert document["swagger"] == "2.0"
    assert {"/customers", "/rpc/add"} <= set(document["paths"])
    assert "/notes" not in document["paths"]


def asked_through(unix_socket: str | None) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=unix_socket)
    return httpx.Client(base_url="http://admin", transport=transport)


def test_the_admin_server_shows_the_schema_cache(edge: ServerProcess) -> None:
    with asked_through(edge.admin) as admin:
        assert admin.get("/ready").status_code == 200
        assert "customers" in admin.get("/schema_cache").text


# --- connections --------------------------------------------------------------------------


def test_many_requests_share_few_connections(start_edge: StartEdge) -> None:
    async def ask(url: str) -> list[int]:
        async with httpx.AsyncClient(http1=False, http2=True, base_url=url) as client:
            targets = [f"/customers?select=id&id=eq.{1 + n % 3}" for n in range(200)]
            answers = await asyncio.gather(*(client.get(target) for target in targets))
            assert [a.json()[0]["id"] for a in answers] == [1 + n % 3 for n in range(200)]
            return [answer.status_code for answer in answers]

    with start_edge(db_pool=2) as server:
        assert asyncio.run(ask(server.url)) == [200] * 200


def test_a_client_that_leaves_frees_its_connection(start_edge: StartEdge) -> None:
    with (
        start_edge(db_pool=1, db_pool_acquisition_timeout=5) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        with pytest.raises(httpx.ReadTimeout):
            client.post("/rpc/wait", json={"seconds": 60}, timeout=0.5)
        # The only connection is free again long before the query would have ended.
        assert client.get("/customers?id=eq.1", timeout=4).status_code == 200


def test_a_slow_body_costs_no_connection(start_edge: StartEdge, token: MakeToken) -> None:
    with (
        start_edge(db_pool=1, db_pool_acquisition_timeout=2) as server,
        httpx.Client(base_url=server.url) as slow,
        httpx.Client(base_url=server.url) as other,
    ):

        def body() -> Iterator[bytes]:
            yield b'{"a": 1,'
            assert other.get("/customers?id=eq.1").status_code == 200
            yield b' "b": 2}'

        headers = {"Content-Type": "application/json", **token()}
        answer = slow.post("/rpc/add", content=body(), headers=headers)
        assert (answer.status_code, answer.json()) == (200, 3)


def test_what_waits_too_long_for_a_connection_is_504(start_edge: StartEdge) -> None:
    async def ask(url: str) -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            wait = {"seconds": 2.5}
            answers = await asyncio.gather(
                *(client.post("/rpc/wait", json=wait) for _ in range(2))
            )
            return sorted(answer.status_code for answer in answers)

    with start_edge(db_pool=1, db_pool_acquisition_timeout=1) as server:
        assert asyncio.run(ask(server.url)) == [200, 504]


def test_a_signal_reloads_the_schema_cache(
    start_edge: StartEdge, postgres: EmbeddedPostgres, shop: str
) -> None:
    with start_edge() as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/later").status_code == 404
        made = "create view api.later as select 1 as n; grant select on api.later to web_anon"
        asyncio.run(execute(postgres.dsn_for(shop), made))
        try:
            server.signal(signal.SIGUSR1)
            while client.get("/later").status_code == 404:
                pass
            assert client.get("/later").json() == [{"n": 1}]
        finally:
            asyncio.run(execute(postgres.dsn_for(shop), "drop view api.later"))


def test_without_a_database_every_answer_is_503(start_edge: StartEdge, tmp_path: Path) -> None:
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    socket = tmp_path / "admin"
    with start_edge(db_uri=away, admin_server_unix_socket=str(socket)) as server:
        response = httpx.get(f"{server.url}/customers")
        assert (response.status_code, response.json()["code"]) == (503, "PGRST002")
        assert "retry-after" in response.headers
        with asked_through(server.admin) as admin:
            assert [admin.get(p).status_code for p in ("/live", "/ready")] == [200, 503]
