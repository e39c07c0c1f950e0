"""The names that a statement gives its row sources.

Any name may be a user's: none can be reserved. So every column is written with the name of
its row source, a row as `source.*`, and no two sources of a statement have one name. They
are PostgREST's (`projects_1`), which its users know from plans and error messages, unless
such a name is too long or taken.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import Final

MOST_BYTES: Final = 63
"""PostgreSQL cuts longer names (its docs: "Identifiers and Key Words")."""


class Names:
    """The names that one statement has taken."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def own(self, table: str) -> str | None:
        """The alias of a table: None, when it may go by its own name."""
        if table not in self._taken:
            self._taken.add(table)
            return None
        return self.fresh(table)

    def fresh(self, base: str, suffix: str = "", avoid: Collection[str] = ()) -> str:
        """`base` with `suffix`, or what is nearest to it among the names that are neither
        taken nor to be avoided."""
        for number in count(1):
            end = suffix if number == 1 else f"{suffix}_{number}"
            name = _cut(base, MOST_BYTES - len(end)) + end
            if name not in self._taken and name not in avoid:
                self._taken.add(name)
                return name
        raise AssertionError  # count() has no end


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
