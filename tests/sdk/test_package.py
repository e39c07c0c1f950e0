"""The SDK as a package: what it needs, what it weighs, how soon it is there."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.sdk.packages import HTTPX, ROOT, build_wheel, installed
from tests.sdk.servers import Answer, answering

IMPORT_TIME = """
import time
import httpx
began = time.process_time()
import edge_client
print(time.process_time() - began)
"""


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the SDK alone."""
    return build_wheel(tmp_path_factory.mktemp("sdk"))


def test_the_wheel_is_small_and_whole(wheel: Path) -> None:
    assert wheel.stat().st_size < 60_000
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("edge_client/")}
    there = {path.name for path in (ROOT / "edge_client").glob("*.py")}
    assert packed == {f"edge_client/{name}" for name in there | {"py.typed"}}


def test_it_is_imported_quickly() -> None:
    times = sorted(float(python(IMPORT_TIME)) for _ in range(5))
    # The least of several: what else the machine does is not its fault.
    assert times[0] < 0.06


@pytest.fixture(scope="module")
def only_httpx(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages: the wheel's, httpx and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for name in HTTPX:
        (folder / name).symlink_to(installed() / name)
    return folder


@pytest.mark.parametrize("kind", ["EdgeClient", "AsyncEdgeClient"])
def test_httpx_is_all_it_needs(only_httpx: Path, kind: str) -> None:
    query = "db.table('t').select().execute()"
    code = (
        "import asyncio, sys\nsys.path.insert(0, '')\n"
        f"from edge_client import {kind}\ndb = {kind}(sys.argv[1])\n"
        + (
            f"async def call():\n    return await {query}\nanswer = asyncio.run(call())\n"
            if kind == "AsyncEdgeClient"
            else f"answer = {query}\n"
        )
        + "print(answer.data)\n"
    )
    with answering(lambda _: Answer(body=b'[{"id":1}]')) as server:
        command = [sys.executable, "-S", "-c", code, server.url]
        done = subprocess.run(
            command, cwd=only_httpx, capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.returncode) == ("[{'id': 1}]\n", 0), done.stderr


def test_it_does_without_httpx_until_it_needs_it() -> None:
    assert python("import sys, edge_client; print('httpx' in sys.modules)") == "False\n"
