"""The servers under measurement, each a process of its own on a free port of 127.0.0.1."""

from __future__ import annotations

import importlib.util
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx

from tests.bench.report import EDGEREST, POSTGREST
from tests.bench.scenarios import ANON_ROLE, SCENARIOS, SCHEMA, SECRET, Scenario
from tests.ports import free_port

_START_TIMEOUT: Final = 30.0  # seconds
_STOP_TIMEOUT: Final = 15.0


class ServerError(Exception):
    """The server did not come up, or did not do what the scenarios ask."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server: how it is started, what of the scenarios and HTTP it does, and whether it
    keeps answers."""

    name: str
    command: tuple[str, ...]
    port: int
    scenarios: frozenset[str] | None = None
    http: frozenset[str] = frozenset(("1.1", "2"))
    environment: tuple[tuple[str, str], ...] = ()
    caches: bool = False


def write_config(
    dsn: str, server: str, *, pool: int, scratch: Path, workers: int = 1, settings: str = ""
) -> Path:
    """A configuration file that serves the database `dsn` on a free port of 127.0.0.1.

    `pool` connections are shared out among the workers; `settings` are lines to add.
    """
    path = scratch / f"{server}-{workers}.toml"
    values: dict[str, str | int] = {
        "db-uri": dsn,
        "db-schemas": SCHEMA,
        "db-anon-role": ANON_ROLE,
        "db-pool": max(pool // workers, 1),
        "jwt-secret": SECRET,
        "server-host": "127.0.0.1",
        "server-port": free_port(),
        "log-level": "error",
    }
    if server == EDGEREST:
        values["server-workers"] = workers
    # A JSON string or number is a TOML one.
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    path.write_text(lines + settings)
    return path


def port_in(config: Path) -> int:
    """The port that a configuration file of ours names."""
    lines = config.read_text().splitlines()
    return next(int(line.split("=")[1]) for line in lines if line.startswith("server-port"))


def edgerest(
    dsn: str, workers: int, *, pool: int, scratch: Path, settings: str = ""
) -> Contender:
    """edgerest, with so many processes."""
    config = write_config(
        dsn, EDGEREST, pool=pool, scratch=scratch, workers=workers, settings=settings
    )
    command = str(Path(sys.executable).with_name("edgerest"))
    name = EDGEREST if workers == 1 else f"{EDGEREST} x{workers}"
    return Contender(name, (command, "serve", str(config)), port_in(config), caches=True)


def asked_of(contender: Contender, scenario: Scenario) -> Scenario:
    """What to send to this server, which runs. Raises ServerError when it gives no tag to
    revalidate by."""
    if not scenario.revalidates or not contender.caches:
        return scenario
    url = f"http://127.0.0.1:{contender.port}{scenario.targets[0]}"
    # A coding would have another tag than what is measured.
    answer = httpx.get(url, headers={"accept-encoding": "identity"})
    tag = answer.headers.get("etag")
    if tag is None:
        raise ServerError(f"{contender.name} answered {answer.status_code} without an ETag")
    headers = (*scenario.headers, ("if-none-match", tag))
    return replace(scenario, headers=headers, wanted="304")


def postgrest(dsn: str, *, pool: int, scratch: Path) -> Iterator[Contender]:
    """PostgREST, where POSTGREST_BIN names its program."""
    program = os.environ.get("POSTGREST_BIN")
    if program:
        config = write_config(dsn, POSTGREST, pool=pool, scratch=scratch)
        yield Contender(POSTGREST, (program, str(config)), port_in(config))


def others(dsn: str, *, pool: int, scratch: Path) -> Iterator[Contender]:
    """PostgREST, where it is to be had, and an endpoint written by hand, where the extra
    `bench` is installed."""
    yield from postgrest(dsn, pool=pool, scratch=scratch)
    if importlib.util.find_spec("fastapi") and importlib.util.find_spec("uvicorn"):
        port = free_port()
        yield Contender(
            "fastapi",
            (sys.executable, "-m", "tests.bench.handwritten", str(port)),
            port,
            frozenset(("single row", "100 rows", "insert")),
            frozenset(("1.1",)),
            (("BENCH_DSN", dsn), ("BENCH_POOL", str(pool))),
        )


def postgrest_version() -> dict[str, str]:
    """Its name with its version, where POSTGREST_BIN names its program."""
    program = os.environ.get("POSTGREST_BIN")
    if not program:
        return {}
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    name, _, version = told.stdout.strip().partition(" ")
    return {name: version}


@contextmanager
def running(
    contender: Contender,
    scratch: Path,
    authority: str | None = None,
    target: str = SCENARIOS[0].targets[0],
) -> Iterator[int]:
    """The contender, until left; its process id. It has begun when `target` is answered. With
    TLS, `authority` is the file of the certificate to trust. When it has ended by itself,
    that and its log are told."""
    log = scratch / f"{contender.name}.log"
    environment = {**os.environ, **dict(contender.environment)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            contender.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        _wait_until_it_answers(process, contender, log, authority, target)
        yield process.pid
    finally:
        if process.poll() is not None:
            told = f"{contender.name} had ended with {process.returncode}; its log:"
            print(told, log.read_text(), sep="\n", file=sys.stderr)
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(
    process: subprocess.Popen[bytes],
    contender: Contender,
    log: Path,
    authority: str | None,
    target: str,
) -> None:
    scheme = "http" if authority is None else "https"
    url = f"{scheme}://127.0.0.1:{contender.port}{target}"
    verify = ssl.create_default_context(cafile=authority)
    deadline = time.monotonic() + _START_TIMEOUT
    said = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            answer = httpx.get(url, timeout=2, verify=verify)
        except httpx.TransportError as error:
            said = repr(error)
        else:
            if answer.status_code == 200:
                return
            said = f"{answer.status_code} {answer.text}"
        time.sleep(0.05)
    told = f"{contender.name} did not answer; last: {said}; its log:\n{log.read_text()}"
    raise ServerError(told)


def children_of(pid: int) -> Sequence[int]:
    """A process and its children, workers included."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pid, *(int(child) for child in listed)
