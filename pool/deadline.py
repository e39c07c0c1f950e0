"""Keeping PostgreSQL from working on after nobody wants the answer any more. Pure.

In: the settings of a transaction and the seconds that are left. Out: the settings with a
statement_timeout that ends no later. Source: PostgreSQL docs, "Parameter Names and Values".
"""

from __future__ import annotations

import math
import re
from typing import Final

_NAME: Final = "statement_timeout"
_UNITS: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "": 1e-3,
}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*+(us|ms|s|min|h|d|)\s*+")
_LONGEST: Final = 2**31 - 1
"""Milliseconds: what the setting can hold."""

Settings = tuple[tuple[str, str], ...]


def statement_timeout(settings: Settings) -> float | None:
    """Seconds that a statement may take under `settings`, the last one of the name deciding;
    0 when they put no limit, None when PostgreSQL would not take what they say."""
    for name, value in reversed(settings):
        if name.lower() == _NAME:
            duration = _DURATION.fullmatch(value)
            return float(duration[1]) * _UNITS[duration[2]] if duration else None
    return 0.0


def cut_to(settings: Settings, seconds: float) -> Settings:
    """`settings` with a statement_timeout of `seconds`, rounded up to milliseconds, unless
    the one that is there is shorter, or is none that PostgreSQL would take."""
    given = statement_timeout(settings)
    if given is None or 0 < given <= seconds:
        return settings
    left = min(max(math.ceil(seconds * 1000), 1), _LONGEST)
    return (*settings, (_NAME, str(left)))
