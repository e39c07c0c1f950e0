"""The schema cache as a document."""

from __future__ import annotations

import json
from typing import Any

from proxy.schema_cache.dump import schema_cache_json
from proxy.schema_cache.model import SchemaCache


def name(text: str) -> dict[str, str]:
    return {"qiSchema": "api", "qiName": text}


def pairs(cache: SchemaCache, field: str) -> list[tuple[Any, Any]]:
    return [(key, value) for key, value in json.loads(schema_cache_json(cache))[field]]


def test_an_empty_cache_has_the_builtin_handlers() -> None:
    document = json.loads(schema_cache_json(SchemaCache()))
    handlers = document.pop("dbMediaHandlers")
    assert [
        [{"tag": "RelAnyElement"}, {"tag": "MTTextCSV"}],
        [{"tag": "BuiltinOvAggCsv"}, {"tag": "MTTextCSV"}],
    ] in handlers
    assert len(handlers) == 4
    assert document == {
        "dbTables": [],
        "dbRelationships": [],
        "dbRoutines": [],
        "dbRepresentations": [],
    }


def test_tables(cache: SchemaCache) -> None:
    tables = pairs(cache, "dbTables")
    assert len(tables) == len(cache.tables)
    (clients,) = [table for key, table in tables if key == name("clients")]
    assert clients["tableDescription"] == "Who pays"
    assert clients["tablePKCols"] == ["id"]
    assert clients["tableColumns"]["varying"] == {
        "colName": "varying",
        "colDescription": None,
        "colNullable": True,
        "colType": "character varying",
        "colNominalType": "character varying(7)",
        "colMaxLen": 7,
        "colDefault": "'x'::character varying",
        "colEnum": [],
    }


def test_relationships(cache: SchemaCache) -> None:
    found = {
        table["qiName"]: rels
        for (table, schema), rels in pairs(cache, "dbRelationships")
        if schema == "api"
    }
    assert {
        "tag": "Relationship",
        "relTable": name("profiles"),
        "relForeignTable": name("clients"),
        "relIsSelf": False,
        "relCardinality": {
            "tag": "O2O",
            "relCons": "profiles_client_id_fkey",
            "relColumns": [["client_id", "id"]],
            "isParent": False,
        },
        "relTableIsView": False,
        "relFTableIsView": False,
    } in found["profiles"]
    through = [r["relCardinality"] for r in found["users"] if r.get("relCardinality")]
    assert {
        "tag": "M2M",
        "contents": {
            "junTable": name("members"),
            "junConstraint1": "members_user_id_fkey",
            "junConstraint2": "members_project_id_fkey",
            "junColsSource": [["id", "user_id"]],
            "junColsTarget": [["id", "project_id"]],
        },
    } in through
    assert {
        "tag": "ComputedRelationship",
        "relFunction": name("client"),
        "relTable": name("projects"),
        "relForeignTable": name("clients"),
        "relTableAlias": {"qiSchema": "", "qiName": ""},
        "relToOne": True,
        "relIsSelf": False,
    } in found["projects"]


def test_functions(cache: SchemaCache) -> None:
    functions = {key["qiName"]: overloads for key, overloads in pairs(cache, "dbRoutines")}
    nothing, rows = functions["plain"]
    assert nothing["pdReturnType"] == {
        "tag": "Single",
        "contents": {"tag": "Scalar", "contents": {"qiSchema": "pg_catalog", "qiName": "void"}},
    }
    assert rows["pdReturnType"] == {
        "tag": "SetOf",
        "contents": {"tag": "Composite", "contents": [name("clients"), False]},
    }
    assert (rows["pdVolatility"], rows["pdIsoLvl"]) == ("Stable", "Serializable")
    assert rows["pdFuncSettings"][0] == ["statement_timeout", "1s"]
    assert [p["ppVar"] for p in rows["pdParams"]] == [False, False, True]


def test_representations_and_handlers(cache: SchemaCache) -> None:
    assert pairs(cache, "dbRepresentations") == [
        (
            ["api.color", "json"],
            {
                "drSourceType": "api.color",
                "drTargetType": "json",
                "drFunction": "api.color_json",
            },
        )
    ]
    handlers = pairs(cache, "dbMediaHandlers")
    target = {"tag": "RelId", "contents": name("page")}
    (page,) = [value for (rel, _), value in handlers if rel == target]
    assert page == [
        {"tag": "CustomFunc", "contents": [name("Text/HTML"), target]},
        {"tag": "MTOther", "contents": "Text/HTML"},
    ]
