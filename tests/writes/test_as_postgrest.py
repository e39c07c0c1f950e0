"""What surprises and is PostgREST's own; docs/migrate-postgrest.md tells of it."""

from __future__ import annotations

from typing import Final

import httpx
import pytest

_BACK: Final = "return=representation,tx=rollback"
_CSV: Final = {"Prefer": _BACK, "Content-Type": "text/csv"}
_FORM: Final = {"Prefer": _BACK, "Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("line", ["", '""'])
def test_a_line_of_one_empty_text_is_no_line(client: httpx.Client, line: str) -> None:
    target = "/items?id=gt.0&select=id,name"
    before = client.post("/items", json={"id": 1, "sku": "s", "name": "n"})
    assert before.status_code == 201
    try:
        updated = client.patch(target, content=f"name\r\n{line}", headers=_CSV)
        assert (updated.status_code, updated.json()) == (200, [])
        both = client.patch(target, content=f"name\n{line}\nx", headers=_CSV)
        assert both.json() == [{"id": 1, "name": "x"}]
        two = client.patch(target, content=f"name,stock\n{line},3", headers=_CSV)
        assert two.json() == [{"id": 1, "name": ""}]
    finally:
        assert client.delete("/items?id=eq.1").status_code == 204


def test_rows_are_ordered_by_columns_and_never_by_aliases(client: httpx.Client) -> None:
    rows = [{"id": 1, "sku": "a", "name": "a", "stock": 2}]
    rows += [{"id": 2, "sku": "b", "name": "b", "stock": 1}]
    assert client.post("/items", json=rows).status_code == 201
    try:
        swapped = client.get("/items?select=id:stock,stock:id&order=id")
        assert swapped.json() == [{"id": 2, "stock": 1}, {"id": 1, "stock": 2}]
        refused = client.get("/items?select=alias:id&order=alias")
        assert (refused.status_code, refused.json()["code"]) == (400, "42703")
    finally:
        assert client.delete("/items?id=in.(1,2)").status_code == 204


def test_a_put_whose_row_a_trigger_suppresses_is_refused(client: httpx.Client) -> None:
    row = {"id": 1, "label": "x"}
    refused = client.put("/quiet?id=eq.1", json=row)
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST115")
    posted = client.post("/quiet", json=row, headers={"Prefer": "return=representation"})
    assert (posted.status_code, posted.json()) == (201, [])
    assert client.get("/quiet").json() == []


@pytest.mark.parametrize("moment", ["2024-06-01T12:00:00{}02", "2024-06-01+12:00:00{}02:00"])
def test_a_plus_in_a_form_is_a_space(client: httpx.Client, moment: str) -> None:
    for target in ("/kinds?select=at", "/rpc/hour_of"):
        lost = client.post(target, content=f"at={moment.format('+')}", headers=_FORM)
        assert (lost.status_code, lost.json()["code"]) == (400, "22007")
        assert lost.json()["hint"] == "In a URL + stands for a space; write it as %2B"
    kept = f"at={moment.format('%2B')}"
    made = client.post("/kinds?select=at", content=kept, headers=_FORM)
    assert made.json() == [{"at": "2024-06-01T10:00:00+00:00"}]
    assert client.post("/rpc/hour_of", content=kept, headers=_FORM).json() == 10
    assert client.get(f"/rpc/hour_of?{kept}").json() == 10
