"""What the tests of deploy/ read from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.http.processes import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    words = (line.partition(" ") for line in lines if line.strip())
    return [(name, " ".join(rest.split())) for name, _, rest in words]


def image_environment() -> dict[str, str]:
    """The settings that the image comes with."""
    (given,) = (rest for name, rest in instructions() if name == "ENV")
    pairs = (pair.partition("=") for pair in given.split())
    return {name: value for name, _, value in pairs if name.startswith("PGRST_")}


def compose() -> dict[str, Any]:
    """compose.yaml as it is written."""
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    return loaded


def filled_in(text: str, values: dict[str, str]) -> str:
    """`text` with `${NAME}`, `${NAME:?}` and `${NAME:-default}` replaced, as compose does."""

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        return values.get(name) or (values[name] if default is None else default)

    return re.sub(r"\$\{(?P<name>\w+)(?::\?|:-(?P<default>[^}]*))?\}", value, text)


def example_values() -> dict[str, str]:
    """What example.env gives the variables."""
    lines = (DEPLOY / "compose" / "example.env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def seconds(duration: str) -> int:
    """`40s` as a number."""
    assert duration.endswith("s")
    return int(duration[:-1])


def path(*parts: str) -> Path:
    """A file of deploy/."""
    return DEPLOY.joinpath(*parts)
