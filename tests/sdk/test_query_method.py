"""QUERY on a real socket: the same answer as GET gives."""

from __future__ import annotations

import httpx
import pytest

from tests.conftest import MakeToken
from tests.http.processes import ServerProcess

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OURS = {"Content-Type": "application/vnd.edgerest.query"}
QUERY_STRING = "select=id,name&id=in.(3,1)&order=id"


@pytest.mark.parametrize("http2", [True, False])
@pytest.mark.parametrize("method, headers", [("QUERY", FORM), ("POST", OURS)])
def test_it_answers_as_get_does(
    edge: ServerProcess, method: str, headers: dict[str, str], http2: bool
) -> None:
    with httpx.Client(http1=not http2, http2=http2, base_url=edge.url) as client:
        expected = client.get(f"/customers?{QUERY_STRING}")
        found = client.request(method, "/customers", content=QUERY_STRING, headers=headers)
    assert (found.status_code, found.content) == (200, expected.content)
    for name in ("content-location", "content-range", "content-type", "vary"):
        assert found.headers[name] == expected.headers[name]


def test_its_transaction_only_reads(http: httpx.Client, token: MakeToken) -> None:
    called = http.request("QUERY", "/rpc/touch", content="order_id=1", headers=FORM | token())
    assert (called.status_code, called.json()["code"]) == (405, "25006")
    told = http.request("QUERY", "/rpc/whoami", headers=FORM).json()
    assert told["method"] == "QUERY"


def test_a_long_one_has_no_content_location(http: httpx.Client) -> None:
    values = ",".join(str(number) for number in range(5_000))
    found = http.request("QUERY", "/customers", content=f"id=in.({values})", headers=FORM)
    assert [row["id"] for row in found.json()] == [1, 2, 3]
    assert "content-location" not in found.headers


def test_what_is_refused(http: httpx.Client) -> None:
    wrong = http.request("QUERY", "/customers", json={"id": 1})
    assert (wrong.status_code, wrong.json()["code"]) == (415, "EDGE415")
    long = http.request("QUERY", "/customers", content="a" * 300_000, headers=FORM)
    assert (long.status_code, long.json()["code"]) == (413, "EDGE413")
