"""`/.well-known/edgerest`, and with it the table of endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from edgerest import __version__
from proxy.endpoints.endpoint import Endpoint
from proxy.endpoints.table import endpoints_of
from proxy.settings import Settings
from tests.conftest import StartEdge
from tests.http.processes import ServerProcess

PATH = "/.well-known/edgerest"


@pytest.fixture(scope="module")
def known(start_edge: StartEdge) -> Iterator[ServerProcess]:
    with start_edge(url_well_known_enabled=True, db_max_rows=7, server_max_body=4096) as server:
        yield server


def test_it_tells_version_features_and_limits(known: ServerProcess) -> None:
    answer = httpx.get(f"{known.url}{PATH}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    told = answer.json()
    assert set(told) == {"version", "postgrest", "features", "limits"}
    assert told["version"] == __version__
    assert told["limits"]["max_rows"] == 7
    assert told["limits"]["max_body_bytes"] == 4096
    assert told["features"]["aggregates"] is False


def test_it_tells_nothing_of_the_inside(known: ServerProcess) -> None:
    text = json.dumps(httpx.get(f"{known.url}{PATH}").json()).lower()
    for word in ("authenticator", "web_anon", "secret", "postgresql://", "audit", "127.0.0.1"):
        assert word not in text


def test_whoever_asks_needs_no_token_and_a_bad_one_does_not_matter(
    known: ServerProcess,
) -> None:
    answer = httpx.get(f"{known.url}{PATH}", headers={"authorization": "Bearer nonsense"})
    assert answer.status_code == 200


def test_head_and_other_methods(known: ServerProcess) -> None:
    head = httpx.head(f"{known.url}{PATH}")
    assert (head.status_code, head.content) == (200, b"")
    for method in ("POST", "DELETE", "OPTIONS"):
        answer = httpx.request(method, f"{known.url}{PATH}", content=b"{}")
        assert (answer.status_code, answer.json()["code"]) == (405, "PGRST117")
        assert answer.headers["allow"] == "GET, HEAD"


def test_what_is_beside_it_is_the_api_s(known: ServerProcess) -> None:
    for path in ("/.well-known", "/.well-known/edgerest/", "/.well-known/edgerest/x"):
        assert httpx.get(f"{known.url}{path}").status_code == 404


def test_it_is_off_by_default(http: httpx.Client) -> None:
    assert http.get(PATH).status_code == 404
    assert not endpoints_of(Settings()).rows


def test_every_row_is_found_by_its_path_alone() -> None:
    rows = endpoints_of(Settings(url_well_known_enabled=True))
    assert rows.rows
    for row in rows.rows:
        assert isinstance(row, Endpoint)
        assert rows.find(row.path) is row
        assert (rows.find(row.path + b"/below") is row) is row.below
        assert rows.find(row.path + b"x") is None
