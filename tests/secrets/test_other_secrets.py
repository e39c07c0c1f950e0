"""The same of all other secrets: settings, Redis, OpenTelemetry, files that name passwords."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pool.connection import connect
from pool.dsn import parse_dsn
from pool.errors import ConnectionFailed
from proxy.auth.key_source import KeySource
from proxy.cache.redis_store import RedisStore
from proxy.cache.setup import make_invalidation
from proxy.cache.versions import Versions
from proxy.cli.diagnostics import start_diagnostics
from proxy.observability.logs import apache_line, entry_of, json_line
from proxy.observability.record import Record
from proxy.observability.tracing import exporting_provider
from proxy.response.model import Response
from proxy.server.telemetry import log_rules
from proxy.settings import SettingsError, load_settings
from proxy.settings.model import TABLE
from proxy.settings.rows import Setting
from tests.loopback import LoopbackServer
from tests.secrets.marker import MARKER, found_in
from tests.secrets.test_connection_strings import passwords, told

SECRETS = [row for row in TABLE if row.secret]
SHAPES = (
    '"{}"',
    '"@{}"',
    '"@{}\\u0000"',
    '"$({})"',
    '["{}"]',
    '[["{}"]]',
    "{{ a = '{}' }}",
    "{}",
    '"{}',
    "'''{}",
    '"https://u:{}/x@h/keys"',
    '"https://h:{}/keys"',
    '"https://u:a\\u2100{}@h/keys"',
    '"redis://:{}/x@h"',
    '"redis://u:12/{}@h/0"',
    '"redis://h/0?{}=1"',
    '"rediss://h/0?ssl_cert_reqs={}"',
    '"unix://:p/{}@/tmp/x"',
)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The lines of the server itself, at `debug`."""
    text = io.StringIO()
    start_diagnostics("debug", text)
    yield text
    for name in ("proxy", "pool", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("row", SECRETS, ids=lambda row: row.key)
def test_no_fault_of_a_secret_setting_quotes_it(
    tmp_path: Path, row: Setting, shape: str
) -> None:
    config = tmp_path / "c"
    for key in row.keys:
        for table in ("", "[apps.shop]\n"):
            config.write_text(f"{table}{key} = {shape.format(MARKER)}\n")
            try:
                loaded = load_settings(config, {})
                said = f"{loaded!r} {loaded.warnings}"
                make_invalidation(loaded.settings, Versions(None, "", ""), lambda: None)
            except SettingsError as error:
                said = told(error)
            assert found_in(said) == [], said


@given(st.sampled_from(SECRETS), passwords())
def test_no_fault_of_a_variable_quotes_it(row: Setting, text: str) -> None:
    try:
        said = repr(load_settings(None, {row.variable: text}))
    except SettingsError as error:
        said = told(error)
    assert found_in(said) == [], said


class Refusing(LoopbackServer):
    """A Redis that repeats what it was sent, as old ones and proxies do."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            quoted = b" ".join(word for word in data.split() if word.isalnum())
            writer.write(b"-ERR unknown command, with args beginning with: " + quoted + b"\r\n")
        writer.close()


async def test_what_redis_says_of_a_password_is_not_passed_on(log: io.StringIO) -> None:
    async with Refusing() as server:
        place = server.url.removeprefix("http://")
        for url in (f"redis://:{MARKER}@{place}", f"redis://u:{MARKER}@127.0.0.1:1"):
            store = RedisStore(url, 1000)
            store.use("x")
            store._trusted = True
            await store.touch(None)
            store._trusted = False
            store._asked_again_at = 0.0
            await store.touch(None)
            store._trusted = True
            await store._ask(store._redis.ping)
            await store.close()
            assert found_in(repr(store)) == []
    said = log.getvalue()
    assert "left alone" in said
    assert "Connect" in said or "refused" in said
    assert found_in(said) == [], said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(password=passwords().filter(lambda text: "\0" not in text))
def test_nothing_is_said_of_the_exporters_variables(log: io.StringIO, password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
            patch.setenv(name, password)
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://u:1/{password}@127.0.0.1:1")
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        try:
            provider = exporting_provider()
        except Exception as error:  # noqa: BLE001 - whatever comes is looked at
            assert found_in(str(error)) == []
            return
        with provider.get_tracer("x").start_as_current_span("s"):
            pass
        provider.shutdown()
    assert found_in(log.getvalue()) == [], log.getvalue()


async def test_what_cant_be_fetched_is_not_repeated(log: io.StringIO) -> None:
    class Elsewhere(LoopbackServer):
        async def _serve(
            self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            asked = (await reader.readuntil(b"\r\n")).split()[1]
            head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://u:"
            writer.write(head + MARKER.encode() + b"@h" + asked + b"\r\n\r\n")
            await writer.drain()
            writer.close()

    async with Elsewhere() as server:
        for uri in (f"{server.url}/x?{MARKER}", f"http://127.0.0.1:1/\x7f{MARKER}"):
            source = KeySource(uri, lambda _: None, max_age=60)
            await source.look_for_more()
            await source.close()
    assert log.getvalue().count("jwt-jwks-uri: no keys") == 2
    assert "redirected to http://h/x;" in log.getvalue()
    assert found_in(log.getvalue()) == [], log.getvalue()


@pytest.mark.parametrize(
    "content", [f"password {MARKER}\n", f"[there]\npassword={MARKER}%x\n", f"[there\n{MARKER}"]
)
async def test_a_service_file_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    file = tmp_path / "services"
    file.write_text(content)
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    target = parse_dsn("host=127.0.0.1 port=1 service=there", application_name="", env={})
    with pytest.raises(ConnectionFailed, match="the service file can't be read") as raised:
        await connect(target)
    assert found_in(told(raised.value)) == []


@pytest.mark.parametrize("name", ["Authorization", "cookie", "apiKey", "Proxy-Authorization"])
def test_no_line_of_the_access_log_holds_what_lets_one_in(name: str) -> None:
    loaded = load_settings(None, {"PGRST_SERVER_TRACE_HEADER": name, "PGRST_DB_URI": ""})
    rules = log_rules(loaded.settings)
    header = name.lower().encode()
    scope = {
        "method": "GET",
        "raw_path": b"/things",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(header, MARKER.encode())],
    }
    entry = entry_of(
        scope, Record(0.0), Response(200, (), b""), trace_header=rules.trace_header, at=0.0
    )
    assert found_in(json_line(entry) + apache_line(entry)) == []
