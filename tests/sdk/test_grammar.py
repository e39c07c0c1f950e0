"""What the SDK writes, the server's grammar reads as meant: build, parse, compare."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client import EdgeClient, Rows, Sync, embed, filters
from edge_client.filters import AnyCondition, Condition, Tree
from edge_client.literals import column_name, column_path, text_of
from edge_client.operation import request_of
from proxy.request.model import (
    FieldPath,
    Filter,
    JsonStep,
    LogicTree,
    Operation,
    QueryParams,
    SelectEmbed,
    SelectField,
)
from proxy.request.operators import OPERATORS
from proxy.request.query_string import parse_query
from proxy.request.ranges import Range

Built = Rows[dict[str, Any], list[dict[str, Any]], Sync]


def select(*columns: Any) -> Built:
    return EdgeClient("http://localhost").table("t").select(*columns)


def parsed(query: Built) -> QueryParams:
    _, _, text = request_of(query.operation).target.partition("?")
    return parse_query(text.encode("ascii"), is_call_read=False)


def only_filter(query: Built) -> Filter:
    (((), found),) = parsed(query).filters
    return found


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
hard_texts = texts | st.text(" \",()\\{}.:*%&=+;'\t\n", max_size=12)


@given(names, hard_texts)
def test_any_name_and_any_value(name: str, value: str) -> None:
    found = only_filter(select().eq(column_name(name), value))
    assert found == Filter(FieldPath(name), Operation("eq", value))


@given(st.lists(hard_texts, min_size=1, max_size=6).filter(lambda each: each != [""]))
def test_any_list(values: list[str]) -> None:
    found = only_filter(select().in_("a", values))
    assert found.operation == Operation("in", tuple(values))


def conditions(depth: int = 2) -> st.SearchStrategy[AnyCondition]:
    operators = st.sampled_from(["eq", "neq", "gt", "like", "cs", "match", "isdistinct"])
    leaves: st.SearchStrategy[AnyCondition] = st.builds(
        Condition,
        names.map(column_name),
        operators,
        hard_texts,
        negated=st.booleans(),
    )
    lists = st.lists(hard_texts, min_size=2, max_size=4)
    leaves |= lists.map(lambda values: filters.in_("b", values))
    if depth == 0:
        return leaves
    children = st.lists(conditions(depth - 1), min_size=1, max_size=3).map(tuple)
    return leaves | st.builds(Tree, st.sampled_from(["and", "or"]), children, st.booleans())


def meaning(condition: AnyCondition | str) -> LogicTree | Filter:
    """What the server is to understand, told without its grammar."""
    assert not isinstance(condition, str)
    if isinstance(condition, Tree):
        children = tuple(meaning(child) for child in condition.children)
        return LogicTree(condition.connective, children, condition.negated)
    name = condition.column
    if name[0] == '"':
        name = name[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    value: Any = condition.operand
    if condition.operator == "in":
        value = tuple(parsed_list(value))
    return Filter(FieldPath(name), Operation(condition.operator, value, condition.negated))


def parsed_list(text: str) -> tuple[str, ...]:
    # Lists by themselves are the property above.
    values, at, inner = [], 0, text[1:-1]
    while at <= len(inner):  # a comma or the end is behind each value
        if inner[at : at + 1] == '"':
            value, at = "", at + 1
            while inner[at] != '"':
                at += inner[at] == "\\"
                value += inner[at]
                at += 1
            at += 1
        else:
            end = inner.find(",", at)
            end = len(inner) if end < 0 else end
            value, at = inner[at:end], end
        values.append(value)
        at += 1
    return tuple(values)


@given(st.lists(conditions(), min_size=1, max_size=3))
def test_any_tree(given_conditions: list[AnyCondition]) -> None:
    ((path, found),) = parsed(select().or_(*given_conditions)).logic
    assert (path, found) == ((), meaning(filters.any_of(*given_conditions)))


@given(st.lists(names, min_size=1, max_size=3), hard_texts)
def test_any_embed_path(path: list[str], value: str) -> None:
    column = ".".join(map(column_name, path))
    (found,) = parsed(select().eq(column, value)).filters
    assert found == (tuple(path[:-1]), Filter(FieldPath(path[-1]), Operation("eq", value)))


@pytest.mark.parametrize(
    "build, operation",
    [
        (lambda q: q.eq("a", 1), Operation("eq", "1")),
        (lambda q: q.eq("a", None), Operation("is", "null")),
        (lambda q: q.neq("a", None), Operation("is", "not_null")),
        (lambda q: q.neq("a", "x"), Operation("neq", "x")),
        (lambda q: q.gt("a", [1, 2], of="any"), Operation("gt", "{1,2}", quantifier="any")),
        (lambda q: q.gte("a", 1.5), Operation("gte", "1.5")),
        (lambda q: q.lt("a", Decimal("1E+3")), Operation("lt", "1000")),
        (lambda q: q.lte("a", date(2026, 1, 2)), Operation("lte", "2026-01-02")),
        (lambda q: q.like("a", "a*"), Operation("like", "a*")),
        (lambda q: q.ilike("a", "%b"), Operation("ilike", "%b")),
        (lambda q: q.like_any_of("a", "a*,b*"), Operation("like", "{a*,b*}", quantifier="any")),
        (
            lambda q: q.ilike_all_of("a", ["a,*", "b"]),
            Operation("ilike", '{"a,*",b}', quantifier="all"),
        ),
        (lambda q: q.regex("a", "^x.y$"), Operation("match", "^x.y$")),
        (
            lambda q: q.iregex("a", ["x"], of="all"),
            Operation("imatch", "{x}", quantifier="all"),
        ),
        (lambda q: q.is_("a", True), Operation("is", "true")),
        (lambda q: q.not_.is_("a", None), Operation("is", "null", negated=True)),
        (lambda q: q.is_distinct("a", 3), Operation("isdistinct", "3")),
        (lambda q: q.is_distinct("a", None), Operation("is", "not_null")),
        (lambda q: q.in_("a", []), Operation("in", ("",))),
        (lambda q: q.in_("a", [""]), Operation("eq", "")),
        (lambda q: q.not_.in_("a", {7}), Operation("in", ("7",), negated=True)),
        (lambda q: q.fts("a", "x & y"), Operation("fts", "x & y")),
        (
            lambda q: q.wfts("a", "x", config="french"),
            Operation("wfts", "x", language="french"),
        ),
        (lambda q: q.text_search("a", "x", type="phrase"), Operation("phfts", "x")),
        (lambda q: q.plfts("a", "x"), Operation("plfts", "x")),
        (lambda q: q.contains("a", ["x,y", None]), Operation("cs", '{"x,y",NULL}')),
        (lambda q: q.cs("a", {"k": [1, "ü"]}), Operation("cs", '{"k":[1,"ü"]}')),
        (lambda q: q.cd("a", "[1,5)"), Operation("cd", "[1,5)")),
        (lambda q: q.overlaps("a", [[1, 2], [3]]), Operation("ov", "{{1,2},{3}}")),
        (lambda q: q.sl("a", (1, 5)), Operation("sl", "(1,5)")),
        (lambda q: q.range_gt("a", (None, 5)), Operation("sr", "(,5)")),
        (lambda q: q.range_lte("a", "[1,5]"), Operation("nxr", "[1,5]")),
        (lambda q: q.range_gte("a", (1, 2)), Operation("nxl", "(1,2)")),
        (lambda q: q.range_adjacent("a", (1, 2)), Operation("adj", "(1,2)")),
        (lambda q: q.filter("a", "not.eq", 5), Operation("eq", "5", negated=True)),
    ],
)
def test_operators(build: Callable[[Built], Built], operation: Operation) -> None:
    assert only_filter(build(select())) == Filter(FieldPath("a"), operation)


def test_no_operator_is_missing() -> None:
    (mark,) = test_operators.pytestmark  # type: ignore[attr-defined]
    assert {operation.operator for _, operation in mark.args[1]} == OPERATORS.keys()


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value, text",
    [
        (True, "true"),
        (None, "null"),
        (float("inf"), "Infinity"),
        (float("nan"), "NaN"),
        (0.1, "0.1"),
        (b"\x00\xff", "\\x00ff"),
        (Colour.RED, "red"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (timedelta(days=1, seconds=2), "1 days 2.000000 seconds"),
        (["null", ""], '{"null",""}'),
    ],
)
def test_values(value: object, text: str) -> None:
    assert text_of(value) == text
    assert only_filter(select().eq("a", value if value is not None else "null")).operation == (
        Operation("eq", text)
    )


@pytest.mark.parametrize(
    "column, field",
    [
        ("a", FieldPath("a")),
        (
            "data->k->>0",
            FieldPath("data", (JsonStep("->", "k", False), JsonStep("->>", "0", True))),
        ),
        ("data->>odd key.x", FieldPath("data", (JsonStep("->>", "odd key.x", False),))),
        ("data->-1", FieldPath("data", (JsonStep("->", "-1", True),))),
        ('"a.b"', FieldPath("a.b")),
        ("or", FieldPath("or")),
        ("two words", FieldPath("two words")),
        ("with-dash", FieldPath("with-dash")),
    ],
)
def test_columns(column: str, field: FieldPath) -> None:
    assert only_filter(select().eq(column, 1)).field == field
    ((_, tree),) = parsed(select().or_(filters.eq(column, 1), filters.eq("z", 1))).logic
    assert isinstance(tree, LogicTree)
    assert tree.children[0] == Filter(field, Operation("eq", "1"))
    assert column_path(column_path(column)) == column_path(column)


def test_embeds_bring_their_parameters() -> None:
    items = embed("items", "q", alias="its lines").gt("q", 2).limit(3)
    orders = embed("orders", "id", items, hint="fk", inner=True).not_.eq("status", "x")
    found = parsed(select("id, name", orders.order("id", desc=True, nullsfirst=False)))
    inner = SelectEmbed("items", (SelectField(FieldPath("q")),), "its lines")
    outer = SelectEmbed("orders", (SelectField(FieldPath("id")), inner), None, "fk", "inner")
    assert found.select == (SelectField(FieldPath("id")), SelectField(FieldPath("name")), outer)
    assert found.filters == (
        (("orders",), Filter(FieldPath("status"), Operation("eq", "x", negated=True))),
        (("orders", "its lines"), Filter(FieldPath("q"), Operation("gt", "2"))),
    )
    assert found.ranges == {("orders", "its lines"): Range(0, 3)}
    ((path, (term,)),) = found.order
    assert (path, term.direction, term.nulls) == (("orders",), "desc", "nullslast")


def test_modifiers() -> None:
    query = select('a, "b, c"').order("a").order("data->>k", desc=True, nullsfirst=True)
    query = query.range(5, 9).limit(2, foreign_table="x").or_("a.eq.1", reference_table="x")
    found = parsed(query)
    assert [item.field.name for item in found.select if isinstance(item, SelectField)] == [
        "a",
        "b, c",
    ]
    assert found.ranges == {(): Range(5, 5), ("x",): Range(0, 2)}
    assert [path for path, _ in found.logic] == [("x",)]
    ((_, terms),) = found.order
    assert [(term.field.name, term.direction, term.nulls) for term in terms] == [
        ("a", "asc", None),
        ("data", "desc", "nullsfirst"),
    ]
    negated = parsed(select().not_.match({"a": 1, "b": 2})).logic
    assert isinstance(negated[0][1], LogicTree)
    assert (negated[0][1].negated, len(negated[0][1].children)) == (True, 2)


def test_queries_do_not_change() -> None:
    base = select("a")
    before = base.operation
    assert base.not_.eq("a", 1).limit(3).order("a").operation != before
    assert base.operation == before
    assert only_filter(base.not_.eq("a", 1)).operation.negated
    assert not only_filter(base.eq("a", 1)).operation.negated


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: select().in_("a", [1, None]), "never matches NULL"),
        (lambda: select().or_(), "at least one"),
        (lambda: select().gt("a", 1, of="any"), "give a list"),
        (lambda: select().match({}), "at least one column"),
        (lambda: select().explain().strip_nulls(), "does not go with"),
        (lambda: EdgeClient("http://x").rpc("f", {"a": "eq.1"}, get=True), "as a filter"),
        (lambda: EdgeClient("http://x").rpc("f", {"limit": 1}, get=True), "as a filter"),
        (lambda: EdgeClient("http://x").rpc("f").stream(), "only reads"),
        (lambda: embed("a", alias="b", spread=True), "no alias"),
    ],
)
def test_what_makes_no_sense_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        build()
