"""The page of errors says what the code's tables say."""

from __future__ import annotations

from pathlib import Path

from proxy.errors import ERRORS
from proxy.response.error_docs import errors_markdown

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == errors_markdown()


def test_every_error_has_its_row() -> None:
    page = errors_markdown()
    assert all(f"| `{code}` | {kind.status} |" in page for code, kind in ERRORS.items())
