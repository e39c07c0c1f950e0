"""The docs page: what is served, and that it works in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import (
    element_to_be_clickable,
    presence_of_element_located,
)
from selenium.webdriver.support.wait import WebDriverWait

from proxy.settings import load_settings
from proxy.settings.errors import SettingsError
from tests.conftest import MakeToken, StartEdge
from tests.http.processes import ServerProcess

PATIENCE = 40
"""Seconds until something on the page is found missing; browsers may start slowly."""


@pytest.fixture(scope="module")
def demo(demo_uri: str, start_edge: StartEdge) -> Iterator[ServerProcess]:
    """The demo's schema with a page at /docs."""
    settings = {"db_uri": demo_uri, "db_schemas": "api", "openapi_docs_path": "/docs"}
    with start_edge(**settings) as server:
        yield server
        assert "Traceback" not in server.log


# --- what is served -----------------------------------------------------------------------


def test_the_page_is_off_by_default(types: ServerProcess) -> None:
    response = httpx.get(f"{types.url}/docs")
    assert (response.status_code, response.json()["code"]) == (404, "PGRST205")


def test_the_page_may_load_nothing_from_elsewhere(demo: ServerProcess) -> None:
    response = httpx.get(f"{demo.url}/docs", follow_redirects=True)
    assert response.url.path == "/docs/"
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src 'self';" in policy
    assert "://" not in response.text


@pytest.mark.parametrize("http1", [True, False])
@pytest.mark.parametrize(
    "target, status",
    [
        ("/docs/swagger-ui-bundle.js", 200),
        ("/docs/swagger-ui.css", 200),
        ("/docs/page.js", 200),
        ("/docs/LICENSE", 404),
        ("/docs/../page.js", 404),
        ("/docs/..%2fapp.py", 404),
        ("/docs/x/page.js", 404),
        ("/docsandmore", 404),
        ("/projects", 200),
    ],
)
def test_files(demo: ServerProcess, target: str, status: int, http1: bool) -> None:
    with httpx.Client(http1=http1, http2=not http1, base_url=demo.url) as client:
        request = client.build_request("GET", demo.url)
        request.url = request.url.copy_with(raw_path=target.encode())
        assert client.send(request).status_code == status


def test_the_page_under_other_paths(types_uri: str, start_edge: StartEdge) -> None:
    uri = "https://example.com:8443/base"
    settings = {
        "db_uri": types_uri,
        "db_schemas": "api, other",
        "openapi_docs_path": "/inside/docs",
        "openapi_server_proxy_uri": uri,
    }
    with start_edge(**settings) as server:
        response = httpx.get(f"{server.url}/inside/docs", follow_redirects=True)
        assert response.url.path == "/inside/docs/"
    assert 'data-root="../../"' in response.text
    assert "<option>api</option>" in response.text
    assert "<option>other</option>" in response.text
    policy = response.headers["content-security-policy"]
    assert "connect-src 'self' https://example.com:8443;" in policy


@pytest.mark.parametrize("path", ["docs", "/", "/docs/", "/a b", "/../x", "/rpc", "/rpc/x"])
def test_paths_that_cannot_be(path: str) -> None:
    with pytest.raises(SettingsError, match="openapi-docs-path"):
        load_settings(None, {"PGRST_OPENAPI_DOCS_PATH": path})


# --- in a browser -------------------------------------------------------------------------


class Page:
    """The page as its reader sees it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self.wait = WebDriverWait(driver, PATIENCE)

    def find(self, css: str) -> WebElement:
        found: WebElement = self.wait.until(presence_of_element_located((By.CSS_SELECTOR, css)))
        return found

    def click(self, css: str) -> None:
        self.wait.until(element_to_be_clickable((By.CSS_SELECTOR, css))).click()

    def sections(self) -> set[str]:
        """What the API is said to have."""
        self.find(".opblock-tag")
        names = self.driver.execute_script(
            "return [...document.querySelectorAll('.opblock-tag')].map(e => e.dataset.tag)"
        )
        return set(names)

    def wait_for_section(self, name: str) -> None:
        self.wait.until(lambda _: name in self.sections())

    def faults(self) -> list[str]:
        """What the browser complained of, breaches of the policy among it."""
        driver: Any = self.driver
        return [entry["message"] for entry in driver.get_log("browser")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip(
            "NOT TESTED: the docs page in a browser; chromium and chromedriver"
            " are not installed (Debian: apt install chromium chromium-driver)"
        )
    options = ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,1600")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options, Service(driver)) as chrome:
        yield chrome


def test_trying_it_out(demo: ServerProcess, browser: Chrome, token: MakeToken) -> None:
    page = Page(browser)
    browser.get(f"{demo.url}/docs")
    assert {"tasks", "projects", "(rpc) search_tasks"} <= page.sections()
    # Only those who may call it are told of it.
    assert "(rpc) complete_task" not in page.sections()

    page.click(".btn.authorize")
    bearer = token("web_user", user_id=1)["Authorization"].removeprefix("Bearer ")
    page.find(".auth-container input").send_keys(bearer)
    page.click(".auth-btn-wrapper .authorize")
    page.wait_for_section("(rpc) complete_task")
    page.click(".auth-btn-wrapper .btn-done")

    page.click(".opblock-tag[data-tag=projects]")
    page.click(".opblock-get .opblock-summary-control")
    page.find("tr[data-param-name=is_public] input").send_keys("is.false")
    page.find("tr[data-param-name=limit] input").send_keys("1")
    page.click(".opblock-get .execute")
    shown = page.find(".live-responses-table tbody .response-col_description").text
    assert '"is_public": false' in shown
    assert page.find(".live-responses-table tbody .response-col_status").text.startswith("200")
    assert page.find(".request-url").text.endswith("/projects?is_public=is.false&limit=1")
    assert page.faults() == []


def test_choosing_a_schema(types_uri: str, start_edge: StartEdge, browser: Chrome) -> None:
    settings = {"db_schemas": "api, other", "openapi_docs_path": "/docs"}
    with start_edge(db_uri=types_uri, **settings) as server:
        page = Page(browser)
        browser.get(f"{server.url}/docs/")
        assert "films" in page.sections()
        page.find("#schema option:nth-child(2)").click()
        page.wait_for_section("things")
        assert page.sections() == {"Introspection", "things"}
        page.click(".opblock-tag[data-tag=things]")
        page.click(".opblock-get .opblock-summary-control")
        page.click(".opblock-get .execute")
        assert page.find(".live-responses-table tbody .response-col_status").text.startswith(
            "200"
        )
        assert page.faults() == []
