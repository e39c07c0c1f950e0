"""One document of what all workers say of their apps. Pure.

In: a report from each worker, or None from one that did not answer. Out: the document of
`/apps`: the reports as they came, and for each app the sums. What can't be summed up is told
as what it is: waits are those of the worker where they are longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from proxy.observability.tally import SHOWN_CLIENTS, SHOWN_STATEMENTS

Json = dict[str, Any]

_WORST: Final = frozenset(
    {
        "longest",
        "longest_wait",
        "wait_p50",
        "wait_p95",
        "wait_p99",
        "lag",
        "seconds_of_last_load",
    }
)
"""Numbers of which the greatest stands for all."""
_SEVERITY: Final[Mapping[str, int]] = {
    word: rank
    for words in (
        ("running", "paused", "draining"),
        ("closed", "waiting", "open"),
    )
    for rank, word in enumerate(words)
}
"""Words of which the gravest stands for all."""
_EVERY: Final = frozenset({"ready", "fit"})
"""Truths that hold when they hold everywhere; the others when they do anywhere."""
_TABLES: Final[Mapping[str, tuple[tuple[str, ...], str, int]]] = {
    "clients": (("address", "http_version"), "in_flight", SHOWN_CLIENTS),
    "statements": (("sql",), "seconds", SHOWN_STATEMENTS),
}
"""What a table's rows are told apart by, sorted by, and how many are shown."""


def merged_document(reports: Sequence[Json | None]) -> Json:
    """The document of all `reports`, in the order of the workers."""
    there = [report for report in reports if report is not None]
    names = dict.fromkeys(name for report in there for name in report["apps"])
    return {
        "workers": [
            {"worker": number, "answered": report is not None, **(report or {})}
            for number, report in enumerate(reports)
        ],
        "apps": {
            name: _merged([r["apps"][name] for r in there if name in r["apps"]])
            for name in names
        },
    }


def _merged(parts: Sequence[Json]) -> Json:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: _value(key, [part[key] for part in parts if key in part]) for key in keys}


def _value(key: str, said: Sequence[Any]) -> Any:
    values = [value for value in said if value is not None]
    if not values:
        return None
    first = values[0]
    if isinstance(first, Mapping):
        return _merged(values)
    if isinstance(first, bool):
        return all(values) if key in _EVERY else any(values)
    if isinstance(first, int | float):
        return max(values) if key in _WORST else sum(values)
    if isinstance(first, str):
        return max(values, key=lambda word: _SEVERITY.get(word, -1))
    if key in _TABLES:
        return _merged_rows(key, [row for rows in values for row in rows])
    # Replicas, which all workers have in the same order.
    return [_merged([row for row in rows if row]) for rows in zip_longest(*values)]


def _merged_rows(table: str, rows: Iterable[Json]) -> list[Json]:
    names, sorted_by, shown = _TABLES[table]
    groups: dict[tuple[str, ...], list[Json]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    found: list[Json] = [
        dict(zip(names, group, strict=True))
        | _merged([{k: v for k, v in row.items() if k not in names} for row in same])
        for group, same in groups.items()
    ]
    return sorted(found, key=lambda row: -row[sorted_by])[:shown]
