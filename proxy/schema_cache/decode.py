"""From what the catalogs say to a `SchemaCache`. Pure.

In: the row that `proxy.schema_cache.queries` answers with, one JSON text per concern (the
shapes are described there), and the names of the exposed schemas. Out: a `SchemaCache`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pool.model import IsolationLevel
from proxy.schema_cache.catalog_json import read_catalog_json
from proxy.schema_cache.model import (
    Column,
    ComputedRelationship,
    CustomHandler,
    Function,
    Parameter,
    QualifiedName,
    SchemaCache,
    Table,
    Volatility,
)
from proxy.schema_cache.queries import CONCERNS
from proxy.schema_cache.relationships import (
    ForeignKey,
    KeyRole,
    ViewKey,
    relationship_map,
    view_primary_keys,
)
from proxy.schema_cache.views import Origin, base_columns, origins

# What a bit of pg_relation_is_updatable stands for (1 << CmdType, nodes.h).
_UPDATABLE: Final = 4
_INSERTABLE: Final = 8
_DELETABLE: Final = 16

_CHARACTERS: Final = (1042, 1043)
_BITS: Final = (1560, 1562)
_VARLENA_HEADER: Final = 4

_VOLATILITY: Final[Mapping[str, Volatility]] = {"i": "immutable", "s": "stable"}
_ISOLATION: Final = "default_transaction_isolation"

# Without a length these mean a length of one, and would cut arguments off.
_WIDENED: Final[Mapping[str, str]] = {
    "bit": "bit varying",
    "bit[]": "bit varying[]",
    "character": "character varying",
    "character[]": "character varying[]",
}

_ANY_ELEMENT: Final = QualifiedName("pg_catalog", "anyelement")
_ANY_MEDIA_TYPE: Final = "*/*"

_Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class _Key:
    """A primary or foreign key as numbered columns of a relation, in the key's order."""

    table: QualifiedName
    relation: int
    constraint: str
    role: KeyRole
    numbers: tuple[int, ...]


def schema_cache(
    row: Sequence[bytes | str | None], server_version: int, schemas: Sequence[str]
) -> SchemaCache:
    """The schema cache of `row`, whose values belong to `CONCERNS`, one by one."""
    raw = {
        concern: read_catalog_json(text) if text is not None else []
        for concern, text in zip(CONCERNS, row, strict=True)
    }
    names = {oid: QualifiedName(schema, name) for oid, schema, name, *_ in raw["tables"]}
    own_keys = {
        relation: tuple(sorted(name for _, name in columns))
        for relation, _, _, _, columns in raw["primary_keys"]
    }
    tables = {
        names[facts[0]]: _table(facts, own_keys, raw["types"] or {}) for facts in raw["tables"]
    }
    view_keys = _view_keys(raw, names, tables)
    for view, key in view_primary_keys(view_keys).items():
        tables[view] = replace(tables[view], primary_key=key)
    return SchemaCache(
        tables=tables,
        relationships=relationship_map(
            map(_foreign_key, raw["foreign_keys"]),
            view_keys,
            _junction_keys(raw, tables),
            map(_computed_relationship, raw["computed_relationships"]),
            frozenset(schemas),
        ),
        functions=_functions(raw["functions"]),
        representations={
            (source, target): cast for source, target, cast in raw["representations"]
        },
        custom_handlers=_handlers(raw["handlers"]),
        role_settings=dict(_role_settings(raw["role_settings"])),
        role_isolation=dict(_role_isolation(raw["role_settings"])),
        server_version=server_version,
    )


def with_role_settings(cache: SchemaCache, text: bytes | str | None) -> SchemaCache:
    """`cache` with the role settings that the concern of that name now holds."""
    rows = read_catalog_json(text) if text is not None else []
    return replace(
        cache,
        role_settings=dict(_role_settings(rows)),
        role_isolation=dict(_role_isolation(rows)),
    )


def _table(
    facts: Sequence[Any], keys: Mapping[int, tuple[str, ...]], types: Mapping[str, Any]
) -> Table:
    oid, schema, name, description, is_view, capable, columns = facts
    return Table(
        schema=schema,
        name=name,
        description=description,
        is_view=is_view,
        insertable=bool(capable & _INSERTABLE),
        updatable=bool(capable & _UPDATABLE),
        deletable=bool(capable & _DELETABLE),
        primary_key=keys.get(oid, ()),
        columns={facts[0]: _column(facts, types) for facts in columns or ()},
    )


def _column(facts: Sequence[Any], types: Mapping[str, Any]) -> Column:
    name, description, not_null, oid, nominal_type, modifier, *more = facts
    defined, default, generated = more
    own_type, enum, domain_not_null, domain_default, below, below_modifier = types[str(oid)]
    return Column(
        name=name,
        description=description,
        nullable=not (not_null or domain_not_null),
        type=own_type or nominal_type,
        nominal_type=nominal_type,
        max_length=(
            _max_length(oid, modifier) if below is None else _max_length(below, below_modifier)
        ),
        default=default if defined or default is not None else domain_default,
        enum=tuple(enum or ()),
        generated=generated,
    )


def _max_length(oid: int, modifier: int) -> int | None:
    if modifier == -1:
        return None
    if oid in _CHARACTERS:
        return modifier - _VARLENA_HEADER
    return modifier if oid in _BITS else None


def _foreign_key(facts: Sequence[Any]) -> ForeignKey:
    _, schema, table, _, foreign_schema, foreign_table, constraint, unique, columns = facts
    return ForeignKey(
        table=QualifiedName(schema, table),
        foreign_table=QualifiedName(foreign_schema, foreign_table),
        constraint=constraint,
        columns=tuple((own, other) for _, own, _, other in columns),
        is_unique=unique,
    )


def _junction_keys(
    raw: Mapping[str, Any], tables: Mapping[QualifiedName, Table]
) -> dict[QualifiedName, tuple[str, ...]]:
    """Primary keys of exposed views and of all tables: what a hidden junction joins is
    hidden, but its tables are known to be related."""
    keys = {
        QualifiedName(schema, table): tuple(name for _, name in columns)
        for _, schema, table, _, columns in raw["primary_keys"]
    }
    return keys | {name: table.primary_key for name, table in tables.items()}


def _view_keys(
    raw: Mapping[str, Any],
    names: Mapping[int, QualifiedName],
    tables: Mapping[QualifiedName, Table],
) -> list[ViewKey]:
    """The keys that exposed views show whole."""
    if not raw["views"]:
        return []
    by_relation: dict[int, list[_Key]] = defaultdict(list)
    for key in _keys(raw):
        by_relation[key.relation].append(key)
    found = []
    trees = {view: origins(node_tree) for view, node_tree in raw["views"]}
    shown_by_view = base_columns(trees, (view for view in trees if view in names))
    for view, shown in shown_by_view.items():
        # No column of a view is ever dropped, so their numbers are their places.
        columns = tuple(tables[names[view]].columns)
        for relation in sorted({origin.relation for origin in shown}):
            for key in by_relation.get(relation, ()):
                parts = [shown.get(Origin(relation, number)) for number in key.numbers]
                whole = [part for part in parts if part is not None]
                if len(whole) == len(parts):
                    shown_as = tuple(tuple(columns[n - 1] for n in part) for part in whole)
                    found.append(
                        ViewKey(key.table, names[view], key.constraint, key.role, shown_as)
                    )
    return found


def _keys(raw: Mapping[str, Any]) -> Iterator[_Key]:
    for relation, schema, table, constraint, columns in raw["primary_keys"]:
        numbers = tuple(number for number, _ in columns)
        yield _Key(QualifiedName(schema, table), relation, constraint, "primary", numbers)
    for facts in raw["foreign_keys"]:
        own, schema, table, other, foreign_schema, foreign_table, constraint, _, pairs = facts
        numbers = tuple(number for number, _, _, _ in pairs)
        yield _Key(QualifiedName(schema, table), own, constraint, "foreign", numbers)
        foreign = QualifiedName(foreign_schema, foreign_table)
        numbers = tuple(number for _, _, number, _ in pairs)
        yield _Key(foreign, other, constraint, "referenced", numbers)


def _computed_relationship(facts: Sequence[Any]) -> ComputedRelationship:
    schema, name, table_schema, table, foreign_schema, foreign_table, to_one = facts
    own = QualifiedName(table_schema, table)
    other = QualifiedName(foreign_schema, foreign_table)
    return ComputedRelationship(
        function=QualifiedName(schema, name),
        table=own,
        foreign_table=other,
        is_to_one=to_one,
        is_self=own == other,
    )


def _functions(rows: _Rows) -> dict[QualifiedName, tuple[Function, ...]]:
    overloads: dict[QualifiedName, list[Function]] = defaultdict(list)
    for facts in rows:
        function = _function(facts)
        overloads[QualifiedName(function.schema, function.name)].append(function)
    return {name: tuple(sorted(found, key=_order)) for name, found in overloads.items()}


def _order(function: Function) -> tuple[Any, ...]:
    description = function.description
    return (
        len(function.parameters),
        description is not None,
        description or "",
        tuple(
            (p.name, p.type, p.type_without_length, p.required, p.variadic)
            for p in function.parameters
        ),
    )


def _function(facts: Sequence[Any]) -> Function:
    schema, name, description, parameters, required, type_schema, type_name, *rest = facts
    returns_set, returns_rows, from_domain, volatility, variadic, settings, hoisted = rest
    return Function(
        schema=schema,
        name=name,
        description=description,
        parameters=tuple(
            Parameter(
                name=parameter,
                type=type_,
                type_without_length=_WIDENED.get(type_, type_),
                required=place < required,
                variadic=mode == "v",
            )
            for place, (parameter, type_, mode) in enumerate(parameters or ())
        ),
        return_type=QualifiedName(type_schema, type_name),
        returns_set=returns_set,
        returns_composite=returns_rows,
        returns_composite_alias=from_domain,
        volatility=_VOLATILITY.get(volatility, "volatile"),
        has_variadic=variadic,
        isolation=_isolation(settings or ()),
        settings=tuple(_settings(hoisted)),
    )


def _settings(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, _, value = text.partition("=")
        yield name, value


def _isolation(settings: Iterable[str]) -> IsolationLevel | None:
    """The isolation level that `name=value` settings ask for, if one does."""
    for name, value in _settings(settings):
        if name == _ISOLATION:
            level = value.lower()
            if level in ("repeatable read", "serializable"):
                return "repeatable read" if level == "repeatable read" else "serializable"
            return "read committed"
    return None


def _handlers(rows: _Rows) -> tuple[CustomHandler, ...]:
    """One handler per target and media type: the last by name."""
    found = {}
    for schema, name, target_schema, target_name, media_type in rows:
        target = QualifiedName(target_schema, target_name)
        handler = CustomHandler(
            function=QualifiedName(schema, name),
            target=None if target == _ANY_ELEMENT else target,
            media_type=media_type.lower(),
            produces=(
                "application/octet-stream" if media_type == _ANY_MEDIA_TYPE else media_type
            ),
        )
        found[handler.target, handler.media_type] = handler
    return tuple(found.values())


def _role_settings(rows: _Rows) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    for role, settings in rows:
        kept = tuple(s for s in _settings(settings or ()) if s[0] != _ISOLATION)
        if kept:
            yield role, kept


def _role_isolation(rows: _Rows) -> Iterator[tuple[str, IsolationLevel]]:
    for role, settings in rows:
        level = _isolation(settings or ())
        if level is not None:
            yield role, level
