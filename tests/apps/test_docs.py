"""docs/many-apps.md: its example is served as it says."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.settings.model import TABLE
from tests.http.processes import ROOT, running

PAGE = (ROOT / "docs" / "many-apps.md").read_text(encoding="utf-8")


def test_the_example_is_served(
    tmp_path: Path, databases: list[str], postgres: EmbeddedPostgres
) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    config = tmp_path / "edgerest.conf"
    config.write_text(example[1])
    uris = {
        f"{app}_DB_URI": postgres.dsn_for(name, "authenticator")
        for app, name in zip(("SHOP", "BLOG"), databases, strict=False)
    }
    addresses = {
        "PGRST_SERVER_PORT": "0",
        "PGRST_ADMIN_SERVER_UNIX_SOCKET": str(tmp_path / "admin"),
    }
    secrets = {"SHOP_JWT_SECRET": "s" * 32, "BLOG_JWT_SECRET": "b" * 32}
    command = [sys.executable, "-m", "tests.http.edge_server", str(config)]
    environment = {**os.environ, **uris, **addresses, **secrets}
    with running(command, **environment) as server:
        asked = {
            ("shop.example.com", "/things"): databases[0],
            ("eu.shop.example.com", "/things"): databases[0],
            ("www.example.com", "/blog/things"): databases[1],
        }
        for (host, path), name in asked.items():
            answer = httpx.get(server.url + path, headers={"host": host})
            assert answer.json() == [{"id": 1, "name": name}]
        nobody = httpx.get(f"{server.url}/things", headers={"host": "www.example.com"})
        assert nobody.status_code == 404
        assert nobody.json()["code"] in PAGE


def test_the_settings_that_are_each_apps_own_are_named() -> None:
    for row in TABLE:
        if not row.facts.inherited:
            assert f"`{row.key}`" in PAGE
