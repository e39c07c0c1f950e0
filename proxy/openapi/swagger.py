"""The root endpoint's body: the API's description in OpenAPI 2.0 ("Swagger").

In: the schema cache, what `proxy.sql.inspect` found, where the server is reached. Out: the
JSON document, member for member the one PostgREST makes (docs, "OpenAPI"): members that
would be empty are left out, tables and functions come in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from proxy.errors import Json
from proxy.openapi.api import (
    Object,
    OpenApiOptions,
    address_of,
    as_json,
    describe_api,
    function_tag,
    operation_head,
    referenced_column,
    without_empty,
)
from proxy.openapi.types import (
    array_items,
    default_value,
    swagger_format,
    swagger_type,
)
from proxy.schema_cache.model import Column, Parameter, SchemaCache, Table
from proxy.sql.inspect import InspectedFunction, Inspection, InspectMode

__all__ = ["OpenApiOptions", "openapi_document"]


def openapi_document(
    cache: SchemaCache,
    schema: str,
    found: Inspection,
    mode: InspectMode,
    options: OpenApiOptions,
) -> bytes:
    """The description of `schema`, as JSON. Under `follow-privileges` it holds what
    `found` says the role may use, else all that the cache knows."""
    api = describe_api(cache, schema, found, mode, options)
    address = address_of(options)
    document: Object = {
        "swagger": "2.0",
        "info": {
            "title": api.title,
            "description": api.description,
            "version": api.version,
        },
        "host": address.host,
        "basePath": address.base_path,
        "schemes": [address.scheme],
        "consumes": [*_ROW_TYPES, "text/csv"],
        "produces": [*_ROW_TYPES, "text/csv"],
        "paths": _paths(api.tables, api.functions),
        "definitions": {table.name: _definition(table, cache) for table in api.tables},
        "parameters": _PARAMETERS | _table_parameters(api.tables),
        "securityDefinitions": dict(_SECURITY) if options.security_active else {},
        "security": [{name: [] for name in _SECURITY}] if options.security_active else [],
        "externalDocs": {"description": "PostgREST Documentation", "url": api.manual},
    }
    return as_json(without_empty(document))


_ROW_TYPES: Final[tuple[Json, ...]] = (
    "application/json",
    "application/vnd.pgrst.object+json;nulls=stripped",
    "application/vnd.pgrst.object+json",
)
_SECURITY: Final[Object] = {
    "JWT": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": 'Add the token prepending "Bearer " (without quotes) to it',
    }
}


# --- definitions --------------------------------------------------------------------------


def _definition(table: Table, cache: SchemaCache) -> Object:
    columns = table.columns.values()
    return without_empty(
        {
            "description": table.description,
            "type": "object",
            "properties": {column.name: _property(column, table, cache) for column in columns},
            "required": [column.name for column in columns if not column.nullable],
        }
    )


def _property(column: Column, table: Table, cache: SchemaCache) -> Object:
    members = _value_schema(column.type) | without_empty(
        {
            "description": _column_description(column, table, cache),
            "enum": list(column.enum),
            "maxLength": column.max_length,
        }
    )
    default = default_value(column.type, column.default)
    return members if default is None else members | {"default": default[0]}


def _value_schema(type_name: str) -> Object:
    """What OpenAPI says of a value of a PostgreSQL type. `items` may be an empty object:
    elements of any kind."""
    members: Object = {"format": swagger_format(type_name)}
    if (kind := swagger_type(type_name)) is not None:
        members["type"] = kind
    if (items := array_items(type_name)) is not None:
        members["items"] = items
    return members


def _column_description(column: Column, table: Table, cache: SchemaCache) -> str | None:
    notes = []
    if column.name in table.primary_key:
        notes.append("This is a Primary Key.<pk/>")
    if (target := referenced_column(column, table, cache)) is not None:
        to, key = target
        notes.append(f"This is a Foreign Key to `{to}.{key}`.<fk table='{to}' column='{key}'/>")
    if not notes:
        return column.description
    own = "" if column.description is None else f"{column.description}\n\n"
    return own + "\n".join(["Note:", *notes])


# --- parameters ---------------------------------------------------------------------------


def _parameter(name: str, place: str, description: str, **more: Json) -> Object:
    return {
        "name": name,
        "description": description,
        "required": False,
        "in": place,
        "type": "string",
        **more,
    }


def _preference(*values: Json) -> Object:
    return without_empty(_parameter("Prefer", "header", "Preference", enum=list(values)))


_RETURN: Final[tuple[Json, ...]] = (
    "return=representation",
    "return=minimal",
    "return=none",
)
_PARAMETERS: Final[Object] = {
    "preferParams": _preference(),
    "preferReturn": _preference(*_RETURN),
    "preferCount": _preference("count=none"),
    "preferPost": _preference(
        *_RETURN, "resolution=ignore-duplicates", "resolution=merge-duplicates"
    ),
    "select": _parameter("select", "query", "Filtering Columns"),
    "on_conflict": _parameter("on_conflict", "query", "On Conflict"),
    "order": _parameter("order", "query", "Ordering"),
    "range": _parameter("Range", "header", "Limiting and Pagination"),
    "rangeUnit": _parameter("Range-Unit", "header", "Limiting and Pagination", default="items"),
    "offset": _parameter("offset", "query", "Limiting and Pagination"),
    "limit": _parameter("limit", "query", "Limiting and Pagination"),
}


def _table_parameters(tables: Iterable[Table]) -> Object:
    parameters: Object = {}
    for table in tables:
        parameters[f"body.{table.name}"] = {
            "name": table.name,
            "description": table.name,
            "required": False,
            "in": "body",
            "schema": _reference("definitions", table.name),
        }
        for column in table.columns.values():
            parameters[_row_filter(table, column)] = without_empty(
                {
                    "name": column.name,
                    "description": column.description,
                    "required": False,
                    "in": "query",
                    "type": "string",
                }
            )
    return parameters


def _row_filter(table: Table, column: Column) -> str:
    return f"rowFilter.{table.name}.{column.name}"


def _references_to(names: Iterable[str]) -> list[Json]:
    return [_reference("parameters", name) for name in names]


# What would end the pointer (RFC 6901), the fragment or the path that a name stands in.
_IN_POINTER: Final = str.maketrans({"~": "~0", "/": "~1", "#": "%23", "%": "%25"})
_IN_PATH: Final = str.maketrans({each: f"%{ord(each):02X}" for each in "/{}?#%"})


def _reference(place: str, name: str) -> Object:
    return {"$ref": f"#/{place}/{name.translate(_IN_POINTER)}"}


# --- paths --------------------------------------------------------------------------------


def _paths(tables: Iterable[Table], functions: Iterable[InspectedFunction]) -> Object:
    root: Object = {
        "get": {
            "tags": ["Introspection"],
            "summary": "OpenAPI description (this document)",
            "produces": ["application/openapi+json", "application/json"],
            "responses": {"200": {"description": "OK"}},
        }
    }
    return {
        "/": root,
        **{_path(table.name): _table_path(table) for table in tables},
        # Of overloaded functions the last, with the most parameters, describes them all.
        **{f"/rpc{_path(function.name)}": _function_path(function) for function in functions},
    }


def _path(name: str) -> str:
    return f"/{name.translate(_IN_PATH)}"


def _operation(
    tag: str, comment: str | None, parameters: list[Json], responses: Object, **more: Json
) -> Object:
    members: Object = {"parameters": parameters, "responses": responses}
    return operation_head(tag, comment) | without_empty(members) | more


def _table_path(table: Table) -> Object:
    filters = [_row_filter(table, column) for column in table.columns.values()]
    body = f"body.{table.name}"
    rows: Json = {"type": "array", "items": _reference("definitions", table.name)}

    def operation(parameters: Iterable[str], responses: Mapping[str, Json]) -> Object:
        references = _references_to(parameters)
        return _operation(table.name, table.description, references, dict(responses))

    path: Object = {
        "get": operation(
            [*filters, *_PAGE, "preferCount"],
            {
                "200": {"description": "OK", "schema": rows},
                "206": {"description": "Partial Content"},
            },
        )
    }
    if table.insertable or table.updatable or table.deletable:
        path["post"] = operation(
            [body, "select", "preferPost"], {"201": {"description": "Created"}}
        )
        path["patch"] = operation([*filters, body, "preferReturn"], _NO_CONTENT)
        path["delete"] = operation([*filters, "preferReturn"], _NO_CONTENT)
    return path


_PAGE: Final = ("select", "order", "range", "rangeUnit", "offset", "limit")
_NO_CONTENT: Final[Object] = {"204": {"description": "No Content"}}


def _function_path(function: InspectedFunction) -> Object:
    def operation(parameters: list[Json]) -> Object:
        return _operation(
            function_tag(function.name),
            function.description,
            parameters,
            {"200": {"description": "OK"}},
            produces=list(_ROW_TYPES),
        )

    arguments: Json = {
        "name": "args",
        "required": True,
        "in": "body",
        "schema": _arguments_schema(function),
    }
    path: Object = {"post": operation([arguments, *_references_to(["preferParams"])])}
    if function.volatility != "volatile":
        path["get"] = operation([_query_parameter(each) for each in function.parameters])
    return path


def _arguments_schema(function: InspectedFunction) -> Object:
    return without_empty(
        {
            "description": function.description,
            "type": "object",
            "properties": {each.name: _value_schema(each.type) for each in function.parameters},
            "required": [each.name for each in function.parameters if each.required],
        }
    )


def _query_parameter(parameter: Parameter) -> Object:
    members: Object = {"name": parameter.name, "required": parameter.required, "in": "query"}
    kind = swagger_type(parameter.type)
    if parameter.variadic:
        element = parameter.type.removesuffix("[]")
        items: Object = {"format": swagger_format(element)}
        if (element_kind := swagger_type(element)) is not None:
            items["type"] = element_kind
        return members | {
            "type": kind or "string",
            "collectionFormat": "multi",
            "items": items,
        }
    # In a query string an array is written {a,b}, and everything has a type.
    return members | {
        "type": "string" if kind in (None, "array") else kind,
        "format": swagger_format(parameter.type),
    }
