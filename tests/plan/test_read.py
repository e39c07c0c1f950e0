"""What select, filters, order and limits mean for the tree of tables, and its errors."""

from __future__ import annotations

import pytest

from proxy.errors import ApiError
from proxy.plan.model import (
    Comparison,
    Connective,
    EmbedIsNull,
    Info,
    ReadPlan,
    TableRead,
)
from proxy.plan.planner import PlanRules
from proxy.plan.read import ReadRules, Warned
from proxy.request.ranges import Range
from tests.plan.requests import planned, statement


def read(target: str, rules: PlanRules | None = None) -> ReadPlan:
    plan = (planned(target) if rules is None else planned(target, rules=rules)).plan
    assert isinstance(plan, TableRead)
    return plan.read


def refused(target: str, rules: PlanRules | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(target, rules)
    return caught.value


@pytest.mark.parametrize(
    "target, shape, join",
    [
        ("/projects?select=clients(*)", "object", ("projects", "client_id", "clients_1", "id")),
        (
            "/projects?select=projects_client_id_fkey(*)",
            "object",
            ("projects", "client_id", "clients_1", "id"),
        ),
        (
            "/projects?select=client_id(*)",
            "object",
            ("projects", "client_id", "clients_1", "id"),
        ),
        ("/clients?select=projects(*)", "array", ("clients", "id", "projects_1", "client_id")),
        (
            "/projects?select=budgets(*)",
            "object",
            ("projects", "id", "budgets_1", "project_id"),
        ),
        (
            "/employees?select=employees(*)",
            "array",
            ("employees", "id", "employees_1", "boss_id"),
        ),
        (
            "/employees?select=boss_id(*)",
            "object",
            ("employees", "boss_id", "employees_1", "id"),
        ),
        (
            "/orders?select=addresses!billing_id(*)",
            "object",
            ("orders", "billing_id", "addresses_1", "id"),
        ),
        (
            "/orders?select=addresses!orders_shipping_id_fkey(*)",
            "object",
            ("orders", "shipping_id", "addresses_1", "id"),
        ),
        ("/clients?select=...projects(name)", "spread_many", None),
        ("/projects?select=...clients(name)", "spread_one", None),
        ("/clients?select=last_project(*)", "object", None),
    ],
)
def test_an_embed_finds_its_relationship(
    target: str, shape: str, join: tuple[str, str, str, str] | None
) -> None:
    (embed,) = read(target).embeds
    assert embed.shape == shape
    if join is not None:
        (condition,) = embed.node.join_conditions
        # The child first, as PostgREST writes it: it shows in plans.
        assert (
            condition.right.name,
            condition.right_column,
            condition.left.name,
            condition.left_column,
        ) == join


def test_many_to_many_joins_through_its_junction() -> None:
    (embed,) = read("/users?select=tasks(*)").embeds
    assert [(j.left.name, j.right.name) for j in embed.node.join_conditions] == [
        ("users_tasks", "tasks"),
        ("users_tasks", "users"),
    ]


def test_parameters_reach_the_table_they_are_addressed_to() -> None:
    plan = read(
        "/clients?select=id,p:projects(id,tasks(id))&p.name=eq.x&p.tasks.order=name.desc"
        "&p.tasks.limit=3&p.tasks.offset=1&p.or=(id.eq.1,id.eq.2)&id=gt.5"
    )
    (projects,) = plan.embeds
    (tasks,) = projects.node.embeds
    assert isinstance(plan.where[0], Comparison)
    assert plan.where[0].field.name == "id"
    assert [type(condition) for condition in projects.node.where] == [Connective, Comparison]
    assert tasks.node.order[0].field.name == "name"
    assert tasks.node.range == Range(1, 3)


def test_an_alias_hides_the_target_name_when_legacy_names_are_off() -> None:
    rules = PlanRules(read=ReadRules(legacy_target_names=False))
    error = refused("/clients?select=p:projects(*)&projects.id=eq.1", rules)
    assert (error.code, error.hint) == (
        "PGRST108",
        "Change 'projects' to 'p' in filters, orders or limits.",
    )


def test_a_target_name_used_beside_an_alias_is_warned_of() -> None:
    assert planned("/clients?select=p:projects(*)&projects.id=eq.1").warnings == (
        Warned("projects", "p"),
    )
    assert planned("/clients?select=p:projects(*)&p.id=eq.1").warnings == ()


def test_null_filters_speak_of_the_embed() -> None:
    plan = read("/clients?select=projects()&projects=is.null")
    assert plan.where == (EmbedIsNull("clients_projects_1", negated=False, is_array=True),)
    assert plan.embeds[0].hidden
    (tree,) = read("/clients?select=projects(id)&or=(projects.not.is.null,id.eq.1)").where
    assert isinstance(tree, Connective)
    assert tree.children[0] == EmbedIsNull("clients_projects_1", negated=True, is_array=True)


def test_aggregates_rise_through_to_one_spreads() -> None:
    plan = read("/tasks?select=name,...projects(...clients(count()))")
    assert plan.is_grouped
    (projects,) = plan.embeds
    assert not projects.node.is_grouped
    (lifted,) = projects.fields
    assert (lifted.name, lifted.aggregate) == ("count", "count")


def test_a_star_is_spelled_out_when_it_must_be() -> None:
    assert [s.field.name for s in read("/clients").select] == ["*"]
    spelled = read("/clients?select=*,id.count()").select
    assert [s.field.name for s in spelled] == ["id", "name", "id"]
    represented = {s.output_name: s.field.transform for s in read("/projects").select}
    assert represented["color"] == "api.color_to_json"
    assert represented["name"] is None


def test_max_rows_caps_every_level() -> None:
    rules = PlanRules(read=ReadRules(max_rows=10))
    plan = read("/clients?select=projects(id)&limit=50&projects.limit=5", rules)
    assert plan.range == Range(0, 10)
    assert plan.embeds[0].node.range == Range(0, 5)


@pytest.mark.parametrize(
    "target, code, status",
    [
        ("/nothing", "PGRST205", 404),
        ("/clients?select=tasks(*)", "PGRST200", 400),
        ("/orders?select=addresses(*)", "PGRST201", 300),
        ("/clients?projects.id=eq.1", "PGRST108", 400),
        ("/clients?select=projects(*)&order=projects(name)", "PGRST118", 400),
        ("/clients?order=projects(name)", "PGRST108", 400),
        ("/clients?select=...projects(count())", "PGRST127", 400),
    ],
)
def test_what_can_not_be_planned_is_named(target: str, code: str, status: int) -> None:
    error = refused(target)
    assert (error.code, error.status) == (code, status)


def test_aggregates_need_their_setting() -> None:
    assert refused("/clients?select=id.sum()", PlanRules()).code == "PGRST123"


def test_an_ambiguous_embed_lists_its_choices() -> None:
    error = refused("/orders?select=addresses(*)")
    assert isinstance(error.details, list)
    assert error.details[0] == {
        "cardinality": "many-to-one",
        "embedding": "orders with addresses",
        "relationship": "orders_billing_id_fkey using orders(billing_id) and addresses(id)",
    }
    assert error.hint == (
        "Try changing 'addresses' to one of the following: "
        "'addresses!orders_billing_id_fkey', 'addresses!orders_shipping_id_fkey'. "
        "Find the desired relationship in the 'details' key."
    )


@pytest.mark.parametrize(
    "target, allow",
    [
        ("/clients", "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("/log", "OPTIONS,GET,HEAD"),
        ("/rpc/refresh", "OPTIONS,POST"),
        ("/", "OPTIONS,GET,HEAD"),
    ],
)
def test_options_names_what_a_resource_allows(target: str, allow: str) -> None:
    assert planned(target, "OPTIONS").plan == Info(allow)


def test_requests_of_one_shape_share_one_statement() -> None:
    one = statement("/tasks?id=eq.1&name=in.(a,b)&limit=1")
    other = statement("/tasks?id=eq.2&name=in.(c,d,e)&limit=9")
    assert one.sql == other.sql
    assert one.args != other.args


def test_the_sql_of_a_read_is_readable() -> None:
    assert statement("/projects?select=id,client:clients(name)&id=eq.5").sql == (
        "SELECT NULL::bigint AS total, pg_catalog.count(*) AS page,"
        " coalesce(pg_catalog.json_agg(pgrst_page.*), '[]') AS body,"
        " pg_catalog.current_setting('response.headers', true) AS response_headers,"
        " pg_catalog.current_setting('response.status', true) AS response_status"
        " FROM ("
        'SELECT "api"."projects"."id",'
        ' pg_catalog.row_to_json("projects_client_1".*) AS "client"'
        ' FROM "api"."projects" LEFT JOIN LATERAL (SELECT "clients_1"."name"'
        ' FROM "api"."clients" AS "clients_1"'
        ' WHERE "clients_1"."id" = "api"."projects"."client_id") AS "projects_client_1"'
        ' ON TRUE WHERE "api"."projects"."id" = $1) AS pgrst_page'
    )
