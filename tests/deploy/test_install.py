"""Both distributions, built and installed into an empty environment by pip."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

import edge_client
import edgerest
from edgerest.__main__ import stranger
from tests.http.processes import ROOT
from tests.sdk.packages import build_wheel

IMPORT_ALL = """
import importlib, pkgutil, sys, edgerest, pool, proxy
# What only an extra brings is imported when a setting asks for it.
EXTRAS = {"proxy.observability.tracing": "opentelemetry", "proxy.cache.redis_store": "redis"}
for package in (edgerest, pool, proxy):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            assert error.name.partition(".")[0] == EXTRAS.get(module.name), (module, error)
"""

pytestmark = pytest.mark.slow

SECONDS = 300
"""An install takes 10 s; a slow line may take long, a dead one must not."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment without pip."""

    folder: Path

    def run(self, program: str, *args: str, **environ: str) -> tuple[int, str]:
        """The exit status of a program of the environment, and all that it printed."""
        done = subprocess.run(
            [str(self.folder / "bin" / program), *args],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def pip(self, *args: str) -> None:
        python = str(self.folder / "bin" / "python")
        command = [sys.executable, "-m", "pip", "--python", python]
        subprocess.run([*command, *args], check=True, timeout=SECONDS, capture_output=True)

    def files(self, distribution: str) -> set[str]:
        """What belongs to a distribution."""
        (record,) = self.folder.rglob(f"{distribution}-*.dist-info/RECORD")
        return {line.partition(",")[0] for line in record.read_text().splitlines()}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The server's wheel and the client's, by their distributions' names."""
    place = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (server,) = place.glob("edgerest-*.whl")
    return {"edgerest": server, "edge_client": build_wheel(place)}


@pytest.fixture(scope="module")
def environment(
    wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Both installed, with nothing but what they ask for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    made = Environment(folder)
    server, client = wheels["edgerest"].as_uri(), wheels["edge_client"].as_uri()
    pins = str(ROOT / "constraints.txt")
    try:
        wanted = [f"edgerest[server] @ {server}", f"edge-client @ {client}"]
        made.pip("install", "--quiet", "--no-compile", "-c", pins, *wanted)
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode()
        # The pins are wrong when there is an index that has others; without one nothing is.
        if "Could not find a version" in told and "from versions: none" in told:
            pytest.skip("no package index can be asked")
        raise AssertionError(told) from error
    return made


def test_the_command_is_there(environment: Environment) -> None:
    said = f"edgerest {edgerest.__version__}\n"
    assert environment.run("edgerest", "--version") == (0, said)
    assert environment.run("python", "-m", "edgerest", "--version") == (0, said)
    status, example = environment.run("edgerest", "--example")
    assert status == 0
    assert "db-uri" in example


def test_whatever_is_imported_is_asked_for(environment: Environment) -> None:
    assert environment.run("python", "-c", IMPORT_ALL) == (0, "")


def test_no_file_has_two_owners(environment: Environment) -> None:
    server, client = environment.files("edgerest"), environment.files("edge_client")
    assert {name for name in server & client if "__pycache__" not in name} == set()
    tops = {name.partition("/")[0] for name in server | client if not name.startswith("..")}
    assert {name for name in tops if "." not in name} == {
        "edgerest", "proxy", "pool", "edge_client",
    }  # fmt: skip
    packages = {name for name in server | client if not re.search(r"\.dist-info/|^\.\.", name)}
    assert [name for name in packages if name.endswith(("pyproject.toml", ".md"))] == []
    for owned in (server, client):
        assert [name for name in owned if name.endswith("licenses/LICENSE")]


@pytest.mark.parametrize(
    "left, program, args",
    [
        ("edgerest", "edgerest", ("--version",)),
        ("edge_client", "python", ("-c", "from edge_client import EdgeClient")),
    ],
)
def test_one_does_without_the_other(
    environment: Environment, wheels: dict[str, Path], left: str, program: str, args: tuple[str]
) -> None:
    (other,) = wheels.keys() - {left}
    environment.pip("uninstall", "--yes", other)
    try:
        assert environment.run(program, *args)[0] == 0
        assert environment.run("python", "-c", f"import {other}")[0] != 0
    finally:
        environment.pip("install", "--no-deps", "--no-index", str(wheels[other]))


# --- other people's packages of the same names ------------------------------------------------


@pytest.mark.parametrize("package", ["proxy", "pool"])
def test_a_package_that_is_somebody_elses_is_named(
    environment: Environment, package: str, tmp_path: Path
) -> None:
    (ours,) = environment.folder.glob(f"lib/python3*/site-packages/{package}/__init__.py")
    text = ours.read_text()
    # Installed over ours, as proxy.py would be; not even imported, for it may do anything.
    ours.write_text("raise SystemExit('imported')\n")
    try:
        told = environment.run("edgerest", "--version")
    finally:
        ours.write_text(text)
    # Found before ours.
    shutil.copytree(ours.parent, tmp_path / package)
    for status, said in (
        told,
        environment.run("edgerest", "--version", PYTHONPATH=str(tmp_path)),
    ):
        assert status == 1
        assert said.startswith(f"edgerest: `import {package}` finds another program's package")
        assert said.count("\n") == 1


def test_ours_are_no_strangers() -> None:
    assert [stranger("proxy"), stranger("pool")] == [None, None]
    assert stranger("email") is not None


# --- the release ------------------------------------------------------------------------------


def test_both_have_the_version_of_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d.*?)\]", changelog, re.MULTILINE)
    assert edgerest.__version__ == edge_client.__version__ == released[0]


def test_both_come_under_the_same_licence() -> None:
    # A distribution's files lie below its pyproject.toml, so there are two copies.
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "edge_client" / "LICENSE").read_bytes()
