"""If-Match and If-None-Match on writes: decided inside the write's own transaction."""

from __future__ import annotations

import asyncio
import itertools

import httpx
import pytest

from tests.cache.served.conftest import Sql
from tests.conftest import MakeToken
from tests.http.processes import ServerProcess

_numbers = itertools.count(10_000)


@pytest.fixture
def item(sql: Sql) -> str:
    """The URL of a row that nobody else knows of."""
    number = next(_numbers)
    sql(f"insert into api.products values ({number}, 'row {number}', 0)")
    return f"/products?id=eq.{number}"


def tag_of(client: httpx.Client, url: str, **headers: str) -> str:
    return client.get(url, headers=headers).headers["etag"]


def price(client: httpx.Client, url: str) -> int | None:
    rows = client.get(url).json()
    return rows[0]["price"] if rows else None


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "PUT"])
def test_a_write_under_the_current_tag_is_done(
    ada: httpx.Client, item: str, method: str
) -> None:
    headers = {"if-match": tag_of(ada, item)}
    number = int(item.rpartition(".")[2])
    body = {"PATCH": {"price": 5}, "PUT": {"id": number, "name": "x", "price": 5}}.get(method)
    response = ada.request(method, item, json=body, headers=headers)
    assert response.status_code == 204, response.text
    assert price(ada, item) == (None if method == "DELETE" else 5)


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "PUT"])
def test_a_write_under_an_old_tag_is_412_and_does_nothing(
    ada: httpx.Client, item: str, method: str
) -> None:
    headers = {"if-match": tag_of(ada, item)}
    ada.patch(item, json={"price": 1}).raise_for_status()
    number = int(item.rpartition(".")[2])
    body = {"PATCH": {"price": 5}, "PUT": {"id": number, "name": "x", "price": 5}}.get(method)
    response = ada.request(method, item, json=body, headers=headers)
    assert response.status_code == 412
    assert response.json()["code"] == "EDGE412"
    assert price(ada, item) == 1


def test_the_tag_may_be_of_any_way_to_read_the_same_content(
    ada: httpx.Client, item: str
) -> None:
    ways = ({"prefer": "count=exact"}, {"range": "0-9"}, {"accept-encoding": "identity"})
    for number, headers in enumerate(ways, 1):
        tag = tag_of(ada, item, **headers)
        under = {"if-match": tag[:-1] + '-gzip"' if number == 3 else tag}
        assert ada.patch(item, json={"price": number}, headers=under).status_code == 204


def test_the_tag_is_of_the_media_type_and_columns_that_the_write_names(
    ada: httpx.Client, item: str
) -> None:
    accept = "application/vnd.pgrst.object+json"
    url = f"{item}&select=name"
    tag = tag_of(ada, url, accept=accept)
    ada.patch(item, json={"price": 8}).raise_for_status()
    # What the tag is of has not changed.
    headers = {"if-match": tag, "accept": accept, "prefer": "return=representation"}
    response = ada.patch(url, json={"price": 9}, headers=headers)
    assert response.status_code == 200
    assert response.json() == {"name": f"row {item.rpartition('.')[2]}"}
    response = ada.patch(item, json={"price": 10}, headers=headers)
    assert response.status_code == 412


@pytest.mark.parametrize("given", ['"no such tag"', "*, x", "", 'W/"x"', "x"])
def test_what_names_no_current_tag_never_matches(
    ada: httpx.Client, item: str, given: str
) -> None:
    response = ada.patch(item, json={"price": 5}, headers={"if-match": given})
    assert response.status_code == 412
    assert price(ada, item) == 0


def test_a_weak_tag_does_not_match(ada: httpx.Client, item: str) -> None:
    """RFC 9110, section 13.1.1: If-Match uses the strong comparison."""
    headers = {"if-match": f"W/{tag_of(ada, item)}"}
    assert ada.patch(item, json={"price": 5}, headers=headers).status_code == 412


def test_the_star_asks_whether_there_is_a_row(ada: httpx.Client, item: str) -> None:
    there, not_there = {"if-match": "*"}, {"if-none-match": "*"}
    assert ada.patch(item, json={"price": 1}, headers=not_there).status_code == 412
    assert ada.patch(item, json={"price": 1}, headers=there).status_code == 204
    assert ada.delete(item, headers=there).status_code == 204
    assert ada.delete(item, headers=there).status_code == 412
    number = int(item.rpartition(".")[2])
    row = {"id": number, "name": "again", "price": 2}
    assert ada.put(item, json=row, headers=there).status_code == 412
    assert ada.put(item, json=row, headers=not_there).status_code == 204
    assert ada.put(item, json=row, headers=not_there).status_code == 412


def test_if_none_match_with_a_tag_on_a_write(ada: httpx.Client, item: str) -> None:
    """RFC 9110, section 13.1.2: other methods than GET and HEAD are answered 412."""
    tag = tag_of(ada, item)
    refused = ada.patch(item, json={"price": 1}, headers={"if-none-match": tag})
    assert refused.status_code == 412
    done = ada.patch(item, json={"price": 1}, headers={"if-none-match": '"other"'})
    assert done.status_code == 204


def test_a_post_compares_the_collection(ada: httpx.Client) -> None:
    number = next(_numbers)
    url = f"/products?name=eq.made%20{number}"
    row = {"id": number, "name": f"made {number}"}
    assert ada.post(url, json=row, headers={"if-match": "*"}).status_code == 412
    assert ada.post(url, json=row, headers={"if-none-match": "*"}).status_code == 201
    row["id"] = next(_numbers)
    assert ada.post(url, json=row, headers={"if-none-match": "*"}).status_code == 412


def test_a_call_has_nothing_to_match(ada: httpx.Client) -> None:
    response = ada.post("/rpc/unsteady", json={}, headers={"if-match": "*"})
    assert response.status_code == 412
    response = ada.post("/rpc/unsteady", json={}, headers={"if-none-match": "*"})
    assert response.status_code == 200


def test_rows_that_row_security_hides_are_not_there(
    ada: httpx.Client, bob: httpx.Client
) -> None:
    tag = tag_of(ada, "/notes?id=eq.1")
    for headers in ({"if-match": tag}, {"if-match": "*"}):
        response = bob.patch("/notes?id=eq.1", json={"body": "mine"}, headers=headers)
        assert response.status_code == 412
    assert ada.get("/notes?id=eq.1").json()[0]["body"] == "hers"
    # For him the answer is as empty as if there was no such row, and so is the write.
    nothing = tag_of(bob, "/notes?id=eq.1")
    response = bob.patch("/notes?id=eq.1", json={"body": "x"}, headers={"if-match": nothing})
    assert response.status_code == 204
    assert ada.get("/notes?id=eq.1").json()[0]["body"] == "hers"


def test_a_role_that_may_delete_but_not_update(auditor: httpx.Client, sql: Sql) -> None:
    sql("insert into api.drafts values (99, 'to go')")
    tag = tag_of(auditor, "/drafts?id=eq.99")
    response = auditor.delete("/drafts?id=eq.99", headers={"if-match": tag})
    assert response.status_code == 204


def test_a_view_that_groups_and_is_updated_by_a_trigger(ada: httpx.Client) -> None:
    url = "/summary?product_id=eq.1"
    tag = tag_of(ada, url)
    assert ada.patch(url, json={"reviews": 7}, headers={"if-match": tag}).status_code == 204
    ada.post("/reviews", json={"product_id": 1, "body": "new"}).raise_for_status()
    assert ada.patch(url, json={"reviews": 8}, headers={"if-match": tag}).status_code == 412


def test_a_tag_is_as_good_from_a_hit_as_from_a_query(ada: httpx.Client, item: str) -> None:
    tags = {tag_of(ada, item) for _ in range(3)}
    assert len(tags) == 1
    assert ada.patch(item, json={"price": 3}, headers={"if-match": tags.pop()}).is_success


def test_a_row_that_the_filter_would_newly_match_is_not_touched(
    ada: httpx.Client, sql: Sql
) -> None:
    number = next(_numbers)
    sql(f"insert into api.products values ({number}, 'set {number}', 0)")
    url = f"/products?name=eq.set%20{number}"
    tag = tag_of(ada, url)
    sql(f"insert into api.products values ({next(_numbers)}, 'set {number}', 0)")
    assert ada.patch(url, json={"price": 4}, headers={"if-match": tag}).status_code == 412


# --- races --------------------------------------------------------------------------------


async def _all(
    server: ServerProcess, headers: dict[str, str], requests: list[tuple[str, str, object]]
) -> list[int]:
    """The statuses of requests sent all at once."""
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        answers = await asyncio.gather(
            *(client.request(method, url, json=body) for method, url, body in requests)
        )
    return sorted(answer.status_code for answer in answers)


@pytest.mark.parametrize("round_", range(5))
def test_of_many_writers_with_one_tag_exactly_one_wins(
    catalogue_server: ServerProcess, ada: httpx.Client, token: MakeToken, item: str, round_: int
) -> None:
    headers = token("web_user", sub="ada") | {"if-match": tag_of(ada, item)}
    requests = [("PATCH", item, {"price": n}) for n in range(1, 13)]
    statuses = asyncio.run(_all(catalogue_server, headers, [*requests]))
    assert statuses == [204] + [412] * 11
    assert price(ada, item) in range(1, 13)


def test_of_many_creators_exactly_one_wins(
    catalogue_server: ServerProcess, ada: httpx.Client, token: MakeToken
) -> None:
    number = next(_numbers)
    url = f"/products?id=eq.{number}"
    headers = token("web_user", sub="ada") | {"if-none-match": "*"}
    requests = [("PUT", url, {"id": number, "name": "n", "price": n}) for n in range(1, 9)]
    assert asyncio.run(_all(catalogue_server, headers, [*requests])) == [204] + [412] * 7


def test_counting_up_under_tags_loses_no_update(
    catalogue_server: ServerProcess, ada: httpx.Client, token: MakeToken, item: str
) -> None:
    """Writers that read, add one, write under the tag, and begin anew on a 412."""

    async def count_up(client: httpx.AsyncClient, times: int) -> None:
        for _ in range(times):
            while True:
                read = await client.get(item)
                wanted = {"price": read.json()[0]["price"] + 1}
                under = {"if-match": read.headers["etag"]}
                written = await client.patch(item, json=wanted, headers=under)
                if written.status_code == 204:
                    break
                assert written.status_code == 412, written.text

    async def all_of_them() -> None:
        headers = token("web_user", sub="ada")
        url = catalogue_server.url
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
            await asyncio.gather(*(count_up(client, 5) for _ in range(5)))

    asyncio.run(all_of_them())
    assert price(ada, item) == 25
