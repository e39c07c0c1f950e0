"""Read a configuration file, PostgREST's or ours.

In: the text of a file and the environment. Out: a flat mapping from key to TOML value.
The format is TOML. PostgREST's own (configurator) differs from it in what its files use by
`on` and `off` for booleans, and by strings in which `$(NAME)` stands for another key or an
environment variable and `$$` for a dollar sign; both are understood.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from proxy.settings.errors import SettingsError
from proxy.settings.kinds import Raw

_SWITCH: Final = re.compile(r"(?m)^([^\S\n]*+[\w.-]++\s*+=\s*+)(on|off)(?=[^\S\n]*+(?:#.*)?$)")
APP_KEY: Final = re.compile(r"apps\.([^.]+)\.")
"""How the keys of an app's table begin, once dots stand for tables."""
_LINE: Final = re.compile(r"\(at line (\d{1,9}),")
_KEY: Final = re.compile(r"\s*+([\w.-]++)\s*+=")
_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^()]*)\))")


def parse_file(text: str, environ: Mapping[str, str]) -> dict[str, Raw]:
    """The settings in `text`, dotted keys for tables. Raises SettingsError."""
    try:
        tables = _load(text)
    except tomllib.TOMLDecodeError as error:
        where = _key_at(text, str(error))
        raise SettingsError(
            [f'{where}{error}; every line reads like key = "text", key = 10 or key = true']
        ) from None
    found: dict[str, Raw] = {}
    _flatten("", tables, found)
    problems: list[str] = []
    resolved = {
        key: _resolve(key, value, found, environ, problems) if isinstance(value, str) else value
        for key, value in found.items()
    }
    if problems:
        raise SettingsError(problems)
    return resolved


def _key_at(text: str, complaint: str) -> str:
    """The key of the line that `complaint` is about; never its value, which may be secret."""
    lines = text.splitlines()
    found = _LINE.search(complaint)
    # What nothing ends is complained of at the end of the file.
    number = int(found[1]) - 1 if found else _readable(lines)
    key = _KEY.match(lines[number]) if number < len(lines) else None
    if key is None:
        return ""
    return f"{key[1]}: " if found else f"{key[1]}, in line {number + 1}: "


def _readable(lines: Sequence[str]) -> int:
    """How many lines can be read, from the first on."""
    for count in range(len(lines) - 1, 0, -1):
        with suppress(tomllib.TOMLDecodeError):
            _load("\n".join(lines[:count]))
            return count
    return 0


def _load(text: str) -> dict[str, Any]:
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        words = {"on": "true", "off": "false"}
        rewritten, count = _SWITCH.subn(lambda found: found[1] + words[found[2]], text)
        if not count:
            raise
        return tomllib.loads(rewritten)


def _flatten(prefix: str, table: Mapping[str, Any], into: dict[str, Raw]) -> None:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            _flatten(f"{prefix}{name}.", value, into)
        else:
            into[prefix + name] = value


def _resolve(
    key: str,
    text: str,
    found: Mapping[str, Raw],
    environ: Mapping[str, str],
    problems: list[str],
) -> str:
    app = APP_KEY.match(key)
    table = app[0] if app else ""

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        value = found.get(table + name, found.get(name, environ.get(name)))
        if value is None:
            # Named by its place: in a password it may be a part of that.
            problems.append(
                f"{key}: the $(…) at its character {match.start() + 1} names neither a key of"
                " the file nor an environment variable; set that, or write $$(…) for the text"
                " itself"
            )
        return str(value)

    return _REFERENCE.sub(value_of, text)
