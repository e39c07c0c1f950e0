"""Make `Settings` from a file, the environment and the defaults.

In: the path of a configuration file or None, and the environment. Out: `Loaded`. A variable
wins over the file, the file over the default; what the database says comes later
(`proxy.settings.database`). An app's table, and the variables of that table, win over both
for that app (`proxy.settings.tables`). Every fault is found before anything is reported.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from proxy.cache_rules.policy import PREFIX as POLICY_PREFIX
from proxy.cache_rules.policy import PolicyError, read_policy_rows
from proxy.settings.checks import find_faults, find_oddities
from proxy.settings.errors import SettingsError
from proxy.settings.file import parse_file
from proxy.settings.kinds import Raw
from proxy.settings.layers import APP_SETTINGS, Layer, app_settings, find_value, is_app_setting
from proxy.settings.model import PLACES, TABLE, Settings
from proxy.settings.rows import Setting
from proxy.settings.tables import (
    Layers,
    NamedApp,
    find_conflicts,
    find_pool_faults,
    find_table_faults,
    find_table_oddities,
    settings_of_app,
    split_layers,
)

_KEYS: Final = {key: setting for setting in TABLE for key in setting.keys}
_KEYS_OF_APP: Final = {key: setting for setting in settings_of_app() for key in setting.keys}
# Of PostgREST's own tests; a file may carry them, they mean nothing here.
_IGNORED_PREFIX: Final = "internal-schema-cache-"
_PREFIXES: Final = (APP_SETTINGS, POLICY_PREFIX, _IGNORED_PREFIX)
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Loaded:
    """Valid settings, and sentences about what is probably not as meant.

    `apps` are those of the tables `[apps.NAME]`. Without any, `settings` describe the one
    app that there is; with some, what they say of the process alone counts.
    """

    settings: Settings
    warnings: tuple[str, ...] = ()
    apps: tuple[NamedApp, ...] = ()


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """The settings in the file at `path`, if any, under those in `environ`.

    Reads the file, and the files that secrets name with `@`. Raises
    SettingsError, which tells all that is wrong.
    """
    written = {} if path is None else _parse_config(path, environ)
    layers = split_layers(written, environ)
    settings, problems = _read_layers(TABLE, (layers.top,))
    apps = []
    for name, layer in layers.apps.items():
        own, faults = _read_layers((*PLACES, *TABLE), (layer, layers.top))
        # What is wrong at the top level was told there.
        faults = [f"apps.{name}: {fault}" for fault in faults if fault not in problems]
        problems += [*find_table_faults(name, layer), *faults]
        apps.append(NamedApp(name, own))
    # One whose place can't be read would seem to be everywhere.
    placed = [app for app in apps if _is_placed(layers.apps[app.name])]
    problems += [*find_conflicts(placed), *find_pool_faults(settings, apps)]
    if problems:
        raise SettingsError(problems)
    return Loaded(settings, tuple(_warnings(layers, settings, apps)), tuple(apps))


def _is_placed(layer: Layer) -> bool:
    """Whether what an app's table says of its place can be read."""
    found = ((setting, find_value(setting, (layer,))) for setting in PLACES)
    try:
        for setting, source in found:
            if source is not None:
                read_value(setting, *source)
    except SettingsError:
        return False
    return True


def _read_layers(
    rows: Iterable[Setting], layers: Sequence[Layer]
) -> tuple[Settings, list[str]]:
    """What `layers` say, the first of which wins, and all that is wrong with it."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    for setting in rows:
        source = find_value(setting, layers)
        if source is None:
            continue
        try:
            values[setting.attribute] = read_value(setting, *source)
        except SettingsError as error:
            problems += error.problems
    for attribute, strip in _FROM_FILES:
        try:
            if (text := values.get(attribute, "")).startswith("@"):
                values[attribute] = strip(_read_named(attribute, text[1:]))
                if attribute == "db_uri":
                    values["db_uri_file"] = Path(text[1:])
        except SettingsError as error:
            problems += error.problems
            del values[attribute]
    try:
        values["cache_policies"] = read_policy_rows(layers[0].written)
    except PolicyError as error:
        problems.append(str(error))
    settings = Settings(app_settings=app_settings(layers[0]), **values)
    problems += [fault for _, fault in find_faults(settings)]
    return settings, problems


def _warnings(layers: Layers, settings: Settings, apps: Sequence[NamedApp]) -> Iterator[str]:
    yield from _unknown(layers.top, _KEYS)
    if not apps:
        yield from find_oddities(settings)
        return
    for app in apps:
        yield from (f"apps.{app.name}: {text}" for text in _of_app(layers, app))
    yield from find_table_oddities(apps, layers.top)


def _of_app(layers: Layers, app: NamedApp) -> Iterator[str]:
    yield from _unknown(layers.apps[app.name], _KEYS_OF_APP)
    yield from find_oddities(app.settings)


def with_database_settings(settings: Settings, rows: Mapping[str, str]) -> Settings:
    """`settings` under what the database says; pure.

    `rows` maps names (`pgrst.db_schemas`, or without the prefix) to values; names that
    can't be set in the database are ignored. An empty value means the default. Raises
    SettingsError; the caller then keeps what it has.
    """
    named = {name.removeprefix("pgrst."): value for name, value in rows.items()}
    problems: list[str] = []
    values: dict[str, Any] = {}
    for setting in TABLE:
        text = named.get(setting.attribute)
        if text is None or not setting.facts.in_database:
            continue
        if text == "" and not setting.facts.kind.blank_is_value:
            values[setting.attribute] = setting.default
            continue
        name = f"pgrst.{setting.attribute}"
        try:
            values[setting.attribute] = read_value(setting, name, text)
        except SettingsError as error:
            problems += error.problems
    if (values.get("jwt_secret") or "").startswith("@"):
        problems.append(
            "pgrst.jwt_secret: the database can't name a file of the server; set jwt-secret"
            " in the configuration file, or the secret itself in the database"
        )
    changed: Settings = replace(settings, **values)
    # A fault in a setting that the database has no part in was there before.
    before = {fault for _, fault in find_faults(settings)}
    problems += [fault for _, fault in find_faults(changed) if fault not in before]
    if problems:
        raise SettingsError(problems)
    return changed


def keep_fixed(running: Settings, fresh: Settings) -> Settings:
    """`fresh`, except for what changes with a restart only: that stays as it runs."""
    fixed = {
        setting.attribute: getattr(running, setting.attribute)
        for setting in TABLE
        if not setting.facts.reloadable
    }
    if running.db_uri_file is not None and running.db_uri_file == fresh.db_uri_file:
        # The file is read again when the database refuses what it said before.
        del fixed["db_uri"]
    else:
        fixed["db_uri_file"] = running.db_uri_file
    return replace(fresh, **fixed)


def read_value(setting: Setting, name: str, raw: Raw) -> Any:
    """The value that `raw`, found under `name`, has for `setting`. Raises SettingsError."""
    try:
        return setting.facts.kind.read(raw)
    except ValueError as error:
        shown = str(raw)
        shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
        # Who writes a password there must not find it in a log.
        what = "it" if setting.secret else f"'{shown}'"
        raise SettingsError(
            [f"{name}: {what} {error}; write e.g. {_example(setting, name)}"]
        ) from None


def _example(setting: Setting, name: str) -> str:
    example = setting.facts.kind.example
    if name.startswith("PGRST_"):
        return f"{name}={example}"
    return f'{name} = "{example}"' if setting.facts.kind.quoted else f"{name} = {example}"


def _unknown(layer: Layer, known: Mapping[str, Setting]) -> Iterator[str]:
    for key, raw in layer.written.items():
        if key in known:
            if isinstance(raw, bool) and known[key].facts.kind.numeric:
                yield f"{key} is a number: '{str(raw).lower()}' counts as not set"
        elif not key.startswith(_PREFIXES):
            yield _not_a_setting(key, known)
    variables = {
        layer.variable_prefix + key.upper().replace("-", "_"): row for key, row in known.items()
    }
    for name in layer.variables:
        full = layer.variable_prefix + name
        if full in variables or is_app_setting(name):
            continue
        if name.startswith("APPS_"):
            yield (
                f"{full} is not a setting; an app's variables are PGRST_APPS__NAME__SETTING,"
                " with two underscores around the name"
            )
        else:
            yield _not_a_setting(full, variables)


def _not_a_setting(name: str, known: Mapping[str, Setting]) -> str:
    last = name.rpartition(".")[2]
    if last in _KEYS_OF_APP:
        return f"{name} is not a setting here; an app's table is [apps.NAME], with {last} in it"
    if name == "apps":
        return f"{name} is not a setting; an app's table is [apps.NAME]"
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {near[0]}?" if near else "remove it"
    return f"{name} is not a setting; {remedy}"


def _parse_config(path: Path, environ: Mapping[str, str]) -> dict[str, Raw]:
    text = _read_config(path)
    try:
        return parse_file(text, environ)
    except SettingsError as error:
        raise SettingsError([f"{path}: {problem}" for problem in error.problems]) from None


def _read_config(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            [f"{path}: the configuration can't be read: {error.strerror}"]
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: the configuration is not UTF-8 text"]) from error


def _read_named(attribute: str, name: str) -> str:
    key = attribute.replace("_", "-")
    # A secret may begin with @, so what was taken for the name of a file is not shown.
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(
            [f"{key}: the file that it names with @ can't be read: {reason}; name one that can"]
        ) from None
    except ValueError:
        raise SettingsError(
            [
                f"{key}: the file that it names with @ is not UTF-8 text; put base64 of binary"
                " data there"
            ]
        ) from None


def _without_newline(text: str) -> str:
    return text.removesuffix("\n")


_FROM_FILES: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("db_uri", str.strip),
    ("jwt_secret", _without_newline),
    ("admin_server_token", str.strip),
)
"""What may be read from a file with `@`, and what is taken off the file's content."""
