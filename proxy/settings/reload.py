"""What a reload of the settings changes.

In: the settings in use and those found now. Out: the settings to use from now on. A setting
that only a restart can change keeps its value, and its key is told. With several apps an
app is restarted alone: `changed_apps` tells which. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from proxy.settings.load import Loaded, keep_fixed
from proxy.settings.model import PLACES, TABLE, Settings
from proxy.settings.tables import NamedApp

_FIXED_OF_PROCESS: Final = tuple(
    row for row in TABLE if row.process_wide and not row.facts.reloadable
)


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


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new configuration means for the apps. `kept` go on, with settings that may have
    changed; `replaced` need another pool or the like, so that they begin anew."""

    added: tuple[NamedApp, ...] = ()
    kept: tuple[NamedApp, ...] = ()
    replaced: tuple[NamedApp, ...] = ()


def changed_apps(old: Iterable[NamedApp], new: Iterable[NamedApp]) -> Changes:
    """How to come from the apps `old` to `new`, by their names."""
    before = {app.name: app.settings for app in old}
    after = tuple(new)
    there = [app for app in after if app.name in before]
    same = {app.name for app in there if not _begins_anew(before[app.name], app.settings)}
    return Changes(
        added=tuple(app for app in after if app.name not in before),
        kept=tuple(app for app in there if app.name in same),
        replaced=tuple(app for app in there if app.name not in same),
    )


def _begins_anew(old: Settings, new: Settings) -> bool:
    # What the file of db-uri says is read again when the database refuses what it said before.
    same_file = old.db_uri_file is not None and old.db_uri_file == new.db_uri_file
    return any(
        getattr(old, row.attribute) != getattr(new, row.attribute)
        for row in (*PLACES, *TABLE)
        if not row.facts.reloadable
        and not row.process_wide
        and not (same_file and row.key == "db-uri")
    )


def as_it_runs(running: Settings, loaded: Loaded) -> Loaded:
    """`loaded`, but for what of the process only a restart can change: that is as in
    `running`, at the top level and in what the apps have from there."""
    process = {row.attribute: getattr(running, row.attribute) for row in _FIXED_OF_PROCESS}
    return replace(
        loaded,
        settings=replace(loaded.settings, **process),
        apps=tuple(
            replace(app, settings=replace(app.settings, **process)) for app in loaded.apps
        ),
    )


def process_changes(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys of the process whose new values need a restart."""
    return tuple(
        row.key
        for row in _FIXED_OF_PROCESS
        if getattr(old, row.attribute) != getattr(new, row.attribute)
    )
