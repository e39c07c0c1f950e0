"""`/v1/items`: the schema in the path instead of a header."""

from __future__ import annotations

import pytest

from tests.reload.conftest import Database, RunApp

PREFIX = {"url_schema_prefix": True}


@pytest.mark.parametrize(
    "target, headers, status, body",
    [
        ("/v1/items?select=id", {}, 200, [{"id": 1}]),
        ("/v2/things", {}, 200, [{"id": 7}]),
        ("/items?select=id", {}, 200, [{"id": 1}]),
        ("/things", {"accept_profile": "v2"}, 200, [{"id": 7}]),
        ("/v2/things", {"accept_profile": "v2"}, 200, [{"id": 7}]),
        ("/v2/rpc/answer", {}, 200, 42),
        ("/%76%32/things", {}, 200, [{"id": 7}]),
    ],
)
async def test_what_a_path_reaches(
    database: Database,
    run_app: RunApp,
    target: str,
    headers: dict[str, str],
    status: int,
    body: object,
) -> None:
    await database.execute(
        "create function v2.answer() returns int language sql stable as 'select 42'"
    )
    async with run_app(**PREFIX) as running:
        found = await running.get(target, **headers)
        assert (found.status, found.body) == (status, body)


@pytest.mark.parametrize(
    "target, headers, code",
    [
        ("/v1/things", {}, "PGRST205"),
        ("/v2/items", {}, "PGRST205"),
        ("/v3/items", {}, "PGRST125"),
        ("/v1/items/x", {}, "PGRST125"),
        ("/v1/v1/items", {}, "PGRST125"),
        ("/v2/rpc/missing", {}, "PGRST202"),
        ("/rpc/answer", {}, "PGRST202"),
        ("/v1/things", {"accept_profile": "v2"}, "PGRST106"),
        ("/v1/items", {"accept_profile": "v9"}, "PGRST106"),
    ],
)
async def test_what_it_does_not_reach(
    run_app: RunApp, target: str, headers: dict[str, str], code: str
) -> None:
    async with run_app(**PREFIX) as running:
        assert (await running.get(target, **headers)).body["code"] == code


async def test_off_by_default(run_app: RunApp) -> None:
    async with run_app() as running:
        assert (await running.get("/v1/items")).body["code"] == "PGRST125"
        assert (await running.get("/v1")).body["code"] == "PGRST205"


async def test_locations_keep_the_prefix(run_app: RunApp) -> None:
    async with run_app(**PREFIX) as running:
        read = await running.get("/v2/things?id=eq.7")
        assert read.headers["content-location"] == "/v2/things?id=eq.7"
        assert read.headers["content-profile"] == "v2"
        made = await running.send(
            "POST",
            "/v2/things",
            {"id": 8},
            prefer="return=headers-only",
            content_type="application/json",
        )
        assert (made.status, made.headers["location"]) == (201, "/v2/things?id=eq.8")
        plain = await running.get("/items?id=eq.1")
        assert plain.headers["content-location"] == "/items?id=eq.1"


@pytest.mark.parametrize("target", ["/v2", "/v2/"])
async def test_the_description_is_of_that_schema(run_app: RunApp, target: str) -> None:
    async with run_app(**PREFIX) as running:
        document = (await running.get(target)).body
        assert document["basePath"] == "/v2"
        assert "/things" in document["paths"]
        assert "/items" not in document["paths"]
        assert (await running.get("/")).body["basePath"] == "/"


async def test_the_description_names_the_path_behind_a_proxy(run_app: RunApp) -> None:
    uri = "https://example.com/api/"
    async with run_app(**PREFIX, openapi_server_proxy_uri=uri) as running:
        assert (await running.get("/v2")).body["basePath"] == "/api/v2"
        assert (await running.get("/")).body["basePath"] == "/api/"
