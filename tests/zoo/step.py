"""A step of the walk, and how names and values are written in URLs and SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import quote

from tests.zoo.names import quoted

SCHEMA: Final = "zoo"
Shape = Literal["rows", "row", "values", "value", "nothing", "csv", "count"]

CSV: Final = {"Accept": "text/csv"}
ONE: Final = {"Accept": "application/vnd.pgrst.object+json"}
STRIPPED: Final = {"Accept": "application/vnd.pgrst.array+json;nulls=stripped"}
EXACT: Final = {"Prefer": "count=exact"}


@dataclass(frozen=True)
class Step:
    """A request and the SQL that says what it must answer, in `shape`.

    Where the SQL fails, the request must be refused. SQL that writes has RETURNING; it is
    rolled back, and so is what the request writes.
    """

    target: str
    query: str
    shape: Shape = "rows"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


def url(text: str) -> str:
    """Any text as a piece of a URL."""
    return quote(text, safe="")


def path(table: str) -> str:
    """The path of a table."""
    return f"/{url(table)}"


def relation(table: str, alias: str) -> str:
    """A table under an alias, as FROM has it."""
    return f"{SCHEMA}.{quoted(table)} {alias}"


def written(name: str) -> str:
    """A name or a value as a query string writes it, always in quotes."""
    return url('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"')


def literal(text: str) -> str:
    """A text as a string constant, of no type yet."""
    return "'" + text.replace("'", "''") + "'"


def array_text(values: list[str]) -> str:
    """Values as the text of an array."""
    inner = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in inner) + "}"
