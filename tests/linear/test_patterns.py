"""No regular expression of the packages takes more than linear time, whatever the text.

Clients choose the texts of nearly all of them, and they run on the event loop. The patterns
are collected from the modules themselves (`patterns`), so that a new one is in the test.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.linear.patterns import METHODS, Used, misplaced, patterns, slow_text

ALL = patterns()


def test_every_pattern_can_be_found() -> None:
    assert list(misplaced()) == []
    assert len(ALL) > 60


@pytest.mark.parametrize("used", ALL, ids=[used.name for used in ALL])
def test_a_pattern_takes_linear_time(used: Used) -> None:
    assert slow_text(used) is None


@pytest.mark.parametrize(
    "text, method",
    [
        (rb'[ \t,]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")', "findall"),
        (r'[ \t,]*([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)(?:=(?:"((?:[^"\\]|\\.)*)")?)?', "findall"),
        (r"\s*(-)?\s*(?:0[xX]([0-9a-fA-F]+)|([0-9]+))\s*", "fullmatch"),
        (r"\s*-?\s*[0-9]{1,18}\s*", "fullmatch"),
        (r"[ \t]*,[ \t]*", "split"),
        (r"(?:a+)+b", "fullmatch"),
        (r"(?:ab|a|b)*c", "match"),
        (r"x*x*y", "match"),
        (r"<(script|style)>(.*?)</\1>", "sub"),
        (r"/\*.*?\*/", "sub"),
        (rb"\r\n([^:]++):[ \t]*+([^\r]*+)", "findall"),
    ],
)
def test_what_is_not_linear_is_noticed(text: Any, method: str) -> None:
    used = Used("planted", re.compile(text, re.DOTALL), frozenset((method,)))
    assert slow_text(used) is not None


@pytest.mark.parametrize(
    "text, method",
    [
        (r"(?:a++)++b", "fullmatch"),
        (r"\s*+(?:-\s*+)?[0-9]+\s*+", "fullmatch"),
        (r'"(?:[^"\\]|\\.)*+"', "match"),
        (r"[a-z]+(?:-[a-z]+)*", "search"),
    ],
)
def test_what_is_linear_passes(text: Any, method: str) -> None:
    assert method in METHODS
    assert slow_text(Used("sound", re.compile(text), frozenset((method,)))) is None
