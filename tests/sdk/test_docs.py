"""Every Python block of docs/sdk.md, docs/migrate-postgrest.md and edge_client/README.md is run
against the server."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import MakeToken
from tests.docs.blocks import blocks_of
from tests.http.processes import ROOT, ServerProcess

GUIDE = (ROOT / "docs" / "sdk.md").read_text()
BLOCKS = [
    block
    for page in ("docs/sdk.md", "docs/migrate-postgrest.md", "edge_client/README.md")
    for block in blocks_of(ROOT / page)
    if block.language == "python"
]
PRINTED = re.search(r"prints\n\n```text\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def head(edge: ServerProcess, token: MakeToken) -> str:
    """What the guide takes for granted."""
    jwt = token(sub="ada")["Authorization"].removeprefix("Bearer ")
    return f"URL, TOKEN = {edge.url!r}, {jwt!r}\n"


def run(head: str, block: str, directory: Path) -> str:
    if re.search(r"^async ", block, re.MULTILINE):
        block = "import asyncio\nasync def main():\n" + textwrap.indent(block, "    ")
        block += "\nasyncio.run(main())\n"
    # As written on one's own machine: in a folder that is not this one.
    path = [f"--import-path={ROOT}"]
    code = f"import sys\nsys.path.insert(0, sys.argv[1].partition('=')[2])\n{head}{block}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *path],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_runs(number: int, head: str, tmp_path: Path) -> None:
    run(head, BLOCKS[number].text, tmp_path)


def test_the_first_prints_what_it_says(head: str, tmp_path: Path) -> None:
    assert PRINTED is not None
    assert run(head, BLOCKS[0].text, tmp_path) == PRINTED[1]


def test_both_programs_say_the_same(head: str, tmp_path: Path) -> None:
    named = {block.title: block.text for block in BLOCKS if block.title}
    said = {name: run(head, block, tmp_path) for name, block in named.items()}
    assert said["postgrest"] == said["edge_client"]
    assert said["edge_client"].splitlines()[0] == (
        "1 [{'id': 1, 'amount': 12.0, 'customers': {'name': 'Ada'}}]"
    )
    assert 25 <= len(named["postgrest"].splitlines()) <= 35
    renamed = set(named["postgrest"].splitlines()) - set(named["edge_client"].splitlines())
    assert len(renamed) == 3
