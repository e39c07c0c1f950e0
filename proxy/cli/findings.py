"""Everything that `edgerest check` finds, and how it is shown.

In: what loads the configuration. Out: findings as they come, as lines or as one JSON array,
and an exit status.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from pool import Pool, PoolError
from proxy.cli.check import check_database, check_keys
from proxy.server.preflight import Finding, preflight
from proxy.settings import Loaded, NamedApp, Settings, SettingsError
from proxy.settings.database_uri import newest_uri

_MARKS: Final = {"good": "ok", "doubtful": "warning", "bad": "error"}


async def find_all(
    load: Callable[[], Loaded], environ: Mapping[str, str]
) -> AsyncIterator[Finding]:
    """What there is to say of a configuration: itself, this machine, the databases."""
    try:
        loaded = load()
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("bad", problem)
        return
    for finding in preflight(loaded, environ):
        yield finding
    for app in loaded.apps or (NamedApp("", loaded.settings),):
        async for finding in _of_app(app.settings):
            yield replace(finding, app=app.name)


async def _of_app(settings: Settings) -> AsyncIterator[Finding]:
    async for finding in check_keys(settings):
        yield finding
    try:
        pool = Pool(newest_uri(settings), size=1)
    except PoolError as error:
        yield Finding("bad", f"db-uri: {error}")
        return
    try:
        async for finding in check_database(pool, settings):
            yield finding
    finally:
        await pool.close()


class Say(Protocol):
    """What prints a line, to standard error if `err`: `click.echo`."""

    def __call__(self, message: str, *, err: bool) -> None: ...


class Report:
    """Shows findings: lines at once, or an array of `{verdict, app, text}` at the end.

    `strict`: warnings count as errors do.
    """

    def __init__(self, say: Say, *, strict: bool, as_json: bool) -> None:
        self._say = say
        self._as_json = as_json
        self._fatal = {"bad", "doubtful"} if strict else {"bad"}
        self._found: list[Finding] = []

    async def take(self, findings: AsyncIterator[Finding]) -> None:
        """Show each as it comes."""
        async for finding in findings:
            self._found.append(finding)
            if not self._as_json:
                line = f"{_MARKS[finding.verdict]}: {finding}"
                self._say(line, err=finding.verdict != "good")

    def close(self) -> int:
        """The exit status, once all was shown."""
        if self._as_json:
            rows = [
                {"verdict": _MARKS[each.verdict], "app": each.app or None, "text": each.text}
                for each in self._found
            ]
            self._say(json.dumps(rows, indent=2, ensure_ascii=False), err=False)
        return int(any(each.verdict in self._fatal for each in self._found))
