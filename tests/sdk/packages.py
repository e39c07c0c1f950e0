"""The SDK as it is installed: its wheel, and httpx with what that needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]

HTTPX = ("httpx", "httpcore", "h11", "anyio", "idna", "certifi", "typing_extensions.py")
"""httpx and what it depends on itself."""


def build_wheel(directory: Path) -> Path:
    """The wheel of the SDK alone, built in `directory`."""
    source = directory / "source"
    shutil.copytree(ROOT / "edge_client", source, ignore=shutil.ignore_patterns("__pycache__"))
    target = directory / "dist"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = target.glob("edge_client-*.whl")
    return built


def installed() -> Path:
    """The folder that httpx is installed in."""
    assert httpx.__file__ is not None
    return Path(httpx.__file__).parents[1]
