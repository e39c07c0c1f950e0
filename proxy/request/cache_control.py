"""The Cache-Control header, of requests and of answers (RFC 9111, section 5.2).

In: the values of the header's lines. Out: `Directives`, by lower-case name, or the few that
a request may have as `Wants`. Pure; never fails: what is no directive is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MOST_SECONDS: Final = 2**31 - 1
"""What a longer time counts as (RFC 9111, section 1.2.2)."""

Directives = Mapping[str, str | None]

_DIRECTIVE: Final = re.compile(
    r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++)"
    r'(?:=(?:"((?:[^"\\]|\\.)*+)"|([!#$%&\'*+\-.^_`|~0-9A-Za-z]*+)))?'
)


@lru_cache(maxsize=256)
def parse_directives(value: bytes) -> Directives:
    """The directives in `value`; of equal ones the first counts (RFC 9111, section 4.2.1)."""
    found: dict[str, str | None] = {}
    for name, quoted, token in _DIRECTIVE.findall(value.decode("latin-1")):
        found.setdefault(name.lower(), quoted or token or None)
    return found


def seconds(directives: Directives, name: str) -> int | None:
    """The delta-seconds of a directive, None without it; 0 when it is malformed, so that a
    mistake never makes anything last longer (RFC 9111, section 4.2.1)."""
    if name not in directives:
        return None
    text = directives[name]
    if text is None or not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text[:12]), MOST_SECONDS)


@dataclass(frozen=True, slots=True)
class Wants:
    """What a request asks of caches (RFC 9111, section 5.2.1); times in seconds."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None


NOTHING: Final = Wants()


@lru_cache(maxsize=256)
def wants_of(value: bytes | None) -> Wants:
    """What the Cache-Control of a request asks for."""
    if value is None:
        return NOTHING
    asked = parse_directives(value)
    # Without an argument any staleness will do.
    any_stale = "max-stale" in asked and asked["max-stale"] is None
    return Wants(
        no_store="no-store" in asked,
        no_cache="no-cache" in asked,
        only_if_cached="only-if-cached" in asked,
        max_age=seconds(asked, "max-age"),
        min_fresh=seconds(asked, "min-fresh"),
        max_stale=MOST_SECONDS if any_stale else seconds(asked, "max-stale"),
    )
