"""docs/configuration.md, made from the table of settings."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.settings.model import PLACES, TABLE
from proxy.settings.rows import Setting

_INTRODUCTION = """\
<!-- Made from proxy/settings/model.py by `make docs`; change it there. -->
# Configuration

A configuration file is TOML with PostgREST's keys, so a `postgrest.conf` works as it is:

```toml
db-uri = "postgresql://authenticator@localhost/app"
db-schemas = "api"
db-anon-role = "web_anon"
jwt-secret = "@/run/secrets/jwt"
app.settings.support_email = "help@example.com"
```

`edgerest serve edgerest.conf` starts the server, `edgerest check edgerest.conf` says what is
wrong with the file, with this machine or with the database it names (`--strict` also fails on
warnings, `--json` prints an array), `edgerest --example` prints a file with every setting.

An editor that knows TOML (Even Better TOML in VS Code, taplo, Tombi) completes keys and marks
mistakes by the JSON Schema that `edgerest config-schema > edgerest.schema.json` prints, when
the configuration begins with the line `#:schema ./edgerest.schema.json`.

- **Environment**: every key has a variable, `PGRST_` and the key in capitals with
  underscores. It wins over the file. `PGRST_APP_SETTINGS_X` sets `app.settings.X`.
- **In the database**: settings with a `pgrst.` name may be set with `ALTER ROLE … SET` for
  the connecting role, or by the function that `db-pre-config` names. They win over both.
- **Reload**: settings that change with a reload do so on `NOTIFY pgrst, 'reload config'` or
  SIGUSR2.
- In a file, `$(NAME)` in a string stands for an environment variable or another key, `$$`
  for a dollar sign. `@path` reads `db-uri` and `jwt-secret` from a file.
- **Several apps**: a table `[apps.NAME]` for each; see [many-apps.md](many-apps.md). What
  it does not say, it has from the top level, but for the settings that are each app's own.
- Booleans and numbers may be written as strings (`"true"`, `"1"`), lists with commas or as
  arrays. An empty string is the same as leaving the key out.

What is wrong is told all at once, with the key and the remedy; an unknown key is a warning.

Settings marked with a star are edgerest's own; all others are PostgREST's, with the same
meaning and default.
"""

_TITLES = {
    "db": "Database",
    "cache": "Cache",
    "pool": "All apps' connections",
    "jwt": "Tokens",
    "openapi": "OpenAPI",
    "csv": "CSV",
    "server": "Server",
    "admin": "Admin server",
    "client": "Errors",
    "log": "Logging",
    "url": "URLs",
}


_PLACES = """
## Where an app is

These stand in the table of an app, `[apps.NAME]`, only.

"""


def configuration_markdown() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for prefix, title in _TITLES.items():
        rows = [row for row in TABLE if row.key.partition("-")[0] == prefix]
        parts.append(f"\n## {title}\n\n" + "\n".join(_section(row) for row in rows))
    parts.append(_PLACES + "\n".join(_section(row) for row in PLACES))
    return "".join(parts)


def _section(setting: Setting) -> str:
    facts = setting.facts
    star = " ★" if facts.own else ""
    return f"### {setting.key}{star}\n\n{facts.doc}\n\n" + "\n".join(_facts(setting)) + "\n"


def _facts(setting: Setting) -> Iterator[str]:
    facts = setting.facts
    yield f"- {facts.kind.label}, default: {_default(setting)}"
    if facts.place:
        variable = setting.variable.removeprefix("PGRST_")
        yield f"- also as `PGRST_APPS__NAME__{variable}`"
        yield "- changes with a reload"
        return
    where = [f"`{setting.variable}`"]
    if setting.database_name is not None:
        where.append(f"`{setting.database_name}`")
    yield f"- also as {' and '.join(where)}"
    if facts.aliases:
        wins = ", which wins over it" if facts.alias_first else ""
        yield f"- older name: {', '.join(f'`{name}`' for name in facts.aliases)}{wins}"
    yield "- changes with a reload" if facts.reloadable else "- changes with a restart"
    if setting.process_wide:
        yield "- of the whole process"
    elif not facts.inherited:
        yield "- each app's own: a table does not take it from the top level"


def _default(setting: Setting) -> str:
    facts = setting.facts
    if facts.default_text is not None:
        return facts.default_text
    if setting.default is None:
        return "none"
    return f"`{facts.kind.show(setting.default)}`"
