"""Python: TypedDicts for `edge_client`, as in `client.table("tasks", Tasks)`.

In: a `Described`. Out: the text of a module. A row's dates and the like are strings, as JSON
has them. What has no name that Python takes is written in the functional form.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator
from typing import Final
from unicodedata import normalize

from proxy.client_types.model import (
    ArrayOf,
    Described,
    EnumOf,
    Scalar,
    Signature,
    Value,
)
from proxy.schema_cache.model import QualifiedName, Table

_HEAD: Final = '''\
"""Rows of the API's tables and views, what writes take, and the functions' arguments."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
'''
_SCALARS: Final[dict[Scalar, str]] = {
    "boolean": "bool",
    "integer": "int",
    "number": "float",
    "string": "str",
    "json": "Json",
    "record": "dict[str, Any]",
    "void": "None",
}
_PARTS: Final = re.compile(r"[^A-Za-z0-9]++")

Member = tuple[str, bool, str]
"""Name, whether it may be left out, and type."""


def python(described: Described) -> str:
    """The module's text."""
    return "\n\n".join((_HEAD, *_Module(described).texts()))


class _Module:
    def __init__(self, described: Described) -> None:
        self._described = described
        self._taken = {"Any", "Json", "Literal", "NotRequired", "TypeAlias", "TypedDict"}
        self._classes: dict[tuple[str, QualifiedName], str] = {}
        # The names of rows first, whatever order they are told in.
        for schema in described.schemas:
            for table in described.tables(schema):
                self._named(QualifiedName(schema, table.name))
            for enum in described.enums(schema):
                self._named(enum.type)
            for composite in described.composites(schema):
                self._named(composite.type)

    def texts(self) -> Iterator[str]:
        described = self._described
        for schema in described.schemas:
            for enum in described.enums(schema):
                yield f"{self._named(enum.type)}: TypeAlias = {_literal(enum.labels)!r}\n"
            for each in described.composites(schema):
                fields = ((name, False, self._or_none(value)) for name, value in each.fields)
                yield _typed_dict(self._named(each.type), fields, "")
            for table in described.tables(schema):
                yield from self._table(table)
            for name, overloads in described.overloads(schema).items():
                for signature in overloads:
                    yield from self._function(QualifiedName(schema, name), signature)

    def _table(self, table: Table) -> Iterator[str]:
        described, name = self._described, QualifiedName(table.schema, table.name)
        columns = described.columns(table)
        row: list[Member] = [
            (each.name, False, self._type(value) + (" | None" if each.nullable else ""))
            for each, value in columns
        ]
        computed: list[Member] = [
            (each.name, True, self._or_none(each.value)) for each in described.computed(table)
        ]
        yield _typed_dict(self._named(name), (*row, *computed), table.description)
        types = {own: text for own, _, text in row}
        written = [each for each, _ in columns if described.is_writable(table, each)]
        if table.insertable:
            inserted = (
                (each.name, not described.needs(table, each), types[each.name])
                for each in written
            )
            yield _typed_dict(self._named(name, "Insert"), inserted, "")
        if table.updatable:
            updated = ((each.name, True, types[each.name]) for each in written)
            yield _typed_dict(self._named(name, "Update"), updated, "")

    def _function(self, name: QualifiedName, signature: Signature) -> Iterator[str]:
        if signature.arguments and all(each.name for each in signature.arguments):
            arguments = (
                (each.name, each.optional, self._type(each.value))
                for each in signature.arguments
            )
            yield _typed_dict(self._fresh(name, "Args"), arguments, signature.description)
        if signature.results:
            results = ((own, False, self._or_none(value)) for own, value in signature.results)
            yield _typed_dict(self._fresh(name, "Result"), results, signature.description)

    # --- types --------------------------------------------------------------------------------

    def _type(self, value: Value) -> str:
        if isinstance(value, str):
            return _SCALARS[value]
        if isinstance(value, ArrayOf):
            return f"list[{self._or_none(value.element)}]"
        known = self._classes.get(("", value.type))
        if known is not None:
            return known
        return _literal(value.labels) if isinstance(value, EnumOf) else "dict[str, Any]"

    def _or_none(self, value: Value) -> str:
        text = self._type(value)
        return text if text in ("Json", "None") else f"{text} | None"

    # --- names --------------------------------------------------------------------------------

    def _named(self, name: QualifiedName, suffix: str = "") -> str:
        found = self._classes.get((suffix, name))
        if found is None:
            found = self._classes[suffix, name] = self._fresh(name, suffix)
        return found

    def _fresh(self, name: QualifiedName, suffix: str) -> str:
        """A class name that nothing else has; of another schema than the first with it."""
        is_default = name.schema == self._described.schemas[0]
        said = name.name if is_default else f"{name.schema}_{name.name}"
        words = [word for word in _PARTS.split(said) if word]
        plain = "".join(word[:1].upper() + word[1:] for word in words) or "Row"
        plain = plain if plain[0].isalpha() else f"Row{plain}"
        wanted = f"{plain}{suffix}"
        found, count = wanted, 1
        while found in self._taken or keyword.iskeyword(found):
            count += 1
            found = f"{wanted}{count}"
        self._taken.add(found)
        return found


def _typed_dict(name: str, members: Iterable[Member], description: str | None) -> str:
    fields = [
        (own, f"NotRequired[{text}]" if optional else text) for own, optional, text in members
    ]
    if any(not _is_name(own) for own, _ in fields):
        inner = "".join(f"        {own!r}: {text!r},\n" for own, text in fields)
        return f"{name} = TypedDict(\n    {name!r},\n    {{\n{inner}    }},\n)\n"
    lines = [f"class {name}(TypedDict):"]
    if description:
        lines.append(f"    {_docstring(description)}\n")
    lines.extend(f"    {own}: {text}" for own, text in fields)
    return "\n".join((*lines, "    pass\n" if not fields else ""))


def _is_name(name: str) -> bool:
    # In a class, two underscores before a name mangle it, and others are normalized (PEP 3131).
    mangled = name.startswith("__") or normalize("NFKC", name) != name
    return name.isidentifier() and not keyword.iskeyword(name) and not mangled


def _docstring(description: str) -> str:
    """The first line, in a form that ends nothing but itself."""
    first = description.strip().split("\n")[0].strip()
    escaped = first.replace("\\", "\\\\").replace('"', '\\"')
    return f'"""{escaped}"""'


def _literal(labels: Iterable[str]) -> str:
    inner = ", ".join(repr(label) for label in labels)
    return f"Literal[{inner}]" if inner else "str"
