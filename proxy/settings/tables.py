"""The apps of a configuration: which there are, and where each is written.

In: the flat keys of a file (`apps.shop.db-uri`) and the environment
(`PGRST_APPS__SHOP__DB_URI`). Out: the top level and a layer for each app, and what is wrong
with all apps together. Pure.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pool.budget import share_of
from proxy.settings.file import APP_KEY
from proxy.settings.kinds import Raw
from proxy.settings.layers import APP_SETTINGS, Layer, is_app_setting
from proxy.settings.model import PLACES, TABLE, Settings
from proxy.settings.routing import Place
from proxy.settings.rows import Setting

DEFAULT_APP: Final = "default"
"""The name of the app that the top level describes when there is no table."""

_TOP_VARIABLES: Final = "PGRST_"
_TABLE_VARIABLES: Final = "PGRST_APPS__"
_APPS: Final = "apps."
APP_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class NamedApp:
    """An app of the configuration: its name and its settings, the process's included."""

    name: str
    settings: Settings

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.settings.hosts, self.settings.path_prefix)


@dataclass(frozen=True, slots=True)
class Layers:
    """The layer of the top level, and that of each app, none when there are no tables."""

    top: Layer
    apps: Mapping[str, Layer]


def split_layers(written: Mapping[str, Raw], environ: Mapping[str, str]) -> Layers:
    """Tell apart what belongs to whom."""
    tables: dict[str, dict[str, Raw]] = {}
    top: dict[str, Raw] = {}
    for key, value in written.items():
        app = APP_KEY.match(key)
        if app is not None:
            tables.setdefault(app[1], {})[key[app.end() :]] = value
        elif key.startswith(_APPS) and value == {}:
            tables.setdefault(key.removeprefix(_APPS), {})
        else:
            top[key] = value
    variables: dict[str, dict[str, str]] = {}
    names = {_in_variable(name): name for name in tables}
    for variable, text in environ.items():
        app_name, mark, rest = variable.removeprefix(_TABLE_VARIABLES).partition("__")
        if variable.startswith(_TABLE_VARIABLES) and mark:
            name = names.get(app_name, app_name.lower())
            variables.setdefault(name, {})[rest] = text
    return Layers(
        Layer(top, _without_prefix(environ)),
        {
            name: Layer(
                tables.get(name, {}),
                variables.get(name, {}),
                f"{_TABLE_VARIABLES}{_in_variable(name)}__",
                blank_is_default=True,
            )
            for name in {**tables, **variables}
        },
    )


def _without_prefix(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(_TOP_VARIABLES): value
        for name, value in environ.items()
        if name.startswith(_TOP_VARIABLES) and not _is_of_table(name)
    }


def _is_of_table(variable: str) -> bool:
    return variable.startswith(_TABLE_VARIABLES) and "__" in variable[len(_TABLE_VARIABLES) :]


def _in_variable(name: str) -> str:
    return name.upper().replace("-", "_")


def find_table_faults(name: str, layer: Layer) -> Iterator[str]:
    """What an app's table may not say."""
    if not APP_NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        yield (
            f"apps.{name}: the name of an app is at most {_LONGEST_NAME} small letters, digits,"
            " and single - or _ between them; write e.g. [apps.my-shop]"
        )
    said = {key.upper().replace("-", "_") for key in layer.written} | {*layer.variables}
    for setting in TABLE:
        if setting.process_wide and any(
            key.upper().replace("-", "_") in said for key in setting.keys
        ):
            yield (
                f"apps.{name}: {setting.key} belongs to the whole process; move it to the top"
                " level of the file, above all tables"
            )
    if (layer.find(_DB_URI) or (None, None))[1] is None:
        yield (
            f"apps.{name}: db-uri is not set, and an app does not take it from the top level;"
            f' write e.g. db-uri = "{_DB_URI.facts.kind.example}"'
        )


_DB_URI: Final[Setting] = next(row for row in TABLE if row.key == "db-uri")


def find_conflicts(apps: Sequence[NamedApp]) -> Iterator[str]:
    """What keeps the apps from being served together."""
    taken: dict[tuple[str, str], str] = {}
    for app in apps:
        for host, prefix in app.place.claims:
            other = taken.setdefault((host, prefix), app.name)
            if other != app.name:
                yield (
                    f"apps.{app.name}: {_shown(host, prefix)} is apps.{other}'s already; give"
                    " one of them other hosts or another path-prefix"
                )
    variables: dict[str, str] = {}
    for app in apps:
        other = variables.setdefault(_in_variable(app.name), app.name)
        if other != app.name:
            yield (
                f"apps.{app.name}: its environment variables would be those of apps.{other};"
                " give one of them another name"
            )


def find_pool_faults(process: Settings, apps: Sequence[NamedApp]) -> Iterator[str]:
    """Whether the connections suffice for what each app is to have in any case."""
    total, workers = process.pool_max_connections, process.server_workers
    if total is None:
        return
    if total < workers:
        yield (
            f"pool-max-connections: {total} are not enough for {workers} workers; write e.g."
            f" pool-max-connections = {10 * workers}"
        )
        return
    reserved = sum(app.settings.db_pool_min for app in apps) if apps else process.db_pool_min
    least = share_of(total, workers, workers - 1)
    if reserved > least:
        yield (
            f"db-pool-min: {reserved} connections are to be kept open in each worker, which has"
            f" {least} of pool-max-connections; lower the one or raise the other"
        )


def _shown(host: str, prefix: str) -> str:
    return f"{host or 'every host'}{prefix or ' without a path-prefix'}"


def find_table_oddities(apps: Sequence[NamedApp], top: Layer) -> Iterator[str]:
    """What works, but probably not as meant, with several apps."""
    said = [row.key for row in TABLE if not row.facts.inherited and top.find(row)]
    if any(key.startswith(APP_SETTINGS) for key in top.written) or any(
        is_app_setting(name) for name in top.variables
    ):
        said.append("app.settings")
    for key in said:
        yield (
            f"{key}: at the top level it is nobody's, for every app has its own; move it to"
            " the table of an app"
        )
    for one, other in itertools.combinations(apps, 2):
        mine, theirs = one.settings, other.settings
        same_keys = mine.jwt_secret is not None and mine.jwt_secret == theirs.jwt_secret
        if same_keys and (mine.jwt_aud is None or mine.jwt_aud == theirs.jwt_aud):
            yield (
                f"apps.{other.name}: jwt-secret is that of apps.{one.name}, so the tokens of"
                " one are good for the other; give each its own, or its own jwt-aud"
            )
    for app in apps:
        if not app.settings.db_pool_automatic_recovery:
            yield (
                f"apps.{app.name}: db-pool-automatic-recovery = false has no effect, for the"
                " other apps would end with this one"
            )


def settings_of_app() -> tuple[Setting, ...]:
    """What the table of an app may say."""
    return (*PLACES, *(row for row in TABLE if not row.process_wide))
