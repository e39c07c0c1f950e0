"""The code blocks of the documentation.

In: README.md, docs/ and deploy/examples. Out: every fenced block, with the page, its number
on the page, its language, its title and its text.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.http.processes import ROOT

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    number: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}:{self.language or 'untagged'}"


def pages() -> list[Path]:
    """All Markdown that people read."""
    places = (ROOT / "docs", ROOT / "deploy", ROOT / "edge_client")
    found = [file for place in places for file in place.rglob("*.md")]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(found)]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    for number, match in enumerate(FENCE.finditer(page.read_text(encoding="utf-8"))):
        language, _, rest = match["info"].partition(" ")
        title = re.fullmatch(r'title="(.*)"', rest.strip())
        yield Block(
            name_of(page),
            number,
            language,
            title[1] if title else rest.strip(),
            textwrap.dedent(match["text"]),
        )


def all_blocks() -> list[Block]:
    """Every block of every page."""
    return [block for page in pages() for block in blocks_of(page)]


def without_blocks(page: Path) -> str:
    """The page's prose."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))
