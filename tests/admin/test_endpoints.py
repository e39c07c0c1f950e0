"""The admin server: statuses, shapes, sockets, and no secrets."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from proxy.admin.server import ENDPOINTS, Reports, admin_app
from proxy.cli.ready import ask_ready
from proxy.settings import Settings
from proxy.settings.dump import dump_settings
from proxy.settings.model import TABLE
from tests.observability.conftest import Ask, Serve
from tests.ports import free_port

PASSWORD = "hunter2 of the database"
SECRET = "the secret that signs every token"


@dataclass(frozen=True)
class State:
    live: bool
    pending: bool
    stopping: bool = False


@pytest.mark.parametrize(
    "state, live, ready",
    [
        (State(live=True, pending=False), 200, 200),
        (State(live=True, pending=True), 200, 503),
        (State(live=True, pending=False, stopping=True), 200, 503),
        (State(live=False, pending=False, stopping=True), 500, 503),
        (State(live=False, pending=True), 500, 503),
        (State(live=False, pending=False), 500, 500),
    ],
)
async def test_the_status_says_how_the_server_is(state: State, live: int, ready: int) -> None:
    client = admin_app(state, Reports()).test_client()
    for path, status in (("/live", live), ("/ready", ready)):
        for ask in (client.get, client.head, client.post):
            answer = await ask(path)
            assert (answer.status_code, await answer.get_data()) == (status, b"")


@pytest.mark.parametrize("path", ["/", "/live/", "/Live", "/metrics/x", "/static/x", "/%00"])
async def test_anything_else_is_404_with_nothing_in_it(path: str) -> None:
    client = admin_app(State(live=True, pending=False), Reports()).test_client()
    answer = await client.get(path)
    assert (answer.status_code, await answer.get_data()) == (404, b"")


async def test_reports_are_shown_as_they_are_now() -> None:
    said = iter((b"{}", b'{"n":1}'))
    reports = Reports(
        schema_cache=lambda: next(said),
        config=lambda: "db-pool = 10\n",
        metrics=lambda accept: (accept.encode(), "text/x"),
    )
    client = admin_app(State(live=True, pending=False), reports).test_client()
    caches = [await (await client.get("/schema_cache")).get_data() for _ in range(2)]
    assert caches == [b"{}", b'{"n":1}']
    assert await (await client.get("/config")).get_data() == b"db-pool = 10\n"
    answer = await client.get("/metrics", headers={"accept": "a/b"})
    assert (await answer.get_data(), answer.content_type) == (b"a/b", "text/x")


def test_a_redacted_dump_keeps_secrets_and_nothing_else_back() -> None:
    settings = Settings(
        db_uri=f"postgresql://u:{PASSWORD}@h/d",
        jwt_secret=SECRET,
        db_anon_role="web_anon",
        db_read_uris=(f"postgresql://u:{PASSWORD}@r/d",),
        app_settings=(("app.settings.key", "also secret"),),
    )
    shown, whole = dump_settings(settings, hides="secrets"), dump_settings(settings)
    for hidden in (PASSWORD, SECRET, "also secret"):
        assert hidden in whole
        assert hidden not in shown
    changed = {a for a, b in zip(shown.splitlines(), whole.splitlines(), strict=True) if a != b}
    assert changed == {
        'db-uri = "***"',
        'db-read-uris = "***"',
        'jwt-secret = "***"',
        'app.settings.key = "***"',
    }
    assert {row.key for row in TABLE if row.secret} == {
        "db-uri",
        "db-read-uris",
        "jwt-secret",
        "admin-server-token",
        "cache-store",
        "jwt-jwks-uri",
    }
    # Whether there is a secret is no secret.
    assert 'jwt-secret = ""' in dump_settings(Settings(), hides="secrets")


def test_the_endpoints_of_a_real_server(serve: Serve, tmp_path: Path, ask_admin: Ask) -> None:
    path = tmp_path / "admin"
    with serve(
        admin_server_unix_socket=str(path),
        admin_server_unix_socket_mode="640",
        jwt_secret=SECRET,
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        answers = {endpoint.path: ask_admin(endpoint.path) for endpoint in ENDPOINTS}
        assert {answer.status_code for answer in answers.values()} == {200}
        assert answers["/live"].content == answers["/ready"].content == b""
        cache = answers["/schema_cache"].json()
        assert "dbTables" in cache
        config = answers["/config"].text
        assert 'db-schemas = "api"' in config
        assert SECRET not in config
        missing = ask_admin("/other")
        assert (missing.status_code, missing.content) == (404, b"")
        assert "content-type" not in missing.headers
        assert ask_ready(Settings(admin_server_unix_socket=path)).ready
    assert not path.exists()
    assert not ask_ready(Settings(admin_server_unix_socket=path)).ready


def test_the_admin_server_listens_on_a_port(serve: Serve) -> None:
    port = free_port()
    with serve(admin_server_port=port) as server:
        assert server.admin == f"127.0.0.1:{port}"
        assert httpx.get(f"http://{server.admin}/ready").status_code == 200
        settings = Settings(server_host="127.0.0.1", admin_server_port=port)
        answer = ask_ready(settings)
        assert (answer.ready, answer.text) == (True, f"OK: http://127.0.0.1:{port}/ready")
