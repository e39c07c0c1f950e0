"""The table of attacks: each row names tests, and the tests are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "threats.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def rows() -> list[str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [
        line for line in lines if line.startswith("|") and not line.startswith(("| att", "| -"))
    ]


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the functions at the top of a file of tests."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions))


@pytest.mark.parametrize("row", rows())
def test_the_tests_of_a_row_are_there(row: str) -> None:
    attack, remedy, tests = (cell.strip() for cell in row.strip("|").split(" | "))
    assert attack
    assert remedy
    named = _TEST.findall(tests)
    assert len(named) == tests.count("`") / 2 > 0
    for path, name in named:
        assert name.startswith("test_")
        assert name in names_in(path)


def test_there_are_rows() -> None:
    assert len(rows()) > 20


def test_what_the_policy_links_to_is_there() -> None:
    for target in _LINK.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8")):
        assert (ROOT / target).is_file()


_NAMED = re.compile(r"\btests/[\w/.-]+")


@pytest.mark.parametrize(
    "page",
    [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")],
    ids=lambda page: page.name,
)
def test_what_a_page_names_of_the_tests_is_there(page: Path) -> None:
    for name in _NAMED.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / name.rstrip(".")).exists(), name
