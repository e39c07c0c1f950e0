"""What the table of settings says of each: how a row is written, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Flag, auto
from typing import Any, Final, TypeVar

from proxy.settings.kinds import Kind

T = TypeVar("T")
_FACTS: Final = "facts"

_PROCESS_WIDE: Final = ("server-", "admin-", "log-", "pool-")
"""How the keys of settings begin that belong to the process."""


class Mark(Flag):
    """What is special about a setting."""

    NONE = 0
    OWN = auto()
    """PostgREST has no such setting."""
    FIXED = auto()
    """A reload does not change it."""
    IN_DATABASE = auto()
    """It may be set in the database."""
    EACH_OWN = auto()
    """An app's table does not take it from the top level: what lets somebody in, or names a
    place."""
    PLACE = auto()
    """A table alone may say it: where its app is."""
    ALIAS_FIRST = auto()
    """Its aliases win over the key itself, as one does in PostgREST."""
    SECRET = auto()
    """Its value must not be shown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the table says about a setting besides its name, type and default.

    `aliases` are other keys for the same setting. `default_text` replaces the default where
    the documentation shows it. The rest is what `Mark` says.
    """

    kind: Kind
    doc: str
    aliases: tuple[str, ...] = ()
    default_text: str | None = None
    mark: Mark = Mark.NONE

    @property
    def alias_first(self) -> bool:
        return Mark.ALIAS_FIRST in self.mark

    @property
    def reloadable(self) -> bool:
        return Mark.FIXED not in self.mark

    @property
    def in_database(self) -> bool:
        return Mark.IN_DATABASE in self.mark

    @property
    def own(self) -> bool:
        return Mark.OWN in self.mark

    @property
    def inherited(self) -> bool:
        return Mark.EACH_OWN not in self.mark

    @property
    def place(self) -> bool:
        return Mark.PLACE in self.mark


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    attribute: str
    default: Any
    facts: Facts

    @property
    def secret(self) -> bool:
        """Whether its value must not be shown."""
        return Mark.SECRET in self.facts.mark

    @property
    def key(self) -> str:
        """The name in a configuration file: `db-anon-role`."""
        return self.attribute.replace("_", "-")

    @property
    def keys(self) -> tuple[str, ...]:
        """The key and its aliases, the one that wins first."""
        if self.facts.alias_first:
            return (*self.facts.aliases, self.key)
        return (self.key, *self.facts.aliases)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return variable_of(self.key)

    @property
    def process_wide(self) -> bool:
        """Whether it is about the process, not about an app: what belongs to the server and
        could not be different in each database."""
        return self.key.startswith(_PROCESS_WIDE) and not self.facts.in_database

    @property
    def database_name(self) -> str | None:
        """The name of the in-database setting, None when it can't be set there."""
        return f"pgrst.{self.attribute}" if self.facts.in_database else None


def variable_of(key: str) -> str:
    """The environment variable of a key or of an alias."""
    return "PGRST_" + key.upper().replace("-", "_")


def row(
    doc: str,
    default: T,
    kind: Kind,
    mark: Mark = Mark.NONE,
    *,
    aliases: tuple[str, ...] = (),
    default_text: str | None = None,
) -> T:
    """The field of a dataclass that is a setting; `settings_of` finds it."""
    facts = Facts(kind, doc, aliases, default_text, mark)
    shown = Mark.SECRET not in mark
    return field(default=default, repr=shown, metadata={_FACTS: facts})


def settings_of(table: type) -> tuple[Setting, ...]:
    """The rows of a dataclass; its other fields are none."""
    return tuple(
        Setting(column.name, column.default, column.metadata[_FACTS])
        for column in fields(table)
        if _FACTS in column.metadata
    )
