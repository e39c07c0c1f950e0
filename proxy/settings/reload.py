"""What a reload of the settings changes.

In: the settings in use and those found now. Out: the settings to use from now on. A setting
that only a restart can change keeps its value, and its key is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.settings.load import keep_fixed
from proxy.settings.model import TABLE, Settings


@dataclass(frozen=True, slots=True)
class Reloaded:
    """`settings` to use, and the keys whose new values need a restart."""

    settings: Settings
    need_restart: tuple[str, ...] = ()


def reloaded_settings(old: Settings, found: Settings) -> Reloaded:
    """`found`, but for what only a restart can change."""
    kept = keep_fixed(old, found)
    changed = (
        row.key
        for row in TABLE
        if getattr(kept, row.attribute) != getattr(found, row.attribute)
    )
    return Reloaded(kept, tuple(changed))
