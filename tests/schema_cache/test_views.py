"""Node trees are read whatever names and expressions are in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.schema_cache.views import Origin, base_columns, origins


def token(name: str) -> str:
    """A name as PostgreSQL's outToken writes it."""
    if not name:
        return '""'
    first = "\\" if re.match(r'[<"0-9]|[+-][0-9.]', name) else ""
    return first + re.sub(r"([ \n\t(){}\\])", r"\\\1", name)


def entry(number: int, name: str | None, origin: Origin, expression: str, junk: bool) -> str:
    shown = "<>" if name is None else token(name)
    return (
        f"{{TARGETENTRY :expr {expression} :resno {number} :resname {shown}"
        f" :ressortgroupref 0 :resorigtbl {origin.relation} :resorigcol {origin.column}"
        f" :resjunk {'true' if junk else 'false'}}}"
    )


def query(entries: list[str], range_table: str = "<>") -> str:
    targets = f"({' '.join(entries)})" if entries else "<>"
    return (
        f"{{QUERY :commandType 1 :cteList <> :rtable {range_table} :jointree {{FROMEXPR"
        f" :fromlist ({{RANGETBLREF :rtindex 3}}) :quals <>}} :targetList {targets}"
        " :override 0 :groupClause <> :sortClause <> :stmt_len 12}"
    )


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=12
) | st.sampled_from([":targetList (", ":resorigtbl 7", "<>", "({", "})", "\\", "\\}", "1", ""])
found_origins = st.builds(Origin, st.integers(1, 2**32 - 1), st.integers(1, 1600))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["var", "const", "operator", "subquery"]))
    if kind == "var":
        return "{VAR :varno 3 :varattno 1 :location 24}"
    if kind == "const":
        return "{CONST :consttype 25 :constvalue 7 [ 28 0 0 0 120 123 40 ]}"
    if kind == "operator":
        return f"{{OPEXPR :opno 96 :args ({draw(expressions())} {draw(expressions())})}}"
    inner = entry(1, draw(names), draw(found_origins), "{VAR :varno 1}", False)
    return f"{{SUBLINK :subselect {query([inner])} :location 9}}"


@given(
    st.lists(st.tuples(names, found_origins | st.none(), expressions(), st.booleans())),
    names,
)
def test_origins_are_those_of_the_outermost_query(
    columns: list[tuple[str, Origin | None, str, bool]], alias: str
) -> None:
    entries = [
        entry(number, name, origin or Origin(0, 0), expression, junk)
        for number, (name, origin, expression, junk) in enumerate(columns, 1)
    ]
    inner = query([entry(1, alias, Origin(99, 9), "{VAR :varno 1}", False)])
    shown = token(alias)
    range_table = (
        f'({{RANGETBLENTRY :eref {{ALIAS :aliasname {shown} :colnames ("{shown}")}}'
        f" :subquery {inner} :selectedCols (b 8 9)}})"
    )
    assert origins(f"({query(entries, range_table)})") == {
        number: origin
        for number, (_, origin, _, junk) in enumerate(columns, 1)
        if origin is not None and not junk
    }


def test_system_columns_and_whole_rows_have_no_origin() -> None:
    for column in (0, -1):
        tree = query([entry(1, "x", Origin(5, column), "{VAR :varno 1}", False)])
        assert origins(f"({tree})") == {}


TABLE, OTHER, VIEW, OUTER = 1, 2, 11, 12


@pytest.mark.parametrize(
    "views, shown",
    [
        ({}, {}),
        ({VIEW: {1: Origin(TABLE, 4)}}, {Origin(TABLE, 4): [1]}),
        (
            {VIEW: {2: Origin(TABLE, 4), 1: Origin(TABLE, 4), 3: Origin(OTHER, 1)}},
            {Origin(TABLE, 4): [1, 2], Origin(OTHER, 1): [3]},
        ),
        (
            {VIEW: {1: Origin(OUTER, 2)}, OUTER: {2: Origin(TABLE, 4)}},
            {Origin(OUTER, 2): [1], Origin(TABLE, 4): [1]},
        ),
        ({VIEW: {1: Origin(OUTER, 2)}, OUTER: {1: Origin(TABLE, 4)}}, {Origin(OUTER, 2): [1]}),
        (
            {VIEW: {1: Origin(OUTER, 1)}, OUTER: {1: Origin(VIEW, 1)}},
            {Origin(OUTER, 1): [1]},
        ),
    ],
)
def test_columns_are_followed_through_views(
    views: dict[int, dict[int, Origin]], shown: dict[Origin, list[int]]
) -> None:
    assert base_columns(views, [VIEW]) == {VIEW: shown}


@given(
    st.dictionaries(
        st.integers(1, 6),
        st.dictionaries(
            st.integers(1, 3), st.builds(Origin, st.integers(1, 9), st.integers(1, 3))
        ),
    )
)
def test_every_chain_ends(views: dict[int, dict[int, Origin]]) -> None:
    for view, shown in base_columns(views, views).items():
        assert all(origin.relation != view for origin in shown)
        assert {views[view][n] for numbers in shown.values() for n in numbers} == {
            origin for origin in views[view].values() if origin.relation != view
        }
