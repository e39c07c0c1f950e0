"""Counts, ranges, limits and media types of reads, through the real server."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import StartEdge
from tests.reads.conftest import Rows

# --- counts and ranges --------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, headers, status, content_range, rows",
    [
        ("", {}, 200, "0-499/*", 500),
        ("", {"Prefer": "count=exact"}, 200, "0-499/500", 500),
        ("limit=10", {"Prefer": "count=exact"}, 206, "0-9/500", 10),
        ("limit=10&offset=495", {"Prefer": "count=exact"}, 206, "495-499/500", 5),
        ("limit=10&offset=495", {}, 200, "495-499/*", 5),
        ("id=gt.490&limit=3", {"Prefer": "count=exact"}, 206, "0-2/10", 3),
        ("id=lt.0", {"Prefer": "count=exact"}, 200, "*/0", 0),
        ("id=lt.0", {}, 200, "*/*", 0),
        ("offset=600", {}, 200, "*/*", 0),
        ("offset=600", {"Prefer": "count=exact"}, 416, "*/500", None),
        ("", {"Range": "5-9"}, 200, "5-9/*", 5),
        ("", {"Range": "490-", "Range-Unit": "items"}, 200, "490-499/*", 10),
        ("", {"Range": "5-9", "Prefer": "count=exact"}, 206, "5-9/500", 5),
        ("limit=8", {"Range": "5-9"}, 200, "5-7/*", 3),
        ("limit=0", {}, 200, "*/*", 0),
        ("limit=2", {"Prefer": "count=planned"}, 206, "0-1/500", 2),
        ("", {"Prefer": "count=planned"}, 200, "0-499/500", 500),
        ("limit=2", {"Prefer": "count=estimated"}, 206, "0-1/500", 2),
    ],
)
def test_the_content_range_tells_page_and_total(
    reads: httpx.Client,
    query: str,
    headers: dict[str, str],
    status: int,
    content_range: str,
    rows: int | None,
) -> None:
    response = reads.get(f"/many?order=id&{query}", headers=headers)
    assert (response.status_code, response.headers["content-range"]) == (status, content_range)
    if rows is not None:
        assert len(response.json()) == rows
    if "Range" not in headers:  # which is for GET alone
        head = reads.head(f"/many?order=id&{query}", headers=headers)
        assert (head.status_code, head.content) == (status, b"")
        assert head.headers["content-range"] == content_range


def test_a_range_that_the_limit_excludes_is_refused(reads: httpx.Client) -> None:
    response = reads.get("/many?limit=3", headers={"Range": "5-9"})
    assert (response.status_code, response.json()["code"]) == (416, "PGRST103")


@pytest.mark.parametrize(
    "query, sql",
    [
        (
            "select=id,sales!inner(id)&sales.amount=gt.10",
            "id in (select book_id from sales where amount > 10)",
        ),
        ("select=id,sales()&sales=is.null", "id not in (select book_id from sales)"),
        (
            "select=id,tags!inner(id)&tags.label=eq.science&limit=1",
            "id in (select book_id from book_tags where tag_id = 1)",
        ),
        ("select=id,...authors!author_id!inner(name)&authors.name=like.A*", "author_id = 1"),
    ],
)
def test_counts_see_what_embeds_decide(
    reads: httpx.Client, rows_of: Rows, query: str, sql: str
) -> None:
    response = reads.get(f"/books?{query}", headers={"Prefer": "count=exact"})
    expected = rows_of(f"select count(*) from books where {sql}")
    total = int(response.headers["content-range"].rpartition("/")[2])
    assert [{"count": total}] == expected


@pytest.fixture(scope="module")
def capped(
    start_edge: StartEdge, library_settings: dict[str, str | bool]
) -> Iterator[httpx.Client]:
    """A client of a server that sends at most 3 rows and knows embeds by alias only."""
    settings = library_settings | {"db_max_rows": 3, "url_use_legacy_target_names": False}
    with start_edge(**settings) as server, httpx.Client(base_url=server.url) as client:
        yield client


@pytest.mark.parametrize(
    "target, prefer, status, content_range",
    [
        ("/many", "", 200, "0-2/*"),
        ("/many?limit=2", "", 200, "0-1/*"),
        ("/many?limit=10&offset=1", "", 200, "1-3/*"),
        ("/many", "count=exact", 206, "0-2/500"),
        ("/many?id=lt.3", "count=estimated", 200, "0-1/2"),
        ("/many", "count=estimated", 206, "0-2/500"),
        ("/rpc/pairs?n=9", "count=exact", 206, "0-2/9"),
    ],
)
def test_max_rows_bounds_every_page(
    capped: httpx.Client, target: str, prefer: str, status: int, content_range: str
) -> None:
    response = capped.get(target, headers={"Prefer": prefer} if prefer else {})
    assert (response.status_code, response.headers["content-range"]) == (status, content_range)


def test_max_rows_bounds_embeds_too(capped: httpx.Client) -> None:
    (book,) = capped.get("/books?id=eq.1&select=sales(id)&sales.limit=9").json()
    assert len(book["sales"]) == 3


def test_an_alias_hides_the_name_behind_it(capped: httpx.Client, reads: httpx.Client) -> None:
    target = "/books?select=id,sold:sales(id)&sales.amount=gt.10&order=id&limit=3"
    refused = capped.get(target)
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST108")
    warned = reads.get(target)
    by_alias = reads.get(target.replace("sales.", "sold."))
    assert (
        warned.json() == by_alias.json() == capped.get(target.replace("sales.", "sold.")).json()
    )
    assert "`sales` to `sold`" in warned.headers["warning"]
    assert "warning" not in by_alias.headers


# --- media types --------------------------------------------------------------------------


def test_one_object_or_none(reads: httpx.Client) -> None:
    accept = {"Accept": "application/vnd.pgrst.object+json"}
    found = reads.get("/books?id=eq.2&select=id,price", headers=accept)
    assert (found.status_code, found.json()) == (200, {"id": 2, "price": 7.00})
    for condition in ("id=gt.3", "id=eq.99"):
        refused = reads.get(f"/books?{condition}", headers=accept)
        assert (refused.status_code, refused.json()["code"]) == (406, "PGRST116")


def test_nulls_can_be_left_out(reads: httpx.Client) -> None:
    target = "/books?select=id,price,covers(artist),data&id=in.(1,4)&order=id"
    accept = {"Accept": "application/vnd.pgrst.array+json;nulls=stripped"}
    full = reads.get(target).json()
    assert full[1] == {"id": 4, "price": None, "covers": None, "data": {}}
    assert reads.get(target, headers=accept).json() == [full[0], {"id": 4, "data": {}}]


def test_csv_is_read_back_as_the_rows(reads: httpx.Client, rows_of: Rows) -> None:
    target = (
        "/books?select=id,title,price,x:" + quote('"odd, .:()*\\"name"') + "&id=lt.4&order=id"
    )
    response = reads.get(target, headers={"Accept": "text/csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = rows_of(
        'select id::text, title, price::text, "odd, .:()*""name" as x from books'
        " where id < 4 order by id"
    )
    assert list(csv.DictReader(io.StringIO(response.text))) == rows


def test_a_media_type_of_the_database(reads: httpx.Client) -> None:
    accept = {"Accept": "text/vnd.labels"}
    response = reads.get("/tags?order=id.desc&id=lt.3", headers=accept)
    assert (response.status_code, response.text) == (200, "music\nscience\n")
    assert response.headers["content-type"].startswith("text/vnd.labels")
    other = reads.get("/authors", headers=accept)
    assert (other.status_code, other.json()["code"]) == (406, "PGRST107")


@pytest.mark.parametrize(
    "target", ["/books", "/books?select=id,shade", "/books?select=*,covers(*)"]
)
def test_a_domain_shows_as_its_cast_to_json(reads: httpx.Client, target: str) -> None:
    joint = "&" if "?" in target else "?"
    rows = reads.get(f"{target}{joint}order=id").json()
    assert [row["shade"] for row in rows] == ["#00ff00", "#0000ff", None, "#ff0000", "#000000"]


def test_the_plan_is_postgresqls(reads: httpx.Client) -> None:
    accept = {
        "Accept": 'application/vnd.pgrst.plan+json; for="application/json"; options=analyze'
    }
    response = reads.get("/books?id=eq.1", headers=accept)
    (explained,) = response.json()
    assert explained["Plan"]["Actual Rows"] == 1
    text = reads.get("/books?id=eq.1", headers={"Accept": "application/vnd.pgrst.plan"})
    assert "cost=" in text.text
    assert text.headers["content-type"].startswith("application/vnd.pgrst.plan+text")


def test_geojson_needs_postgis(reads: httpx.Client, rows_of: Rows) -> None:
    if rows_of("select 1 as x from pg_extension where extname = 'postgis'"):
        pytest.skip("PostGIS is installed here")
    response = reads.get("/books", headers={"Accept": "application/geo+json"})
    assert (response.status_code, response.json()["code"]) == (404, "42883")


def test_json_keys_come_in_the_order_asked_for(reads: httpx.Client) -> None:
    """Columns first, then embeds; inside an embed likewise, and not as jsonb sorts them."""
    text = reads.get("/books?id=eq.1&select=title,id,covers(artist,book_id),price").text
    expected = (
        '[{"title":"Engines","id":1,"price":12.50,"covers":{"artist":"Eve","book_id":1}}]'
    )
    assert text == expected
