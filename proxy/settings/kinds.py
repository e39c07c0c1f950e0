"""What values settings may have: each kind reads what a file, a variable or a row says.

In: a TOML value, or the text of an environment variable or database row. Out: the value the
server works with, or ValueError whose text completes "'<what was written>' …". The
coercions are those of PostgREST (docs, "Configuration"), so that `"true"`, `"1"` and `true`
are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from proxy.settings.routing import read_host, read_prefix

Raw = object
"""What was written: `str` from variables and rows; any TOML value from files."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    `label` names it in the documentation, `example` is a value as text, `quoted` says that
    a file writes it in quotes. `show` is the inverse of `read`: the text of a value.
    `blank_is_value` tells the settings for which "" means something else than "not set",
    `numeric` those for which `true` means "not set", as in PostgREST. `schema` is what a
    JSON Schema says of a value in a file, which editors go by.
    """

    label: str
    example: str
    read: Callable[[Raw], Any]
    show: Callable[[Any], str] = str
    quoted: bool = True
    blank_is_value: bool = False
    numeric: bool = False
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


_TRUE: Final = frozenset({"true", "on"})
_FALSE: Final = frozenset({"false", "off"})
_LIST_SCHEMA: Final = {"type": ["string", "array"], "items": {"type": "string"}}


def _boolean(raw: Raw) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int):
        return raw > 0
    if isinstance(raw, str):
        # Letters only, so that a value which kept its quotes on the way still counts.
        word = "".join(filter(str.isalpha, raw)).lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        try:
            return int(raw) > 0
        except ValueError:
            pass
    raise ValueError("is neither true nor false")


def _whole_number(raw: Raw) -> int:
    if isinstance(raw, float) and raw.is_integer():
        return int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        try:
            return int(raw)
        except ValueError:
            pass
    raise ValueError("is not a whole number")


def _number(raw: Raw) -> float | None:
    if isinstance(raw, int | float | str) and not isinstance(raw, bool):
        try:
            return float(raw)
        except ValueError:
            pass
    return None


def _seconds(raw: Raw) -> float:
    value = _number(raw)
    if value is None or not 0 < value < float("inf"):
        raise ValueError("is not a number of seconds above 0")
    return value


def _seconds_or_none(raw: Raw) -> float:
    value = _number(raw)
    if value is None or not 0 <= value < float("inf"):
        raise ValueError("is not a number of seconds, or 0")
    return value


def _text(raw: Raw) -> str:
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, str | int | float):
        return str(raw)
    raise ValueError("is not text")


def _names(raw: Raw) -> tuple[str, ...]:
    if isinstance(raw, list) and all(isinstance(name, str) for name in raw):
        parts = raw
    elif isinstance(raw, str):
        parts = raw.split(",")
    else:
        raise ValueError("is not a comma-separated list")
    return tuple(name.strip() for name in parts if name.strip())


def _socket_mode(raw: Raw) -> int:
    try:
        mode = int(_text(raw), 8)
    except ValueError:
        raise ValueError("is not an octal number") from None
    if not 0o600 <= mode <= 0o777:
        raise ValueError("is not between 600 and 777")
    return mode


def whole_number(
    example: int, *, at_least: int = 0, at_most: int | None = None, label: str = "integer"
) -> Kind:
    """A whole number within bounds, both included."""

    def read(raw: Raw) -> int:
        value = _whole_number(raw)
        if value < at_least:
            raise ValueError(f"is less than {at_least}")
        if at_most is not None and value > at_most:
            raise ValueError(f"is more than {at_most}")
        return value

    bounds = {"minimum": at_least} | ({} if at_most is None else {"maximum": at_most})
    schema = {"type": ["integer", "string"], **bounds}
    return Kind(label, str(example), read, quoted=False, numeric=True, schema=schema)


def text(example: str) -> Kind:
    """Any text; what it means is checked by `proxy.settings.checks`."""
    return Kind("string", example, _text)


def path(example: str) -> Kind:
    """A path, taken relative to the working directory."""
    return Kind("path", example, lambda raw: Path(_text(raw)))


def one_of(*choices: str, gone: Mapping[str, str] | None = None) -> Kind:
    """One of a few words; `gone` has those that were of them once, and what to say of each."""

    def read(raw: Raw) -> str:
        if gone is not None and isinstance(raw, str) and raw in gone:
            raise ValueError(gone[raw])
        if raw not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return str(raw)

    label = "one of " + ", ".join(f"`{word}`" for word in choices)
    # Or what stands for another key, or a variable.
    schema = {"anyOf": [{"enum": list(choices)}, {"type": "string", "pattern": r"\$\("}]}
    return Kind(label, choices[0], read, schema=schema)


def names(example: str, *, blank_is_value: bool = False) -> Kind:
    """A comma-separated list; in a file an array of strings does as well."""
    show: Callable[[tuple[str, ...]], str] = ", ".join
    return Kind(
        "list", example, _names, show, blank_is_value=blank_is_value, schema=_LIST_SCHEMA
    )


def seconds(example: float) -> Kind:
    """A span of time, fractions allowed."""
    return Kind(
        "seconds",
        f"{example:g}",
        _seconds,
        lambda value: f"{value:g}",
        quoted=False,
        numeric=True,
        schema={"type": ["number", "string"], "exclusiveMinimum": 0},
    )


def positive(example: float) -> Kind:
    """A number above 0, fractions allowed."""

    def read(raw: Raw) -> float:
        try:
            return _seconds(raw)
        except ValueError:
            raise ValueError("is not a number above 0") from None

    return replace(seconds(example), label="number above 0", read=read)


def seconds_or_none(example: float) -> Kind:
    """A span of time, fractions allowed; 0 stands for none."""
    schema = {"type": ["number", "string"], "minimum": 0}
    return replace(seconds(example), read=_seconds_or_none, schema=schema)


def _hosts(raw: Raw) -> tuple[str, ...]:
    found = []
    for name in _names(raw):
        try:
            found.append(read_host(name))
        except ValueError as error:
            raise ValueError(f"holds '{name}', which {error}") from None
    return tuple(dict.fromkeys(found))


def _show_boolean(value: bool) -> str:
    return "true" if value else "false"


BOOLEAN: Final = Kind(
    "boolean",
    "true",
    _boolean,
    _show_boolean,
    quoted=False,
    schema={"type": ["boolean", "integer", "string"]},
)
PORT: Final = whole_number(3000, at_most=65535, label="port")
HOSTS: Final = Kind(
    "list", "shop.example.com, *.shop.example.com", _hosts, ", ".join, schema=_LIST_SCHEMA
)
PATH_PREFIX: Final = Kind("path", "/shop", lambda raw: read_prefix(_text(raw)))
SOCKET_MODE: Final = Kind(
    "octal mode",
    "660",
    _socket_mode,
    lambda mode: f"{mode:o}",
    schema={"type": ["string", "integer"]},
)
