"""The `postgrest` package from PyPI, unmodified, drives the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from postgrest import APIError, AsyncPostgrestClient, CountMethod, SyncPostgrestClient

from tests.conftest import MakeToken
from tests.http.processes import ServerProcess


class Answered(Protocol):
    @property
    def data(self) -> Any: ...


def data(answered: Answered) -> Any:
    """What came, free of the package's own idea of its type."""
    return answered.data


def arguments(**given: Any) -> dict[str, Any]:
    return given


@pytest.fixture
def client(edge: ServerProcess, token: MakeToken) -> Iterator[SyncPostgrestClient]:
    with SyncPostgrestClient(edge.url, schema="api", headers=token(sub="ada")) as client:
        yield client
        client.from_("orders").delete().gt("id", 99).execute()
        client.from_("customers").delete().gt("id", 99).execute()


def test_reading(client: SyncPostgrestClient) -> None:
    page = (
        client.from_("orders")
        .select("id, status, customers!inner(name)", count=CountMethod.exact)
        .eq("customers.name", "Ada")
        .in_("status", ["open", "done"])
        .contains("tags", ["gift"])
        .order("id", desc=True)
        .limit(5)
        .execute()
    )
    assert page.data == [{"id": 1, "status": "open", "customers": {"name": "Ada"}}]
    assert page.count == 1


def test_filters_and_ranges(client: SyncPostgrestClient) -> None:
    customers = client.from_("customers")
    assert customers.select("id").is_("email", "null").execute().data == [{"id": 2}]
    assert customers.select("id").or_("id.eq.1,name.like.C%").order("id").execute().data == [
        {"id": 1},
        {"id": 3},
    ]
    assert customers.select("id").order("id").range(1, 2).execute().data == [
        {"id": 2},
        {"id": 3},
    ]
    assert customers.select("name").not_.ilike("name", "a%").order("id").execute().data == [
        {"name": "Béla"},
        {"name": "Cy"},
    ]


def test_single_rows_and_errors(client: SyncPostgrestClient) -> None:
    customers = client.from_("customers")
    assert customers.select("name").eq("id", 1).single().execute().data == {"name": "Ada"}
    assert customers.select("name").eq("id", 77).maybe_single().execute() is None
    with pytest.raises(APIError) as raised:
        customers.select("name").single().execute()
    assert raised.value.code == "PGRST116"
    with pytest.raises(APIError) as raised:
        client.from_("nothing").select("*").execute()
    assert raised.value.code == "PGRST205"


def test_counting_without_rows(client: SyncPostgrestClient) -> None:
    counted = client.from_("orders").select("*", count=CountMethod.exact, head=True).execute()
    assert counted.count == 3


def test_csv(client: SyncPostgrestClient) -> None:
    text = client.from_("customers").select("id,name").eq("id", 3).csv().execute()
    assert text.data == "id,name\n3,Cy"


def test_writing(client: SyncPostgrestClient) -> None:
    customers = client.from_("customers")
    made = customers.insert([{"id": 301, "name": "M"}, {"id": 302, "name": "N"}]).execute()
    assert [row["id"] for row in data(made)] == [301, 302]
    changed = customers.update({"email": "m@example.org"}).eq("id", 301).execute()
    assert changed.data == [{"id": 301, "name": "M", "email": "m@example.org"}]
    merged = customers.upsert({"id": 301, "name": "O"}).execute()
    assert merged.data == [{"id": 301, "name": "O", "email": "m@example.org"}]
    again = customers.upsert({"name": "P", "email": "m@example.org"}, on_conflict="email")
    assert [row["name"] for row in data(again.execute())] == ["P"]
    gone = customers.delete().in_("id", [301, 302]).execute()
    assert sorted(row["id"] for row in data(gone)) == [301, 302]
    with pytest.raises(APIError) as raised:
        customers.insert({"id": 1, "name": "twice"}).execute()
    assert raised.value.code == "23505"


def test_calling_functions(client: SyncPostgrestClient) -> None:
    assert client.rpc("add", arguments(a=1, b=2)).execute().data == 3
    assert client.rpc("add", arguments(a=1), get=True).execute().data == 11
    named = client.rpc("customers_named", arguments(pattern="%")).gt("id", 1).order("id")
    assert [row["id"] for row in data(named.execute())] == [2, 3]
    whoami = data(client.rpc("whoami", {}).execute())
    assert (whoami["role"], whoami["claims"]["sub"]) == ("web_user", "ada")
    order = client.rpc("place_order", arguments(customer=1, amount=2, tags=["a"])).execute()
    assert data(order)["tags"] == ["a"]


def test_row_level_security(client: SyncPostgrestClient) -> None:
    assert client.from_("notes").select("body").execute().data == [{"body": "hers"}]


async def test_the_asynchronous_client(edge: ServerProcess, token: MakeToken) -> None:
    async with AsyncPostgrestClient(edge.url, schema="api", headers=token()) as client:
        customers = client.from_("customers")
        read = await customers.select("name, orders(id)").eq("id", 2).execute()
        assert read.data == [{"name": "Béla", "orders": [{"id": 3}]}]
        made = await customers.insert({"id": 311, "name": "Q"}).execute()
        assert data(made)[0]["id"] == 311
        gone = await customers.delete().eq("id", 311).execute()
        assert data(gone)[0]["name"] == "Q"
        assert (await client.rpc("add", arguments(a=2, b=3)).execute()).data == 5
        events = client.schema("audit").from_("events").select("*")
        with pytest.raises(APIError) as raised:
            await events.execute()
        assert raised.value.code == "42501"
