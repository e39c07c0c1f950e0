"""The dashboard and the alerts of deploy/, asked of a live server.

A Prometheus of the test's own reads `/metrics`; each expression of the dashboard must find
something there. Without Prometheus on PATH names and labels are looked for on the page itself.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from proxy.observability.metrics import METRICS
from tests.conftest import MakeToken
from tests.http.processes import ROOT
from tests.observability.conftest import Serve
from tests.observability.test_metrics import samples
from tests.ports import free_port
from tests.waiting import eventually

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RULES = PROMETHEUS / "edgerest.rules.yml"

DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "edgerest.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SHOWN = [target["expr"] for panel in PANELS for target in panel["targets"]]
ALERTS: dict[str, str] = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
OF_PROMETHEUS = {"app", "instance", "job", "le", "up"}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool"
)


@pytest.fixture(scope="module")
def admin(serve: Serve, token: MakeToken) -> Iterator[str]:
    """The admin server's address, after requests of several kinds, a failed one among them."""
    port = free_port()
    with serve(admin_server_host="127.0.0.1", admin_server_port=port) as server:
        with httpx.Client(base_url=server.url, headers=token("web_user"), timeout=20) as client:
            assert client.get("/items").status_code == 200
            late = {"X-Request-Timeout": "0.2"}
            answer = client.post("/rpc/wait", json={"seconds": 5}, headers=late)
            assert answer.status_code == 504
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("expression", [*SHOWN, *ALERTS.values()])
def test_every_metric_and_label_is_on_the_page(expression: str, admin: str) -> None:
    found = samples(httpx.get(f"http://{admin}/metrics").text)
    names = {name for name, _ in found}
    labels = {label for _, pairs in found for label, _ in pairs} | OF_PROMETHEUS
    asked = set(re.findall(r"\b(?:edgerest|pgrst)_\w+", expression))
    assert asked <= names
    assert asked or "up{" in expression
    matched = re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression)
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    for label in [*matched, *(name.strip() for names in grouped for name in names.split(","))]:
        assert label in labels
    for label, value in re.findall(r'(method|status|state)="(\w+)"', expression):
        assert any((label, value) in pairs for _, pairs in found)


def test_every_metric_that_says_how_it_goes_is_shown() -> None:
    described = {metric.name for metric in METRICS}
    shown = set(re.findall(r"\b(?:edgerest|pgrst)_\w+", " ".join([*SHOWN, *ALERTS.values()])))
    bare = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert len(described & bare) > len(described) * 0.7


@pytest.fixture(scope="module")
def prometheus(admin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that has read the page several times."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no Prometheus")
    place = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["rule_files"] = [str(RULES)]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [admin]}]
    (place / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program,
        f"--config.file={place / 'prometheus.yml'}",
        f"--storage.tsdb.path={place / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        (place / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        try:
            eventually(lambda: asked(client, "count_over_time(up[1m]) > 2") != [], seconds=60)
            yield client
        finally:
            process.terminate()


def asked(prometheus: httpx.Client, expression: str) -> list[Any]:
    """What an expression gives now; nothing while nobody answers."""
    try:
        answer = prometheus.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, answer.text
    result: list[Any] = answer.json()["data"]["result"]
    return result


@pytest.mark.parametrize("expression", SHOWN)
def test_every_expression_of_the_dashboard_finds_something(
    expression: str, prometheus: httpx.Client
) -> None:
    filled = expression.replace("$__rate_interval", "1m")
    filled = re.sub(r"\$(instance|app)\b", ".*", filled)
    assert asked(prometheus, filled) != []


def test_the_variables_of_the_dashboard_find_something(prometheus: httpx.Client) -> None:
    variables = [v for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    names = [re.fullmatch(r"label_values\((\w+), (\w+)\)", v["query"]) for v in variables]
    assert [found and found[2] for found in names] == ["instance", "app"]
    assert all(found and asked(prometheus, found[1]) for found in names)


def test_the_rules_are_evaluated_without_an_error(prometheus: httpx.Client) -> None:
    answer = prometheus.get("/api/v1/rules").json()
    (group,) = answer["data"]["groups"]
    assert [rule["name"] for rule in group["rules"]] == list(ALERTS)
    assert [rule["lastError"] for rule in group["rules"] if rule.get("lastError")] == []


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    text = Path(__file__).with_name("alerts.yml").read_text()
    (tmp_path / "test.yml").write_text(text.replace("RULES", str(RULES)))
    assert set(re.findall(r"alertname: (\w+)", text)) == set(ALERTS)
    assert f"value: {len(ALERTS)}" in text
    for command in (
        ["promtool", "check", "config", str(PROMETHEUS / "prometheus.yml")],
        ["promtool", "test", "rules", str(tmp_path / "test.yml")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["description"] and panel["title"] for panel in PANELS)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]}
    assert len(places) == len(ids)
    for file in GRAFANA.rglob("*.yaml"):
        assert yaml.safe_load(file.read_text())["apiVersion"] == 1
