"""Payload rows against columns that are named like the SQL around them."""

from __future__ import annotations

import httpx


def test_defaults_for_columns_named_like_parts_of_the_statement(client: httpx.Client) -> None:
    rows = [{"value": 1, "sensor": "s"}, {"sensor": "t"}]
    response = client.post(
        "/readings?columns=sensor,value",
        json=rows,
        headers={"Prefer": "missing=default, return=representation"},
    )
    assert response.json() == [{"sensor": "s", "value": 1}, {"sensor": "t", "value": None}]
    named = [{"key": 1, "value": 2, "elem": 3, "pgrst_body": 4, "_": 5}]
    response = client.post(
        "/odd_names", json=named, headers={"Prefer": "missing=default, return=representation"}
    )
    assert response.json() == named
    for table in ("readings", "odd_names"):
        assert client.delete(f"/{table}").status_code == 204
