"""The command line on a configuration with apps."""

from __future__ import annotations

import json

import jwt
import pytest
from click.testing import CliRunner, Result

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.cli.main import main
from tests.apps.conftest import Config


def run(config: Config, *words: str) -> Result:
    config.write()
    command, *options = words
    return CliRunner().invoke(main, [command, str(config.path), *options])


def test_check_tells_of_each_app(config: Config, postgres: EmbeddedPostgres) -> None:
    config.apps["blog"]["db-schemas"] = "missing"
    config.apps["away"] = {
        "hosts": "away",
        "db-uri": postgres.dsn_for("no_such_database", "authenticator"),
    }
    config.apps = {"nonsense": {"hosts": "nonsense", "db-uri": "none"}, **config.apps}
    result = run(config, "check")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert "ok: apps.shop: db-schemas: api" in lines
    assert any(line.startswith("error: apps.blog: db-schemas: there is no") for line in lines)
    assert any(line.startswith("error: apps.away: db-uri: ") for line in lines)
    assert any(line.startswith('error: apps.nonsense: db-uri: missing "="') for line in lines)


def test_a_dump_has_what_each_database_says(config: Config) -> None:
    result = run(config, "dump-config")
    assert result.exit_code == 0
    before, shop, blog = result.output.split("\n[apps.")
    assert "server-port = 0" in before
    assert "db-schemas" not in before
    assert shop.startswith("shop]\n")
    assert 'hosts = "blog.example.com"' in blog
    assert 'db-anon-role = "web_anon"' in blog


def test_a_token_is_signed_with_the_secret_of_the_app(config: Config) -> None:
    result = run(config, "token", "--app", "shop", "--role", "web_user")
    secret = str(config.apps["shop"]["jwt-secret"])
    assert jwt.decode(result.output.strip(), secret, ["HS256"])["role"] == "web_user"


def test_the_schema_of_one_app(config: Config) -> None:
    result = run(config, "schema", "--app", "blog")
    assert "dbTables" in json.loads(result.output)


@pytest.mark.parametrize("command", ["token", "schema"])
@pytest.mark.parametrize("options", [(), ("--app", "other")])
def test_which_of_several_must_be_said(
    config: Config, command: str, options: tuple[str, ...]
) -> None:
    result = run(config, command, *options)
    assert result.exit_code == 1
    assert "--app: name one of the apps: shop, blog" in result.output
