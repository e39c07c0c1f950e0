"""TypeScript: the module that `supabase gen types typescript` would write, as
@supabase/postgrest-js and supabase-js take it (Supabase docs, "Generating TypeScript Types").

In: a `Described`. Out: the text of a module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from proxy.client_types.model import (
    ArrayOf,
    Described,
    EnumOf,
    RowOf,
    Scalar,
    Signature,
    Value,
)
from proxy.schema_cache.model import Column, Relationship, Table

_POSTGREST: Final = "14.0"
"""The newest version whose features the types of postgrest-js 2 know."""
_WORD: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*+")
_NONE: Final = "{ [_ in never]: never }"
_SCALARS: Final[dict[Scalar, str]] = {
    "boolean": "boolean",
    "integer": "number",
    "number": "number",
    "string": "string",
    "json": "Json",
    "record": "Record<string, unknown>",
    "void": "undefined",
}

Member = tuple[str, bool, str]
"""Name, whether it may be left out, and type."""

_HEAD: Final = """\
export type Json =
  | string
  | number
  | boolean
  | null
  | { [key: string]: Json | undefined }
  | Json[]
"""
_TAIL: Final = """\
type Schemas = Omit<Database, "__InternalSupabase">
type Default = Schemas[@default]
type In = { schema: keyof Schemas }
type Of<S extends keyof Schemas, K extends keyof Schemas[S]> = Schemas[S][K]
type Relations<S extends keyof Schemas> = Of<S, "Tables"> & Of<S, "Views">

type Pick1<All, Name, Part extends string> = Name extends keyof All
  ? All[Name] extends { [_ in Part]: infer Found }
    ? Found
    : never
  : never

/** A row of a table or view: `Tables<"name">`, or `Tables<{ schema: "s" }, "name">`. */
export type Tables<
  Where extends keyof Relations<@default> | In,
  Name extends Where extends In ? keyof Relations<Where["schema"]> : never = never,
> = Where extends In
  ? Pick1<Relations<Where["schema"]>, Name, "Row">
  : Pick1<Relations<@default>, Where, "Row">

/** What an insert takes. */
export type TablesInsert<
  Where extends keyof Default["Tables"] | In,
  Name extends Where extends In ? keyof Of<Where["schema"], "Tables"> : never = never,
> = Where extends In
  ? Pick1<Of<Where["schema"], "Tables">, Name, "Insert">
  : Pick1<Default["Tables"], Where, "Insert">

/** What an update takes. */
export type TablesUpdate<
  Where extends keyof Default["Tables"] | In,
  Name extends Where extends In ? keyof Of<Where["schema"], "Tables"> : never = never,
> = Where extends In
  ? Pick1<Of<Where["schema"], "Tables">, Name, "Update">
  : Pick1<Default["Tables"], Where, "Update">

/** The labels of an enum. */
export type Enums<
  Where extends keyof Default["Enums"] | In,
  Name extends Where extends In ? keyof Of<Where["schema"], "Enums"> : never = never,
> = Where extends In
  ? Name extends keyof Of<Where["schema"], "Enums"> ? Of<Where["schema"], "Enums">[Name] : never
  : Where extends keyof Default["Enums"] ? Default["Enums"][Where] : never

/** A value of a composite type. */
export type CompositeTypes<
  Where extends keyof Default["CompositeTypes"] | In,
  Name extends Where extends In ? keyof Of<Where["schema"], "CompositeTypes"> : never = never,
> = Where extends In
  ? Name extends keyof Of<Where["schema"], "CompositeTypes">
    ? Of<Where["schema"], "CompositeTypes">[Name]
    : never
  : Where extends keyof Default["CompositeTypes"] ? Default["CompositeTypes"][Where] : never
"""


def typescript(described: Described) -> str:
    """The module's text."""
    internal = f"  __InternalSupabase: {{ PostgrestVersion: {_text(_POSTGREST)} }}\n"
    schemas = "".join(_Schema(described, name).text() for name in described.schemas)
    tail = _TAIL.replace("@default", _text(described.schemas[0]))
    database = f"export type Database = {{\n{internal}{schemas}}}\n"
    return "\n".join((_HEAD, database, tail, _constants(described)))


class _Schema:
    def __init__(self, described: Described, name: str) -> None:
        self._described = described
        self._name = name

    def text(self) -> str:
        described, name = self._described, self._name
        tables = described.tables(name)
        sections = {
            "Tables": {each.name: self._table(each) for each in tables if not each.is_view},
            "Views": {each.name: self._table(each) for each in tables if each.is_view},
            "Functions": {
                own: self._overloads(signatures)
                for own, signatures in described.overloads(name).items()
            },
            "Enums": {each.type.name: _union(each.labels) for each in described.enums(name)},
            "CompositeTypes": {
                each.type.name: _object(
                    (field, False, f"{self._type(value)} | null")
                    for field, value in each.fields
                )
                for each in described.composites(name)
            },
        }
        lines = [f"  {_key(name)}: {{"]
        for section, members in sections.items():
            if not members:
                lines.append(f"    {section}: {_NONE}")
                continue
            lines.append(f"    {section}: {{")
            lines.extend(f"      {_key(own)}: {text}" for own, text in members.items())
            lines.append("    }")
        return "\n".join((*lines, "  }", ""))

    # --- tables -------------------------------------------------------------------------------

    def _table(self, table: Table) -> str:
        parts = [("Row", self._row(table))]
        if table.insertable:
            parts.append(("Insert", self._written(table, inserted=True)))
        if table.updatable:
            parts.append(("Update", self._written(table, inserted=False)))
        parts.append(("Relationships", self._relationships(table)))
        inner = "\n".join(f"        {name}: {text}" for name, text in parts)
        return f"{{\n{inner}\n      }}"

    def _row(self, table: Table) -> str:
        columns = (
            (column.name, False, self._nullable(column, value))
            for column, value in self._described.columns(table)
        )
        computed = (
            (each.name, False, f"{self._type(each.value)} | null")
            for each in self._described.computed(table)
        )
        return _lines((*columns, *computed))

    def _written(self, table: Table, *, inserted: bool) -> str:
        described = self._described

        def member(column: Column, value: Value) -> tuple[str, bool, str]:
            if not described.is_writable(table, column):
                return column.name, True, "never"
            needed = inserted and described.needs(table, column)
            return column.name, not needed, self._nullable(column, value)

        return _lines(member(*each) for each in described.columns(table))

    def _nullable(self, column: Column, value: Value) -> str:
        return self._type(value) + (" | null" if column.nullable else "")

    def _relationships(self, table: Table) -> str:
        found = [self._relationship(each) for each in self._described.references(table)]
        if not found:
            return "[]"
        inner = "\n".join(f"          {each}," for each in found)
        return f"[\n{inner}\n        ]"

    def _relationship(self, relationship: Relationship) -> str:
        own = ", ".join(_text(column) for column, _ in relationship.columns)
        theirs = ", ".join(_text(column) for _, column in relationship.columns)
        is_one = "true" if relationship.cardinality == "one-to-one" else "false"
        return (
            f"{{ foreignKeyName: {_text(relationship.constraint)}; columns: [{own}];"
            f" isOneToOne: {is_one};"
            f" referencedRelation: {_text(relationship.foreign_table.name)};"
            f" referencedColumns: [{theirs}] }}"
        )

    # --- functions ----------------------------------------------------------------------------

    def _overloads(self, signatures: list[Signature]) -> str:
        texts = [self._signature(each) for each in signatures]
        if len(texts) == 1:
            return texts[0]
        return "".join(f"\n        | {text}" for text in texts)

    def _signature(self, signature: Signature) -> str:
        arguments = sorted(signature.arguments, key=lambda argument: argument.name)
        args = (
            _object((each.name, each.optional, self._type(each.value)) for each in arguments)
            if arguments
            else "Record<PropertyKey, never>"
        )
        text = f"{{ Args: {args}; Returns: {self._returned(signature)}"
        row = signature.value
        if isinstance(row, RowOf) and row.is_table and row.type.schema == self._name:
            source = signature.source
            is_one = signature.returns_one or not signature.returns_set
            text += (
                f"; SetofOptions: {{ from: {_text(source.type.name if source else '*')};"
                f" to: {_text(row.type.name)}; isOneToOne: {str(is_one).lower()};"
                f" isSetofReturn: {str(signature.returns_set).lower()} }}"
            )
        return f"{text} }}"

    def _returned(self, signature: Signature) -> str:
        if signature.results:
            members = ((name, False, self._type(value)) for name, value in signature.results)
            one = _object(members)
        else:
            one = self._type(signature.value)
        return _array(one) if signature.returns_set else one

    # --- types --------------------------------------------------------------------------------

    def _type(self, value: Value) -> str:
        if isinstance(value, str):
            return _SCALARS[value]
        if isinstance(value, ArrayOf):
            return _array(self._type(value.element))
        exposed = value.type.schema in self._described.schemas
        place = f"Database[{_text(value.type.schema)}]"
        name = _text(value.type.name)
        if isinstance(value, EnumOf):
            return f'{place}["Enums"][{name}]' if exposed else _union(value.labels)
        table = self._described.cache.tables.get(value.type)
        if exposed and not value.is_table:
            return f'{place}["CompositeTypes"][{name}]'
        if exposed and table is not None:
            section = "Views" if table.is_view else "Tables"
            return f'{place}["{section}"][{name}]["Row"]'
        fields = ((field, False, f"{self._type(each)} | null") for field, each in value.fields)
        return _object(fields)


def _constants(described: Described) -> str:
    def enums(schema: str) -> Iterator[str]:
        for each in described.enums(schema):
            labels = ", ".join(_text(label) for label in each.labels)
            yield f"      {_key(each.type.name)}: [{labels}],\n"

    schemas = "".join(
        f"  {_key(name)}: {{\n    Enums: {{\n{''.join(enums(name))}    }},\n  }},\n"
        for name in described.schemas
    )
    return f"export const Constants = {{\n{schemas}}} as const\n"


def _object(members: Iterable[Member]) -> str:
    inner = "; ".join(map(_member, members))
    return f"{{ {inner} }}" if inner else "{}"


def _lines(members: Iterable[Member]) -> str:
    inner = "".join(f"          {_member(each)}\n" for each in members)
    return f"{{\n{inner}        }}" if inner else "{}"


def _member(member: Member) -> str:
    name, optional, text = member
    return f"{_key(name)}{'?' if optional else ''}: {text}"


def _array(text: str) -> str:
    return f"({text})[]" if " | " in text and not text.startswith("{") else f"{text}[]"


def _union(labels: Iterable[str]) -> str:
    return " | ".join(_text(label) for label in labels) or "never"


def _key(name: str) -> str:
    return name if _WORD.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    return json.dumps(text)
