"""What a cache did so far, for the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CacheResult = Literal["hit", "stale", "shared", "miss", "spared"]
"""What became of a read under a policy: kept and fresh, kept and past its time, shared with
one that was under way, asked of the database, or kept and used in place of an error."""


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Of one app since it started: `reads` by result, all reads answered 304, answers fetched
    anew in the background, entries found outdated by a write, and those that had to make
    room; looks of this process at the rights in the database, and changes of them that it
    noticed; and what is kept now."""

    reads: Mapping[CacheResult, int] = field(default_factory=dict)
    not_modified: int = 0
    refreshes: int = 0
    invalidations: int = 0
    evictions: int = 0
    rights_looks: int = 0
    rights_changes: int = 0
    entries: int = 0
    bytes: int = 0
