"""Every example of docs/reading.md, run against the demo's own schema.

The demo here is smaller than the one the page was written from, so numbers and texts may
differ; status, headers, keys, their order and the kinds of values may not.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.request.operators import OPERATORS
from tests.conftest import StartEdge
from tests.demo_database import load_demo, serve_demo
from tests.http.processes import ServerProcess

PAGE = (Path(__file__).parents[2] / "docs" / "reading.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(
    r"```sh\n(?P<command>.*?)```\n\n```(?P<kind>\w+)\n(?P<answer>.*?)```", re.S
)
TASKS = 5_000


@dataclass(frozen=True)
class Documented:
    """One example: the request its command sends, and the answer shown for it."""

    method: str
    target: str
    headers: dict[str, str]
    kind: str
    answer: str


def examples() -> list[Documented]:
    return [_example(**match.groupdict()) for match in EXAMPLE.finditer(PAGE)]


def _example(command: str, kind: str, answer: str) -> Documented:
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "curl", command
    url = words[-1]
    assert url.startswith("http://localhost:3000/"), url
    headers = [words[at + 1] for at, word in enumerate(words) if word == "-H"]
    return Documented(
        "HEAD" if "-I" in words else "GET",
        url.removeprefix("http://localhost:3000"),
        dict(header.split(": ", 1) for header in headers),
        kind,
        answer,
    )


@pytest.fixture(scope="module")
def demo(postgres: EmbeddedPostgres, start_edge: StartEdge) -> Iterator[ServerProcess]:
    """A server with the demo's settings in front of a small demo."""
    load_demo(postgres, "demo_reads", TASKS)
    with serve_demo(start_edge, postgres, "demo_reads", db_plan_enabled=True) as server:
        yield server


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.target)
def test_the_example_answers_as_shown(demo: ServerProcess, example: Documented) -> None:
    with httpx.Client(base_url=demo.url) as client:
        response = client.request(example.method, example.target, headers=example.headers)
    status, shown = 200, example.answer
    if example.kind == "http":
        head, _, shown = example.answer.partition("\n\n")
        first, *lines = head.splitlines()
        status = int(first.split()[1])
        for name, value in (line.split(": ", 1) for line in lines):
            pattern = re.sub(r"\d+", r"\\d+", re.escape(value))
            assert re.fullmatch(pattern, response.headers[name]), response.headers[name]
    assert response.status_code == status, response.text
    if example.method == "HEAD":
        assert response.content == b""
    elif example.kind == "csv":
        rows, expected = (
            list(csv.reader(io.StringIO(text))) for text in (response.text, shown)
        )
        assert rows[0] == expected[0]
        assert len(rows) == len(expected)
    elif example.kind == "text":
        assert response.text.split()[0] == shown.split()[0]
        assert "cost=" in response.text
    else:
        assert_alike(json.loads(shown), response.json())


def assert_alike(shown: Any, answered: Any) -> None:
    """`answered` is made as `shown` is; `…` stands for what was left out."""
    if shown is None or answered is None:
        return
    if isinstance(shown, dict):
        assert list(shown) == list(answered)
        for key in shown:
            assert_alike(shown[key], answered[key])
    elif isinstance(shown, list):
        assert isinstance(answered, list)
        items = [item for item in shown if item != "…"]
        assert bool(items) == bool(answered), answered
        for item in answered:
            assert_alike(items[0], item)
    else:
        numbers = (int, float)
        assert isinstance(answered, numbers if isinstance(shown, numbers) else type(shown))


def test_the_page_shows_what_it_should() -> None:
    assert len(examples()) >= 20
    assert PAGE.count("```sh") == len(examples())
    unmentioned = [name for name in OPERATORS if f"`{name}`" not in PAGE]
    assert unmentioned == []
