"""The SDK against the real server: reads, writes, functions, types, streams, errors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypedDict, assert_type

import httpx
import httpx2
import pytest
from pydantic import BaseModel

from edge_client import (
    APIError,
    AsyncEdgeClient,
    AuthenticationError,
    ConflictError,
    ConnectError,
    DecodingError,
    EdgeClient,
    Limits,
    NotAllowedError,
    Progress,
    Result,
    RowCountError,
    embed,
)
from edge_client.filters import eq, gt, is_
from tests.conftest import MakeToken, StartEdge
from tests.http.processes import ServerProcess

Dict = dict[str, Any]


class Status(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    DONE = "done"


@dataclass
class Customer:
    id: int
    name: str
    email: str | None = None


@dataclass
class Order:
    id: int
    status: Status
    placed_on: date
    amount: Decimal
    customers: Customer | None = None
    tags: list[str] = field(default_factory=list)


class Product(TypedDict):
    id: int
    name: str


class Profile(BaseModel):
    customer_id: int
    settings: dict[str, Any]


@pytest.fixture
def jwt(token: MakeToken) -> str:
    return token(sub="ada")["Authorization"].removeprefix("Bearer ")


@pytest.fixture
def db(edge: ServerProcess, jwt: str) -> Iterator[EdgeClient]:
    with EdgeClient(edge.url, token=jwt, http2=True) as client:
        yield client
        client.table("orders").delete().gt("id", 99).execute()
        client.table("customers").delete().gt("id", 99).execute()


def test_reading(db: EdgeClient) -> None:
    query = (
        db.table("orders")
        .select("id, status, customers!inner(name)", count="exact")
        .eq("customers.name", "Ada")
        .in_("status", ["open", "done"])
        .contains("tags", ["gift"])
        .order("id", desc=True)
        .limit(5)
    )
    answer = query.execute()
    assert_type(answer, Result[list[Dict]])
    assert answer.data == [{"id": 1, "status": "open", "customers": {"name": "Ada"}}]
    assert (answer.count, answer.status, answer.attempts) == (1, 200, 1)


def test_trees(db: EdgeClient) -> None:
    customers = db.table("customers").select("id").order("id")
    tree = customers.or_(eq("id", 1), is_("email", None))
    assert tree.execute().data == [{"id": 1}, {"id": 2}]
    assert customers.or_("id.eq.3,name.eq.Ada").execute().data == [{"id": 1}, {"id": 3}]
    assert customers.not_.or_(gt("id", 2), eq("name", "Ada")).execute().data == [{"id": 2}]


def test_embeds_with_their_own_filters(db: EdgeClient) -> None:
    lines = embed("order_items", "quantity").gt("quantity", 1)
    orders = embed("orders", "id", lines, alias="mine").eq("status", "open").order("id")
    found = db.table("customers").select("name", orders).order("id").limit(2).execute()
    assert found.data == [
        {"name": "Ada", "mine": [{"id": 1, "order_items": [{"quantity": 2}]}]},
        {"name": "Béla", "mine": [{"id": 3, "order_items": [{"quantity": 5}]}]},
    ]


def test_one_row_or_none(db: EdgeClient) -> None:
    customers = db.table("customers").select("name")
    one = customers.eq("id", 1).single().execute()
    assert_type(one, Result[Dict])
    assert one.data == {"name": "Ada"}
    maybe = customers.eq("id", 77).maybe_single().execute()
    assert_type(maybe, Result[Dict | None])
    assert maybe.data is None
    for query in (customers.single(), customers.maybe_single()):
        with pytest.raises(RowCountError) as raised:
            query.execute()
        assert (raised.value.code, raised.value.status) == ("PGRST116", 406)


def test_other_representations(db: EdgeClient) -> None:
    customers = db.table("customers").select("id,email").eq("id", 2)
    assert customers.csv().execute().data == "id,email\n2,"
    assert customers.strip_nulls().execute().data == [{"id": 2}]
    assert customers.strip_nulls().single().execute().data == {"id": 2}
    counted = db.table("orders").select(count="exact", head=True).execute()
    assert (counted.data, counted.count) == ([], 3)


def test_plans(start_edge: StartEdge) -> None:
    with start_edge(db_plan_enabled=True) as server, EdgeClient(server.url) as db:
        query = db.table("customers").select("id")
        assert "cost=" in query.explain().execute().data
        (plan,) = query.explain(analyze=True, buffers=True, format="json").execute().data
        assert "Actual Rows" in plan["Plan"]


def test_writing(db: EdgeClient) -> None:
    customers = db.table("customers")
    with pytest.raises(APIError) as raised:
        customers.insert([{"id": 301, "name": "M"}, {"id": 302}]).execute()
    assert raised.value.code == "23502"
    rows = [Customer(301, "M"), Customer(302, "N", "n@example.org")]
    assert [row["id"] for row in customers.insert(rows).execute().data] == [301, 302]
    with pytest.raises(ConflictError) as raised:
        customers.insert({"id": 301, "name": "twice"}).execute()
    assert raised.value.code == "23505"
    changed = customers.update({"email": "m@example.org"}).eq("id", 301).select("email")
    assert changed.execute().data == [{"email": "m@example.org"}]
    merged = customers.upsert({"id": 301, "name": "O"}).execute()
    assert merged.data == [{"id": 301, "name": "O", "email": "m@example.org"}]
    again = customers.upsert({"name": "P", "email": "m@example.org"}, on_conflict="email")
    assert [row["name"] for row in again.execute().data] == ["P"]
    kept = customers.upsert({"id": 301, "name": "Q"}, ignore_duplicates=True).execute()
    assert kept.data == []
    many = [{"id": 301, "name": "R"}, {"id": 302, "name": "S"}]
    given = customers.update_many(many).execute().data
    assert {row["id"]: row["name"] for row in given} == {301: "R", 302: "S"}
    with pytest.raises(APIError) as raised:
        customers.delete().gte("id", 301).max_affected(1).execute()
    assert raised.value.code == "PGRST124"
    silent = customers.delete(returning="minimal", count="exact").gte("id", 301).execute()
    assert (silent.data, silent.count, silent.status) == ([], 2, 204)


def test_rows_that_name_different_columns(db: EdgeClient) -> None:
    rows = [{"id": 311, "name": "T"}, {"id": 312, "name": "U", "email": "u@example.org"}]
    made = db.table("customers").insert(rows).select("email").execute()
    assert made.data == [{"email": None}, {"email": "u@example.org"}]


def test_functions(db: EdgeClient) -> None:
    assert db.rpc("add", {"a": 1, "b": 2}).execute().data == 3
    assert db.rpc("add", {"a": 1}, get=True).execute().data == 11
    named = db.rpc("customers_named", {"pattern": "%"}, get=True).gt("id", 1).order("id")
    assert [row["id"] for row in named.execute().data] == [2, 3]
    typed = db.rpc("customers_named", {"pattern": "A%"}, row=Customer).execute()
    assert_type(typed, Result[list[Customer]])
    assert typed.data == [Customer(1, "Ada", "ada@example.org")]
    assert db.rpc("touch", {"order_id": 0}).execute().data is None
    placed = db.rpc("place_order", {"customer": 1, "amount": Decimal("2.50"), "tags": ["a"]})
    assert placed.execute().data["tags"] == ["a"]


def test_schemas_tokens_and_preferences(db: EdgeClient, token: MakeToken) -> None:
    auditor = token("web_auditor")["Authorization"].removeprefix("Bearer ")
    events = db.schema("audit").with_token(auditor).table("events").select("what")
    assert events.execute().data == [{"what": "started"}]
    with pytest.raises(NotAllowedError):
        db.table("events").select().schema("audit").execute()
    with pytest.raises(AuthenticationError):
        db.with_token("no.good.token").table("orders").select().execute()
    strict = db.table("orders").select().timezone("Europe/Berlin").prefer(handling="strict")
    applied = (strict.execute().headers or {})["preference-applied"]
    assert applied == "handling=strict, timezone=Europe/Berlin"


def test_transactions_that_are_only_tried(start_edge: StartEdge, jwt: str) -> None:
    with (
        start_edge(db_tx_end="commit-allow-override") as server,
        EdgeClient(server.url, token=jwt) as db,
    ):
        customers = db.table("customers")
        tried = customers.insert({"id": 321, "name": "V"}).tx("rollback").execute()
        assert [row["id"] for row in tried.data] == [321]
        assert customers.select().eq("id", 321).execute().data == []


def test_rows_of_a_type(db: EdgeClient) -> None:
    orders = db.table("orders", Order).select("*", "amount::text", "customers(*)")
    order = orders.eq("id", 1).single().execute().data
    assert_type(order, Order)
    assert order == Order(
        1,
        Status.OPEN,
        date(2026, 3, 1),
        Decimal("12.00"),
        Customer(1, "Ada", "ada@example.org"),
        ["gift", "fast"],
    )
    products = db.table("products", Product).select("id,name").order("id").limit(1).execute()
    assert_type(products.data, list[Product])
    assert products.data == [{"id": 1, "name": "box"}]
    profiles = db.table("profiles", Profile).select().execute().data
    assert_type(profiles, list[Profile])
    assert profiles[0].settings["n"] == [1, 2]
    with pytest.raises(DecodingError, match="a row is no Customer"):
        db.table("customers", Customer).select("id").execute()


def test_as_many_values_as_you_like(db: EdgeClient) -> None:
    names = [f'No "{number}", (really)' for number in range(4_996)]
    customers = db.table("customers").select("id").order("id")
    found = customers.in_("name", ["Ada", *names, "Béla", "Cy", ""])
    assert len(found.curl()) > 190_000
    assert found.curl().startswith("curl -X QUERY")
    assert found.execute().data == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert found.single().strip_nulls().curl().count("object+json;nulls=stripped") == 1
    assert customers.in_("id", range(5_000)).range(1, 1).execute().data == [{"id": 2}]
    assert customers.not_.in_("id", range(2, 5_000)).execute().data == [{"id": 1}]


def test_long_reads_as_posts(edge: ServerProcess) -> None:
    with EdgeClient(edge.url, limits=Limits(url=20, long_reads="post")) as db:
        query = db.table("customers").select("id,name").eq("id", 1)
        assert "-X POST" in query.curl()
        assert query.execute().data == [{"id": 1, "name": "Ada"}]
        assert db.rpc("add", {"a": 1, "b": 2_000_000_000}, get=True).execute().data


@pytest.fixture
def many(db: EdgeClient) -> list[int]:
    ids = list(range(1000, 2234))
    rows = [{"id": each, "name": f"name {(each - 1000) % 7}"} for each in ids]
    db.table("customers").insert(rows, returning="minimal").execute()
    return ids


def test_streams(db: EdgeClient, many: list[int], jwt: str, start_edge: StartEdge) -> None:
    told: list[Progress] = []
    big = db.table("customers").select("name", count="exact").gte("id", 1000)
    rows = list(big.stream(500, progress=told.append))
    assert rows == [{"name": f"name {number % 7}"} for number in range(1234)]
    assert told[-1] == Progress(1234, 3, 1234)
    ids = db.table("customers").select("id").gte("id", 1000)
    backwards = ids.order("id", desc=True).limit(700).stream(300)
    assert [row["id"] for row in backwards] == many[::-1][:700]
    by_name = ids.order("name").order("id")
    expected = sorted(many, key=lambda each: ((each - 1000) % 7, each))
    assert [row["id"] for row in by_name.stream(400)] == expected
    typed = db.table("customers", Customer).select("*").gte("id", 1000)
    assert next(typed.stream(10)) == Customer(1000, "name 0")
    function = db.rpc("customers_named", {"pattern": "name%"}, get=True).order("id")
    assert [row["id"] for row in function.stream(999)] == many
    # A server that caps pages must not end the stream early.
    with start_edge(db_max_rows=100) as capped, EdgeClient(capped.url, token=jwt) as other:
        query = other.table("customers").select("id").gte("id", 1000)
        assert [row["id"] for row in query.stream(500)] == many
        assert [row["id"] for row in query.order("id").stream(500, key=())] == many


def test_a_stream_survives_changes(db: EdgeClient, many: list[int]) -> None:
    seen = []
    for row in db.table("customers").select("id").gte("id", 1000).stream(100):
        seen.append(row["id"])
        if len(seen) == 250:
            # By offset, the rows after these would move up and be missed.
            db.table("customers").delete().gte("id", 1000).lt("id", 1200).execute()
    assert seen == many


def test_streams_by_several_columns(db: EdgeClient) -> None:
    items = db.table("order_items").select("quantity")
    assert [row["quantity"] for row in items.stream(1)] == [2, 1, 5]
    totals = db.table("totals").select("customer_id").order("customer_id")
    assert [row["customer_id"] for row in totals.stream(1)] == [1, 2]
    by_key = db.table("totals").select("total").stream(1, key=["customer_id"])
    assert [row["total"] for row in by_key] == [18, 24]
    with pytest.raises(ValueError, match="rules out key="):
        next(items.order("quantity").stream(1, key=["order_id"]))


def test_errors_tell_all(db: EdgeClient) -> None:
    with pytest.raises(APIError) as raised:
        db.rpc("teapot").execute()
    error = raised.value
    told = (error.code, error.message, error.details, error.hint, error.status)
    assert told == ("PT418", "I am a teapot", "short", "stout", 418)
    assert error.request_id is not None
    assert len(error.request_id) == 32
    assert "I am a teapot" in str(error)
    assert "hint: stout" in str(error)
    with pytest.raises(APIError) as raised:
        db.table("nothing").select(head=True).execute()
    assert raised.value.code == "PGRST205"


def test_debug_prints_what_curl_would_do(edge: ServerProcess, jwt: str) -> None:
    lines: list[str] = []
    with EdgeClient(edge.url, token=jwt, debug=lines.append) as db:
        db.table("customers").select("id").eq("name", "it's").execute()
    (line,) = lines
    assert line == (
        f"curl '{edge.url}/customers?select=id&name=eq.it%27s'"
        """ -H "authorization: Bearer $TOKEN" -H 'accept: application/json'"""
    )


def test_a_client_that_was_handed_in(edge: ServerProcess) -> None:
    with httpx.Client(http1=False, http2=True) as http_client:
        with EdgeClient(edge.url, http_client=http_client) as db:
            assert db.table("orders").select("id").limit(1).execute().data
        assert not http_client.is_closed


async def test_the_asynchronous_client(edge: ServerProcess, jwt: str) -> None:
    async with AsyncEdgeClient(edge.url, token=jwt, http2=True) as db:
        read = await db.table("customers").select("name, orders(id)").eq("id", 2)
        assert_type(read, Result[list[Dict]])
        assert read.data == [{"name": "Béla", "orders": [{"id": 3}]}]
        one = await db.table("customers", Customer).select().eq("id", 3).single().execute()
        assert_type(one, Result[Customer])
        assert one.data.name == "Cy"
        streamed = [row.id async for row in db.table("customers", Customer).select().stream(2)]
        assert streamed == [1, 2, 3]
        assert (await db.rpc("add", {"a": 2, "b": 3})).data == 5
        with pytest.raises(APIError):
            await db.table("nothing").select()


def test_threads_share_a_client(edge: ServerProcess) -> None:
    with EdgeClient(edge.url, http2=True) as db, ThreadPoolExecutor(8) as threads:
        customers = db.table("customers").select("id")

        def ask(number: int) -> int:
            found: int = customers.eq("id", number).single().execute().data["id"]
            return found

        numbers = [1, 2, 3] * 50
        assert list(threads.map(ask, numbers)) == numbers


async def test_clients_of_httpx2(edge: ServerProcess) -> None:
    with httpx2.Client() as http_client:
        db = EdgeClient(edge.url, http_client=http_client)
        query = db.table("customers").select("id").in_("id", range(2, 5000))
        assert query.execute().data == [{"id": 2}, {"id": 3}]
        nowhere = EdgeClient("http://127.0.0.1:1", http_client=http_client)
        with pytest.raises(ConnectError):
            nowhere.table("t").select().retry(False).timeout(1).execute()
    async with httpx2.AsyncClient() as http_client:
        other = AsyncEdgeClient(edge.url, http_client=http_client)
        assert (await other.table("orders").select(count="exact", head=True)).count == 3


@pytest.mark.parametrize("url", ["localhost:1", "", "ftp://h", "http://", "/rest/v1", "//h"])
@pytest.mark.parametrize("kind", [EdgeClient, AsyncEdgeClient])
def test_what_is_no_url_is_refused_at_once(url: str, kind: type) -> None:
    with pytest.raises(ValueError, match="no URL of an API"):
        kind(url)


def test_an_address_that_is_none_is_not_shown() -> None:
    with pytest.raises(ValueError, match="no URL of an API") as refused:
        EdgeClient("postgresql://me:s3cret@db/shop")
    assert "s3cret" not in str(refused.value)


def test_a_query_shows_what_it_asks_and_not_as_whom() -> None:
    with EdgeClient("http://me:s3cret@localhost:1/rest/v1", token="s3cret") as db:
        orders = db.table("orders")
        read = orders.select("id", "customers(name)").eq("status", "a b").single()
        assert repr(read) == (
            "<Query GET http://localhost:1/rest/v1/orders"
            "?select=id,customers(name)&status=eq.a%20b>"
        )
        assert repr(orders.delete().eq("id", 1)).startswith("<Rows DELETE http://localhost:1/")
