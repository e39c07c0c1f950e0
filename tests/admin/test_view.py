"""The admin view of a real server with two workers: what it shows and what can be done."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.engines.workers import MIN_LIFE
from tests.admin.conftest import TOKEN, act
from tests.apps.conftest import Server, started, two_apps
from tests.waiting import eventually

SHOP, BLOG = "shop.example.com", "blog.example.com"
ACTIONS = ("pause", "resume", "drain", "reconnect")


def of_app(server: Server, name: str = "shop") -> dict[str, Any]:
    found: dict[str, Any] = server.admin(f"/apps/{name}").json()
    return found


def reach_all_workers(server: Server) -> None:
    """Ask until each worker has answered the shop: whose turn it is the kernel decides."""

    def reached() -> bool:
        server.get(SHOP, "/things")
        workers = server.admin("/apps").json()["workers"]
        return len(workers) == 2 and all(
            worker["answered"] and worker["apps"]["shop"]["answered"] for worker in workers
        )

    eventually(reached)


def test_what_is_shown_is_of_all_workers(server: Server) -> None:
    reach_all_workers(server)
    server.get(SHOP, "/things?name=eq.a-value-of-the-client")
    server.get(BLOG, "/missing")
    document = server.admin("/apps").json()
    pids = {worker["pid"] for worker in document["workers"]}
    assert len(pids) == 2
    shop, blog = document["apps"]["shop"], document["apps"]["blog"]
    parts = [worker["apps"]["shop"] for worker in document["workers"]]
    assert shop["answered"] == sum(part["answered"] for part in parts) > 1
    assert (shop["ready"], shop["state"], shop["failed"]) == (True, "running", 0)
    assert shop["pool"]["size"] == 6
    assert shop["pool"]["transactions"] >= shop["answered"]
    assert shop["pool"]["open"] == sum(part["pool"]["open"] for part in parts)
    assert sum(row["calls"] for row in shop["statements"]) == shop["answered"]
    assert not any("a-value-of-the-client" in row["sql"] for row in shop["statements"])
    assert [row["address"] for row in shop["clients"]] == ["127.0.0.1"]
    assert shop["clients"][0]["http_version"] == "1.1"
    assert blog["statements"] == []
    assert shop["cache"]["entries"] == sum(part["cache"]["entries"] for part in parts) == 0
    assert server.admin("/apps/other").status_code == 404
    assert str(server.config.apps["shop"]["jwt-secret"]) not in server.admin("/apps").text


def test_one_app_and_one_worker_are_shown_alike(
    tmp_path: Path, databases: list[str], postgres: EmbeddedPostgres
) -> None:
    config = two_apps(tmp_path, databases, postgres)
    table = config.apps.pop("shop")
    config.apps = {}
    config.top |= {key: value for key, value in table.items() if key != "hosts"}
    config.top["cache.default.max-age"] = 60
    with started(config) as server:
        for _ in range(3):
            server.get("any", "/things")
        found = of_app(server, "default")
        assert (found["answered"], found["pool"]["busy"]) == (3, 0)
        reads, kept = found["cache"]["reads"], found["cache"]["entries"]
        assert (reads["miss"], reads["hit"], kept) == (1, 2, 1)
        # Without a token nobody may act.
        status, told = act(server, "/apps/default/pause")
        assert (status, told["message"]) == (403, "Set admin-server-token to act on apps")
        # A reload brings one.
        config.top["admin-server-token"] = TOKEN
        server.reload()
        eventually(lambda: act(server, "/apps/default/pause")[1].get("done") is True)
        assert of_app(server, "default")["state"] == "paused"
        assert act(server, "/apps/default/resume")[1]["done"] is True


def test_only_who_has_the_token_may_act(server: Server) -> None:
    for token in (None, "another", TOKEN + "x"):
        for action in ACTIONS:
            status, told = act(server, f"/apps/shop/{action}", token)
            assert (status, "admin-server-token" in str(told["message"])) == (401, True)
    basic = server.admin("/apps/shop/pause", "POST", authorization=f"Basic {TOKEN}")
    assert basic.status_code == 401
    assert basic.headers["www-authenticate"] == "Bearer"
    assert server.admin("/apps/shop/pause").status_code == 404
    assert act(server, "/apps/other/pause")[0] == 404
    assert act(server, "/apps/shop/explode")[0] == 404
    for timeout in ("x", "-1", "nan", "1e9"):
        assert act(server, f"/apps/shop/pause?timeout={timeout}")[0] == 400
    assert of_app(server)["state"] == "running"
    assert TOKEN not in server.admin("/config").text


def test_a_paused_app_lets_its_requests_wait(server: Server) -> None:
    with ThreadPoolExecutor(6) as aside:
        reach_all_workers(server)
        slow = aside.submit(server.get, SHOP, "/rpc/wait?seconds=1")
        eventually(lambda: of_app(server)["pool"]["busy"] == 1)
        # Not all has ended within so short a time; within a longer one it has.
        status, told = act(server, "/apps/shop/pause?timeout=0.1")
        assert (status, told["done"]) == (200, False)
        assert act(server, "/apps/shop/pause?timeout=5")[1]["done"] is True
        assert slow.result().status_code == 200
        waiting = [aside.submit(server.get, SHOP, "/things") for _ in range(4)]
        eventually(lambda: of_app(server)["pool"]["waiting"] == 4)
        paused = of_app(server)
        assert (paused["state"], paused["pool"]["busy"], paused["ready"]) == ("paused", 0, True)
        assert server.get(BLOG, "/things").status_code == 200
        assert (
            'edgerest_app_held{app="shop",state="paused"} 2.0' in server.admin("/metrics").text
        )
        assert act(server, "/apps/shop/resume")[1]["done"] is True
        assert {each.result().status_code for each in waiting} == {200}


def test_a_draining_app_finishes_what_it_has_and_takes_no_more(
    server: Server,
) -> None:
    with ThreadPoolExecutor(2) as aside:
        reach_all_workers(server)
        slow = aside.submit(server.get, SHOP, "/rpc/wait?seconds=1")
        eventually(lambda: of_app(server)["in_flight"] == 1)
        assert act(server, "/apps/shop/drain?timeout=0")[1]["done"] is False
        for _ in range(4):
            refused = server.get(SHOP, "/things")
            assert (refused.status_code, refused.json()["code"]) == (503, "EDGE530")
            assert refused.headers["retry-after"] == "5"
        assert server.admin("/ready?app=shop").status_code == 503
        assert server.admin("/ready").status_code == 200
        assert server.get(BLOG, "/things").status_code == 200
        assert act(server, "/apps/shop/drain?timeout=5")[1]["done"] is True
        assert slow.result().status_code == 200
        act(server, "/apps/shop/resume")
        assert server.get(SHOP, "/things").status_code == 200


def test_connections_are_made_anew(
    server: Server, databases: list[str], postgres: EmbeddedPostgres
) -> None:
    def backends() -> set[int]:
        async def ask() -> set[int]:
            connection = await asyncpg.connect(postgres.dsn)
            try:
                rows = await connection.fetch(
                    "select pid from pg_stat_activity where datname = $1"
                    " and query not ilike 'listen%'",
                    databases[0],
                )
                return {row[0] for row in rows}
            finally:
                await connection.close()

        return asyncio.run(ask())

    reach_all_workers(server)
    before = backends()
    assert len(before) >= 2
    assert act(server, "/apps/shop/reconnect")[1]["done"] is True
    eventually(lambda: not before & backends())
    reach_all_workers(server)


# --- the page -----------------------------------------------------------------------------


def test_the_page_loads_nothing_else(server: Server) -> None:
    answer = server.admin("/view")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "https://" not in answer.text
    assert "src=" not in answer.text


@contextmanager
def browser() -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver")
    options = ChromeOptions()
    options.binary_location = chromium
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options, Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def test_the_page_shows_what_goes_on_and_acts(server: Server) -> None:
    with browser() as chrome:
        server.get(SHOP, "/things")
        chrome.get(f"http://{server.process.admin}/view")
        wait = WebDriverWait(chrome, 40)

        def shows(app: str, *words: str) -> None:
            selector = f"[data-app={app}]"
            wait.until(lambda _: all(word in text_of(chrome, selector) for word in words))

        shows("shop", "running", "SELECT", "127.0.0.1", "requests / s")
        wait.until(lambda _: chrome.find_elements(By.CSS_SELECTOR, "[data-app=shop] polyline"))
        click(chrome, "shop", "pause")
        wait.until(lambda _: "bearer token" in text_of(chrome, "#status"))
        chrome.find_element(By.ID, "token").send_keys(TOKEN)
        click(chrome, "shop", "pause")
        shows("shop", "paused")
        shows("blog", "running")
        click(chrome, "shop", "resume")
        shows("shop", "running")
        log: Any = chrome.get_log  # selenium has no type for it
        said = [entry["message"] for entry in log("browser")]
        # The refusal above is the only thing that the browser may complain of.
        assert all("401" in message for message in said), said


def click(chrome: Chrome, app: str, action: str) -> None:
    # The sections are made anew every other second: found and clicked in one go.
    chrome.execute_script(
        f"document.querySelector('[data-app={app}] [data-action={action}]').click()"
    )


def text_of(chrome: Chrome, selector: str) -> str:
    # Read in one go, for the same reason.
    return str(
        chrome.execute_script(f"return document.querySelector('{selector}')?.innerText ?? ''")
    )


def test_a_worker_that_is_replaced_and_a_successor_stay_paused(
    server: Server, databases: list[str], postgres: EmbeddedPostgres
) -> None:
    assert act(server, "/apps/shop/drain")[1]["done"] is True

    def pids() -> list[int]:
        return [w["pid"] for w in server.admin("/apps").json()["workers"] if w["answered"]]

    # Workers that end sooner than this count as unable to start.
    eventually(lambda: time.monotonic() - server.began > MIN_LIFE)
    first, second = pids()
    os.kill(second, signal.SIGKILL)
    eventually(lambda: len(pids()) == 2 and pids() != [first, second])
    eventually(lambda: workers_say(server, "draining"))
    server.config.apps["shop"]["db-uri"] = postgres.dsn_for(databases[2], "authenticator")
    server.reload()
    eventually(lambda: server.process.log.count("has ended") == 2)
    assert workers_say(server, "draining")
    assert {server.name(SHOP) for _ in range(6)} == {"EDGE530"}
    act(server, "/apps/shop/resume")
    assert {server.name(SHOP) for _ in range(6)} == {databases[2]}


def workers_say(server: Server, state: str) -> bool:
    workers = server.admin("/apps").json()["workers"]
    return [w["answered"] and w["apps"]["shop"]["state"] for w in workers] == [state] * 2
