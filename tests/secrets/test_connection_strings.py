"""No text about a connection string holds a part of its password, however it is written."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pool import Pool
from pool.dsn import is_showable, parse_dsn
from pool.errors import ConnectionFailed
from pool.model import Statement
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.cli.diagnostics import Diagnostics, start_diagnostics
from proxy.cli.main import main
from proxy.settings import SettingsError, load_settings
from proxy.settings.dump import Hides, dump_apps
from tests.cli.processes import Running, start_edgerest
from tests.ports import free_port
from tests.secrets.marker import LEAST, MARKER, found_in

SCHEMES = (
    *("postgresql://", "postgres://", "postgress://", "postgresql//", "postgresql:/", ""),
    *("postgresql:", "Postgresql://", "jdbc:postgresql://", "http://", "postgresql:///"),
)
HOSTS = (
    "127.0.0.1:1",
    "127.0.0.1:x",
    "[::1]:1",
    "[::1",
    "127.0.0.1:1,127.0.0.1:2",
    "",
    "a,b:1",
)
# As the URIs of other drivers have it.
TAILS_WITH_PASSWORD = ("/d;password={}", "/d&password={}", ";password={}")
TAILS = (
    "",
    "/",
    "/d",
    "/d?sslmode=disable",
    "/d?nonsense",
    "/d?sslmode=maybe",
    "?port=1&x",
    "#f",
)
KEYWORDS = (
    "host={host} user=u password={password} dbname=d",
    "host={host} user=u password = {password}",
    "host={host} user=u password '{password}'",
    "user=u password='{password}",
    "user=u password='{password}' port=x",
    "user=u password={password} service=there",
    "user=u;password={password};host={host}",
    "user:u password:{password}",
    "host={host} user=u:{password} dbname=d",
    "host={host} user=postgres dbname=d;password={password}",
    "host={host} user=postgres dbname=postgresql://u:{password}@h/d",
    "{password}",
    "u {password}",
)
BETWEEN = st.text("/?#@:%[]&= ;'\"\\$()+,.\tü\u2100\u00a0", max_size=3)


@st.composite
def passwords(draw: st.DrawFn) -> str:
    """The marker, with what should have been escaped before, between and behind its parts."""
    first = draw(st.integers(LEAST, len(MARKER) - LEAST))
    before = draw(st.sampled_from(["", "12", "PORT", "12/", "PORT/", "PORT?", "x="]))
    parts = (
        before,
        draw(BETWEEN),
        MARKER[:first],
        draw(BETWEEN),
        MARKER[first:],
        draw(BETWEEN),
    )
    return "".join(parts)


@st.composite
def connection_strings(draw: st.DrawFn) -> str:
    """PORT stands for the port of a server that is there, FOLDER for that of its socket, and
    SOCKETS for the same as a URI has it."""
    password = draw(passwords())
    form = draw(st.sampled_from(["uri", "uri", "query", "keywords"]))
    host = draw(st.sampled_from([*HOSTS, "127.0.0.1:PORT", "SOCKETS:PORT"]))
    if form == "keywords":
        host = "FOLDER port=PORT" if "PORT" in host else host
        return draw(st.sampled_from(KEYWORDS)).format(host=host, password=password)
    scheme, tail = (
        draw(st.sampled_from([*SCHEMES, *SCHEMES[:1] * 6])),
        draw(st.sampled_from(TAILS)),
    )
    if form == "query":
        tail = draw(st.sampled_from([*TAILS_WITH_PASSWORD, "/d?user=u&password={}"]))
        return f"{scheme}postgres@{host}{tail.format(password)}"
    # A password that is not escaped makes the user a host.
    user = draw(st.sampled_from(["localhost", "", "127.0.0.1", "SOCKETS", "u:u"]))
    return f"{scheme}{user}:{password}@{host}{tail}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PGCONNECT_TIMEOUT", "1"), ("PGUSER", "postgres")):
        monkeypatch.setenv(name, value)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What all loggers say at `debug`, in the form of the server's own lines."""
    text = io.StringIO()
    start_diagnostics("debug", text)
    handler = logging.StreamHandler(text)
    handler.setFormatter(Diagnostics())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)

    yield text
    root.removeHandler(handler)
    root.setLevel(level)
    for name in ("proxy", "pool", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


def at(dsn: str, server: EmbeddedPostgres) -> str:
    sockets = quote(str(server.socket_directory), safe="")
    place = dsn.replace("PORT", str(server.port)).replace("SOCKETS", sockets)
    return place.replace("FOLDER", str(server.socket_directory))


def told(error: BaseException) -> str:
    return "".join((str(error), repr(error), *traceback.format_exception(error)))


def said_of(dsn: str) -> Iterator[str]:
    """What this process says of `dsn`, read, connected to and shown."""
    try:
        target = parse_dsn(dsn, application_name="edgerest", env={})
    except ConnectionFailed as error:
        yield told(error)
    else:
        yield f"{target} {target!r} {target.host_name(0) if target.hosts else ''}"

    async def ask() -> str:
        pool = Pool(dsn, size=1, outage_grace=0, acquire_timeout=2)
        try:
            await pool.fetch(Statement("select 1"))
        finally:
            await pool.close()
        return ""

    try:
        yield asyncio.run(ask())
    except Exception as error:  # noqa: BLE001 - whatever comes is looked at
        yield told(error)
    for key in ("DB_URI", "DB_READ_URIS", "APPS__SHOP__DB_URI", "CACHE_STORE"):
        try:
            loaded = load_settings(None, {f"PGRST_{key}": dsn})
        except SettingsError as error:
            yield told(error)
            continue
        yield f"{loaded} {loaded!r}"
        for hides in get_args(Hides):
            if hides != "nothing":
                yield dump_apps(loaded.settings, loaded.apps, hides)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(dsn=connection_strings())
@example(f"postgress://user:{MARKER}@h/db")
@example(f"postgresql//user:{MARKER}@h/db")
@example(f"user:{MARKER}@h/db")
@example(f"postgresql://127.0.0.1:12/{MARKER}@h/db")
@example(f"postgresql://SOCKETS:PORT/{MARKER}@h/db")
@example(f"postgresql://SOCKETS:PORT/d?{MARKER}=x@h/db")
@example(f"postgresql://u:{MARKER[:8]}?{MARKER[8:]}@127.0.0.1:1/db")
@example(f"postgresql://u:{MARKER[:8]}\u2100{MARKER[8:]}@127.0.0.1:1/db")
@example(f"postgresql://u:{MARKER}@127.0.0.1:1/db")
@example(f"postgresql://u:{MARKER[:8]}/{MARKER[8:]}@h/db")
@example(f"host=FOLDER port=PORT user=postgres password=a {MARKER}=b")
@example(f"postgresql://u:1,{MARKER}/x@127.0.0.1:1/d")
def test_nothing_said_of_a_connection_string_holds_its_password(
    postgres: EmbeddedPostgres, log: io.StringIO, dsn: str
) -> None:
    for text in said_of(at(dsn, postgres)):
        assert found_in(text) == [], text
    assert found_in(log.getvalue()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(dsn=connection_strings(), command=st.sampled_from(["check", "schema", "dump-config"]))
@example(f"postgress://user:{MARKER}@h/db", "check")
@example(f"postgresql://SOCKETS:PORT/{MARKER}@h/db", "check")
def test_no_command_says_it(postgres: EmbeddedPostgres, dsn: str, command: str) -> None:
    result = CliRunner(env={"PGRST_DB_URI": at(dsn, postgres)}).invoke(main, [command])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert found_in(result.output) == [], result.output


def test_what_holds_no_password_is_shown() -> None:
    for dsn in ("", "host=h user=u", "postgresql://u@h:1,h2/d?sslmode=require", "port=1"):
        assert is_showable(dsn)
    for dsn in ("postgresql://u:p@h", "password=p", "host h", "postgresql://h?sslpassword=p"):
        assert not is_showable(dsn)


def test_a_dump_hides_passwords_unless_told_otherwise(tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text(
        f'db-config = false\ndb-uri = "postgresql://u:{MARKER}@h/d"\n'
        f'db-read-uris = "host=h password={MARKER}"\ncache-store = "redis://:{MARKER}@h"\n'
    )
    shown = CliRunner().invoke(main, ["--dump-config", str(config)])
    assert shown.output.count('"***"') == 3
    assert found_in(shown.output) == []
    whole = CliRunner().invoke(main, ["--dump-config", "--secrets", str(config)])
    assert whole.output.count(MARKER) == 3


# --- the server ---------------------------------------------------------------------------

SERVED = (
    f"postgresql://127.0.0.1:12/{MARKER}@h/db",
    f"postgresql://SOCKETS:PORT/{MARKER}@h/db",
    f"postgresql://u:{MARKER}@127.0.0.1:1/d",
    f"postgresql://u:{MARKER}@127.0.0.1:PORT/d?sslmode=disable",
    f"host=127.0.0.1,127.0.0.1 port=1,2 user=u password={MARKER}",
    f"host=FOLDER port=PORT user=postgres password=a {MARKER}=b",
)


def ask_everything(server: Running, admin: str) -> Iterator[str]:
    """What a client and an operator are told."""
    main_url = f"http://{server.wait_for('API server listening on').rpartition(' ')[2]}"
    for number in range(len(SERVED)):
        answer = httpx.get(f"{main_url}/things", headers={"host": f"a{number}"}, timeout=20)
        yield f"{answer.headers} {answer.text}"
    for path in ("/config", "/metrics", "/schema_cache", "/apps", "/view", "/ready", "/live"):
        answer = httpx.get(f"http://{admin}{path}", timeout=20)
        yield f"{answer.headers} {answer.text}"


def test_no_server_says_it(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """As apps of one server, which starts without those whose database is away."""
    config, admin = tmp_path / "c", f"127.0.0.1:{free_port()}"
    lines = [
        'server-host = "127.0.0.1"',
        "server-port = 0",
        f"admin-server-port = {admin.rpartition(':')[2]}",
        'log-level = "debug"',
        "log-query = true",
    ]
    for number, dsn in enumerate(SERVED):
        lines += [
            f"[apps.a{number}]",
            f'hosts = "a{number}"',
            f"db-uri = {json.dumps(at(dsn, postgres))}",
            f"db-read-uris = [{json.dumps(at(dsn, postgres))}]",
            f"jwt-secret = {json.dumps(MARKER * 3)}",
        ]
    config.write_text("\n".join(lines))
    with start_edgerest("serve", str(config), PGCONNECT_TIMEOUT="1") as server:
        for text in ask_everything(server, admin):
            assert found_in(text) == [], text
        server.stop()
    assert found_in(server.output) == [], server.output


@pytest.mark.parametrize("dsn", [f"postgress://u:{MARKER}@h/d", f"postgresql://u:{MARKER}"])
def test_no_server_that_does_not_start_says_it(dsn: str) -> None:
    with start_edgerest(PGRST_DB_URI=dsn) as server:
        assert server.wait() == 1
    assert "Traceback" not in server.output
    assert found_in(server.output) == [], server.output
