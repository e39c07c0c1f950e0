"""A JSON Schema of configuration files, by which editors complete keys and mark mistakes.

In: the table of settings. Out: draft 07, the newest that editors of TOML know. It refuses
nothing that the server takes; what only the server can know (`edgerest check`) it lets pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from proxy.cache_rules.policy import DIRECTIVES, SCOPES
from proxy.settings.model import PLACES, TABLE
from proxy.settings.rows import Setting
from proxy.settings.tables import APP_NAME

Schema = dict[str, object]

_APP: Final[Schema] = {
    "type": "object",
    "description": "`app.settings.NAME`, for SQL's `current_setting`.",
    "properties": {"settings": {"type": "object"}},
}


def configuration_schema() -> Schema:
    """The schema of a whole file, as a value for JSON."""
    of_apps = [setting for setting in TABLE if not setting.process_wide]
    apps: Schema = {
        "type": "object",
        "description": "Several apps on one server: a table for each.",
        "patternProperties": {f"^{APP_NAME.pattern}$": _table([*of_apps, *PLACES])},
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "edgerest's configuration",
        **_table(TABLE, apps=apps),
        "definitions": {"policy": _policy(), "cache": _cache()},
    }


def _table(settings: Iterable[Setting], **tables: Schema) -> Schema:
    keys: Schema = {}
    for setting in settings:
        described = _described(setting)
        keys[setting.key] = described
        for alias in setting.facts.aliases:
            older = {"description": f"The older name of {setting.key}.", "deprecated": True}
            keys[alias] = described | older
    cache: Schema = {"$ref": "#/definitions/cache"}
    return {
        "type": "object",
        "properties": {**keys, "app": _APP, "cache": cache, **tables},
        "additionalProperties": False,
    }


def _described(setting: Setting) -> Schema:
    kind = setting.facts.kind
    described = {"description": setting.facts.doc, **kind.schema}
    if setting.default in (None, (), "") or setting.secret:
        return described
    if isinstance(setting.default, bool | int | float) and not kind.quoted:
        return described | {"default": setting.default}
    return described | {"default": kind.show(setting.default)}


def _cache() -> Schema:
    policy: Schema = {"$ref": "#/definitions/policy"}
    # [cache.tables."api.items"], or without quotes a table within a table.
    named: Schema = {
        "type": "object",
        "additionalProperties": {
            "anyOf": [policy, {"type": "object", "additionalProperties": policy}]
        },
    }
    return {
        "type": "object",
        "description": "What may be kept, for how long and for whom (caching.md).",
        "properties": {"default": policy, "tables": named, "functions": named},
        "additionalProperties": False,
    }


def _policy() -> Schema:
    seconds: Schema = {"type": ["integer", "string"], "minimum": 0}
    directives: Mapping[str, object] = {
        name: {"enum": list(SCOPES)} if name == "scope" else seconds for name in DIRECTIVES
    }
    of_role = {"type": "object", "properties": directives, "additionalProperties": False}
    roles = {"type": "object", "additionalProperties": of_role}
    return of_role | {"properties": {**directives, "roles": roles}}
