"""The JSON Schemas (2020-12) of what the API takes and gives: values, rows, arguments.

In: tables, columns and types as the schema cache has them. Out: schemas, and the names they
go by under `components.schemas`. What is said of a type is how PostgreSQL writes it as JSON
(its docs, "JSON Functions", `to_json`): numbers, booleans and JSON are themselves, every
other type of PostgreSQL's own is text. A type made with CREATE TYPE may come as anything,
unless it is an enum. Infinite and not-a-number values are text also in a number's place;
the schemas do not allow for them, since no client would thank us for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from proxy.errors import Json
from proxy.openapi.api import Object, referenced_column, without_empty
from proxy.schema_cache.model import (
    Column,
    Function,
    Parameter,
    QualifiedName,
    SchemaCache,
    Table,
)

# --- names --------------------------------------------------------------------------------

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def component_name(name: str) -> str:
    """`name` as a component's key, which has few letters to be written in; no two names
    share one. Without their suffix such keys have an even number of dots."""
    return "".join(
        letter if _PLAIN.fullmatch(letter) else f".{ord(letter):x}." for letter in name
    )


def row_name(table: str) -> str:
    """The schema of a row as it is read."""
    return component_name(table)


def columns_name(table: str) -> str:
    """The schema of any of a row's columns, as an update takes them."""
    return f"{component_name(table)}.columns"


def new_row_name(table: str) -> str:
    """The schema of a row as an insert takes it."""
    return f"{component_name(table)}.new"


def schema_reference(name: str) -> Object:
    """A reference to the schema called `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


# --- values -------------------------------------------------------------------------------

_TEXT: Final[Object] = {"type": "string"}
_JSON: Final = frozenset({"json", "jsonb"})
_BUILTIN: Final[Mapping[str, Object]] = {
    "boolean": {"type": "boolean"},
    "smallint": {"type": "integer", "format": "int16"},
    "integer": {"type": "integer", "format": "int32"},
    "bigint": {"type": "integer", "format": "int64"},
    "real": {"type": "number", "format": "float"},
    "double precision": {"type": "number", "format": "double"},
    "numeric": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "timestamp with time zone": {"type": "string", "format": "date-time"},
    "bytea": {"type": "string", "pattern": r"^\\x([0-9a-f]{2})*$"},
    "xml": {"type": "string", "contentMediaType": "application/xml"},
    # Vectors are arrays that PostgreSQL's catalogs are written in.
    "int2vector": {"type": "array", "items": {"type": "integer", "format": "int16"}},
    "oidvector": {"type": "array", "items": _TEXT},
}
# Names of pg_type where format_type's are others.
_LONG_NAMES: Final = {
    "bool": "boolean",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "timestamptz": "timestamp with time zone",
}
# Of extensions' types the one that is everywhere.
_EXTENSION_TEXT: Final = re.compile(r"(?:.+\.)?citext")
Enums = Mapping[str, tuple[str, ...]]
"""Labels by the name of the type; of the enums that a known column has."""


def enums_of(cache: SchemaCache) -> Enums:
    """The enums in `cache`."""
    return {
        column.nominal_type: column.enum
        for table in cache.tables.values()
        for column in table.columns.values()
        if column.enum
    }


def value_schema(type_name: str, enums: Enums) -> Object:
    """A value that is not null, of a type as `format_type` writes it."""
    if type_name.endswith("[]"):
        element = value_schema(type_name.removesuffix("[]"), enums)
        return {"type": "array", "items": nullable(element)}
    if type_name in enums:
        return {"type": "string", "enum": list(enums[type_name])}
    if type_name in _JSON:
        return {}
    if type_name in _BUILTIN:
        return dict(_BUILTIN[type_name])
    # Only PostgreSQL's own types have names without a schema.
    if "." not in type_name or _EXTENSION_TEXT.fullmatch(type_name):
        return dict(_TEXT)
    return {}


def nullable(schema: Object) -> Object:
    """`schema`, or null."""
    kind = schema.get("type")
    if kind is None:
        return schema if "$ref" not in schema else {"anyOf": [schema, {"type": "null"}]}
    wider = schema | {"type": [kind, "null"]}
    if isinstance(labels := schema.get("enum"), list):
        wider["enum"] = [*labels, None]
    return wider


def _column_schema(column: Column, table: Table, cache: SchemaCache, enums: Enums) -> Object:
    represented = any(
        (column.nominal_type, to) in cache.representations for to in ("json", "text")
    )
    if represented:
        value: Object = {}
    elif column.enum:
        value = {"type": "string", "enum": list(column.enum)}
    else:
        value = value_schema(column.type, enums)
    if value.get("type") == "string":
        value |= without_empty({"maxLength": column.max_length})
    if column.nullable:
        value = nullable(value)
    target = referenced_column(column, table, cache)
    default = None if represented else constant_default(value, column)
    return (
        value
        | without_empty(
            {
                "description": column.description,
                "readOnly": column.generated or None,
                "x-postgresql-type": column.nominal_type,
                "x-postgresql-default": column.default if default is None else None,
                "x-primary-key": column.name in table.primary_key or None,
                "x-foreign-key": target and {"table": target[0], "column": target[1]},
            }
        )
        | ({} if default is None else {"default": default[0]})
    )


_LITERAL: Final = re.compile(r"'((?:[^']|'')*)'(?:::[^']+)?")


def constant_default(schema: Object, column: Column) -> tuple[Json] | None:
    """The default if it is a constant that `schema` allows; in a tuple, since the constant
    may be false or an empty text."""
    expression = column.default
    if expression is None:
        return None
    literal = _LITERAL.fullmatch(expression)
    text = literal[1].replace("''", "'") if literal else expression
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "string":
        allowed = schema.get("enum")
        if literal is None or (isinstance(allowed, list) and text not in allowed):
            return None
        # Such as 'now'::timestamptz and '\x00'::bytea: no value of the format perhaps.
        return None if {"format", "pattern"} & schema.keys() else (text,)
    if kind == "array":
        return ([],) if text in ("{}", "ARRAY[]") else None
    if kind is None and column.type not in _JSON:
        return None
    try:
        value: Json = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None
    return (value,) if _fits(value, kind) else None


def _fits(value: Json, kind: Json) -> bool:
    match kind:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and _is_finite(value)
            )
        case _:
            return value is not None and _is_finite(value)


def _is_finite(value: Json) -> bool:
    """Whether JSON can write it: Python reads 1e999 as infinity."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _not_json(constant: str) -> Json:
    raise ValueError(f"{constant} is not JSON")


# --- rows ---------------------------------------------------------------------------------


def table_schemas(table: Table, cache: SchemaCache, enums: Enums) -> Object:
    """The schemas of a table's rows: any of its columns, a row read, a row inserted."""
    columns = table.columns.values()
    whole = [column.name for column in columns if not column.nullable]
    needed = [
        column.name
        for column in columns
        if not column.nullable and column.default is None and not column.generated
    ]
    some = columns_name(table.name)
    schemas: Object = {
        row_name(table.name): _with_required(
            some, whole, description=table.description, title=table.name
        ),
        some: without_empty(
            {
                "type": "object",
                "description": f"Columns of `{table.name}`, those that are meant",
            }
        )
        | {
            "properties": {
                column.name: _column_schema(column, table, cache, enums) for column in columns
            }
        },
    }
    if table.insertable:
        schemas[new_row_name(table.name)] = _with_required(
            some, needed, description=f"A new row of `{table.name}`"
        )
    return schemas


def _with_required(columns: str, required: Iterable[str], **members: Json) -> Object:
    return without_empty(
        {**members, "allOf": [schema_reference(columns)], "required": list(required)}
    )


def rows_of(row: Object) -> Object:
    """Several of `row`."""
    return {"type": "array", "items": row}


# --- functions ----------------------------------------------------------------------------


def arguments_schema(function: Function, enums: Enums) -> Object:
    """The arguments of a function by name."""
    return without_empty(
        {
            "type": "object",
            "properties": {
                each.name: _argument_schema(each, enums) for each in function.parameters
            },
            "required": [each.name for each in function.parameters if each.required],
        }
    ) | {"additionalProperties": False}


def _argument_schema(parameter: Parameter, enums: Enums) -> Object:
    return nullable(value_schema(parameter.type, enums)) | {"x-postgresql-type": parameter.type}


def query_argument_schema(parameter: Parameter, enums: Enums) -> Object:
    """An argument in a query string. There arrays are written `{a,b}` and JSON is text; a
    variadic argument may be given many times."""
    value = value_schema(parameter.type, enums)
    if parameter.variadic:
        element = value_schema(parameter.type.removesuffix("[]"), enums)
        value = {"type": "array", "items": element if "type" in element else dict(_TEXT)}
    elif value.get("type") in (None, "array", "object"):
        value = dict(_TEXT)
    return value | {"x-postgresql-type": parameter.type}


def result_schema(
    function: Function, rows: frozenset[QualifiedName], enums: Enums
) -> Object | None:
    """What a call returns; None for nothing. `rows` are the tables that are described."""
    if function.returns_void:
        return None
    name = function.return_type
    if not function.returns_composite:
        one = nullable(_returned_value(name, enums))
    elif name in rows:
        one = schema_reference(row_name(name.name))
    else:
        one = {"type": "object"}
    return rows_of(one) if function.returns_set else one


def _returned_value(name: QualifiedName, enums: Enums) -> Object:
    array = name.name.startswith("_")
    element = name.name.removeprefix("_")
    if name.schema == "pg_catalog":
        element = _LONG_NAMES.get(element, element)
    else:
        element = f"{name.schema}.{element}"
    return value_schema(f"{element}[]" if array else element, enums)
