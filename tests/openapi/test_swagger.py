"""The document at the root: its structure, on a small schema cache made by hand."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openapi.swagger import OpenApiOptions, openapi_document
from proxy.openapi.types import default_value
from proxy.schema_cache.model import (
    Column,
    ComputedRelationship,
    Function,
    Junction,
    Parameter,
    QualifiedName,
    Relationship,
    SchemaCache,
    Table,
)
from proxy.sql.inspect import InspectedFunction, Inspection

OPTIONS = OpenApiOptions(version="16.1", host="!4", port=3000)


def name(text: str, schema: str = "api") -> QualifiedName:
    return QualifiedName(schema, text)


def column(text: str, kind: str = "text", **more: Any) -> Column:
    given: dict[str, Any] = {"description": None, "nullable": True, "nominal_type": kind}
    given |= {"max_length": None, "default": None} | more
    return Column(name=text, type=kind, **given)


def table(text: str, *columns: Column, schema: str = "api", **more: Any) -> Table:
    given: dict[str, Any] = {"description": None, "is_view": False, "primary_key": ()}
    given |= {"insertable": True, "updatable": True, "deletable": True} | more
    return Table(schema, text, columns={each.name: each for each in columns}, **given)


def points_to(target: str, own: str, key: str, **more: Any) -> Relationship:
    return Relationship(
        table=name("films"),
        foreign_table=name(target),
        is_self=False,
        constraint="fk",
        columns=((own, key),),
        **{"cardinality": "many-to-one", **more},
    )


FILMS = table(
    "films",
    column("id", "integer", nullable=False, default="nextval('s'::regclass)"),
    column("title", "character varying", nullable=False, max_length=50, description="Name"),
    column("director", "bigint", description="Who"),
    column("rating", "rating", enum=("PG", "R"), default="'PG'::rating"),
    column("tags", "text[]"),
    column("blobs", "jsonb[]"),
    column("extra", "jsonb", default="'{}'::jsonb"),
    column("price", "numeric", default="1.50"),
    primary_key=("id",),
    description="Films\n\nAll of them\nand more",
)
CACHE = SchemaCache(
    tables={
        name("films"): FILMS,
        name("actors"): table("actors", column("name")),
        name("log"): table("log", insertable=False, updatable=False, deletable=False),
        name("hidden", "private"): table("hidden", column("x"), schema="private"),
    },
    relationships={
        (name("films"), "api"): (
            points_to("directors_view", "director", "id", foreign_table_is_view=True),
            points_to("directors", "director", "id"),
            points_to("sequel", "id", "film", cardinality="one-to-one", is_parent=True),
            points_to("reviews", "id", "film", cardinality="one-to-many"),
            ComputedRelationship(name("f"), name("films"), name("x"), True, False),
            Relationship(
                name("films"),
                name("actors"),
                False,
                "many-to-many",
                "c",
                (),
                junction=Junction(name("roles"), "a", "b", (), ()),
            ),
        )
    },
    functions={
        name("add"): (
            Function(
                "api",
                "add",
                "Adds\ntwo numbers",
                (
                    Parameter("a", "integer", "integer", True, False),
                    Parameter("b", "integer", "integer", False, False),
                ),
                QualifiedName("pg_catalog", "int4"),
                False,
                False,
                False,
                "immutable",
                False,
                None,
                (),
            ),
        )
    },
)


def document(
    found: Inspection | None = None, cache: SchemaCache = CACHE, **options: Any
) -> dict[str, Any]:
    mode: Any = "ignore-privileges" if found is None else "follow-privileges"
    made = openapi_document(
        cache, "api", found or Inspection(), mode, replace(OPTIONS, **options)
    )
    parsed: dict[str, Any] = json.loads(made)
    return parsed


def test_frame() -> None:
    doc = document()
    parts = {"info", "paths", "definitions", "parameters"}
    assert {key: value for key, value in doc.items() if key not in parts} == {
        "swagger": "2.0",
        "host": "0.0.0.0:3000",
        "basePath": "/",
        "schemes": ["http"],
        "consumes": [
            "application/json",
            "application/vnd.pgrst.object+json;nulls=stripped",
            "application/vnd.pgrst.object+json",
            "text/csv",
        ],
        "produces": doc["consumes"],
        "externalDocs": {
            "description": "PostgREST Documentation",
            "url": "https://postgrest.org/en/v16/references/api.html",
        },
    }
    assert doc["paths"]["/"] == {
        "get": {
            "tags": ["Introspection"],
            "summary": "OpenAPI description (this document)",
            "produces": ["application/openapi+json", "application/json"],
            "responses": {"200": {"description": "OK"}},
        }
    }


@pytest.mark.parametrize(
    "comment, title, description",
    [
        (None, "PostgREST API", "This is a dynamic API generated by PostgREST"),
        ("My API", "My API", ""),
        ("My API\nof films", "My API", "of films"),
        ("My API\n\n\nof films\nand more\n", "My API", "of films\nand more\n"),
        ("\nuntitled", "", "untitled"),
    ],
)
def test_info(comment: str | None, title: str, description: str) -> None:
    expected = {"title": title, "description": description, "version": "16.1"}
    assert document(Inspection(comment))["info"] == expected


@pytest.mark.parametrize(
    "options, scheme, host, base_path",
    [
        ({"host": "*"}, "http", "0.0.0.0:3000", "/"),
        ({"host": "api.local", "port": 80}, "http", "api.local:80", "/"),
        ({"proxy_uri": "https://example.com"}, "https", "example.com:443", "/"),
        ({"proxy_uri": "http://example.com/"}, "http", "example.com:80", "/"),
        ({"proxy_uri": "https://example.com:8443/v1"}, "https", "example.com:8443", "/v1"),
        ({"proxy_uri": "HTTPS://[::1]:8443"}, "https", "[::1]:8443", "/"),
        ({"proxy_uri": "http://[::1]"}, "http", "[::1]:80", "/"),
    ],
)
def test_address(options: dict[str, Any], scheme: str, host: str, base_path: str) -> None:
    doc = document(**options)
    assert (doc["schemes"], doc["host"], doc["basePath"]) == ([scheme], host, base_path)


def test_security() -> None:
    assert {"security", "securityDefinitions"}.isdisjoint(document())
    doc = document(security_active=True)
    assert doc["security"] == [{"JWT": []}]
    assert doc["securityDefinitions"] == {
        "JWT": {
            "type": "apiKey",
            "name": "Authorization",
            "in": "header",
            "description": 'Add the token prepending "Bearer " (without quotes) to it',
        }
    }


def test_definition() -> None:
    assert document()["definitions"]["films"] == {
        "description": "Films\n\nAll of them\nand more",
        "type": "object",
        "required": ["id", "title"],
        "properties": {
            "id": {
                "type": "integer",
                "format": "int32",
                "description": "Note:\nThis is a Primary Key.<pk/>",
            },
            "title": {
                "type": "string",
                "format": "character varying",
                "maxLength": 50,
                "description": "Name",
            },
            "director": {
                "type": "integer",
                "format": "int64",
                "description": "Who\n\nNote:\nThis is a Foreign Key to `directors.id`."
                "<fk table='directors' column='id'/>",
            },
            "rating": {
                "type": "string",
                "format": "rating",
                "enum": ["PG", "R"],
                "default": "PG",
            },
            "tags": {"type": "array", "format": "text[]", "items": {"type": "string"}},
            "blobs": {"type": "array", "format": "jsonb[]", "items": {}},
            "extra": {"format": "jsonb"},
            "price": {"type": "number", "format": "numeric", "default": 1.5},
        },
    }


def test_primary_and_foreign_key_in_one() -> None:
    to_one = points_to("base", "id", "key", cardinality="one-to-one")
    cache = replace(CACHE, relationships={(name("films"), "api"): (to_one,)})
    described = document(cache=cache)["definitions"]["films"]["properties"]["id"]
    assert described["description"] == (
        "Note:\nThis is a Primary Key.<pk/>\n"
        "This is a Foreign Key to `base.key`.<fk table='base' column='key'/>"
    )


def test_a_table_without_columns() -> None:
    assert document()["definitions"]["log"] == {"type": "object"}


@pytest.mark.parametrize(
    "kind, expression, default",
    [
        ("text", None, None),
        ("text", "'a b'::text", ("a b",)),
        ("text", "''::text", ("",)),
        ("text", "'it''s'::text", ("it''s",)),
        ("text", "'say \"hi\"'::text", None),
        ("text", "'a'::character varying", ("'a'::character varying",)),
        ("timestamp without time zone", "now()", ("now()",)),
        ("integer", "42", (42,)),
        ("integer", "nextval('s'::regclass)", None),
        ("integer", "'-1'::integer", None),
        ("boolean", "true", (True,)),
        ("numeric", "NULL::numeric", None),
        ("json", "null", (None,)),
        ("double precision", "NaN", None),
        ("integer[]", "'{}'::integer[]", None),
    ],
)
def test_default(kind: str, expression: str | None, default: tuple[Any] | None) -> None:
    assert default_value(kind, expression) == default


FILTERS = [
    {"$ref": f"#/parameters/rowFilter.films.{each}"}
    for each in ("id", "title", "director", "rating", "tags", "blobs", "extra", "price")
]


def refs(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"#/parameters/{each}"} for each in names]


def test_table_path() -> None:
    head = {"tags": ["films"], "summary": "Films", "description": "All of them\nand more"}
    rows = {"type": "array", "items": {"$ref": "#/definitions/films"}}
    page = refs("select", "order", "range", "rangeUnit", "offset", "limit", "preferCount")
    assert document()["paths"]["/films"] == {
        "get": {
            **head,
            "parameters": FILTERS + page,
            "responses": {
                "200": {"description": "OK", "schema": rows},
                "206": {"description": "Partial Content"},
            },
        },
        "post": {
            **head,
            "parameters": refs("body.films", "select", "preferPost"),
            "responses": {"201": {"description": "Created"}},
        },
        "patch": {
            **head,
            "parameters": FILTERS + refs("body.films", "preferReturn"),
            "responses": {"204": {"description": "No Content"}},
        },
        "delete": {
            **head,
            "parameters": FILTERS + refs("preferReturn"),
            "responses": {"204": {"description": "No Content"}},
        },
    }


@pytest.mark.parametrize("able", ["insertable", "updatable", "deletable", None])
def test_whatever_can_be_written_shows_all_writes(able: str | None) -> None:
    powers: dict[str, Any] = dict.fromkeys(["insertable", "updatable", "deletable"], False)
    powers |= {} if able is None else {able: True}
    cache = SchemaCache(tables={name("t"): table("t", **powers)})
    writes = {"post", "patch", "delete"} if able else set()
    assert document(cache=cache)["paths"]["/t"].keys() == {"get"} | writes


def test_parameters() -> None:
    parameters = document()["parameters"]
    assert parameters["rowFilter.films.title"] == {
        "name": "title",
        "description": "Name",
        "required": False,
        "in": "query",
        "type": "string",
    }
    assert "description" not in parameters["rowFilter.films.id"]
    assert parameters["body.films"] == {
        "name": "films",
        "description": "films",
        "required": False,
        "in": "body",
        "schema": {"$ref": "#/definitions/films"},
    }
    assert parameters["rangeUnit"] == {
        "name": "Range-Unit",
        "description": "Limiting and Pagination",
        "required": False,
        "in": "header",
        "type": "string",
        "default": "items",
    }
    prefer = {
        "name": "Prefer",
        "description": "Preference",
        "required": False,
        "in": "header",
        "type": "string",
    }
    returns = ["return=representation", "return=minimal", "return=none"]
    resolutions = ["resolution=ignore-duplicates", "resolution=merge-duplicates"]
    assert parameters["preferParams"] == prefer
    assert parameters["preferCount"] == prefer | {"enum": ["count=none"]}
    assert parameters["preferReturn"] == prefer | {"enum": returns}
    assert parameters["preferPost"] == prefer | {"enum": returns + resolutions}


def all_references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(all_references, value.values()))
    return set().union(*map(all_references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    doc = document()
    known = {f"#/{part}/{each}" for part in ("definitions", "parameters") for each in doc[part]}
    assert all_references(doc) <= known
    unused = {f"#/parameters/{each}" for each in doc["parameters"]} - all_references(doc)
    assert unused == {"#/parameters/on_conflict", "#/parameters/body.log"}


# --- functions ----------------------------------------------------------------------------


def test_function_path() -> None:
    head = {
        "tags": ["(rpc) add"],
        "summary": "Adds",
        "description": "two numbers",
        "produces": [
            "application/json",
            "application/vnd.pgrst.object+json;nulls=stripped",
            "application/vnd.pgrst.object+json",
        ],
        "responses": {"200": {"description": "OK"}},
    }
    number = {"type": "integer", "format": "int32"}
    arguments = {
        "description": "Adds\ntwo numbers",
        "type": "object",
        "required": ["a"],
        "properties": {"a": number, "b": number},
    }
    body = {"name": "args", "required": True, "in": "body", "schema": arguments}
    assert document()["paths"]["/rpc/add"] == {
        "post": {**head, "parameters": [body, *refs("preferParams")]},
        "get": {
            **head,
            "parameters": [
                {"name": "a", "required": True, "in": "query", **number},
                {"name": "b", "required": False, "in": "query", **number},
            ],
        },
    }


def function(*parameters: Parameter, **more: Any) -> InspectedFunction:
    return InspectedFunction(
        **{"name": "f", "description": None, "volatility": "stable"} | more,
        parameters=parameters,
    )


def test_a_volatile_function_is_not_read() -> None:
    paths = document(Inspection(functions=(function(volatility="volatile"),)))["paths"]
    assert paths["/rpc/f"].keys() == {"post"}
    assert paths["/rpc/f"]["post"]["parameters"][0]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    "kind, variadic, described",
    [
        ("json", False, {"type": "string", "format": "json"}),
        ("integer[]", False, {"type": "string", "format": "integer[]"}),
        ("boolean", False, {"type": "boolean", "format": "boolean"}),
        (
            "bigint[]",
            True,
            {
                "type": "array",
                "collectionFormat": "multi",
                "items": {"type": "integer", "format": "int64"},
            },
        ),
        (
            "json[]",
            True,
            {"type": "array", "collectionFormat": "multi", "items": {"format": "json"}},
        ),
    ],
)
def test_query_parameter(kind: str, variadic: bool, described: dict[str, Any]) -> None:
    parameter = Parameter("p", kind, kind, False, variadic)
    path = document(Inspection(functions=(function(parameter),)))["paths"]["/rpc/f"]
    own = {"name": "p", "required": False, "in": "query"}
    assert path["get"]["parameters"] == [own | described]


def test_the_last_overload_describes_the_function() -> None:
    one = Parameter("a", "text", "text", True, False)
    found = Inspection(functions=(function(), function(one)))
    path = document(found)["paths"]["/rpc/f"]
    assert [each["name"] for each in path["get"]["parameters"]] == ["a"]


# --- privileges ---------------------------------------------------------------------------


def test_privileges_are_followed() -> None:
    found = Inspection(tables=frozenset({"actors", "hidden", "unknown"}))
    doc = document(found)
    assert doc["paths"].keys() == {"/", "/actors"}
    assert doc["definitions"].keys() == {"actors"}
    assert not any("films" in each for each in doc["parameters"])


def test_privileges_are_ignored() -> None:
    doc = document()
    assert list(doc["paths"]) == ["/", "/actors", "/films", "/log", "/rpc/add"]
    assert list(doc["definitions"]) == ["actors", "films", "log"]


def test_with_nothing_to_describe() -> None:
    doc = document(Inspection())
    assert "definitions" not in doc
    assert doc["paths"].keys() == {"/"}


@given(st.text(), st.text(), st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_names_make_a_document(
    relation: str, field: str, kind: str, comment: str | None, default: str | None
) -> None:
    made = table(
        relation, column(field, kind, default=default, description=comment), description=comment
    )
    parameter = Parameter(field, kind, kind, True, kind.endswith("[]"))
    found = Inspection(
        comment, frozenset({relation}), (function(parameter, description=comment),)
    )
    doc = document(found, SchemaCache(tables={name(relation): made}))
    assert doc["definitions"][relation]["properties"].keys() == {field}
