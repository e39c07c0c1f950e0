"""The server under measurement: `edgerest serve` as a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.bench.scenarios import ANON_ROLE, SCENARIOS, SCHEMA

_START_TIMEOUT: Final = 30.0  # seconds
_STOP_TIMEOUT: Final = 15.0


class ServerError(Exception):
    """The server did not come up, or did not do what the scenarios ask."""


def write_config(dsn: str, engine: str, *, pool: int, scratch: Path) -> Path:
    """A configuration file that serves the database `dsn` on a free port of 127.0.0.1."""
    path = scratch / f"{engine}.toml"
    values: dict[str, str | int] = {
        "db-uri": dsn,
        "db-schemas": SCHEMA,
        "db-anon-role": ANON_ROLE,
        "db-pool": pool,
        "server-host": "127.0.0.1",
        "server-port": _free_port(),
        "server-engine": engine,
        "log-level": "error",
    }
    # A JSON string or number is a TOML one.
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return path


@contextmanager
def running_server(config: Path, port: int) -> Iterator[int]:
    """`edgerest serve` with this configuration, which listens on `port`, until left; its
    process."""
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("edgerest"), "serve", config],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_answers(process, port, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    url = f"http://127.0.0.1:{port}{SCENARIOS[0].targets[0]}"
    deadline = time.monotonic() + _START_TIMEOUT
    said = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            answer = httpx.get(url, timeout=2)
        except httpx.TransportError as error:
            said = repr(error)
        else:
            if answer.status_code == 200:
                return
            said = f"{answer.status_code} {answer.text}"
        time.sleep(0.05)
    raise ServerError(f"edgerest did not answer; last: {said}; its log:\n{log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
