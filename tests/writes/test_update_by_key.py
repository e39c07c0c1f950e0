"""PATCH with `Prefer: update=by-key`: each row of the payload changes its own row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import MakeToken

BY_KEY = "update=by-key"
Rows = list[dict[str, Any]]

ITEMS: Rows = [
    {"id": 1, "sku": "a", "name": "anvil", "price": 10.0, "stock": 1, "brand_id": 1},
    {"id": 2, "sku": "b", "name": "bolt", "price": 20.0, "stock": 2, "brand_id": 2},
    {"id": 3, "sku": "c", "name": "cog", "price": 30.0, "stock": 3, "brand_id": None},
]


@pytest.fixture
def items(client: httpx.Client) -> Iterator[httpx.Client]:
    """A client of a table with the rows ITEMS."""
    assert client.post("/items", json=ITEMS).status_code == 201
    yield client
    for table in ("items", "lines", "owned", "readings", "prices"):
        assert client.delete(f"/{table}").status_code == 204


def patch(
    client: httpx.Client, target: str, rows: object, *preferences: str, **headers: str
) -> httpx.Response:
    prefer = ", ".join([BY_KEY, *preferences])
    return client.patch(target, json=rows, headers={"Prefer": prefer, **headers})


def stored(client: httpx.Client, table: str = "items", order: str = "id") -> Rows:
    rows: Rows = client.get(f"/{table}?order={order}").json()
    return rows


def unchanged(client: httpx.Client, response: httpx.Response, code: str) -> dict[str, Any]:
    """The error, once it is shown that it has that code and nothing was written."""
    assert (response.status_code, response.json()["code"]) == (400, code), response.text
    assert stored(client) == ITEMS
    error: dict[str, Any] = response.json()
    return error


# --- what it does -------------------------------------------------------------------------


def test_each_row_gets_its_own_values(items: httpx.Client) -> None:
    rows = [{"id": 1, "price": 11, "stock": 100}, {"id": 3, "price": 33, "stock": 300}]
    response = patch(items, "/items", rows)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["content-range"] == "0-1/*"
    assert response.headers["preference-applied"] == BY_KEY
    assert stored(items) == [
        ITEMS[0] | {"price": 11.0, "stock": 100},
        ITEMS[1],
        ITEMS[2] | {"price": 33.0, "stock": 300},
    ]


def test_rows_are_matched_on_named_columns(items: httpx.Client) -> None:
    rows = [{"sku": "b", "id": 20}, {"sku": "a", "id": 10}]
    response = patch(
        items, "/items?on_conflict=sku&select=id,sku&order=id", rows, "return=representation"
    )
    assert (response.status_code, response.json()) == (
        200,
        [{"id": 10, "sku": "a"}, {"id": 20, "sku": "b"}],
    )


def test_keys_of_several_columns(items: httpx.Client) -> None:
    lines = [
        {"order_id": order, "position": position, "quantity": 1, "note": None}
        for order in (1, 2)
        for position in (1, 2)
    ]
    assert items.post("/lines", json=lines).status_code == 201
    rows = [
        {"order_id": 1, "position": 2, "quantity": 5},
        {"order_id": 2, "position": 1, "quantity": 6},
    ]
    assert patch(items, "/lines", rows).status_code == 204
    quantities = [line["quantity"] for line in stored(items, "lines", "order_id,position")]
    assert quantities == [1, 5, 6, 1]


def test_a_single_object_is_one_row(items: httpx.Client) -> None:
    response = patch(items, "/items", {"id": 2, "name": "nut"}, "count=exact")
    assert (response.status_code, response.headers["content-range"]) == (204, "0-0/1")
    assert [row["name"] for row in stored(items)] == ["anvil", "nut", "cog"]


def test_csv_and_forms_work_as_for_every_write(items: httpx.Client) -> None:
    csv = {"Prefer": BY_KEY, "Content-Type": "text/csv"}
    response = items.patch("/items", content="id,name\n1,adze\n2,NULL", headers=csv)
    assert response.json()["code"] == "23502"
    response = items.patch("/items", content="id,name\n1,adze\n2,bar", headers=csv)
    assert response.status_code == 204
    response = items.patch(
        "/items", data={"id": "3", "name": "cam"}, headers={"Prefer": BY_KEY}
    )
    assert response.status_code == 204
    assert [row["name"] for row in stored(items)] == ["adze", "bar", "cam"]


def test_filters_restrict_further(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 0}, {"id": 2, "stock": 0}]
    response = patch(items, "/items?price=gt.15&or=(id.eq.2,id.eq.3)", rows, "count=exact")
    assert response.headers["content-range"] == "0-0/1"
    assert [row["stock"] for row in stored(items)] == [1, 0, 3]


def test_columns_says_what_of_the_payload_counts(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 5, "name": "ignored"}, {"stock": 6, "id": 2, "x": []}]
    assert patch(items, "/items?columns=id,stock", rows).status_code == 204
    assert stored(items) == [ITEMS[0] | {"stock": 5}, ITEMS[1] | {"stock": 6}, ITEMS[2]]


def test_missing_values_are_null_or_the_default(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 5}, {"id": 2, "price": 6, "stock": 6}]
    target = "/items?columns=id,price,stock"
    assert patch(items, target, rows).status_code == 204
    assert [row["price"] for row in stored(items)] == [None, 6.0, 30.0]
    response = patch(items, target, rows, "missing=default")
    assert response.headers["preference-applied"] == f"missing=default, {BY_KEY}"
    assert [row["price"] for row in stored(items)] == [9.99, 6.0, 30.0]


def test_the_answer_is_shaped_as_for_every_write(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 10}, {"id": 2, "stock": 20}]
    target = "/items?select=id,stock,brands(name)&order=id.desc"
    response = patch(items, target, rows, "return=representation")
    assert response.json() == [
        {"id": 2, "stock": 20, "brands": {"name": "Bolt"}},
        {"id": 1, "stock": 10, "brands": {"name": "Acme"}},
    ]
    whole = patch(items, "/items?order=id", rows, "return=representation")
    assert whole.json() == [ITEMS[0] | {"stock": 10}, ITEMS[1] | {"stock": 20}]
    embedded = patch(items, "/items?select=name&order=id", rows, "return=representation")
    assert embedded.json() == [{"name": "anvil"}, {"name": "bolt"}]
    csv = patch(
        items,
        "/items?select=id,stock&order=id",
        rows,
        "return=representation",
        Accept="text/csv",
    )
    assert csv.text == "id,stock\n1,10\n2,20"
    one = patch(
        items,
        "/items?select=id",
        rows[:1],
        "return=representation",
        Accept="application/vnd.pgrst.object+json",
    )
    assert one.json() == {"id": 1}
    minimal = patch(items, "/items?select=id", rows, "return=minimal")
    assert (minimal.status_code, minimal.content) == (204, b"")


def test_keys_and_values_through_domain_representations(items: httpx.Client) -> None:
    rows = [
        {"code": "1.00", "amount": "10.50", "label": "one"},
        {"code": "2.00", "amount": "20.50", "label": "two"},
    ]
    assert items.post("/prices", json=rows).status_code == 201
    changed = [{"code": "2.00", "amount": "0.07"}]
    response = patch(items, "/prices", changed, "return=representation")
    assert response.json() == [{"code": "2.00", "amount": "0.07", "label": "two"}]


def test_views_need_their_keys_named(items: httpx.Client) -> None:
    rows = [{"sku": "a", "name": "ape"}]
    assert patch(items, "/item_names?on_conflict=sku", rows).status_code == 204
    assert stored(items)[0]["name"] == "ape"


def test_row_level_security_hides_rows_from_it(items: httpx.Client, token: MakeToken) -> None:
    mine = {"id": 1, "owner": "ada", "body": "mine"}
    assert items.post("/owned", json=mine).status_code == 201
    theirs = items.post(
        "/owned",
        json={"id": 2, "owner": "cy", "body": "theirs"},
        headers=token("web_user", sub="cy"),
    )
    assert theirs.status_code == 201
    rows = [{"id": 1, "body": "new"}, {"id": 2, "body": "stolen"}]
    assert patch(items, "/owned", rows, "handling=strict").json()["code"] == "EDGE117"
    response = patch(items, "/owned", rows, "count=exact", "return=representation")
    assert response.headers["content-range"] == "0-0/1"
    assert response.json() == [mine | {"body": "new"}]
    seen = items.get("/owned", headers=token("web_user", sub="cy"))
    assert seen.json() == [{"id": 2, "owner": "cy", "body": "theirs"}]
    items.delete("/owned", headers=token("web_user", sub="cy"))


def test_an_empty_payload_changes_nothing(items: httpx.Client) -> None:
    response = patch(items, "/items", [], "return=representation", "count=exact")
    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["content-range"] == "*/0"
    assert patch(items, "/items?columns=id,stock", [], "handling=strict").status_code == 204
    assert stored(items) == ITEMS


# --- what it refuses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, rows, code, message, details",
    [
        (
            "/items",
            [{"id": 1, "stock": 0}, {"id": 2, "stock": 0}, {"id": 1, "stock": 9}],
            "EDGE115",
            "A key of the by-key update appears more than once",
            "The payload has 3 rows, but 2 different keys",
        ),
        (
            "/items",
            [{"id": 1, "stock": 0}, {"id": None, "stock": 0}],
            "EDGE114",
            "A key of the by-key update is null or missing",
            "In 1 of 2 rows",
        ),
        (
            "/items?columns=id,stock",
            [{"id": 1, "stock": 0}, {"stock": 0}],
            "EDGE114",
            "A key of the by-key update is null or missing",
            "In 1 of 2 rows",
        ),
        (
            "/items",
            [{"sku": "a", "stock": 0}],
            "EDGE112",
            "Every row of a by-key update must hold the key column 'id'",
            None,
        ),
        (
            "/items?on_conflict=id,sku",
            [{"sku": "a", "stock": 0}],
            "EDGE112",
            "Every row of a by-key update must hold the key column 'id'",
            None,
        ),
        (
            "/items?columns=stock",
            [{"id": 1, "stock": 0}],
            "EDGE112",
            "Every row of a by-key update must hold the key column 'id'",
            None,
        ),
        (
            "/items",
            [{"id": 1}],
            "EDGE113",
            "A by-key update must hold at least one column that is no key",
            None,
        ),
        (
            "/items",
            [{}],
            "EDGE112",
            "Every row of a by-key update must hold the key column 'id'",
            None,
        ),
        (
            "/items",
            {},
            "EDGE112",
            "Every row of a by-key update must hold the key column 'id'",
            None,
        ),
        (
            "/readings",
            [{"sensor": "s", "value": 0}],
            "EDGE111",
            "'readings' has no primary key; name the key columns with on_conflict",
            None,
        ),
        (
            "/items?on_conflict=nope",
            [{"nope": 1, "stock": 0}],
            "PGRST204",
            "Could not find the 'nope' column of 'items' in the schema cache",
            None,
        ),
        (
            "/items",
            [{"id": 1, "stock": 0}, {"id": 2}],
            "PGRST102",
            "All object keys must match",
            None,
        ),
    ],
)
def test_refusals(
    items: httpx.Client, target: str, rows: object, code: str, message: str, details: str | None
) -> None:
    error = unchanged(items, patch(items, target, rows), code)
    assert (error["message"], error["details"]) == (message, details)


def test_missing_default_never_makes_a_key(items: httpx.Client) -> None:
    rows = [{"stock": 5}, {"sku": "a", "stock": 6}]
    target = "/items?columns=stock,sku&on_conflict=stock"
    response = patch(items, target, [{"sku": "x"}], "missing=default")
    unchanged(items, response, "EDGE114")
    response = patch(items, "/items?columns=id,stock", rows, "missing=default")
    unchanged(items, response, "EDGE114")


def test_a_key_that_means_several_rows_is_refused(items: httpx.Client) -> None:
    readings = [{"sensor": "s", "value": 1}, {"sensor": "s", "value": 2}]
    assert items.post("/readings", json=readings).status_code == 201
    rows = [{"sensor": "s", "value": 0}, {"sensor": "t", "value": 0}]
    response = patch(items, "/readings?on_conflict=sensor", rows)
    assert (response.status_code, response.json()["code"]) == (400, "EDGE116")
    assert response.json()["details"] == "1 keys match 2 rows"
    assert stored(items, "readings", "value") == readings
    # A filter can make the key mean one row.
    response = patch(items, "/readings?on_conflict=sensor&value=eq.2", rows)
    assert response.status_code == 204
    assert [row["value"] for row in stored(items, "readings", "value")] == [0, 1]


def test_strict_handling_wants_every_row_to_match(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 0}, {"id": 9, "stock": 0}]
    error = unchanged(items, patch(items, "/items", rows, "handling=strict"), "EDGE117")
    assert error["details"] == "1 of 2 rows match"
    response = patch(items, "/items", rows, "count=exact")
    assert (response.status_code, response.headers["content-range"]) == (204, "0-0/1")
    response = patch(items, "/items", rows[1:], "count=exact")
    assert (response.status_code, response.headers["content-range"]) == (204, "*/0")


def test_max_affected(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 0}, {"id": 2, "stock": 0}]
    response = patch(items, "/items", rows, "handling=strict", "max-affected=1")
    unchanged(items, response, "PGRST124")
    response = patch(items, "/items", rows, "handling=strict", "max-affected=2")
    assert response.status_code == 204
    applied = f"handling=strict, max-affected=2, {BY_KEY}"
    assert response.headers["preference-applied"] == applied


def test_a_single_object_in_the_answer_means_one_row(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 0}, {"id": 2, "stock": 0}]
    accept = "application/vnd.pgrst.object+json"
    response = patch(items, "/items", rows, "return=representation", Accept=accept)
    assert (response.status_code, response.json()["code"]) == (406, "PGRST116")
    assert stored(items) == ITEMS


def test_rollback_shows_and_leaves_nothing(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 0}]
    response = patch(items, "/items?select=stock", rows, "tx=rollback", "return=representation")
    assert (response.status_code, response.json()) == (200, [{"stock": 0}])
    assert stored(items) == ITEMS


def test_one_bad_value_undoes_all(items: httpx.Client) -> None:
    rows = [{"id": 1, "price": 1}, {"id": 2, "price": -1}]
    unchanged(items, patch(items, "/items", rows), "23514")
    unchanged(items, patch(items, "/items", [{"id": "x", "price": 1}]), "22P02")


def test_whoever_may_not_write_does_not(items: httpx.Client, stock_server: Any) -> None:
    rows = [{"id": 1, "price": 1}]
    headers = {"Prefer": BY_KEY}
    response = httpx.patch(f"{stock_server.url}/items", json=rows, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "42501")


def test_an_execution_plan_checks_no_rows(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 0}, {"id": 2, "stock": 0}]
    accept = "application/vnd.pgrst.plan+json"
    response = patch(items, "/items", rows, "handling=strict", "max-affected=1", Accept=accept)
    assert response.status_code == 200
    assert "Plan" in response.json()[0]
    assert stored(items) == ITEMS


# --- it is asked for, or it does not happen --------------------------------------------------


def test_a_misspelt_value_is_refused(items: httpx.Client) -> None:
    rows = [{"id": 1, "stock": 0}]
    for value in ("by_key", "", "By-Key"):
        response = items.patch("/items", json=rows, headers={"Prefer": f"update={value}"})
        error = unchanged(items, response, "EDGE110")
        assert error["message"] == f"Unknown value of the update preference: {value}"


def test_without_the_preference_patch_is_what_it_was(items: httpx.Client) -> None:
    # PostgREST: every row that the filters choose gets the values of one of the objects.
    rows = [{"stock": 50, "name": "same"}, {"stock": 50, "name": "same"}]
    response = items.patch(
        "/items?id=lt.3&on_conflict=sku", json=rows, headers={"Prefer": "count=exact"}
    )
    assert (response.status_code, response.headers["content-range"]) == (204, "0-1/2")
    assert response.headers["preference-applied"] == "count=exact"
    same = {"stock": 50, "name": "same"}
    assert stored(items) == [ITEMS[0] | same, ITEMS[1] | same, ITEMS[2]]
    assert items.patch("/items?id=eq.3", json=[{"id": 30}]).status_code == 204
    assert [row["id"] for row in stored(items)] == [1, 2, 30]


def test_other_methods_pass_over_it(items: httpx.Client) -> None:
    prefer = {"Prefer": f"{BY_KEY}, handling=strict"}
    created = items.post("/items", json={"id": 4, "sku": "d", "name": "dog"}, headers=prefer)
    assert created.status_code == 201
    assert created.headers["preference-applied"] == "handling=strict"
    assert items.delete("/items?id=eq.4", headers=prefer).status_code == 204
    assert items.get("/items?select=id", headers=prefer).status_code == 200


def test_ten_thousand_rows(items: httpx.Client) -> None:
    rows: Rows = [{"id": n, "label": str(n), "amount": n} for n in range(10_000)]
    assert items.post("/bulk", json=rows).status_code == 201
    try:
        changed = [{"amount": -row["id"], "id": row["id"]} for row in rows]
        response = patch(items, "/bulk", changed, "handling=strict", "count=exact")
        assert (response.status_code, response.headers["content-range"]) == (
            204,
            "0-9999/10000",
        )
        wrong = items.get("/bulk?select=id,amount&id=gt.0&amount=gte.0").json()
        assert wrong == []
    finally:
        items.delete("/bulk")
