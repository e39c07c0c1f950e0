"""A caller with a token gets no answer from before the write that the token stands for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.cache.served.conftest import Sql
from tests.cache.served.test_serving import fresh, status_of
from tests.conftest import MakeToken, StartEdge

_TOKEN = "x-consistency-token"
_prices = count(1000)


@pytest.fixture
def announcing(
    start_edge: StartEdge, catalogue: str, postgres: EmbeddedPostgres
) -> Iterator[httpx.Client]:
    """A client of a server with others beside it."""
    dsn = postgres.dsn_for(catalogue, "authenticator")
    with (
        start_edge(db_uri=dsn, db_schemas="api", cache_announce=True) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        yield client


def test_a_token_demands_an_answer_from_after_it_was_given(
    anon: httpx.Client, sql: Sql
) -> None:
    target, price = fresh("/products?select=price&id=eq.7"), next(_prices)
    assert "stored" in status_of(anon.get(target))
    # As a write through a server whose notification has not come yet.
    sql(f"update api.products set price = {price} where id = 7")
    before = anon.get(target)
    assert "; hit" in status_of(before)
    told = anon.get(target, headers={_TOKEN: f"of-{price}"})
    assert told.json() == [{"price": price}]
    assert "fwd=request; stored" in status_of(told)
    again = anon.get(target, headers={_TOKEN: f"of-{price}"})
    assert "; hit" in status_of(again)
    assert again.json() == told.json()
    unknown = anon.get(target, headers={_TOKEN: "x" * 100})
    assert "fwd=request" in status_of(unknown)


def test_a_write_gives_a_token_where_there_are_other_servers(
    announcing: httpx.Client, ada: httpx.Client, token: MakeToken
) -> None:
    change = {"price": next(_prices)}
    written = announcing.patch("/products?id=eq.8", json=change, headers=token("web_user"))
    assert written.status_code == 204
    assert len(written.headers[_TOKEN]) == 16
    assert _TOKEN not in ada.patch("/products?id=eq.8", json=change).headers
