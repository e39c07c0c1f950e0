"""A small schema cache, made by hand, for tests of the planner that need no database.

clients 1—n projects 1—n tasks, users n—m tasks through users_tasks, a one-to-one
(projects—budgets), a table on itself (employees), two keys between the same tables
(orders—addresses), a computed relationship (clients.last_project) and functions.
"""

from __future__ import annotations

from proxy.schema_cache.model import (
    AnyRelationship,
    Column,
    ComputedRelationship,
    Function,
    Junction,
    Parameter,
    QualifiedName,
    Relationship,
    SchemaCache,
    Table,
    Volatility,
)

SCHEMA = "api"


def name(table: str) -> QualifiedName:
    return QualifiedName(SCHEMA, table)


def table(
    table_name: str, primary_key: str = "id", *, is_view: bool = False, **columns: str
) -> Table:
    return Table(
        schema=SCHEMA,
        name=table_name,
        description=None,
        is_view=is_view,
        insertable=not is_view,
        updatable=not is_view,
        deletable=not is_view,
        primary_key=tuple(sorted(primary_key.split(","))) if primary_key else (),
        columns={
            column: Column(column, None, True, type_, type_, None, None)
            for column, type_ in columns.items()
        },
    )


TABLES = (
    table("clients", id="integer", name="text"),
    table(
        "projects",
        id="integer",
        name="text",
        client_id="integer",
        data="jsonb",
        search="tsvector",
        color="color",
    ),
    table("tasks", id="integer", name="text", project_id="integer"),
    table("users", id="integer", name="text"),
    table("users_tasks", "user_id,task_id", user_id="integer", task_id="integer"),
    table("budgets", "project_id", project_id="integer", amount="numeric"),
    table("employees", id="integer", boss_id="integer"),
    table("orders", id="integer", billing_id="integer", shipping_id="integer"),
    table("addresses", id="integer", city="text"),
    table("log", "", is_view=True, message="text"),
)


def _foreign_key(
    source: str, column: str, target: str, *, unique: bool = False
) -> list[Relationship]:
    constraint = f"{source}_{column}_fkey"
    is_self = source == target
    own = Relationship(
        name(source),
        name(target),
        is_self,
        "one-to-one" if unique else "many-to-one",
        constraint,
        ((column, "id"),),
    )
    inverse = Relationship(
        name(target),
        name(source),
        is_self,
        "one-to-one" if unique else "one-to-many",
        constraint,
        (("id", column),),
        is_parent=unique,
    )
    return [own, inverse]


def _through_users_tasks(source: str, target: str) -> Relationship:
    own, other = f"{source[:-1]}_id", f"{target[:-1]}_id"
    return Relationship(
        name(source),
        name(target),
        False,
        "many-to-many",
        "",
        (),
        junction=Junction(
            name("users_tasks"),
            f"users_tasks_{own}_fkey",
            f"users_tasks_{other}_fkey",
            (("id", own),),
            (("id", other),),
        ),
    )


RELATIONSHIPS: list[AnyRelationship] = [
    *_foreign_key("projects", "client_id", "clients"),
    *_foreign_key("tasks", "project_id", "projects"),
    *_foreign_key("budgets", "project_id", "projects", unique=True),
    *_foreign_key("employees", "boss_id", "employees"),
    *_foreign_key("orders", "billing_id", "addresses"),
    *_foreign_key("orders", "shipping_id", "addresses"),
    *_foreign_key("users_tasks", "user_id", "users"),
    *_foreign_key("users_tasks", "task_id", "tasks"),
    _through_users_tasks("users", "tasks"),
    _through_users_tasks("tasks", "users"),
    ComputedRelationship(name("last_project"), name("clients"), name("projects"), True, False),
]


def function(
    function_name: str,
    *parameters: tuple[str, str, bool],
    returns: str = "integer",
    volatility: Volatility = "stable",
    returns_set: bool = False,
    variadic: bool = False,
) -> Function:
    composite = returns in {t.name for t in TABLES}
    return Function(
        schema=SCHEMA,
        name=function_name,
        description=None,
        parameters=tuple(
            Parameter(n, type_, type_, required, variadic) for n, type_, required in parameters
        ),
        return_type=name(returns) if composite else QualifiedName("pg_catalog", returns),
        returns_set=returns_set,
        returns_composite=composite,
        returns_composite_alias=False,
        volatility=volatility,
        has_variadic=variadic,
        isolation=None,
        settings=(),
    )


FUNCTIONS = (
    function("add", ("a", "integer", True), ("b", "integer", True)),
    function("add", ("a", "integer", True), ("b", "integer", True), ("c", "integer", False)),
    function("greet", ("name", "text", False), returns="text"),
    function("projects_of", ("client", "integer", True), returns="projects", returns_set=True),
    function("touch", ("id", "integer", True), returns="void", volatility="volatile"),
    function("refresh", returns="void", volatility="volatile"),
    function("total", ("v", "integer[]", True), variadic=True),
    function("store", ("", "bytea", True), returns="text", volatility="volatile"),
    function("take", ("", "json", True), returns="json", volatility="volatile"),
    function("same", ("a", "integer", True)),
    function("same", ("a", "text", True)),
)


def _grouped_relationships() -> dict[tuple[QualifiedName, str], tuple[AnyRelationship, ...]]:
    grouped: dict[tuple[QualifiedName, str], tuple[AnyRelationship, ...]] = {}
    for relationship in RELATIONSHIPS:
        key = (relationship.table, SCHEMA)
        grouped[key] = (*grouped.get(key, ()), relationship)
    return grouped


def _grouped_functions() -> dict[QualifiedName, tuple[Function, ...]]:
    grouped: dict[QualifiedName, tuple[Function, ...]] = {}
    for item in FUNCTIONS:
        grouped[name(item.name)] = (*grouped.get(name(item.name), ()), item)
    return grouped


CACHE = SchemaCache(
    tables={name(t.name): t for t in TABLES},
    relationships=_grouped_relationships(),
    functions=_grouped_functions(),
    representations={
        ("color", "json"): "api.color_to_json",
        ("text", "color"): "api.color_from_text",
        ("json", "color"): "api.color_from_json",
    },
)
