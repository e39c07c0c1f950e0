"""deploy/compose without containers: its database.sql, settings and Caddyfile, run for real.

Two edgerests with the environment of the image and of compose.yaml, and Caddy in front of
them; on two addresses of this machine, so that they may have the ports they have there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import jwt
import pytest
import yaml

from proxy.cli.demo.private_postgres import EmbeddedPostgres, find_binaries
from tests.cli.processes import Running, run_edgerest, start_edgerest
from tests.deploy.files import example_values, filled_in, image_environment, path
from tests.ports import free_port
from tests.waiting import eventually

CADDY = Path(sys.executable).parent / "caddy"
HOSTS = ("127.0.0.1", "127.0.0.2")
NOTES = [{"id": 1, "owner": "ada", "body": "Served by edgerest"}]


@pytest.fixture(scope="module")
def database() -> Iterator[EmbeddedPostgres]:
    """A fresh server, made as database.sh does."""
    with (
        tempfile.TemporaryDirectory(prefix="edgerest-test-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        subprocess.run(
            [
                *(find_binaries() / "psql", "--no-psqlrc", "--quiet"),
                *("--set=ON_ERROR_STOP=1", "--set=password=not-asked-for-here"),
                *(f"--file={path('compose', 'database.sql')}", server.dsn),
            ],
            check=True,
        )
        yield server


@pytest.fixture(scope="module")
def environment(database: EmbeddedPostgres) -> dict[str, str]:
    """What compose.yaml and the image set, but for where the database is."""
    text = filled_in(path("compose", "compose.yaml").read_text(), example_values())
    given = yaml.safe_load(text)["services"]["edge1"]["environment"]
    both = image_environment() | given
    del both["PGRST_SERVER_HOST"], both["PGRST_ADMIN_SERVER_PORT"]
    return {
        **both,
        "PGRST_DB_URI": database.dsn_for("postgres", "authenticator"),
        "PGRST_SERVER_DRAIN_DELAY": "2",
        "PGRST_LOG_LEVEL": "info",
        "PGRST_LOG_FORMAT": "json",
    }


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    """A port for requests and one for the admin server, free on both addresses."""
    with ExitStack() as stack:
        free = [
            stack.enter_context(socket.create_server(("0.0.0.0", 0)))  # noqa: S104
            for _ in range(2)
        ]
        main, admin = (str(taken.getsockname()[1]) for taken in free)
    return {"PGRST_SERVER_PORT": main, "PGRST_ADMIN_SERVER_PORT": admin}


@contextmanager
def edgerests(*hosts: str, **settings: str) -> Iterator[dict[str, Running]]:
    """A server at each host, all of them ready."""
    with ExitStack() as stack:
        started = {
            host: stack.enter_context(
                start_edgerest("serve", **settings, PGRST_SERVER_HOST=host)
            )
            for host in hosts
        }
        ends = time.monotonic() + 20
        for host, running in started.items():
            while not is_ready(f"http://{host}:{settings['PGRST_ADMIN_SERVER_PORT']}"):
                assert running.process.poll() is None, running.output
                assert time.monotonic() < ends
                time.sleep(0.05)
        yield started


def is_ready(admin: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{admin}/ready").status_code == 200
    return False


@pytest.fixture(scope="module")
def servers(environment: dict[str, str], ports: dict[str, str]) -> Iterator[dict[str, Running]]:
    """The two of them."""
    with edgerests(*HOSTS, **environment, **ports) as started:
        yield started


@pytest.fixture(scope="module")
def site(
    servers: dict[str, Running], ports: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of Caddy's, over HTTP/2 and TLS."""
    assert len(servers) == 2
    if not CADDY.exists():
        pytest.skip("there is no Caddy for this platform in the environment")
    port = free_port()
    data = tmp_path_factory.mktemp("caddy")
    root = data / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    given = {
        "SITE": f"https://localhost:{port}",
        "UPSTREAMS": " ".join(f"{host}:{ports['PGRST_SERVER_PORT']}" for host in HOSTS),
        "HEALTH_PORT": ports["PGRST_ADMIN_SERVER_PORT"],
        "XDG_DATA_HOME": str(data),
        "XDG_CONFIG_HOME": str(data),
        "CADDY_ADMIN": f"unix/{data}/admin",
    }
    command = [
        str(CADDY),
        "run",
        "--adapter=caddyfile",
        f"--config={path('compose', 'Caddyfile')}",
    ]
    log = data / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, env={**os.environ, **given}, stderr=errors) as process,
    ):
        try:
            ends = time.monotonic() + 15
            while not is_serving(given["SITE"], root):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < ends, log.read_text()
                time.sleep(0.05)
            context = ssl.create_default_context(cafile=root)
            with httpx.Client(
                http2=True, verify=context, base_url=given["SITE"], timeout=20
            ) as client:
                yield client
        finally:
            process.terminate()
            process.wait(10)


def is_serving(site: str, root: Path) -> bool:
    """Whether Caddy has made its certificates and answers with them."""
    with contextlib.suppress(httpx.TransportError, OSError):
        context = ssl.create_default_context(cafile=root)
        return httpx.get(site, verify=context).status_code < 500
    return False


def test_the_health_check_of_the_image(
    servers: dict[str, Running], environment: dict[str, str], ports: dict[str, str]
) -> None:
    assert len(servers) == 2
    host = image_environment()["PGRST_SERVER_HOST"]
    done = run_edgerest("ready", **environment, **ports, PGRST_SERVER_HOST=host)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OK: http://127.0.0.1:")


def test_http2_from_the_client_to_the_server(
    site: httpx.Client, servers: dict[str, Running]
) -> None:
    answer = site.get("/notes")
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert answer.json() == NOTES
    for _ in range(10):
        assert site.get("/notes?protocol=is.null").status_code == 400
    lines = [
        json.loads(line)
        for running in servers.values()
        for line in running.output.splitlines()
        if line.startswith("{")
    ]
    assert {line["protocol"] for line in lines} == {"2"}
    assert len(lines) >= 10


def test_a_token_writes_through_it(site: httpx.Client) -> None:
    claims = {"role": "web_user", "sub": "bo", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, example_values()["JWT_SECRET"], "HS256")
    headers = {"Authorization": f"Bearer {token}"}
    assert site.post("/notes", json={"body": "x"}).status_code == 401
    assert site.post("/notes", json={"body": "x"}, headers=headers).status_code == 201
    assert site.delete("/notes?owner=eq.bo", headers=headers).status_code == 204


def test_a_restart_fails_no_request(
    site: httpx.Client,
    servers: dict[str, Running],
    environment: dict[str, str],
    ports: dict[str, str],
) -> None:
    ending = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        while not ending.is_set():
            statuses.append(site.get("/notes").status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        eventually(lambda: len(statuses) > 20)
        assert servers[HOSTS[0]].stop(signal.SIGTERM, 15) == 0
        alone = len(statuses)
        eventually(lambda: len(statuses) > alone + 20)
        with edgerests(HOSTS[0], **environment, **ports) as again:
            eventually(lambda: '"status"' in again[HOSTS[0]].output)
            ending.set()
            asking.join()
    finally:
        ending.set()
        asking.join()
    assert set(statuses) == {200}
