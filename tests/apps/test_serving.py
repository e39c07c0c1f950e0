"""Many apps on one server: whose a request is, and that nothing leaks between them."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.apps.conftest import Config, Server, Start, bearer
from tests.conftest import execute
from tests.waiting import eventually

SHOP, BLOG = "shop.example.com", "blog.example.com"


def test_requests_reach_the_app_of_their_host(
    config: Config, start: Start, databases: list[str]
) -> None:
    with start(config) as server:
        shop, blog = databases[:2]
        port = server.process.port
        for host in (SHOP, SHOP.upper(), f"{SHOP}.", f"{SHOP}:{port}", f"{SHOP}.:{port}"):
            assert server.name(host) == shop
        assert server.name(BLOG) == blog
        with httpx.Client(http1=False, http2=True, base_url=server.process.url) as client:
            for host, name in ((SHOP, shop), (BLOG, blog)):
                answer = client.get("/things", headers={"host": host})
                assert (answer.http_version, answer.json()[0]["name"]) == ("HTTP/2", name)
        refused = server.get("elsewhere.example.com", "/things")
        assert refused.status_code == 404
        assert refused.json() == {
            "code": "EDGE404",
            "message": "No app is served at this host and path",
            "details": None,
            "hint": "Check the Host header and the path's beginning",
        }


def test_a_target_in_absolute_form_says_where_to_whatever_the_header_says(
    config: Config, start: Start, databases: list[str]
) -> None:
    with start(config) as server:
        answer = raw(server, f"GET http://{SHOP}/things HTTP/1.1", BLOG)
        assert answer.endswith(f'[{{"id":1,"name":"{databases[0]}"}}]')


def test_a_request_with_two_hosts_reaches_no_app(config: Config, start: Start) -> None:
    """What stands in front may have gone by the other one."""
    with start(config) as server:
        for hosts in ((SHOP, BLOG), (SHOP, SHOP), ("elsewhere.example.com", SHOP)):
            assert raw(server, "GET /things HTTP/1.1", *hosts).startswith("HTTP/1.1 400")


def raw(server: Server, line: str, *hosts: str) -> str:
    """The answer to a request whose first line is as written, with a Host header for each
    of `hosts`."""
    head = "".join(f"{text}\r\n" for text in (line, *(f"Host: {host}" for host in hosts)))
    with socket.create_connection((server.process.host, server.process.port), 10) as sock:
        sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


def test_the_token_of_one_app_opens_no_other(config: Config, start: Start) -> None:
    with start(config) as server:
        for mine, theirs in ((SHOP, BLOG), (BLOG, SHOP)):
            secret = str(config.apps[mine.split(".")[0]]["jwt-secret"])
            assert server.get(mine, "/secrets", **bearer(secret)).status_code == 200
            refused = server.get(theirs, "/secrets", **bearer(secret))
            assert (refused.status_code, refused.json()["code"]) == (401, "PGRST301")


def test_an_app_without_a_secret_takes_none_from_elsewhere(
    config: Config, start: Start
) -> None:
    secret = "the secret of the top level, long enough"
    config.top["jwt-secret"] = secret
    del config.apps["shop"]["jwt-secret"]
    with start(config) as server:
        refused = server.get(SHOP, "/secrets", **bearer(secret))
        assert refused.json()["code"] == "PGRST300"
        blog = server.get(BLOG, "/secrets", **bearer(secret))
        assert blog.json()["code"] == "PGRST301"


def test_a_prefix_is_taken_off_and_put_before_locations(
    config: Config, start: Start, databases: list[str]
) -> None:
    for app in config.apps.values():
        del app["hosts"]
    config.apps["shop"]["path-prefix"] = "/shop"
    config.apps["blog"]["path-prefix"] = "/shop/blog"
    config.apps["blog"]["openapi-docs-path"] = "/docs"
    with start(config) as server:
        shop, blog = databases[:2]
        assert server.name("x", "/shop/things") == shop
        assert server.name("x", "/sh%6Fp/things") == shop
        assert server.name("x", "/shop/blog/things") == blog
        assert server.name("x", "/shopping/things") == "EDGE404"
        assert server.name("x", "/things") == "EDGE404"
        assert server.get("x", "/shop/blog/rpc/path").json() == "/rpc/path"
        page = server.get("x", "/shop/blog/docs/")
        assert (page.status_code, 'data-root="../"' in page.text) == (200, True)
        assert server.get("x", "/shop/docs/").status_code == 404
        url = f"{server.process.url}/shop/blog/things"
        headers = {"Prefer": "return=headers-only"}
        made = httpx.post(url, json={"id": 7, "name": "x"}, headers=headers)
        assert made.headers["location"] == "/shop/blog/things?id=eq.7"
        assert httpx.delete(f"{url}?id=eq.7").status_code == 204
        listed = server.get("x", "/shop/blog/things?id=eq.1")
        assert listed.headers["content-location"] == "/shop/blog/things?id=eq.1"
        described = server.get("x", "/shop").json()
        assert described["basePath"] == "/shop"
        newer = server.get("x", "/shop/blog/", accept="application/openapi+json; version=3.1")
        if "servers" in newer.json():
            assert newer.json()["servers"][0]["url"] == "/shop/blog"


def test_apps_have_schemas_and_roles_of_their_own(config: Config, start: Start) -> None:
    config.apps["blog"] |= {"db-schemas": "other", "db-anon-role": ""}
    config.apps["shop"] |= {"db-schemas": "other"}
    with start(config) as server:
        assert server.get(SHOP, "/elsewhere").json() == [{"id": 1}]
        assert server.get(SHOP, "/things").status_code == 404
        assert server.get(BLOG, "/elsewhere").status_code == 401


def test_what_is_set_in_a_database_is_its_apps(
    config: Config, start: Start, postgres: EmbeddedPostgres, databases: list[str]
) -> None:
    only = f'alter role authenticator in database "{databases[0]}"'
    asyncio.run(
        execute(postgres.dsn, f"{only} set pgrst.server_cors_allowed_origins = 'https://a'")
    )
    try:
        with start(config) as server:
            origin = {"origin": "https://b"}
            allowed = "access-control-allow-origin"
            assert allowed not in server.get(SHOP, "/things", **origin).headers
            assert server.get(BLOG, "/things", **origin).headers[allowed] == "*"
    finally:
        asyncio.run(execute(postgres.dsn, f"{only} reset all"))


def test_an_app_that_can_not_start_holds_up_no_other(
    config: Config, start: Start, databases: list[str], postgres: EmbeddedPostgres
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        config.apps["away"] = {
            "hosts": "away",
            "db-uri": f"postgresql://authenticator@127.0.0.1:{port}/x",
        }
        config.apps["refused"] = {
            "hosts": "refused",
            "db-uri": postgres.dsn_for("no_such_database", "authenticator"),
        }
        with start(config) as server:
            assert server.name(SHOP) == databases[0]
            for host in ("away", "refused"):
                failed = server.get(host, "/things")
                assert (failed.status_code, failed.json()["code"]) == (503, "PGRST002")
            assert server.admin("/ready").status_code == 200
            states = {
                app: server.admin(f"/ready?app={app}").status_code
                for app in ("shop", "blog", "away", "refused", "unknown")
            }
            assert states == {
                "shop": 200,
                "blog": 200,
                "away": 503,
                "refused": 503,
                "unknown": 404,
            }


def test_metrics_and_logs_name_the_app(config: Config, start: Start) -> None:
    config.top |= {"log-level": "info", "log-format": "json", "server-workers": 2}
    with start(config) as server:
        for host in (SHOP, SHOP, BLOG, "nobody"):
            server.get(host, "/things")

        def counted(app: str) -> bool:
            page = server.admin("/metrics").text
            return f'edgerest_http_request_duration_seconds_count{{app="{app}"' in page

        for app in ("shop", "blog", ""):
            eventually(lambda app=app: counted(app))  # type: ignore[misc]
        page = server.admin("/metrics").text.splitlines()
        pools = [line for line in page if line.startswith("pgrst_db_pool_max{")]
        assert pools == [
            'pgrst_db_pool_max{app="shop"} 6.0',
            'pgrst_db_pool_max{app="blog"} 6.0',
        ]
        server.process.signal()
        _, output = server.process.wait()
    logged = [json.loads(line)["app"] for line in output.splitlines()]
    assert sorted(logged, key=str) == sorted(["shop", "shop", "blog", None], key=str)


def test_what_the_admin_server_shows_of_each_app(config: Config, start: Start) -> None:
    with start(config) as server:
        text = server.admin("/config").text
        assert "[apps.shop]" in text
        assert str(config.apps["shop"]["jwt-secret"]) not in text
        of_app = server.admin("/config?app=shop").text
        assert 'db-schemas = "api"' in of_app
        caches = server.admin("/schema_cache").json()
        assert caches.keys() == {"shop", "blog"}
        assert server.admin("/schema_cache?app=blog").json() == caches["blog"]
        assert server.admin("/config?app=other").status_code == 404


def test_without_tables_there_is_no_label(start: Start, config: Config, tmp_path: Path) -> None:
    shop = config.apps["shop"]
    config.apps = {}
    config.top |= {key: value for key, value in shop.items() if key != "hosts"}
    with start(config) as server:
        assert server.get("any.where", "/things").status_code == 200
        page = server.admin("/metrics").text
        assert "\npgrst_db_pool_max 3.0\n" in page
        assert "app=" not in page
