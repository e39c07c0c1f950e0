"""The schema cache of a real database."""

from __future__ import annotations

import pytest

from pool.errors import DatabaseError
from proxy.schema_cache.load import CacheOptions, statement
from proxy.schema_cache.model import (
    Column,
    ComputedRelationship,
    CustomHandler,
    QualifiedName,
    Relationship,
    SchemaCache,
)
from proxy.schema_cache.suggestions import relationship_hint
from tests.schema_cache.conftest import Load, api


def column(cache: SchemaCache, name: str) -> Column:
    return cache.tables[api("clients")].columns[name]


def test_tables_of_exposed_schemas_without_partitions(cache: SchemaCache) -> None:
    assert {schema for schema, _ in cache.tables} == {"api"}
    assert api("events") in cache.tables
    assert api("events_1") not in cache.tables


def test_columns_in_order_of_definition(cache: SchemaCache) -> None:
    assert list(cache.tables[api("clients")].columns) == [
        "id",
        "always",
        "serial",
        "name",
        "mood",
        "moods",
        "short",
        "fixed",
        "varying",
        "bits",
        "price",
        "doubled",
        "color",
    ]


@pytest.mark.parametrize(
    "name, base, nominal",
    [
        ("id", "integer", "integer"),
        ("mood", "api.moody", "api.moody"),
        ("moods", "api.mood[]", "api.mood[]"),
        ("short", "character varying", "api.shorter"),
        ("fixed", "character", "character(3)"),
        ("varying", "character varying", "character varying(7)"),
        ("bits", "bit", "bit(4)"),
        ("price", "numeric[]", "numeric(10,2)[]"),
        ("color", "integer", "api.color"),
    ],
)
def test_types(cache: SchemaCache, name: str, base: str, nominal: str) -> None:
    assert (column(cache, name).type, column(cache, name).nominal_type) == (base, nominal)


@pytest.mark.parametrize(
    "name, default",
    [
        ("id", "nextval('api.clients_id_seq')"),
        ("always", None),
        ("serial", "nextval('api.clients_serial_seq'::regclass)"),
        ("mood", "'ok'::api.mood"),
        ("varying", "'x'::character varying"),
        ("doubled", None),
        ("name", None),
    ],
)
def test_defaults(cache: SchemaCache, name: str, default: str | None) -> None:
    assert column(cache, name).default == default


@pytest.mark.parametrize(
    "name, generated",
    [("always", True), ("doubled", True), ("id", False), ("serial", False), ("mood", False)],
)
def test_generated(cache: SchemaCache, name: str, generated: bool) -> None:
    assert column(cache, name).generated is generated


@pytest.mark.parametrize(
    "name, length",
    [
        ("fixed", 3),
        ("varying", 7),
        ("bits", 4),
        ("short", None),
        ("name", None),
        ("price", None),
    ],
)
def test_lengths(cache: SchemaCache, name: str, length: int | None) -> None:
    assert column(cache, name).max_length == length


def test_other_facts_of_columns_and_tables(cache: SchemaCache) -> None:
    clients = cache.tables[api("clients")]
    assert clients.description == "Who pays"
    assert column(cache, "name").description == "As they say it"
    assert column(cache, "mood").enum == ("sad", "ok", "it's")
    assert column(cache, "moods").enum == ()
    assert [n for n, c in clients.columns.items() if not c.nullable] == (
        ["id", "always", "serial", "name", "mood"]
    )


@pytest.mark.parametrize(
    "name, is_view, capabilities",
    [
        ("clients", False, (True, True, True)),
        ("events", False, (True, True, True)),
        ("twice", True, (True, True, True)),
        ("united", True, (False, False, False)),
        ("members_now", True, (False, False, False)),
    ],
)
def test_what_relations_can_do(
    cache: SchemaCache, name: str, is_view: bool, capabilities: tuple[bool, bool, bool]
) -> None:
    table = cache.tables[api(name)]
    assert table.is_view is is_view
    assert (table.insertable, table.updatable, table.deletable) == capabilities


@pytest.mark.parametrize(
    "name, key",
    [
        ("clients", ("id",)),
        ("pairs", ("x", "y")),
        ("unkeyed", ()),
        ("twice", ("id_1",)),
        ("chained", ("id_1",)),
        ("revealed", ("id",)),
        ("members_now", ("user_id", "project_id", "since")),
        ("half", ()),
        ("united", ()),
        ("calculated", ()),
        ("odd", (" :resorigtbl 5} (",)),
    ],
)
def test_primary_keys(cache: SchemaCache, name: str, key: tuple[str, ...]) -> None:
    assert cache.tables[api(name)].primary_key == key


def found(cache: SchemaCache, source: str, target: str) -> list[Relationship]:
    return [
        rel
        for rel in cache.relationships[api(source), "api"]
        if isinstance(rel, Relationship) and rel.foreign_table.name == target
    ]


def kinds(cache: SchemaCache, source: str, target: str) -> list[tuple[str, object]]:
    return [(rel.cardinality, rel.columns) for rel in found(cache, source, target)]


def test_relationships_between_tables(cache: SchemaCache) -> None:
    assert kinds(cache, "projects", "clients") == [("many-to-one", (("client_id", "id"),))]
    assert kinds(cache, "profiles", "clients") == [("one-to-one", (("client_id", "id"),))]
    assert kinds(cache, "clients", "profiles") == [("one-to-one", (("id", "client_id"),))]
    assert [rel.is_parent for rel in found(cache, "clients", "profiles")] == [True]
    assert kinds(cache, "projects", "projects") == [
        ("one-to-many", (("id", "parent_id"),)),
        ("many-to-one", (("parent_id", "id"),)),
    ]
    assert kinds(cache, "events", "clients") == [("many-to-one", (("client_id", "id"),))]


def test_a_junction_is_exposed_and_its_key_has_both_foreign_keys(cache: SchemaCache) -> None:
    through = {
        rel.junction.table.name for rel in found(cache, "users", "projects") if rel.junction
    }
    assert through == {"members", "members_now"}


def test_views_stand_in_for_tables(cache: SchemaCache) -> None:
    assert kinds(cache, "twice", "clients") == [
        ("many-to-one", (("client_1", "id"),)),
        ("many-to-one", (("client_2", "id"),)),
    ]
    assert kinds(cache, "chained", "clients") == kinds(cache, "twice", "clients")
    assert kinds(cache, "revealed", "clients") == [("many-to-one", (("client_id", "id"),))]
    assert kinds(cache, "pairs", "revealed") == [("one-to-one", (("x", "b"), ("y", "a")))]
    assert kinds(cache, "odd", "users") == [("many-to-one", (("1", "id"),))]
    assert len(kinds(cache, "twice", "chained")) == len(kinds(cache, "chained", "twice"))


def test_hidden_tables_are_no_targets(cache: SchemaCache) -> None:
    targets = {
        rel.foreign_table.schema for rels in cache.relationships.values() for rel in rels
    }
    assert targets == {"api"}
    assert {table.schema for table, _ in cache.relationships} == {"api"}


def test_a_hidden_junction_is_no_reason_to_suggest_strangers(load: Load) -> None:
    cache = load("""
        create schema api; create schema private;
        create table api.films (id int primary key);
        create table api.people (id int primary key);
        create table api.film (id int primary key, place int unique references api.people);
        create table private.roles (
            film int references api.films, person int references api.people,
            primary key (film, person)
        );
    """)
    assert relationship_hint(cache, "api", "films", "people") is None


def test_computed_relationships(cache: SchemaCache) -> None:
    computed = [
        rel
        for rels in cache.relationships.values()
        for rel in rels
        if isinstance(rel, ComputedRelationship)
    ]
    clients, projects = api("clients"), api("projects")
    assert ComputedRelationship(api("client"), projects, clients, True, False) in computed
    assert ComputedRelationship(api("projects"), clients, projects, False, False) in computed
    # The second one has the name of the table that it leads to.
    assert kinds(cache, "clients", "projects") == []


def test_overloads_fewest_parameters_first(cache: SchemaCache) -> None:
    one, three = cache.functions[api("plain")]
    assert [(p.name, p.type, p.type_without_length) for p in one.parameters] == [
        ("a", "character", "character varying")
    ]
    assert one.returns_void
    assert [(p.name, p.required, p.variadic) for p in three.parameters] == [
        ("a", True, False),
        ("b", False, False),
        ("c", False, True),
    ]
    assert (three.return_type, three.returns_set, three.returns_composite) == (
        api("clients"),
        True,
        True,
    )
    assert (three.volatility, three.has_variadic) == ("stable", True)
    assert three.isolation == "serializable"
    assert three.settings == (
        ("statement_timeout", "1s"),
        ("default_transaction_isolation", "serializable"),
    )


def test_which_functions_there_are(cache: SchemaCache) -> None:
    # Without procedures, aggregates, triggers, and those with unnamed parameters of types
    # that no request body can be.
    assert {name for _, name in cache.functions} == {
        "plain",
        "raw",
        "outs",
        "tabled",
        "placed",
        "page",
    }
    (raw,) = cache.functions[api("raw")]
    assert (raw.description, raw.volatility) == ("Takes it as it is", "immutable")
    assert [p.name for p in raw.parameters] == [""]


def test_what_functions_return(cache: SchemaCache) -> None:
    (outs,) = cache.functions[api("outs")]
    assert (outs.returns_set, outs.returns_composite) == (False, True)
    assert [(p.name, p.type, p.type_without_length) for p in outs.parameters] == [
        ("y", "integer", "integer"),
        ("z", "bit", "bit varying"),
    ]
    (tabled,) = cache.functions[api("tabled")]
    assert (tabled.returns_set, tabled.returns_composite) == (True, True)
    (placed,) = cache.functions[api("placed")]
    assert placed.return_type == api("point")
    assert (placed.returns_composite, placed.returns_composite_alias) == (True, True)


def test_representations(cache: SchemaCache) -> None:
    assert cache.representations == {("api.color", "json"): "api.color_json"}


def test_custom_handlers(cache: SchemaCache) -> None:
    assert set(cache.custom_handlers) == {
        CustomHandler(api("Text/HTML"), api("page"), "text/html", "Text/HTML"),
        # The aggregates' transition functions return the media types, too.
        CustomHandler(api("*/*"), api("step"), "*/*", "application/octet-stream"),
        CustomHandler(api("image/png"), api("draw"), "image/png", "image/png"),
        CustomHandler(api("any_clients"), api("clients"), "*/*", "application/octet-stream"),
        CustomHandler(api("png"), None, "image/png", "image/png"),
    }


def test_settings_of_roles_the_user_may_become(load: Load) -> None:
    # Older versions know no rights to parameters (PostgreSQL 15's release notes).
    grant = "grant set on parameter deadlock_timeout to web"
    cache = load(
        f"""
        create schema api;
        create role web login;
        create role anonymous;
        create role stranger;
        alter role anonymous set statement_timeout = '5s';
        alter role anonymous set log_min_duration_statement = '1s';
        alter role anonymous set deadlock_timeout = '2s';
        alter role anonymous set default_transaction_isolation = 'repeatable read';
        alter role stranger set statement_timeout = '6s';
        do $$ begin
            if current_setting('server_version_num')::int >= 150000 then
                execute '{grant}';
            end if;
        end $$;
        grant anonymous to web;
        """,
        user="web",
    )
    granted = (("deadlock_timeout", "2s"),) if cache.server_version >= 150000 else ()
    assert cache.role_settings == {"anonymous": (("statement_timeout", "5s"), *granted)}
    assert cache.role_isolation == {"anonymous": "repeatable read"}


@pytest.mark.parametrize("version, asks", [(140012, False), (150000, True)])
def test_parameter_privileges_are_asked_for_since_15(version: int, asks: bool) -> None:
    sql = statement(CacheOptions(("api",)), version).sql
    assert ("has_parameter_privilege" in sql) is asks


def test_names_that_need_quotes(load: Load) -> None:
    cache = load(
        """
        create schema "My ""own"" schema";
        create table "My ""own"" schema"."T, 1" ("a b" int primary key);
        """,
        'My "own" schema',
    )
    table = cache.tables[QualifiedName('My "own" schema', "T, 1")]
    assert table.primary_key == ("a b",)


def test_an_exposed_schema_must_exist(load: Load) -> None:
    with pytest.raises(DatabaseError, match='schema "nowhere" does not exist'):
        load("select", "nowhere")


def test_an_empty_schema(load: Load) -> None:
    cache = load("create schema api")
    assert (cache.tables, cache.relationships, cache.functions) == ({}, {}, {})
