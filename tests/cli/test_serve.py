"""`edgerest serve` as a process: what it says, and how it ends."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.cli.processes import Running, run_edgerest, start_edgerest
from tests.conftest import execute


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
        f"edgerest: server-port: Cannot listen on 127.0.0.1 port {port}: Address already in use"
    )
    assert "Traceback" not in found.stderr


def test_a_password_that_will_never_let_us_in(postgres: EmbeddedPostgres) -> None:
    wrong = postgres.dsn_for(tcp=True, password="wrong")
    found = run_edgerest("serve", **environ(wrong))
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1].startswith(
        "edgerest: db-uri: password authentication failed for user"
    )
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    "asked, complaint",
    [
        ("sslmode=requir", "sslmode: it is none of disable, allow, prefer, require, "),
        ("target_session_attrs=nope", "target_session_attrs: it is none of any, primary, "),
        (
            "sslmode=verify-full&sslrootcert=/no/such/file",
            "sslrootcert: /no/such/file can't be read: No such file or directory",
        ),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_what_can_never_work_ends_it(
    tmp_path: Path, several: bool, asked: str, complaint: str
) -> None:
    config = tmp_path / "c"
    config.write_text(
        f"server-port = 0\n{'[apps.one]' if several else ''}\n"
        f'db-uri = "postgresql://127.0.0.1:1/app?{asked}"\ndb-anon-role = "nobody"\n'
    )
    found = run_edgerest("serve", str(config))
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    last = found.stderr.splitlines()[-1]
    assert f"db-uri: {complaint}" in last
    assert ("apps.one: " in last) == several


@pytest.mark.parametrize(
    "lacks, made_by",
    [
        ("database", "create database comes_later"),
        ("role", "create role comes_later superuser login"),
    ],
)
def test_what_is_missing_may_come_later(
    postgres: EmbeddedPostgres, lacks: str, made_by: str
) -> None:
    database, user = (
        ("comes_later", "postgres") if lacks == "database" else ("postgres", "comes_later")
    )
    with start_edgerest("serve", **environ(postgres.dsn_for(database, user))) as running:
        address = running.wait_for("API server listening on").rpartition(" ")[2]
        assert f'{lacks} "comes_later" does not exist' in running.output
        assert httpx.get(f"http://{address}/").status_code == 503
        asyncio.run(execute(postgres.dsn, made_by))
        running.wait_for("Schema cache loaded")
        assert httpx.get(f"http://{address}/").status_code == 200
        assert running.stop(signal.SIGTERM) == 0
