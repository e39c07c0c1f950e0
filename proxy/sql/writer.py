"""The ground all SQL is built on: quoting of names, bind parameters, nothing else.

Rules: a value reaches SQL only through `Writer.bind`; a name only through `identifier` or
`qualified`, or as SQL text that the database's own catalogs produced (types, defaults,
casting functions). `type_name` is the single door for type names that a request spells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pool.model import Argument, Statement
from proxy.errors import api_error
from proxy.schema_cache.model import QualifiedName

_TYPE_NAME: Final = re.compile(r"[\w$]+(?: [\w$]+)*")
_SPELLED_TYPES: Final = frozenset(
    """
    bigint bit boolean character double integer interval numeric real smallint time timestamp
    """.split()
)
"""The first words of types in PostgreSQL's grammar, where `format_type` writes them (its
docs: "Data Types")."""


def identifier(name: str) -> str:
    """`name` as a quoted identifier; PostgreSQL's text ends at NUL, so does the name."""
    return '"' + name.partition("\0")[0].replace('"', '""') + '"'


def qualified(name: QualifiedName) -> str:
    """`"schema"."name"`, or `"name"` when the search_path decides."""
    prefix = f"{identifier(name.schema)}." if name.schema else ""
    return prefix + identifier(name.name)


def column(source: QualifiedName, name: str) -> str:
    """A column of `source`."""
    return f"{qualified(source)}.{identifier(name)}"


def row(source: QualifiedName) -> str:
    """All columns of `source`: one value in an expression, each its own in a select list."""
    return f"{qualified(source)}.*"


def columns(source: QualifiedName, names: Iterable[str]) -> str:
    """The columns of `source` that a plan names, where `*` stands for all of them."""
    return ", ".join(row(source) if name == "*" else column(source, name) for name in names)


def type_name(name: str) -> str:
    """A type as a cast names it: words of letters, digits, `_` and `$`, never quoted
    (quoting would lose PostgreSQL's own names such as `int` or `double precision`).

    Raises PGRST100 for anything else.
    """
    words = name.strip()
    if _TYPE_NAME.fullmatch(words) is None:
        raise api_error("PGRST100", message=f"invalid type in a cast: {name}")
    return words


def known_type(name: str) -> str:
    """A type as the schema cache names it, so that no type of a user's is taken for it.

    The cache was read under an empty search path, so what stands without a schema is
    PostgreSQL's own; what its grammar spells out (`integer`) can only be that.
    """
    first = name.partition(" ")[0].partition("(")[0].removesuffix("[]")
    if first in _SPELLED_TYPES or "." in name:
        return name
    return f"pg_catalog.{name}"


def literal(text: str) -> str:
    """A constant of ours or of the catalogs as a string literal; never a caller's value."""
    escaped = text.partition("\0")[0].replace("'", "''")
    if "\\" in escaped:
        return "E'" + escaped.replace("\\", "\\\\") + "'"
    return f"'{escaped}'"


def array_literal(values: Iterable[str]) -> str:
    """PostgreSQL's text form of an array of strings, to be bound as one parameter."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


def quoted_list(names: Sequence[str]) -> str:
    """Names as the value of search_path."""
    return ", ".join(identifier(name) for name in names)


class Writer:
    """Collects the bind parameters of one statement while its text is put together."""

    __slots__ = ("_args",)

    def __init__(self) -> None:
        self._args: list[Argument] = []

    def bind(self, value: Argument) -> str:
        """The placeholder of a new parameter."""
        self._args.append(value)
        return f"${len(self._args)}"

    def statement(self, sql: str) -> Statement:
        return Statement(sql, tuple(self._args))
