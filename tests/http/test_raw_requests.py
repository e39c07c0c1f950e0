"""Requests as they stand in the documentation: nothing escaped, methods as they are."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.http.processes import ServerProcess
from tests.http.wire import H2Client, exchange


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/profiles?select=last:settings->n->>1", [{"last": "2"}]),
        ("/orders?select=id&tags=cs.{gift}&amount=gt.20", [{"id": 3}]),
        ('/orders?select=id&tags=cs.{"gift"}&amount=gt.20', [{"id": 3}]),
        ('/customers?select=id&name=in.("Ada","Béla")&order=id', [{"id": 1}, {"id": 2}]),
        ("/customers?select=id&name=match.^A|^B&order=id", [{"id": 1}, {"id": 2}]),
    ],
)
def test_targets_need_no_escapes(edge: ServerProcess, target: str, expected: object) -> None:
    address = edge.host, edge.port
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    status, _, body = exchange(address, head.encode()).partition(b"\r\n")
    assert status == b"HTTP/1.1 200 OK"
    assert json.loads(body.partition(b"\r\n\r\n")[2]) == expected
    with H2Client(address) as client:
        answer = client.get(target)
    assert (answer.status, json.loads(answer.body)) == (200, expected)


def test_delete_in_lower_case_deletes_nothing(edge: ServerProcess) -> None:
    address = edge.host, edge.port
    head = b"delete /customers?id=eq.1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert exchange(address, head).startswith(b"HTTP/1.1 405")
    with H2Client(address) as client:
        stream = client.request("delete", "/customers?id=eq.1")
        assert client.answer(stream).status == 405
    assert httpx.get(f"{edge.url}/customers?id=eq.1").json() != []
