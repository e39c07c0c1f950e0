"""Both descriptions are valid, and true: what the server takes and gives is as they say."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from tests.conftest import StartEdge
from tests.http.processes import ServerProcess
from tests.openapi.conftest import OPENAPI_31, Document, description

ODD = "Odd name/{x}?&#ü"
ACCEPTS = ["application/openapi+json", OPENAPI_31]
# What PostgREST's own 2.0 documents have as well: expressions where a default would be, and
# columns that are called like a parameter.
POSTGRESTS_OWN = (r"'.*' is not a '(date|uuid)'", "Duplicate parameter 'select'")


def faults(document: Document) -> list[str]:
    """What a validator that is not ours finds wrong."""
    if "openapi" in document:
        return [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    messages = [error.message for error in OpenAPIV2SpecValidator(document).iter_errors()]
    return [m for m in messages if not any(re.fullmatch(own, m) for own in POSTGRESTS_OWN)]


@pytest.mark.parametrize("accept", ACCEPTS)
def test_documents_of_every_type_are_valid(types: ServerProcess, accept: str) -> None:
    document = description(types, accept)
    assert faults(document) == []
    assert len(document["paths"]) > 20


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "openapi_mode": "ignore-privileges",
            "openapi_security_active": True,
            "openapi_server_proxy_uri": "https://example.com:8443/basePath",
        },
    ],
    ids=["defaults", "all changed"],
)
def test_documents_of_the_demo_are_valid(
    demo_uri: str, start_edge: StartEdge, settings: dict[str, Any], accept: str
) -> None:
    with start_edge(db_uri=demo_uri, db_schemas="api", **settings) as server:
        document = description(server, accept)
    assert faults(document) == []
    assert {"/tasks", "/project_stats", "/rpc/search_tasks"} <= document["paths"].keys()


# --- who is told what ---------------------------------------------------------------------


def test_the_version_that_is_asked_for(types: ServerProcess) -> None:
    for accept, version in [
        ("*/*", "2.0"),
        ("application/json", "2.0"),
        ("application/openapi+json", "2.0"),
        (OPENAPI_31, "3.1.1"),
        ("application/vnd.oai.openapi+json", "3.1.1"),
        (f"application/json;q=0.5, {OPENAPI_31}", "3.1.1"),
    ]:
        response = httpx.get(types.url, headers={"Accept": accept})
        document = response.json()
        assert document.get("swagger", document.get("openapi")) == version
        expected = "application/openapi+json" if version == "2.0" else OPENAPI_31
        assert response.headers["content-type"] == f"{expected}; charset=utf-8"


def test_a_version_there_is_not(types: ServerProcess) -> None:
    accept = "application/vnd.oai.openapi+json;version=3.0"
    response = httpx.get(types.url, headers={"Accept": accept})
    assert (response.status_code, response.json()["code"]) == (406, "PGRST107")


def test_what_the_role_may_not_use_is_left_out(types: ServerProcess) -> None:
    document = description(types)
    assert "/rpc/hidden" not in document["paths"]
    assert "/unkeyed" not in document["paths"]
    assert "unkeyed" not in document["components"]["schemas"]


def test_a_schema_that_is_not_the_default(types: ServerProcess) -> None:
    document = description(types, Accept_Profile="other")
    assert list(document["paths"]) == ["/", "/things"]
    profile = {
        "name": "Accept-Profile",
        "in": "header",
        "description": "The database schema that is meant",
        "required": True,
        "schema": {"type": "string", "enum": ["other"], "default": "other"},
    }
    assert profile in document["paths"]["/things"]["get"]["parameters"]


def test_disabled(types_uri: str, start_edge: StartEdge) -> None:
    with start_edge(db_uri=types_uri, db_schemas="api", openapi_mode="disabled") as server:
        for accept in ACCEPTS:
            response = httpx.get(server.url, headers={"Accept": accept})
            assert (response.status_code, response.json()["code"]) == (404, "PGRST126")


def test_a_function_in_place_of_the_description(types_uri: str, start_edge: StartEdge) -> None:
    with start_edge(db_uri=types_uri, db_schemas="api", db_root_spec="root") as server:
        document = description(server, "application/json")
    assert document == {"swagger": "2.0", "info": {"title": "My own"}}


def test_servers_and_security(types_uri: str, start_edge: StartEdge) -> None:
    uri = "https://example.com:8443/basePath/"
    settings = {"openapi_server_proxy_uri": uri, "openapi_security_active": True}
    with start_edge(db_uri=types_uri, db_schemas="other", **settings) as server:
        document = description(server)
    assert document["servers"] == [{"url": "https://example.com:8443/basePath"}]
    assert document["security"] == [{"JWT": []}]
    assert document["components"]["securitySchemes"]["JWT"]["scheme"] == "bearer"


def test_without_security_a_token_is_a_choice(types: ServerProcess) -> None:
    document = description(types)
    assert document["servers"] == [{"url": "/"}]
    assert document["security"] == [{}, {"JWT": []}]


# --- the description is true --------------------------------------------------------------


def schema_of(document: Document, schema: object) -> Draft202012Validator:
    """A validator for one of the document's schemas."""
    return Draft202012Validator(
        {"components": document["components"], "allOf": [schema]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


@pytest.fixture(scope="module")
def document(types: ServerProcess) -> Document:
    return description(types)


def response_schema(document: Document, path: str, method: str = "get") -> Any:
    response = document["paths"][path][method]["responses"]["200"]
    return response["content"]["application/json"]["schema"]


def path_of(document: Document, name: str) -> str:
    paths: list[str] = list(document["paths"])
    return next(path for path in paths if unquote(path) == f"/{name}")


@pytest.mark.parametrize("table", ["every_type", ODD, "films", "recent", "counted", "kept"])
def test_rows_are_as_described(types: ServerProcess, document: Document, table: str) -> None:
    path = path_of(document, table)
    rows = httpx.get(types.url + path).json()
    assert rows or table == "recent"
    schema_of(document, response_schema(document, path)).validate(rows)


def test_a_row_that_is_not_as_described(types: ServerProcess, document: Document) -> None:
    rows = httpx.get(f"{types.url}/films?id=eq.1").json()
    schema = schema_of(document, response_schema(document, "/films"))
    for wrong in ({"title": None}, {"year": "1927"}, {"title": "x" * 51}):
        assert not schema.is_valid([rows[0] | wrong])
    assert not schema.is_valid([{"id": 1}])


@pytest.mark.parametrize(
    "call",
    [
        "add?a=1&b=2",
        "add?a=1.5&b=2&c=3",
        "all_films",
        "one_film?id=1",
        "titles",
        "table_of",
        "moods?%22select%22=good&rest=good&rest=good",
        "odd%20fn%2F%C3%BC?a%20b=%7B1,2%7D&j=%7B%7D",
    ],
)
def test_results_are_as_described(types: ServerProcess, document: Document, call: str) -> None:
    response = httpx.get(f"{types.url}/rpc/{call}")
    assert response.status_code == 200, response.text
    path = "/rpc/" + call.partition("?")[0]
    schema_of(document, response_schema(document, path)).validate(response.json())


def test_what_the_described_insert_needs(types: ServerProcess, document: Document) -> None:
    path = path_of(document, ODD)
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = schema_of(document, body["schema"])
    assert schema.is_valid({})
    assert not schema.is_valid({"select": None})
    assert not schema.is_valid({'qu"ote': "bad"})
    created = httpx.post(
        types.url + path, json={"endless": 1}, headers={"Prefer": "return=representation"}
    )
    assert created.status_code == 201, created.text
    schema_of(document, response_schema(document, path)).validate(created.json())
    films = document["paths"]["/films"]["post"]["requestBody"]["content"]["application/json"]
    assert not schema_of(document, films["schema"]).is_valid({"id": 9})
    assert httpx.post(f"{types.url}/films", json={"id": 9}).status_code == 400


@pytest.mark.parametrize("column", ["a b", "select", "x.y", 'qu"ote', "moods", "percent"])
def test_described_filters_filter(
    types: ServerProcess, document: Document, column: str
) -> None:
    path = path_of(document, ODD)
    properties = schema_properties(document, ODD)
    references = document["paths"][path]["get"]["parameters"][1:]
    place = list(properties).index(column)
    key = references[place]["$ref"].rpartition("/")[2]
    name = document["components"]["parameters"][key]["name"]
    response = httpx.get(types.url + path, params={name: "not.is.null"})
    assert response.status_code == 200, response.text
    shown = {name: "eq.no such value"} if column == "select" else {"limit": "0"}
    assert httpx.get(types.url + path, params=shown).json() == []


def schema_properties(document: Document, table: str) -> dict[str, Any]:
    row = response_schema(document, path_of(document, table))["items"]["$ref"]
    schemas = document["components"]["schemas"]
    found: dict[str, Any] = schemas[row.rpartition("/")[2] + ".columns"]["properties"]
    return found


def test_what_is_said_of_columns(document: Document) -> None:
    odd = schema_properties(document, ODD)
    assert odd["a b"] == {
        "type": "integer",
        "format": "int32",
        "readOnly": True,
        "x-postgresql-type": "integer",
        "x-primary-key": True,
    }
    assert odd["select"]["default"] == "it's"
    assert (odd["x.y"]["type"], odd["x.y"]["maxLength"]) == (["string", "null"], 5)
    assert odd['qu"ote']["enum"] == ["good", "it's bad"]
    assert odd["moods"]["default"] == []
    assert odd["moods"]["items"] == {
        "type": ["string", "null"],
        "enum": ["good", "it's bad", None],
    }
    assert odd["percent"]["default"] == 7
    assert odd["colour"] == {"x-postgresql-type": "api.colour"}
    assert odd["at"]["x-postgresql-default"] == "now()"
    assert "default" not in odd["at"]
    assert odd["flag"]["default"] is True
    assert odd["doc"]["default"] == {"a": [1]}
    films = schema_properties(document, "films")
    assert films["title"]["description"] == "The name"
    assert films["sequel_of"]["x-foreign-key"] == {"table": "films", "column": "id"}


def test_only_what_a_relation_is_capable_of(document: Document) -> None:
    methods = {
        "/films": {"get", "post", "put", "patch", "delete"},
        "/films.new": {"get", "post", "patch", "delete"},
        "/counted": {"get"},
        "/kept": {"get"},
        "/rpc/add": {"get", "post"},
        "/rpc/nothing": {"post"},
    }
    assert {path: set(document["paths"][path]) for path in methods} == methods


def test_overloads_are_told_in_one(document: Document) -> None:
    get = document["paths"]["/rpc/add"]["get"]
    arguments = {p["name"]: p["required"] for p in get["parameters"] if "name" in p}
    del arguments["Accept-Profile"]
    assert arguments == {"a": True, "b": False, "c": False}
    body = document["paths"]["/rpc/add"]["post"]["requestBody"]
    schema = schema_of(document, body["content"]["application/json"]["schema"])
    assert schema.is_valid({"a": 1})
    assert schema.is_valid({"a": 1, "b": 2, "c": 3.5})
    assert not schema.is_valid({"b": 1})


@pytest.mark.parametrize(
    "function, media_type",
    [
        ("raw_text", "text/plain"),
        ("raw_bytes", "application/octet-stream"),
        ("raw_json", "application/json"),
        ("raw_xml", "text/xml"),
    ],
)
def test_bodies_without_a_name(document: Document, function: str, media_type: str) -> None:
    body = document["paths"][f"/rpc/{function}"]["post"]["requestBody"]
    assert list(body["content"]) == [media_type]


@pytest.mark.parametrize(
    "target, status",
    [("/films?id=x", 400), ("/none", 404), ("/films?id=eq.1&offset=9", 416)],
)
def test_errors_are_as_described(
    types: ServerProcess, document: Document, target: str, status: int
) -> None:
    response = httpx.get(types.url + target, headers={"Prefer": "count=exact"})
    assert response.status_code == status
    reference = document["paths"]["/films"]["get"]["responses"][str(status)]["$ref"]
    described = document["components"]["responses"][reference.rpartition("/")[2]]
    schema_of(document, described["content"]["application/json"]["schema"]).validate(
        response.json()
    )
    assert set(described["headers"]) <= {name.title() for name in response.headers}
