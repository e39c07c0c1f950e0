"""Columns and functions of every kind, written and called as clients do."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

WHOLE = {"Prefer": "return=representation"}
OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    "given, stored",
    [
        ({"other": 70}, {"other": 70}),
        ({"count": 3}, {"count": 3, "double": 6}),
        ({"spot": {"x": 1, "y": 2}}, {"spot": {"x": 1, "y": 2}}),
        ({"spot": "(3,4)"}, {"spot": {"x": 3, "y": 4}}),
        ({"spots": [{"x": 1, "y": 2}, None]}, {"spots": [{"x": 1, "y": 2}, None]}),
        ({"tags": ["a", "b,c", '"q"', None]}, {"tags": ["a", "b,c", '"q"', None]}),
        ({"tags": "{x,y}"}, {"tags": ["x", "y"]}),
        ({"grid": [[1, 2], [3, 4]]}, {"grid": [[1, 2], [3, 4]]}),
        ({"span": "[1,5)", "feeling": "ok"}, {"span": "[1,5)", "feeling": "ok"}),
        ({"data": {"a": [1]}, "plain": "str"}, {"data": {"a": [1]}, "plain": "str"}),
        ({"raw": "\\xDEADbeef"}, {"raw": "\\xdeadbeef"}),
        ({"big": 2**63 - 1}, {"big": 2**63 - 1}),
        ({"waits": "1 day", "address": "10.0.0.1"}, {"waits": "1 day", "address": "10.0.0.1"}),
        ({"letters": "ab"}, {"letters": "ab "}),
        ({"exact": "1.10"}, {"exact": 1.10}),
    ],
)
def test_columns(client: httpx.Client, given: dict[str, Any], stored: dict[str, Any]) -> None:
    created = client.post("/kinds", json=given, headers=WHOLE)
    assert created.status_code == 201, created.text
    (row,) = created.json()
    assert {name: row[name] for name in stored} == stored
    # PATCH reads the same JSON.
    changed = client.patch(f"/kinds?id=eq.{row['id']}", json=given, headers=WHOLE)
    assert changed.json() == [row]
    assert client.delete("/kinds").status_code == 204


@pytest.mark.parametrize(
    "given, code, message",
    [
        ({"id": 7}, "428C9", 'cannot insert a non-DEFAULT value into column "id"'),
        ({"double": 7}, "428C9", 'cannot insert a non-DEFAULT value into column "double"'),
        (
            {"count": 0},
            "23514",
            'value for domain positive violates check constraint "positive_check"',
        ),
        ({"feeling": "bad"}, "22P02", 'invalid input value for enum mood: "bad"'),
        ({"spot": {"x": "no"}}, "22P02", 'invalid input syntax for type integer: "no"'),
        ({"grid": [[1], [2, 3]]}, "22P02", "malformed JSON array"),
        ({"letters": "toolong"}, "22001", "value too long for type character(3)"),
        ({"raw": "\\xzz"}, "22023", 'invalid hexadecimal digit: "z"'),
        ({"big": 2**63}, "22003", f'value "{2**63}" is out of range for type bigint'),
    ],
)
def test_values_that_do_not_fit(
    client: httpx.Client, given: dict[str, Any], code: str, message: str
) -> None:
    response = client.post("/kinds", json=given)
    found = response.json()
    assert (response.status_code, found["code"]) == (400, code)
    assert found["message"] == message
    assert client.get("/kinds").json() == []


@pytest.mark.parametrize(
    "target, arguments, result",
    [
        ("/rpc/one_out", {"a": 3}, {"b": 4}),
        ("/rpc/two_out", {"a": 3}, {"b": 4, "c": "c3"}),
        ("/rpc/two_out?select=c", {"a": 3}, {"c": "c3"}),
        ("/rpc/in_out", {"a": 3}, {"a": 6, "b": 9}),
        ("/rpc/rows_out?i=gt.1&select=square", {"n": 3}, [{"square": 4}, {"square": 9}]),
        ("/rpc/a_record", {}, {"?column?": 1, "text": "two"}),
        (
            "/rpc/some_records",
            {},
            [{"column1": 1, "column2": "one"}, {"column1": 2, "column2": "two"}],
        ),
        ("/rpc/no_rows", {}, []),
        ("/rpc/a_null", {}, None),
        ("/rpc/move", {"spot": {"x": 1, "y": 2}, "by": 2}, {"x": 3, "y": 4}),
        ("/rpc/moods", {"feelings": ["ok", "sad"]}, 2),
        ("/rpc/keep_positive", {"n": 1}, 1),
        ("/rpc/whole", {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_functions(
    client: httpx.Client, target: str, arguments: dict[str, Any], result: object
) -> None:
    response = client.post(target, json=arguments)
    assert (response.status_code, response.json()) == (200, result)


def test_a_void_function_has_no_body(client: httpx.Client) -> None:
    response = client.post("/rpc/nothing")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers


@pytest.mark.parametrize("size", [0, 1, 3_999_999])
def test_bytes_in_and_out(client: httpx.Client, size: int) -> None:
    sent = random.Random(size).randbytes(size)
    headers = {"Content-Type": OCTETS, "Accept": OCTETS}
    response = client.post("/rpc/mirror", content=sent, headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == OCTETS
    assert response.content == sent
    counted = client.post("/rpc/size_of", content=sent, headers={"Content-Type": OCTETS})
    assert counted.json() == size


@pytest.mark.parametrize(
    "state, status",
    [("PT402", 402), ("PT299", 299), ("PT599", 599), ("PT199", 500), ("P0001", 400)],
)
def test_a_raised_status(client: httpx.Client, state: str, status: int) -> None:
    response = client.post(
        "/rpc/fail", json={"state": state, "message": "Pay", "detail": "d", "hint": "h"}
    )
    assert response.status_code == status
    error = {"code": state, "message": "Pay", "details": "d", "hint": "h"}
    assert response.json() == error
    if state == "PT402":
        assert response.reason_phrase == "Pay"


def test_a_raised_response(client: httpx.Client) -> None:
    message = '{"code": "123", "message": "Pay", "details": "d", "hint": "h"}'
    detail = '{"status": 402, "status_text": "Your turn", "headers": {"X-Till": "3"}}'
    arguments = {"state": "PGRST", "message": message, "detail": detail}
    response = client.post("/rpc/fail", json=arguments)
    assert (response.status_code, response.reason_phrase) == (402, "Your turn")
    assert response.headers["x-till"] == "3"
    error = {"code": "123", "message": "Pay", "details": "d", "hint": "h"}
    assert response.json() == error


def test_a_raised_status_undoes_the_write(client: httpx.Client) -> None:
    response = client.post("/rpc/fail_after_write", json={"id": 55})
    assert (response.status_code, response.json()["code"]) == (409, "PT409")
    assert client.get("/bulk?id=eq.55").json() == []
