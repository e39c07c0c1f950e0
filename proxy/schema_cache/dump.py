"""The schema cache as JSON, for people and tools that look into it.

In: a `SchemaCache`. Out: the document of PostgREST's `--dump-schema` and of its admin
server's `/schema_cache`: the same fields, and maps whose keys are not text as arrays of
[key, value] pairs. Role settings are not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.errors import Json
from proxy.schema_cache.model import (
    AnyRelationship,
    Cardinality,
    Column,
    ComputedRelationship,
    CustomHandler,
    Function,
    Junction,
    QualifiedName,
    Relationship,
    SchemaCache,
    Table,
)

_JsonObject = dict[str, Json]

_CARDINALITIES: Final[Mapping[Cardinality, str]] = {
    "one-to-many": "O2M",
    "many-to-one": "M2O",
    "one-to-one": "O2O",
    "many-to-many": "M2M",
}
_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "*/*": "MTAny",
    "application/geo+json": "MTGeoJSON",
    "application/json": "MTApplicationJSON",
    "application/octet-stream": "MTOctetStream",
    "application/openapi+json": "MTOpenAPI",
    "application/x-www-form-urlencoded": "MTUrlEncoded",
    "text/csv": "MTTextCSV",
    "text/plain": "MTTextPlain",
    "text/xml": "MTTextXML",
}


@dataclass(frozen=True, slots=True)
class _Builtin:
    media_type: str
    handler: str
    produces: str


_BUILTINS: Final = (
    _Builtin("*/*", "BuiltinOvAggJson", "application/json"),
    _Builtin("application/json", "BuiltinOvAggJson", "application/json"),
    _Builtin("text/csv", "BuiltinOvAggCsv", "text/csv"),
    _Builtin("application/geo+json", "BuiltinOvAggGeoJson", "application/geo+json"),
)


def schema_cache_json(cache: SchemaCache) -> bytes:
    """The schema cache as one JSON object, in UTF-8."""
    document: _JsonObject = {
        "dbTables": [[_name(key), _table(table)] for key, table in cache.tables.items()],
        "dbRelationships": [
            [[_name(table), schema], [_relationship(rel) for rel in rels]]
            for (table, schema), rels in cache.relationships.items()
        ],
        "dbRoutines": [
            [_name(key), [_function(function) for function in overloads]]
            for key, overloads in cache.functions.items()
        ],
        "dbRepresentations": [
            [
                [source, target],
                {"drSourceType": source, "drTargetType": target, "drFunction": function},
            ]
            for (source, target), function in cache.representations.items()
        ],
        "dbMediaHandlers": _handlers(cache.custom_handlers),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _name(name: QualifiedName) -> Json:
    return {"qiSchema": name.schema, "qiName": name.name}


def _table(table: Table) -> Json:
    return {
        "tableSchema": table.schema,
        "tableName": table.name,
        "tableDescription": table.description,
        "tableIsView": table.is_view,
        "tableInsertable": table.insertable,
        "tableUpdatable": table.updatable,
        "tableDeletable": table.deletable,
        "tablePKCols": list(table.primary_key),
        "tableColumns": {name: _column(column) for name, column in table.columns.items()},
    }


def _column(column: Column) -> Json:
    return {
        "colName": column.name,
        "colDescription": column.description,
        "colNullable": column.nullable,
        "colType": column.type,
        "colNominalType": column.nominal_type,
        "colMaxLen": column.max_length,
        "colDefault": column.default,
        "colEnum": list(column.enum),
    }


def _relationship(rel: AnyRelationship) -> Json:
    if isinstance(rel, ComputedRelationship):
        return {
            "tag": "ComputedRelationship",
            "relFunction": _name(rel.function),
            "relTable": _name(rel.table),
            "relForeignTable": _name(rel.foreign_table),
            "relTableAlias": _name(QualifiedName("", "")),
            "relToOne": rel.is_to_one,
            "relIsSelf": rel.is_self,
        }
    return {
        "tag": "Relationship",
        "relTable": _name(rel.table),
        "relForeignTable": _name(rel.foreign_table),
        "relIsSelf": rel.is_self,
        "relCardinality": _cardinality(rel),
        "relTableIsView": rel.table_is_view,
        "relFTableIsView": rel.foreign_table_is_view,
    }


def _cardinality(rel: Relationship) -> Json:
    tagged: _JsonObject = {"tag": _CARDINALITIES[rel.cardinality]}
    if rel.junction is not None:
        return tagged | {"contents": _junction(rel.junction)}
    tagged |= {"relCons": rel.constraint, "relColumns": _pairs(rel.columns)}
    return tagged | {"isParent": rel.is_parent} if rel.cardinality == "one-to-one" else tagged


def _junction(junction: Junction) -> Json:
    return {
        "junTable": _name(junction.table),
        "junConstraint1": junction.constraint1,
        "junConstraint2": junction.constraint2,
        "junColsSource": _pairs(junction.source_columns),
        "junColsTarget": _pairs(junction.target_columns),
    }


def _pairs(pairs: tuple[tuple[str, str], ...]) -> Json:
    return [[one, other] for one, other in pairs]


def _function(function: Function) -> Json:
    type_name = _name(function.return_type)
    returned: Json = (
        {"tag": "Composite", "contents": [type_name, function.returns_composite_alias]}
        if function.returns_composite
        else {"tag": "Scalar", "contents": type_name}
    )
    return {
        "pdSchema": function.schema,
        "pdName": function.name,
        "pdDescription": function.description,
        "pdParams": [
            {
                "ppName": parameter.name,
                "ppType": parameter.type,
                "ppTypeMaxLength": parameter.type_without_length,
                "ppReq": parameter.required,
                "ppVar": parameter.variadic,
            }
            for parameter in function.parameters
        ],
        "pdReturnType": {
            "tag": "SetOf" if function.returns_set else "Single",
            "contents": returned,
        },
        "pdVolatility": function.volatility.capitalize(),
        "pdHasVariadic": function.has_variadic,
        "pdIsoLvl": function.isolation and function.isolation.title().replace(" ", ""),
        "pdFuncSettings": _pairs(function.settings),
    }


def _handlers(custom: tuple[CustomHandler, ...]) -> Json:
    """Builtin handlers, and the custom ones that come before them or take their place."""
    pairs: dict[tuple[QualifiedName | None, str], Any] = {
        (None, builtin.media_type): ({"tag": builtin.handler}, builtin.produces)
        for builtin in _BUILTINS
    }
    for handler in custom:
        contents = [_name(handler.function), _target(handler.target)]
        tagged = {"tag": "CustomFunc", "contents": contents}
        pairs[handler.target, handler.media_type] = (tagged, handler.produces)
    return [
        [[_target(target), _media_type(wanted)], [handler, _media_type(produced)]]
        for (target, wanted), (handler, produced) in pairs.items()
    ]


def _target(target: QualifiedName | None) -> Json:
    if target is None:
        return {"tag": "RelAnyElement"}
    return {"tag": "RelId", "contents": _name(target)}


def _media_type(text: str) -> Json:
    tag = _MEDIA_TYPES.get(text.lower())
    return {"tag": tag} if tag else {"tag": "MTOther", "contents": text}
