"""Three databases, a configuration that names them as apps, and a server on it."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeDatabase, Setting
from tests.http.processes import ServerProcess, running

Table = dict[str, Setting | list[str]]


@dataclass
class Config:
    """A configuration with tables, written to `path` anew whenever it changes."""

    path: Path
    top: Table = field(default_factory=dict)
    apps: dict[str, Table] = field(default_factory=dict)

    def write(self) -> None:
        text = _lines(self.top)
        for name, table in self.apps.items():
            text += f"\n[apps.{name}]\n{_lines(table)}"
        self.path.write_text(text)


def _lines(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


class Server:
    """A running server and its configuration."""

    def __init__(self, process: ServerProcess, config: Config) -> None:
        self.process = process
        self.began = time.monotonic()
        self.config = config

    def get(self, host: str, path: str, **headers: str) -> httpx.Response:
        """The answer to a GET that names `host`."""
        return httpx.get(self.process.url + path, headers={"host": host, **headers})

    def name(self, host: str, path: str = "/things") -> str:
        """The database that `path` is answered from; else the error's code."""
        answer = self.get(host, path).json()
        found: str = answer[0]["name"] if isinstance(answer, list) else answer["code"]
        return found

    def reload(self) -> None:
        """Write the configuration and have it read."""
        self.config.write()
        self.process.signal(signal.SIGUSR2)

    def admin(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """The admin server's answer."""
        socket = self.config.top.get("admin-server-unix-socket")
        transport = None if socket is None else httpx.HTTPTransport(uds=str(socket))
        base = f"http://{self.process.admin}" if socket is None else "http://admin"
        with httpx.Client(base_url=base, transport=transport, timeout=20) as client:
            return client.request(method, path, headers=headers)


Start = Callable[[Config], AbstractContextManager[Server]]


def bearer(secret: str, role: str = "web_user") -> dict[str, str]:
    """The headers of a request with a token signed with `secret`."""
    payload = {"role": role, "exp": int(time.time()) + 600}
    return {"Authorization": f"Bearer {jwt.encode(payload, secret, 'HS256')}"}


@pytest.fixture(scope="session")
def databases(make_database: MakeDatabase) -> list[str]:
    """The names of three databases of the same schema."""
    return [make_database(Path(__file__).with_name("schema.sql")) for _ in range(3)]


@pytest.fixture
def config(tmp_path: Path, databases: list[str], postgres: EmbeddedPostgres) -> Config:
    """Two apps, told apart by host."""
    return two_apps(tmp_path, databases, postgres)


def two_apps(directory: Path, databases: list[str], postgres: EmbeddedPostgres) -> Config:
    """A configuration in `directory`."""

    def app(number: int, host: str) -> Table:
        return {
            "hosts": [host],
            "db-uri": postgres.dsn_for(databases[number], "authenticator"),
            "jwt-secret": f"the secret of the app on {host}, long enough",
        }

    return Config(
        directory / "edge.conf",
        {
            "server-host": "127.0.0.1",
            "server-port": 0,
            "admin-server-unix-socket": str(directory / "admin"),
            "db-schemas": "api",
            "db-anon-role": "web_anon",
            "db-pool": 3,
        },
        {"shop": app(0, "shop.example.com"), "blog": app(1, "blog.example.com")},
    )


@contextmanager
def started(config: Config) -> Iterator[Server]:
    """A server on `config`."""
    config.write()
    command = [sys.executable, "-m", "tests.http.edge_server", str(config.path)]
    with running(command) as process:
        yield Server(process, config)
        assert "Traceback" not in process.log, process.log[-6000:]


@pytest.fixture
def start() -> Start:
    """Starts a server."""
    return started
