"""`if_unchanged`: however a row was read and is written, it holds if and only if it must."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from edge_client import APIError, EdgeClient, PreconditionError, Result
from edge_client.query import Query, Rows, Sync, Table
from tests.conftest import MakeToken
from tests.http.processes import ServerProcess

Dict = dict[str, Any]
Tasks = Table[Dict, Sync]
Read = Callable[[Tasks, int], Query[Any, Sync]]
Write = Callable[[Tasks, int, Result[Any]], Query[Any, Sync]]

READS: dict[str, Read] = {
    "all": lambda table, key: table.select().eq("id", key),
    "columns": lambda table, key: table.select("id", "name").eq("id", key),
    "single": lambda table, key: table.select().eq("id", key).single(),
    "maybe": lambda table, key: table.select("name").eq("id", key).maybe_single(),
    "counted": lambda table, key: table.select(count="exact").eq("id", key),
    "stripped": lambda table, key: table.select("id", "email").eq("id", key).strip_nulls(),
    "ordered": lambda table, key: table.select().in_("id", [key]).order("id"),
    "embedded": lambda table, key: table.select("id", "orders(id)").eq("id", key),
}


def update(table: Tasks, **wanted: Any) -> Rows[Dict, list[Dict], Sync]:
    return table.update({"name": f"New {uuid.uuid4()}"}, **wanted)


WRITES: dict[str, Write] = {
    "all": lambda table, _, read: update(table).if_unchanged(read),
    "minimal": lambda table, _, read: update(table, returning="minimal").if_unchanged(read),
    "counted": lambda table, _, read: update(table, count="exact").if_unchanged(read),
    "delete": lambda table, _, read: table.delete().if_unchanged(read),
}


@pytest.fixture
def db(edge: ServerProcess, token: MakeToken) -> Iterator[EdgeClient]:
    jwt = token(sub="ada")["Authorization"].removeprefix("Bearer ")
    with EdgeClient(edge.url, token=jwt, http2=True) as client:
        yield client


@pytest.fixture
def row(db: EdgeClient) -> Iterator[int]:
    made = db.table("customers").insert({"name": "Locked"}).execute().data[0]["id"]
    yield made
    db.table("customers").delete().eq("id", made).execute()


@pytest.mark.parametrize("read, write", list(product(READS, WRITES)))
def test_a_write_holds_while_nothing_has_changed(
    db: EdgeClient, row: int, read: str, write: str
) -> None:
    customers = db.table("customers")
    found = READS[read](customers, row).execute()
    done = WRITES[write](customers, row, found).execute()
    assert done.status in (200, 204)
    assert isinstance(done.data, list)


@pytest.mark.parametrize("read, write", list(product(READS, WRITES)))
def test_a_write_is_refused_once_what_was_read_has_changed(
    db: EdgeClient, row: int, read: str, write: str
) -> None:
    customers = db.table("customers")
    found = READS[read](customers, row).execute()
    changes = {"email": "x@example.com"} if read == "stripped" else {"name": "Changed"}
    if read == "embedded":
        db.table("orders").insert({"customer_id": row, "status": "open"}).execute()
    customers.update(changes).eq("id", row).execute()
    with pytest.raises(PreconditionError) as refused:
        WRITES[write](customers, row, found).execute()
    assert "select" in str(refused.value.hint)
    left = customers.select("name").eq("id", row).execute().data
    assert [each["name"] for each in left] == [changes.get("name", "Locked")]
    db.table("orders").delete().eq("customer_id", row).execute()


def test_what_can_not_be_compared_is_refused_before_it_is_sent(
    db: EdgeClient, row: int
) -> None:
    customers = db.table("customers")
    read = customers.select().eq("id", row).execute()
    other = db.table("orders").select().limit(1).execute()
    page = customers.select().eq("id", row).limit(1).execute()
    wrong: list[Callable[[], object]] = [
        lambda: customers.insert({"name": "x"}).if_unchanged(read),
        lambda: update(customers).if_unchanged(other),
        lambda: update(customers).if_unchanged(page),
        lambda: update(customers).eq("id", row + 1).if_unchanged(read),
        lambda: update(customers).if_unchanged(update(customers).eq("id", row).execute()),
        lambda: update(customers).if_unchanged(Result([], headers=read.headers)),
        lambda: (
            update(customers)
            .schema("audit")
            .if_unchanged(customers.select().schema("api").execute())
        ),
    ]
    for make in wrong:
        with pytest.raises(ValueError, match=r"read|updates|written|page"):
            make()


def test_the_filters_may_be_said_again(db: EdgeClient, row: int) -> None:
    customers = db.table("customers")
    read = customers.select().eq("id", row).single().execute()
    done = update(customers).eq("id", row).if_unchanged(read).execute()
    assert done.data[0]["id"] == row


def test_another_schema_is_never_written(db: EdgeClient, row: int) -> None:
    read = db.schema("api").table("customers").select().eq("id", row).execute()
    with pytest.raises(APIError):
        update(db.schema("audit").table("customers")).if_unchanged(read).execute()
