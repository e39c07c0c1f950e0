"""A server with two workers, on the databases of `tests/apps`, and its operator's token; and
servers with one app, as in `tests/observability`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.apps.conftest import Server, databases, started, two_apps
from tests.observability.conftest import ask_admin, database, serve
from tests.ports import free_port

__all__ = ["TOKEN", "act", "ask_admin", "database", "databases", "serve", "server"]

TOKEN = "the operator's token"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, databases: list[str], postgres: EmbeddedPostgres
) -> Iterator[Server]:
    """With two apps; those who hold one let it go again."""
    config = two_apps(tmp_path_factory.mktemp("admin"), databases, postgres)
    del config.top["admin-server-unix-socket"]
    config.top |= {
        "admin-server-port": free_port(),
        "server-workers": 2,
        "admin-server-token": TOKEN,
    }
    with started(config) as running:
        yield running


def act(server: Server, path: str, token: str | None = TOKEN) -> tuple[int, dict[str, object]]:
    """The answer to an operator's POST."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    answer = server.admin(path, "POST", **headers)
    found: dict[str, object] = answer.json()
    return answer.status_code, found
