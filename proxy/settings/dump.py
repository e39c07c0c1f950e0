"""Settings as text: what `--dump-config` and `--example` print.

In: `Settings`, or the table alone. Out: a configuration file, written as PostgREST writes it.
A dump of everything, read back, gives the same settings.
"""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal

from pool.dsn import is_showable
from proxy.auth.role_claim import with_quoted_keys
from proxy.settings.model import TABLE, Settings
from proxy.settings.rows import Setting
from proxy.settings.tables import NamedApp, settings_of_app

_COMMENT_WIDTH = 88


HIDDEN: Final = "***"
"""What stands for a secret."""

Hides = Literal["nothing", "passwords", "secrets"]
"""What a dump does not show: `passwords` are the addresses that hold one, or may, because
they can't be read; `secrets` all that lets somebody in, and `app.settings`, which may."""


def dump_settings(settings: Settings, hides: Hides = "nothing") -> str:
    """Every setting with its value, sorted by key."""
    return _text(_lines(settings, TABLE, hides), _free_lines(settings, hides))


def _text(*lines: Iterable[str]) -> str:
    return "\n".join(sorted(itertools.chain(*lines))) + "\n"


def _lines(settings: Settings, rows: Iterable[Setting], hides: Hides) -> Iterator[str]:
    for setting in rows:
        value = getattr(settings, setting.attribute)
        # Whether there is a secret is no secret.
        hidden = bool(value) and _hides(hides, setting, value)
        yield f"{setting.key} = {_quote(HIDDEN) if hidden else _literal(setting, value)}"


def _hides(hides: Hides, setting: Setting, value: Any) -> bool:
    if hides == "passwords":
        return not _HOLDS_NO_PASSWORD.get(setting.key, lambda _: True)(value)
    return hides == "secrets" and setting.secret


_HOLDS_NO_PASSWORD: Final[dict[str, Callable[[Any], bool]]] = {
    "db-uri": is_showable,
    "db-read-uris": lambda uris: all(map(is_showable, uris)),
    "cache-store": lambda url: "@" not in url and "?" not in url,
}


def _free_lines(settings: Settings, hides: Hides) -> Iterator[str]:
    """`app.settings.*`, whose names are the user's."""
    for name, value in settings.app_settings:
        yield f"{_key(name)} = {_quote(HIDDEN if hides == 'secrets' else value)}"


def dump_apps(settings: Settings, apps: Sequence[NamedApp], hides: Hides = "nothing") -> str:
    """The same of several apps: the process's settings, then a table for each app.

    Without apps `settings` are those of the only one.
    """
    if not apps:
        return dump_settings(settings, hides)
    parts = [_text(_lines(settings, [row for row in TABLE if row.process_wide], hides))]
    for app in apps:
        own = _lines(app.settings, settings_of_app(), hides)
        free = _free_lines(app.settings, hides)
        parts.append(f"[apps.{app.name}]\n{_text(own, free)}")
    return "\n".join(parts)


def example_file() -> str:
    """A file that sets nothing: every setting with what it does and its default."""
    parts = [
        "# Every setting; those commented out show their default or, without one, a value."
    ]
    for setting in sorted(TABLE, key=lambda row: row.key):
        parts += ["", *_explained(setting)]
    parts += [
        "",
        "# Read by SQL as current_setting('app.settings.my_name').",
        '# app.settings.my_name = "value"',
    ]
    return "\n".join(parts) + "\n"


def _explained(setting: Setting) -> Iterator[str]:
    kind = setting.facts.kind
    about = setting.facts.doc.replace("`", "")
    if kind.label.startswith("one of"):
        about += f" One of {kind.label.removeprefix('one of ').replace('`', '')}."
    for line in textwrap.wrap(about, _COMMENT_WIDTH):
        yield f"# {line}"
    shown = kind.show(setting.default) if setting.default else ""
    if setting.default is False or setting.default == 0:
        shown = kind.show(setting.default)
    text = shown or kind.example
    yield f"# {setting.key} = {_quote(text) if kind.quoted else text}"


def _literal(setting: Setting, value: Any) -> str:
    if value is None:
        return '""'
    text = setting.facts.kind.show(value)
    if isinstance(value, tuple):
        text = ",".join(value)
    elif setting.attribute == "jwt_role_claim_key":
        text = with_quoted_keys(text)
    return _quote(text) if setting.facts.kind.quoted else text


def _quote(text: str) -> str:
    # A dollar sign would be the start of a reference; JSON's escapes are TOML's.
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)


def _key(name: str) -> str:
    plain = all(part and part.replace("-", "_").isidentifier() for part in name.split("."))
    return name if plain and name.isascii() else ".".join(map(_quote, name.split(".")))
