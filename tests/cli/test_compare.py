"""`edgerest compare`: two servers, a file of requests, and what they answer otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.compare import (
    Asked,
    RequestsError,
    differences,
    first_difference,
    read_requests,
)
from proxy.cli.main import main
from tests.conftest import StartEdge
from tests.http.processes import ServerProcess
from tests.ports import free_port

REQUESTS = """
# What our app asks.
GET /products?select=id&order=id&limit=1

### a comment
GET /products?id=eq.1 HTTP/1.1
Accept: text/csv

###
POST /rpc/add
Content-Type: application/json

{"a": 1,
 "b": 2}
###
GET /nothing
###
GET /products?order=id
"""


def compare(path: Path, one: str, other: str, text: str = REQUESTS, *more: str) -> Result:
    file = path / "requests.http"
    file.write_text(text)
    return CliRunner().invoke(main, ["compare", one, other, str(file), *more])


def test_a_server_answers_as_itself(edge: ServerProcess, tmp_path: Path) -> None:
    result = compare(tmp_path, edge.url, edge.url + "/")
    assert (result.exit_code, result.stdout) == (
        0,
        "0 of 5 requests are answered otherwise\n",
    )


def test_what_differs_is_shown(
    edge: ServerProcess, start_edge: StartEdge, tmp_path: Path
) -> None:
    with start_edge(db_max_rows=1, client_error_verbosity="minimal") as other:
        result = compare(tmp_path, edge.url, other.url)
    assert result.exit_code == 1
    assert "GET /nothing\n    body.details: null | (none)" in result.stdout
    assert "GET /products?order=id\n    content-range: " in result.stdout
    assert "    body[1]: {" in result.stdout
    assert result.stdout.endswith("2 of 5 requests are answered otherwise\n")


def test_a_server_that_is_not_there_is_a_difference(
    edge: ServerProcess, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    result = compare(tmp_path, edge.url, nowhere, "GET /products\n")
    assert result.exit_code == 1
    assert "answer: 200 | no answer: " in result.stdout


def test_headers_go_with_each(edge: ServerProcess, tmp_path: Path) -> None:
    result = compare(
        tmp_path, edge.url, edge.url, "GET /products\n", "-H", "Authorization: Bearer no"
    )
    assert result.exit_code == 0


def test_requests_are_read_as_written() -> None:
    found = read_requests(REQUESTS)
    assert found[1] == Asked("GET", "/products?id=eq.1", (("Accept", "text/csv"),))
    assert found[2].body == '{"a": 1,\n "b": 2}'
    assert [str(each) for each in found[3:]] == ["GET /nothing", "GET /products?order=id"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no request"),
        ("###\n# only a comment\n###\n", "no request"),
        ("\nget /x\n", "line 2"),
        ("GET x\n", "line 1"),
        ("GET /x\nno header\n", "line 2"),
    ],
)
def test_what_is_no_request_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RequestsError, match=said):
        read_requests(text)
    result = compare(tmp_path, "http://localhost:1", "http://localhost:1", text)
    assert result.exit_code == 1
    assert said in result.stderr


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=2), each),
    max_leaves=8,
)


@given(values, values)
def test_values_differ_where_they_are_not_equal(one: Any, other: Any) -> None:
    texts = [json.dumps(each, sort_keys=True) for each in (one, other)]
    assert (first_difference(one, other) is None) == (texts[0] == texts[1])


@pytest.mark.parametrize("version", ["", " HTTP/1.1", " HTTP/2", " HTTP/1.0 "])
def test_a_version_is_no_part_of_the_target(version: str) -> None:
    assert read_requests(f"GET /items{version}")[0].target == "/items"


def test_a_header_that_cannot_be_sent_is_told() -> None:
    with pytest.raises(RequestsError, match="line 2"):
        read_requests("GET /items\nX-Name: é")


@pytest.mark.parametrize("depth", [700, 200_000])
def test_what_is_nested_too_deeply_is_compared_as_text(depth: int) -> None:
    one, other = (b"[" * depth + each + b"]" * depth for each in (b"1", b"2"))
    pair = httpx.Response(200, content=one), httpx.Response(200, content=other)
    assert [line[:4] for line in differences(*pair)] == ["body"]
