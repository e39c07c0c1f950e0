"""`edgerest serve` as a process: what it says, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pool.embedded import EmbeddedPostgres
from tests.cli.processes import Running, run_edgerest, start_edgerest


def environ(dsn: str, port: int = 0) -> dict[str, str]:
    return {
        "PGRST_DB_URI": dsn,
        "PGRST_DB_ANON_ROLE": "postgres",
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
    }


@pytest.fixture
def server(postgres: EmbeddedPostgres) -> Iterator[Running]:
    with start_edgerest(**environ(postgres.dsn)) as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_on_a_signal(server: Running, number: int) -> None:
    address = server.wait_for("API server listening on").rpartition(" ")[2]
    assert httpx.get(f"http://{address}/nothing").status_code == 404
    assert server.stop(number) == 0
    assert "Traceback" not in server.output
    assert re.match(
        r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}: Starting edgerest \d",
        server.output,
    )


def test_ready_is_answered_by_the_running_server(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    admin = {"PGRST_ADMIN_SERVER_UNIX_SOCKET": str(tmp_path / "admin")}
    with start_edgerest("serve", **environ(postgres.dsn), **admin) as running:
        running.wait_for("API server listening on")
        found = run_edgerest("--ready", **admin)
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"OK: {tmp_path / 'admin'}\n"


def test_a_port_in_use(postgres: EmbeddedPostgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        found = run_edgerest("serve", **environ(postgres.dsn, port))
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == (
        f"edgerest: Cannot listen on 127.0.0.1 port {port}: Address already in use"
    )
    assert "Traceback" not in found.stderr


def test_a_database_that_will_never_let_us_in(postgres: EmbeddedPostgres) -> None:
    found = run_edgerest("serve", **environ(postgres.dsn_for("nowhere")))
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == (
        'edgerest: The database: database "nowhere" does not exist'
    )
    assert "Traceback" not in found.stderr
