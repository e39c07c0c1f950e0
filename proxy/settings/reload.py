"""What a reload of the settings changes.

In: the settings in use and those found now. Out: the settings to use from now on. A setting
that only a restart can change keeps its value, and its key is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxy.settings.model import TABLE, Settings


@dataclass(frozen=True, slots=True)
class Reloaded:
    """`settings` to use, and the keys whose new values need a restart."""

    settings: Settings
    need_restart: tuple[str, ...] = ()


def reloaded_settings(old: Settings, found: Settings) -> Reloaded:
    """`found`, but for what only a restart can change."""
    fixed = [
        row
        for row in TABLE
        if not row.facts.reloadable
        and getattr(old, row.attribute) != getattr(found, row.attribute)
    ]
    kept = {row.attribute: getattr(old, row.attribute) for row in fixed}
    return Reloaded(replace(found, **kept), tuple(row.key for row in fixed))
