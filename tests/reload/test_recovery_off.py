"""`db-pool-automatic-recovery = false`: a server that has lost its database ends."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import StartEdge


def test_losing_the_database_ends_the_server(start_edge: StartEdge) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-loss-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as database,
        start_edge(
            db_uri=database.dsn,
            db_schemas="public",
            db_anon_role="postgres",
            db_pool_automatic_recovery=False,
        ) as server,
    ):
        assert httpx.get(f"{server.url}/").status_code == 200
        database.stop()
        assert httpx.get(f"{server.url}/").status_code == 503
        code, _ = server.wait(20)
        assert code == 1
        assert "automatic recovery is off" in server.log
