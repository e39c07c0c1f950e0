"""The API's description in OpenAPI 3.1, which edgerest gives beside PostgREST's 2.0.

In: what the 2.0 document is made from. Out: the JSON document. It says what the older one
can't: what may be null, what an insert needs, what functions return, how requests fail, and
only the methods that a relation is capable of. Names of components and operations are made
so that any name PostgreSQL takes gives a valid document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final
from urllib.parse import quote

from proxy.errors import Json
from proxy.openapi import openapi31_parts as parts
from proxy.openapi.api import (
    ApiDescription,
    Object,
    OpenApiOptions,
    as_json,
    describe_api,
    function_tag,
    operation_head,
    without_empty,
)
from proxy.openapi.openapi31_schemas import (
    Enums,
    arguments_schema,
    columns_name,
    component_name,
    enums_of,
    new_row_name,
    query_argument_schema,
    result_schema,
    row_name,
    rows_of,
    schema_reference,
    table_schemas,
)
from proxy.request.media_types import CSV, JSON, OBJECT, OCTETS, OPENAPI, OPENAPI_31, TEXT, XML
from proxy.request.query_string import filter_key
from proxy.schema_cache.model import Function, QualifiedName, SchemaCache, Table
from proxy.sql.inspect import Inspection, InspectMode

VERSION: Final = "3.1.1"
_INTROSPECTION: Final = "Introspection"
_BEARER: Final = "JWT"


def openapi31_document(
    cache: SchemaCache,
    schema: str,
    found: Inspection,
    mode: InspectMode,
    options: OpenApiOptions,
) -> bytes:
    """The description of `schema`, as JSON. Under `follow-privileges` it holds what
    `found` says the role may use, else all that the cache knows.

    Without a proxy URI the server is told relative to the document, so that the document
    holds wherever it was read from.
    """
    api = describe_api(cache, schema, found, mode, options)
    writer = _Writer(api, cache, options)
    functions = _described_functions(api, cache)
    document: Object = {
        "openapi": VERSION,
        "info": {"title": api.title, "description": api.description, "version": api.version},
        "externalDocs": {"description": "PostgREST Documentation", "url": api.manual},
        "servers": [{"url": _server_url(options)}],
        "tags": _tags(api),
        "security": [{_BEARER: []}] if options.security_active else [{}, {_BEARER: []}],
        "paths": {
            "/": writer.root_path(),
            **{_path(table.name): writer.table_path(table) for table in api.tables},
            **{
                f"/rpc{_path(name)}": writer.function_path(overloads)
                for name, overloads in functions.items()
            },
        },
        "components": {
            "schemas": {
                **parts.SCHEMAS,
                **{
                    name: described
                    for table in api.tables
                    for name, described in table_schemas(table, cache, writer.enums).items()
                },
            },
            "parameters": {**parts.PARAMETERS, **_filters(api.tables)},
            "headers": parts.HEADERS,
            "responses": parts.RESPONSES,
            "securitySchemes": {
                _BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token whose role the request runs under",
                }
            },
        },
    }
    return as_json(document)


def _described_functions(
    api: ApiDescription, cache: SchemaCache
) -> Mapping[str, tuple[Function, ...]]:
    """The overloads of each function of `api` with all that the cache knows of them, which
    tells them apart as callers do: by the names of their parameters."""
    shown = {
        (function.name, tuple(each.name for each in function.parameters))
        for function in api.functions
    }
    functions = {
        name: tuple(
            each
            for each in cache.functions.get(QualifiedName(api.schema, name), ())
            if (name, tuple(parameter.name for parameter in each.parameters)) in shown
        )
        for name, _ in groupby(api.functions, key=lambda function: function.name)
    }
    # What was made after the cache was loaded is not known to requests either.
    return {name: overloads for name, overloads in functions.items() if overloads}


def _server_url(options: OpenApiOptions) -> str:
    return f"{(options.proxy_uri or options.base_path).rstrip('/')}{options.path_prefix}" or "/"


def _tags(api: ApiDescription) -> list[Json]:
    described = (
        {_INTROSPECTION: "What the API is made of"}
        | {table.name: table.description for table in api.tables}
        | {function_tag(each.name): each.description for each in api.functions}
    )
    return [without_empty({"name": name, "description": d}) for name, d in described.items()]


def _path(name: str) -> str:
    return f"/{quote(name, safe='')}"


def _filter_name(table: str, column: str) -> str:
    return f"{component_name(table)}.filter.{component_name(column)}"


def _filters(tables: Iterable[Table]) -> Object:
    return {
        _filter_name(table.name, column.name): without_empty(
            {
                "name": filter_key(column.name),
                "in": "query",
                "description": column.description,
                "schema": schema_reference(parts.FILTER_SCHEMA),
            }
        )
        for table in tables
        for column in table.columns.values()
    }


def _content(described: Mapping[str, Object]) -> Object:
    return {media_type: {"schema": schema} for media_type, schema in described.items()}


class _Writer:
    """Writes the paths of one API."""

    def __init__(
        self, api: ApiDescription, cache: SchemaCache, options: OpenApiOptions
    ) -> None:
        self.enums: Enums = enums_of(cache)
        self._schema = api.schema
        self._rows = frozenset(QualifiedName(table.schema, table.name) for table in api.tables)
        self._cache = cache
        self._schemas = () if options.path_prefix else options.schemas

    def _profile(self, header: str) -> list[Json]:
        if len(self._schemas) < 2:
            return []
        required = self._schema != self._schemas[0]
        return [parts.profile_parameter(header, self._schema, required=required)]

    # --- the root -----------------------------------------------------------------------

    def root_path(self) -> Object:
        """The endpoint that gives this document."""
        documents = (OPENAPI_31, OPENAPI, JSON)
        return {
            "get": {
                **operation_head(_INTROSPECTION, "OpenAPI description (this document)"),
                "operationId": "get",
                "parameters": self._profile("Accept-Profile"),
                "responses": {
                    "200": {
                        "description": "The description, in OpenAPI 3.1 or 2.0",
                        "content": _content(
                            {each.text: {"type": "object"} for each in documents}
                        ),
                    },
                    **parts.failures(("401", "404", "406", "503", "504")),
                },
            }
        }

    # --- tables -------------------------------------------------------------------------

    def table_path(self, table: Table) -> Object:
        """The operations that a table is capable of."""
        path: Object = {"get": self._read(table)}
        if table.insertable:
            path["post"] = self._insert(table)
            if table.updatable and table.primary_key:
                path["put"] = self._replace(table)
        if table.updatable:
            path["patch"] = self._update(table)
        if table.deletable:
            path["delete"] = self._delete(table)
        return path

    def _table_operation(
        self, method: str, table: Table, parameters: Iterable[str], **members: Json
    ) -> Object:
        header = "Accept-Profile" if method == "get" else "Content-Profile"
        return {
            **operation_head(table.name, table.description),
            "operationId": f"{method}.{component_name(table.name)}",
            "parameters": [*parts.parameter_references(parameters), *self._profile(header)],
            **members,
        }

    def _conditions(self, table: Table) -> list[str]:
        return [
            *(_filter_name(table.name, column) for column in table.columns),
            "and",
            "or",
        ]

    def _shown(self, table: Table) -> Object:
        """A table's rows in the media types that they can be had in."""
        row = schema_reference(row_name(table.name))
        name = QualifiedName(table.schema, table.name)
        custom: dict[str, Object] = {
            handler.produces: {"type": "string"}
            for handler in self._cache.custom_handlers
            if handler.target in (None, name) and "*" not in handler.produces
        }
        return _content(
            {
                JSON.text: rows_of(row),
                OBJECT.text: row,
                CSV.text: {"type": "string"},
                **custom,
            }
        )

    def _read(self, table: Table) -> Object:
        content = self._shown(table)
        headers = parts.header_references(
            "Content-Range", "Content-Location", "Preference-Applied"
        )
        return self._table_operation(
            "get",
            table,
            ("select", *self._conditions(table), *parts.PAGE, "prefer.read"),
            responses={
                "200": {"description": "The rows", "headers": headers, "content": content},
                "206": {
                    "description": "Some of the rows, when they are counted",
                    "headers": headers,
                    "content": content,
                },
                **parts.failures(parts.READ_FAILURES),
            },
        )

    def _insert(self, table: Table) -> Object:
        row = schema_reference(new_row_name(table.name))
        written = parts.header_references("Content-Range", "Preference-Applied")
        return self._table_operation(
            "post",
            table,
            ("select", "columns", "on_conflict", "prefer.insert"),
            requestBody=self._body({"oneOf": [row, rows_of(row)]}),
            responses={
                "201": {
                    "description": "Inserted; the rows with `Prefer: return=representation`",
                    "headers": written | parts.header_references("Location"),
                    "content": self._shown(table),
                },
                "200": {
                    "description": "All of them were there, and were updated",
                    "headers": written,
                    "content": self._shown(table),
                },
                **parts.failures(parts.WRITE_FAILURES),
            },
        )

    def _replace(self, table: Table) -> Object:
        row = schema_reference(new_row_name(table.name))
        applied = parts.header_references("Preference-Applied")
        shown: Object = {"headers": applied, "content": self._shown(table)}
        keys = [_filter_name(table.name, column) for column in table.primary_key]
        return self._table_operation(
            "put",
            table,
            (*keys, "select", "columns", "prefer.replace"),
            requestBody=self._body({"oneOf": [row, rows_of(row)]}),
            responses={
                "201": {"description": "Inserted, and shown", **shown},
                "200": {"description": "Replaced, and shown", **shown},
                "204": {"description": "Inserted or replaced", "headers": applied},
                **parts.failures(parts.WRITE_FAILURES),
            },
        )

    def _update(self, table: Table) -> Object:
        some = schema_reference(columns_name(table.name))
        return self._table_operation(
            "patch",
            table,
            (*self._conditions(table), "select", "columns", "prefer.update"),
            requestBody=self._body({"oneOf": [some, rows_of(some)]}),
            responses=self._changed(table, "Updated"),
        )

    def _delete(self, table: Table) -> Object:
        return self._table_operation(
            "delete",
            table,
            (*self._conditions(table), "select", "prefer.delete"),
            responses=self._changed(table, "Deleted"),
        )

    def _changed(self, table: Table, done: str) -> Object:
        headers = parts.header_references("Content-Range", "Preference-Applied")
        changed: Object = {
            "200": {
                "description": f"{done}; the rows",
                "headers": headers,
                "content": self._shown(table),
            },
            "204": {"description": done, "headers": headers},
        }
        return changed | parts.failures(parts.WRITE_FAILURES)

    def _body(self, schema: Object) -> Object:
        content = _content({JSON.text: schema, CSV.text: {"type": "string"}})
        return {"required": True, "content": content}

    # --- functions ----------------------------------------------------------------------

    def function_path(self, overloads: tuple[Function, ...]) -> Object:
        """The operations of a function, all its overloads in one."""
        path: Object = {"post": self._call("post", overloads)}
        readable = tuple(each for each in overloads if each.volatility != "volatile")
        if readable:
            path["get"] = self._call("get", readable)
        return path

    def _call(self, method: str, overloads: tuple[Function, ...]) -> Object:
        name = overloads[-1].name
        comment = next((f.description for f in reversed(overloads) if f.description), None)
        shaping: list[str] = []
        if any(function.returns_composite for function in overloads):
            shaping = ["select", *parts.PAGE]
        elif any(function.returns_set for function in overloads):
            shaping = ["limit", "offset", "range", "rangeUnit"]
        header = "Accept-Profile" if method == "get" else "Content-Profile"
        arguments: Object = {}
        own: list[Json] = []
        if method == "get":
            own = self._query_arguments(overloads)
        else:
            arguments = {"requestBody": self._arguments(overloads)}
        return {
            **operation_head(function_tag(name), comment),
            "operationId": f"{method}.rpc.{component_name(name)}",
            "parameters": [
                *own,
                *parts.parameter_references([*shaping, "prefer.call"]),
                *self._profile(header),
            ],
            **arguments,
            "responses": {
                **self._results(overloads),
                **parts.failures(
                    parts.READ_FAILURES if method == "get" else parts.WRITE_FAILURES
                ),
            },
        }

    def _query_arguments(self, overloads: tuple[Function, ...]) -> list[Json]:
        """Every argument of some overload; required are those that all of them require."""
        schemas: dict[str, list[Object]] = {}
        required: list[set[str]] = []
        for function in overloads:
            named = [each for each in function.parameters if each.name]
            required.append({each.name for each in named if each.required})
            for each in named:
                described = query_argument_schema(each, self.enums)
                known = schemas.setdefault(each.name, [])
                if described not in known:
                    known.append(described)
        always = set.intersection(*required)
        return [
            {
                "name": filter_key(name),
                "in": "query",
                "required": name in always,
                "schema": _any_of(described),
            }
            for name, described in schemas.items()
        ]

    def _arguments(self, overloads: tuple[Function, ...]) -> Object:
        bodies: dict[str, list[Object]] = {}
        for function in overloads:
            parameters = function.parameters
            if len(parameters) == 1 and not parameters[0].name:
                media_type, schema = _RAW_BODIES.get(parameters[0].type, (JSON.text, {}))
            else:
                media_type, schema = JSON.text, arguments_schema(function, self.enums)
            bodies.setdefault(media_type, []).append(schema)
        optional = any(not any(p.required for p in each.parameters) for each in overloads)
        content = _content({media: _any_of(schemas) for media, schemas in bodies.items()})
        return {"required": not optional, "content": content}

    def _results(self, overloads: tuple[Function, ...]) -> Object:
        results = [result_schema(each, self._rows, self.enums) for each in overloads]
        schemas: list[Object] = []
        for each in results:
            if each is not None and each not in schemas:
                schemas.append(each)
        headers = parts.header_references("Content-Range", "Preference-Applied")
        responses: Object = {}
        if schemas:
            content = _content({JSON.text: _any_of(schemas), CSV.text: {"type": "string"}})
            shown: Object = {"headers": headers, "content": content}
            responses["200"] = {"description": "What the function returned", **shown}
            if any(function.returns_set for function in overloads):
                responses["206"] = {"description": "Some of it, when it is counted", **shown}
        if None in results:
            responses["204"] = {"description": "Done; nothing returned", "headers": headers}
        return responses


_RAW_BODIES: Final[Mapping[str, tuple[str, Object]]] = {
    "text": (TEXT.text, {"type": "string"}),
    "xml": (XML.text, {"type": "string"}),
    "bytea": (OCTETS.text, {"type": "string", "contentMediaType": OCTETS.text}),
}


def _any_of(schemas: list[Object]) -> Object:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}
