"""docs/observability.md and the tables of the code say the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.admin.server import ENDPOINTS, VIEW_ENDPOINTS
from proxy.observability.exposition import BUILD_INFO, WORKERS
from proxy.observability.logs import FIELDS, LOWEST_STATUS, SQL_FIELD
from proxy.observability.metrics import METRICS, SECONDS, Described
from tests.http.processes import ROOT

PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")


def table(head: str) -> list[str]:
    """The rows of the table whose head begins so."""
    lines = PAGE.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(head))
    rows = lines[start + 2 :]
    return rows[: next(n for n, line in enumerate(rows) if not line.startswith("|"))]


def metric_row(metric: Described) -> str:
    labels = ", ".join(f"`{name}`" for name in metric.label_names)
    return (
        f"| `{metric.name}` | {metric.kind} | {labels}{' ' if labels else ''}| {metric.doc} |"
    )


def endpoint_rows() -> Iterator[str]:
    for endpoint in ENDPOINTS:
        yield f"| `{endpoint.path}` | {endpoint.doc} |"
    for path, doc in VIEW_ENDPOINTS:
        yield f"| `{path}` | {doc} |"


def test_every_metric_is_documented() -> None:
    *rows, workers, build = table("| metric |")
    assert rows == [metric_row(metric) for metric in METRICS]
    assert f"`{WORKERS}`" in workers
    assert f"`{BUILD_INFO}`" in build
    assert f"Buckets: {', '.join(f'{bound:g}' for bound in SECONDS)} seconds" in PAGE


def test_every_log_field_is_documented() -> None:
    *rows, sql = table("| field |")
    assert rows == [f"| `{field.name}` | {field.doc} |" for field in FIELDS]
    assert sql.startswith(f"| `{SQL_FIELD}` |")


def test_every_endpoint_is_documented() -> None:
    assert table("| path |") == list(endpoint_rows())


@pytest.mark.parametrize("level", LOWEST_STATUS)
def test_every_level_is_documented(level: str) -> None:
    assert any(f"`{level}`" in row for row in table("| level |"))
