"""What a cache did so far, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Of one app since it started. Reads under a policy are `hits` (`stale` of them past
    their time), `misses`, or `shared` with one that was under way; `refreshes` were made in
    the background, `spared` are stale answers in place of an error. `invalidations` are
    entries found outdated by a write, `evictions` those that had to make room; `entries` and
    `bytes` are what is kept now."""

    hits: int = 0
    stale: int = 0
    misses: int = 0
    shared: int = 0
    refreshes: int = 0
    spared: int = 0
    not_modified: int = 0
    invalidations: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0
