"""The npm packages that the tests run: installed once per machine, outside the tree."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
PINS = ("package.json", "package-lock.json")
INSTALL_SECONDS = 300
"""An install takes 6 s here; a slow line may take long, a dead one must not."""


class CannotInstall(Exception):
    """There is no Node.js, or npm did not get the packages; says which."""


def cache_directory() -> Path:
    """Where installed packages are kept: XDG_CACHE_HOME, or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "edgerest-tests"


def installed_packages() -> Path:
    """The folder with `node_modules`, installed if it is not there. Raises CannotInstall."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise CannotInstall("there is no Node.js with npm on PATH")
    pins = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in PINS))
    place = cache_directory() / f"npm-{pins.hexdigest()[:16]}"
    if not (place / "node_modules").is_dir():
        _install(npm, place)
    return place


def _install(npm: str, place: Path) -> None:
    # Under a name of this process's own, so that two runs at once don't mix; whole or not.
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in PINS:
        shutil.copy(HERE / name, fresh)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(
            command, cwd=fresh, check=True, capture_output=True, timeout=INSTALL_SECONDS
        )
        if not place.exists():
            fresh.rename(place)
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.decode().splitlines() if "error" in line]
        raise CannotInstall(f"npm ci: {' '.join(said[:4])}") from error
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"npm ci took longer than {INSTALL_SECONDS} s") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
