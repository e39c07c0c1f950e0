"""Why no connection could be made, in words for an operator and not the driver's own."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import pytest

from pool.connection import connect
from pool.errors import ConnectionFailed
from pool.source import Source
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.ports import free_port

DRIVERS_WORDS = re.compile(
    r"Errno|_ssl\.c|SessionAttribute|Connect call|Multiple exceptions|\(\("
)


def failure(dsn: str, **env: str) -> str:
    source = Source(dsn, application_name="edgerest", env=env)
    with pytest.raises(ConnectionFailed) as caught:
        asyncio.run(connect(source))
    said = str(caught.value)
    assert not DRIVERS_WORDS.search(said), said
    return said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nobody_listens(host: str) -> None:
    port = free_port()
    said = failure(f"postgresql://{host}:{port}/d")
    assert "Connection refused" in said
    assert str(port) in said


def test_a_host_that_has_no_address() -> None:
    for dsn in (
        "postgresql://u:secret@no-such-host.invalid/d",
        "host=no-such-host.invalid password=secret",
        "postgresql://u:secret@no-such-host.invalid,other.invalid/d",
    ):
        said = failure(dsn)
        assert "the host no-such-host.invalid can't be resolved" in said
        assert "secret" not in said


def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file or directory" in failure(f"host={tmp_path} user=u dbname=d")


def test_a_server_without_tls(postgres: EmbeddedPostgres) -> None:
    dsn = f"{postgres.dsn_for(tcp=True)}?sslmode=require"
    assert "the server has no TLS, which sslmode demands" in failure(dsn)


def test_no_server_of_the_kind(postgres: EmbeddedPostgres) -> None:
    for kind in ("standby", "read-only"):
        said = failure(f"{postgres.dsn_for(tcp=True)}?target_session_attrs={kind}")
        assert f"no server is {kind}, as target_session_attrs demands" in said


def test_a_server_that_speaks_something_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        said = failure(f"postgresql://127.0.0.1:{port}/d?connect_timeout=1")
    assert "did not answer within 1 second" in said
