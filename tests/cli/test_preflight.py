"""What `edgerest check` calls an error `edgerest serve` refuses, in the same words."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from proxy.cli.main import main
from proxy.settings.model import TABLE
from proxy.settings.rows import Setting

KEYS = {key for row in TABLE for key in row.keys}
Place = Callable[[Path, ExitStack], str]


def taken(stack: ExitStack) -> int:
    sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port: int = sock.getsockname()[1]
    return port


def key_of_another(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (path / "key.pem").write_bytes(pem)
    return path / "key.pem"


def text_file(path: Path) -> Path:
    (path / "text").write_text("nothing of the kind")
    return path / "text"


def listening(path: Path, stack: ExitStack) -> Path:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    sock.bind(str(path / "s"))
    sock.listen()
    return path / "s"


CASES: dict[str, Place] = {
    "port": lambda path, stack: f"server-port = {taken(stack)}",
    "admin port": lambda path, stack: f"server-port = 0\nadmin-server-port = {taken(stack)}",
    "host": lambda path, stack: 'server-host = "no-such-host.invalid"\nserver-port = 0',
    "admin host": lambda path, stack: (
        'admin-server-host = "no-such-host.invalid"\nserver-port = 0\nadmin-server-port = 1'
    ),
    "socket": lambda path, stack: f'server-unix-socket = "{path}/no/such/folder"',
    "socket taken": lambda path, stack: f'server-unix-socket = "{listening(path, stack)}"',
    "admin socket": lambda path, stack: (
        f'server-port = 0\nadmin-server-unix-socket = "{path}/no/such/folder"'
    ),
    "no cert": lambda path, stack: (
        f'server-tls-cert = "{path}/c"\nserver-tls-key = "{path}/k"\nserver-port = 0'
    ),
    "cert is text": lambda path, stack: (
        f'server-tls-cert = "{text_file(path)}"\nserver-tls-key = "{key_of_another(path)}"\n'
        "server-port = 0"
    ),
    "no otel": lambda path, stack: "server-tracing-enabled = true\nserver-port = 0",
    "no redis": lambda path, stack: 'cache-store = "redis://localhost:1"\nserver-port = 0',
    "app's redis": lambda path, stack: (
        'server-port = 0\n[apps.one]\ndb-uri = "host=h"\ncache-store = "redis://localhost:1"'
    ),
    "toml": lambda path, stack: "server-port = 0\ndb-pool = ten",
    "jwk": lambda path, stack: 'jwt-secret = \'{"kty":"RSA"}\'',
    "short jwk": lambda path, stack: "jwt-secret = '{\"kty\"'",
    "jwks uri": lambda path, stack: 'jwt-jwks-uri = "ftp://h"',
    "policy": lambda path, stack: '[cache.tables."api.x"]\nmax-agee = 1',
}


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the server alone is installed."""
    really = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        return None if name.startswith(("redis", "opentelemetry")) else really(name, package)

    for module in ("proxy.server.preflight", "proxy.server.telemetry"):
        monkeypatch.setattr(f"{module}.find_spec", find_spec)


@pytest.mark.usefixtures("without_extras")
@pytest.mark.parametrize("case", CASES)
def test_both_refuse_with_the_same_words(case: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        config = tmp_path / "c.toml"
        config.write_text('server-host = "127.0.0.1"\n' * ("host" not in case))
        with config.open("a") as file:
            # A database that is away is not what any of this is about.
            if "app" not in case:
                file.write('db-uri = "postgresql://127.0.0.1:1/d?connect_timeout=1"\n')
            file.write(CASES[case](tmp_path, stack))
        served = CliRunner().invoke(main, ["serve", str(config)])
        checked = CliRunner().invoke(main, ["check", str(config)])
    assert served.exit_code == checked.exit_code == 1
    refused = [
        line.removeprefix("edgerest: ")
        for line in served.stderr.splitlines()
        if not line.startswith("edgerest: warning: ")
    ]
    assert refused
    for line in refused:
        assert f"error: {line}" in checked.stderr.splitlines()
        assert any(key in line for key in {*KEYS, "cache."}), "no setting is named"
        assert "openssl" not in line
        assert "!4" not in line
    assert "Traceback" not in served.output + checked.output
    if case == "toml":
        assert refused[0].startswith(f"{config}: db-pool: ")
    if "cert" in case:
        assert str(tmp_path) in refused[0]


def test_a_check_leaves_no_socket_behind(tmp_path: Path) -> None:
    path = tmp_path / "s"
    CliRunner(env={"PGRST_SERVER_UNIX_SOCKET": str(path)}).invoke(main, ["check"])
    assert not path.exists()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.key)
def test_whatever_is_set_the_message_names_it(row: Setting, tmp_path: Path) -> None:
    base = {
        "PGRST_DB_URI": "host=h sslmode=nonsense",
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": "0",
    }
    known = KEYS | {each.variable for each in TABLE}
    for value in (
        "nonsense",
        "-1",
        "99999999999",
        "@/no/such/file",
        "a b\nc",
        "http://h:x/",
        "[",
    ):
        environ = {**base, row.variable: value}
        if row.key.endswith("unix-socket"):
            environ[row.variable] = f"{tmp_path}/{value.replace('/', '.')}"
        result = CliRunner(env=environ).invoke(main, ["check"])
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        for line in result.stderr.split("\n")[:-1]:
            if line.startswith(("error: ", "warning: ")):
                assert any(name in line for name in known), line
