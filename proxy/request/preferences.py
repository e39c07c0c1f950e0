"""The Prefer header (RFC 7240) with PostgREST's preferences (docs: "Prefer Header")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

T = TypeVar("T")

Resolution = Literal["merge-duplicates", "ignore-duplicates"]
Missing = Literal["default", "null"]
Representation = Literal["representation", "headers-only", "minimal"]
Count = Literal["exact", "planned", "estimated"]
Transaction = Literal["commit", "rollback"]
Handling = Literal["strict", "lenient"]
Update = Literal["by-key"]


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences of a request; the first occurrence of each wins.

    `update` is edgerest's own (docs/writes.md), the others are PostgREST's. `invalid` are
    the ones nobody knows, in order of appearance, for handling=strict.
    """

    resolution: Resolution | None = None
    missing: Missing | None = None
    representation: Representation | None = None
    count: Count | None = None
    transaction: Transaction | None = None
    handling: Handling | None = None
    timezone: str | None = None
    max_affected: int | None = None
    update: Update | None = None
    invalid: tuple[str, ...] = ()

    @property
    def is_strict(self) -> bool:
        return self.handling == "strict"


_NONE: Final = Preferences()
_RESOLUTION: Final[Mapping[str, Resolution]] = {
    "resolution=merge-duplicates": "merge-duplicates",
    "resolution=ignore-duplicates": "ignore-duplicates",
}
_MISSING: Final[Mapping[str, Missing]] = {
    "missing=default": "default",
    "missing=null": "null",
}
_REPRESENTATION: Final[Mapping[str, Representation]] = {
    "return=representation": "representation",
    "return=headers-only": "headers-only",
    "return=minimal": "minimal",
}
_COUNT: Final[Mapping[str, Count]] = {
    "count=exact": "exact",
    "count=planned": "planned",
    "count=estimated": "estimated",
}
_TRANSACTION: Final[Mapping[str, Transaction]] = {
    "tx=commit": "commit",
    "tx=rollback": "rollback",
}
_HANDLING: Final[Mapping[str, Handling]] = {
    "handling=strict": "strict",
    "handling=lenient": "lenient",
}
_UPDATE: Final[Mapping[str, Update]] = {"update=by-key": "by-key"}
_KNOWN: Final = frozenset().union(
    _RESOLUTION, _MISSING, _REPRESENTATION, _COUNT, _TRANSACTION, _HANDLING, _UPDATE
)
_TIMEZONE: Final = "timezone="
_MAX_AFFECTED: Final = "max-affected="
_INTEGER: Final = re.compile(r"\s*+(?:-\s*+)?[0-9]{1,18}+\s*+")


def parse_preferences(
    headers: Iterable[tuple[bytes, bytes]], *, allow_transaction_override: bool
) -> Preferences:
    """The preferences in all `prefer` headers (names in lower case).

    `allow_transaction_override`: whether `tx=` is heeded (db-tx-end). Never fails: what is
    not understood stands in `invalid`.
    """
    wanted = [
        text.strip()
        for name, value in headers
        if name == b"prefer"
        for text in value.decode("utf-8", "replace").split(",")
    ]
    if not wanted:
        return _NONE

    return Preferences(
        resolution=_first(_RESOLUTION, wanted),
        missing=_first(_MISSING, wanted),
        representation=_first(_REPRESENTATION, wanted),
        count=_first(_COUNT, wanted),
        transaction=_first(_TRANSACTION, wanted) if allow_transaction_override else None,
        handling=_first(_HANDLING, wanted),
        timezone=next(_values(_TIMEZONE, wanted), None),
        max_affected=_integer(next(_values(_MAX_AFFECTED, wanted), "")),
        update=_first(_UPDATE, wanted),
        invalid=tuple(
            text
            for text in wanted
            if text not in _KNOWN and not text.startswith((_TIMEZONE, _MAX_AFFECTED))
        ),
    )


def _first(table: Mapping[str, T], wanted: Iterable[str]) -> T | None:
    return next((table[text] for text in wanted if text in table), None)


def _values(prefix: str, wanted: Iterable[str]) -> Iterator[str]:
    return (text.removeprefix(prefix) for text in wanted if text.startswith(prefix))


def _integer(text: str) -> int | None:
    return int("".join(text.split())) if _INTEGER.fullmatch(text) else None


def preference_applied(preferences: Preferences) -> bytes | None:
    """The value of Preference-Applied, None when there is nothing to tell.

    Names what was understood; whether it had an effect is for the caller to decide (by
    `dataclasses.replace`).
    """
    affected = preferences.max_affected if preferences.is_strict else None
    named = (
        ("resolution", preferences.resolution),
        ("missing", preferences.missing),
        ("return", preferences.representation),
        ("count", preferences.count),
        ("tx", preferences.transaction),
        ("handling", preferences.handling),
        ("timezone", preferences.timezone),
        ("max-affected", affected),
        ("update", preferences.update),
    )
    applied = ", ".join(f"{name}={value}" for name, value in named if value is not None)
    return applied.encode() or None
