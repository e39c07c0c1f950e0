"""Each rule of the query string's grammar: what it reads, and how it says no.

The messages were worked out from Parsec's rules and PostgREST's published examples.
"""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import ApiError
from proxy.request.grammar import logic, readers
from proxy.request.grammar.combinators import MAX_NESTING, parse
from proxy.request.model import (
    FieldPath,
    Filter,
    JsonStep,
    LogicTree,
    Operation,
    OrderTerm,
    SelectEmbed,
    SelectField,
)

A = FieldPath("a")
B = FieldPath("b")


def key(operand: str) -> JsonStep:
    return JsonStep("->", operand, is_index=False)


def index(operand: str) -> JsonStep:
    return JsonStep("->", operand, is_index=True)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", ()),
        ("*", (SelectField(FieldPath("*")),)),
        ("a,b", (SelectField(A), SelectField(B))),
        (" a , b ", (SelectField(A), SelectField(B))),
        ("full name", (SelectField(FieldPath("full name")),)),
        ("with-dash", (SelectField(FieldPath("with-dash")),)),
        ("a - b", (SelectField(FieldPath("a-b")),)),
        ("größe", (SelectField(FieldPath("größe")),)),
        ('" a,b:c"', (SelectField(FieldPath(" a,b:c")),)),
        (r'"a\"b\\"', (SelectField(FieldPath('a"b\\')),)),
        ("x:a", (SelectField(A, alias="x"),)),
        ("a::text", (SelectField(A, cast="text"),)),
        (
            "a::double precision",
            (SelectField(A, cast="double precision"),),
        ),
        ("a::b::c", (SelectField(A, cast="b", aggregate_cast="c"),)),
        (
            "x:a->b->>c::text",
            (
                SelectField(
                    FieldPath("a", (key("b"), JsonStep("->>", "c", is_index=False))),
                    alias="x",
                    cast="text",
                ),
            ),
        ),
        ("a->0->-12", (SelectField(FieldPath("a", (index("0"), index("-12")))),)),
        ("a->!@#$%^&*_b", (SelectField(FieldPath("a", (key("!@#$%^&*_b"),))),)),
        ("a->0x", (SelectField(FieldPath("a", (key("0x"),))),)),
        ('a->"b.c"', (SelectField(FieldPath("a", (key("b.c"),))),)),
        ("a.sum()", (SelectField(A, aggregate="sum"),)),
        ("a.min()", (SelectField(A, aggregate="min"),)),
        (
            "x:a::int.max()::text",
            (SelectField(A, "x", "int", "max", "text"),),
        ),
        ("count()", (SelectField(FieldPath("*"), aggregate="count"),)),
        (
            "n:count()::int",
            (SelectField(FieldPath("*"), "n", aggregate="count", aggregate_cast="int"),),
        ),
        ("count", (SelectField(FieldPath("count")),)),
        ("a()", (SelectEmbed("a", ()),)),
        ('"count"(a)', (SelectEmbed("count", (SelectField(A),)),)),
        ('"count"!fk(a)', (SelectEmbed("count", (SelectField(A),), hint="fk"),)),
        ("a(*)", (SelectEmbed("a", (SelectField(FieldPath("*")),)),)),
        # An index only counts as one where a comma, arrow, cast, dot or the end follows.
        ("a(b->0)", (SelectEmbed("a", (SelectField(FieldPath("b", (key("0"),))),)),)),
        (
            "x:a!fk!inner(b,c(d))",
            (
                SelectEmbed(
                    "a",
                    (
                        SelectField(B),
                        SelectEmbed("c", (SelectField(FieldPath("d")),)),
                    ),
                    alias="x",
                    hint="fk",
                    join="inner",
                ),
            ),
        ),
        ("a!left!fk(b)", (SelectEmbed("a", (SelectField(B),), hint="fk", join="left"),)),
        ("a!h1!h2(b)", (SelectEmbed("a", (SelectField(B),), hint="h1"),)),
        ("...a!fk(b)", (SelectEmbed("a", (SelectField(B),), hint="fk", spread=True),)),
        # What stands behind a complete parameter is not looked at.
        ("a)b", (SelectField(A),)),
        ("a(b)c", (SelectEmbed("a", (SelectField(B),)),)),
        (":", ()),
        ("*!hint", ()),
    ],
)
def test_select_is_read(text: str, expected: tuple[Any, ...]) -> None:
    assert readers.read_select(text) == expected


FIELD_END = '"-", "->>", "->", "::", ".", ")", "," or end of input'


@pytest.mark.parametrize(
    "text, column, details",
    [
        ("a!hint", 2, f"unexpected '!' expecting letter, digit, {FIELD_END}"),
        ("a,b(c[])", 6, f"unexpected '[' expecting letter, digit, {FIELD_END}"),
        ("a::", 4, "unexpected end of input expecting letter or digit"),
        (
            "a->>-7x",
            7,
            'unexpected \'x\' expecting digit, "->", "::", ".", "," or end of input',
        ),
        ("a->>--3", 6, 'unexpected "-" expecting digit'),
        ("a->>-x", 6, 'unexpected "x" expecting digit'),
        ("a(b", 4, f"unexpected end of input expecting letter, digit, {FIELD_END}"),
        # `left` is taken from the hint's beginning, and then there is no parenthesis.
        ("a!leftover(b)", 2, f"unexpected '!' expecting letter, digit, {FIELD_END}"),
        ("count(a)", 6, f"unexpected '(' expecting letter, digit, {FIELD_END}"),
        (
            "a,",
            3,
            'unexpected end of input expecting "...", field name (* or [a..z0..9_$]), "*"'
            ' or "count()"',
        ),
    ],
)
def test_a_bad_select_says_where_and_why(text: str, column: int, details: str) -> None:
    with pytest.raises(ApiError) as raised:
        readers.read_select(text)
    error = raised.value
    assert error.message == (
        f'"failed to parse select parameter ({text})" (line 1, column {column})'
    )
    assert error.details == details


@pytest.mark.parametrize(
    "text, expected",
    [
        ("eq.1", Operation("eq", "1")),
        ("eq.", Operation("eq", "")),
        ("eq.a.b,c)", Operation("eq", "a.b,c)")),
        ("not.eq.1", Operation("eq", "1", negated=True)),
        ("gte.1", Operation("gte", "1")),
        ("gt.1", Operation("gt", "1")),
        ("lte.1", Operation("lte", "1")),
        ("neq.x", Operation("neq", "x")),
        ("nxr.[1,2]", Operation("nxr", "[1,2]")),
        ("like(any).{a*,b*}", Operation("like", "{a*,b*}", quantifier="any")),
        ("not.imatch(all).{a}", Operation("imatch", "{a}", True, "all")),
        ("in.(1,2)", Operation("in", ("1", "2"))),
        ("in.()", Operation("in", ("",))),
        ("in.(1, 2 )", Operation("in", ("1", " 2 "))),
        ("in.( 1,2)", Operation("in", ("1", "2"))),
        ('in.("a,b","c)","d\\"e")', Operation("in", ("a,b", "c)", 'd"e'))),
        ('in.("a"b,c)', Operation("in", ('"a"b', "c"))),
        ("in.(1,2)ignored", Operation("in", ("1", "2"))),
        ("is.null", Operation("is", "null")),
        ("is.NOT_NULL", Operation("is", "not_null")),
        ("not.is.True", Operation("is", "true", negated=True)),
        ("isdistinct.null", Operation("isdistinct", "null")),
        ("fts.a & b", Operation("fts", "a & b")),
        ("wfts(french).x", Operation("wfts", "x", language="french")),
        ("cs.{1,2}", Operation("cs", "{1,2}")),
    ],
)
def test_filters_are_read(text: str, expected: Operation) -> None:
    assert readers.read_filter(text) == expected


OPERATOR = "operator (eq, gt, ...)"


@pytest.mark.parametrize(
    "text, column, details",
    [
        ("val", 1, f'unexpected "v" expecting "not" or {OPERATOR}'),
        ("noop.0", 1, f'unexpected "o" expecting "not" or {OPERATOR}'),
        ("", 1, f'unexpected end of input expecting "not" or {OPERATOR}'),
        ("not.noop.0", 5, f'unexpected "n" expecting {OPERATOR}'),
        ("eq", 3, f"unexpected end of input expecting {OPERATOR}"),
        ("eq().x", 4, f'unexpected ")" expecting {OPERATOR}'),
        ("fts().x", 5, f'unexpected ")" expecting {OPERATOR}'),
        ("is().x", 3, f'unexpected "(" expecting {OPERATOR}'),
        ("in.1", 4, 'unexpected "1" expecting "("'),
        ("in.(1", 6, 'unexpected end of input expecting "," or ")"'),
        (
            "is.foo",
            5,
            'unexpected "o" expecting isVal: (null, not_null, true, false, unknown)',
        ),
        ("é", 1, f'unexpected "\\233" expecting "not" or {OPERATOR}'),
        ("\n", 1, f'unexpected "\\n" expecting "not" or {OPERATOR}'),
        ('"', 1, f'unexpected "\\"" expecting "not" or {OPERATOR}'),
        ("\\", 1, f'unexpected "\\\\" expecting "not" or {OPERATOR}'),
    ],
)
def test_a_bad_filter_says_where_and_why(text: str, column: int, details: str) -> None:
    with pytest.raises(ApiError) as raised:
        readers.read_filter(text)
    assert raised.value.code == "PGRST100"
    assert raised.value.status == 400
    assert raised.value.message == (
        f'"failed to parse filter ({text})" (line 1, column {column})'
    )
    assert raised.value.details == details


def test_lines_and_tabs_are_counted() -> None:
    with pytest.raises(ApiError) as raised:
        readers.read_filter('in.(a\n"\tb')
    assert raised.value.message.endswith("(line 2, column 10)")


@pytest.mark.parametrize(
    "text, is_argument",
    [("3.14", True), ("x", True), ("", True), ("eq", True), ("eqx.1", True), ("eq(x).1", True)],
)
def test_a_call_takes_what_is_no_filter_as_an_argument(text: str, is_argument: bool) -> None:
    assert (readers.read_filter_or_argument(text) is None) is is_argument


@pytest.mark.parametrize("text", ["in.x", "is.x", "not.x"])
def test_a_call_refuses_what_begins_like_a_filter(text: str) -> None:
    with pytest.raises(ApiError):
        readers.read_filter_or_argument(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a", (OrderTerm(A),)),
        ("a.asc", (OrderTerm(A, direction="asc"),)),
        ("a.desc.nullslast", (OrderTerm(A, None, "desc", "nullslast"),)),
        ("a.nullsfirst", (OrderTerm(A, nulls="nullsfirst"),)),
        ("a , b.desc", (OrderTerm(A), OrderTerm(B, direction="desc"))),
        (
            "a->b->0.desc",
            (OrderTerm(FieldPath("a", (key("b"), index("0"))), direction="desc"),),
        ),
        ("r(a).desc.nullsfirst", (OrderTerm(A, "r", "desc", "nullsfirst"),)),
        ("r(a->b)", (OrderTerm(FieldPath("a", (key("b"),)), "r"),)),
        ('"a.b".asc', (OrderTerm(FieldPath("a.b"), direction="asc"),)),
    ],
)
def test_order_is_read(text: str, expected: tuple[OrderTerm, ...]) -> None:
    assert readers.read_order(text) == expected


@pytest.mark.parametrize(
    "text, column, details",
    [
        (
            "r(a,b)",
            2,
            'unexpected \'(\' expecting letter, digit, "-", "->>", "->", delimiter (.),'
            ' "," or end of input',
        ),
        (
            "a.ac",
            3,
            'unexpected "c" expecting "asc", "desc", "nullsfirst" or "nullslast"',
        ),
        ("a.descc", 7, "unexpected 'c' expecting delimiter (.), \",\" or end of input"),
        ("a.asc.no", 7, 'unexpected "o" expecting "nullsfirst" or "nullslast"'),
        ("a.nullslastt", 12, "unexpected 't' expecting \",\" or end of input"),
        ("", 1, "unexpected end of input expecting field name (* or [a..z0..9_$])"),
    ],
)
def test_a_bad_order_says_where_and_why(text: str, column: int, details: str) -> None:
    with pytest.raises(ApiError) as raised:
        readers.read_order(text)
    assert raised.value.message == f'"failed to parse order ({text})" (line 1, column {column})'
    assert raised.value.details == details


def eq(name: str, value: str) -> Filter:
    return Filter(FieldPath(name), Operation("eq", value))


@pytest.mark.parametrize(
    "key_text, text, path, expected",
    [
        ("or", "(a.eq.1,b.eq.2)", (), LogicTree("or", (eq("a", "1"), eq("b", "2")))),
        ("not.and", "(a.eq.1)", (), LogicTree("and", (eq("a", "1"),), negated=True)),
        ("r.s.or", "(a.eq.1)", ("r", "s"), LogicTree("or", (eq("a", "1"),))),
        ("r.not.or", "(a.eq.1)", ("r",), LogicTree("or", (eq("a", "1"),), negated=True)),
        (
            "and",
            "( a.eq.1 , not.or( b.eq.2, c.not.is.null) )",
            (),
            LogicTree(
                "and",
                (
                    eq("a", "1 "),
                    LogicTree(
                        "or",
                        (
                            eq("b", "2"),
                            Filter(FieldPath("c"), Operation("is", "null", negated=True)),
                        ),
                        negated=True,
                    ),
                ),
            ),
        ),
        (
            "or",
            '(a.in.(1,"2,3"),b.eq."x,y)",c.cs.{1,2},d.eq.{e,f->g.eq.h)',
            (),
            LogicTree(
                "or",
                (
                    Filter(A, Operation("in", ("1", "2,3"))),
                    eq("b", "x,y)"),
                    Filter(FieldPath("c"), Operation("cs", "{1,2}")),
                    eq("d", "{e"),
                    Filter(FieldPath("f", (key("g"),)), Operation("eq", "h")),
                ),
            ),
        ),
        ("or", "(and.eq.1)", (), LogicTree("or", (eq("and", "1"),))),
        ("or", ".eq.3", (), eq("or", "3")),
    ],
)
def test_logic_is_read(
    key_text: str, text: str, path: tuple[str, ...], expected: LogicTree
) -> None:
    assert readers.read_logic(key_text, text) == (path, expected)


NOTHING_BEGAN = (
    "expecting field name (* or [a..z0..9_$]), negation operator (not) or logic operator"
    " (and, or)"
)


@pytest.mark.parametrize(
    "text, column, details",
    [
        ("or()", 4, f'unexpected ")" {NOTHING_BEGAN}'),
        ("or(a.in.1,b.eq.2)", 9, 'unexpected "1" expecting "("'),
        ("or)(", 3, 'unexpected ")" expecting "("'),
        ("and(ord(a.eq.1),b.eq.2)", 7, 'unexpected "d" expecting "("'),
        (
            "or(a.eq.1,not.xor(b.eq.2))",
            15,
            'unexpected "x" expecting logic operator (and, or)',
        ),
        ("or(a.eq.1", 10, 'unexpected end of input expecting "," or ")"'),
    ],
)
def test_a_bad_tree_says_where_and_why(text: str, column: int, details: str) -> None:
    with pytest.raises(ApiError) as raised:
        parse(logic.logic_tree, text, "x")
    assert raised.value.message == f'"x" (line 1, column {column})'
    assert raised.value.details == details


@pytest.mark.parametrize(
    "text, path, field",
    [
        ("a", (), A),
        ("r.s.a", ("r", "s"), A),
        ('r."a.b"', ("r",), FieldPath("a.b")),
        ("r.a->b->>0", ("r",), FieldPath("a", (key("b"), JsonStep("->>", "0", True)))),
        ("a!ignored", (), A),
    ],
)
def test_keys_are_paths(text: str, path: tuple[str, ...], field: FieldPath) -> None:
    assert readers.read_tree_path(text) == (path, field)


@pytest.mark.parametrize(
    "text, column, details",
    [
        ("", 1, "unexpected end of input expecting field name (* or [a..z0..9_$])"),
        (".a", 1, 'unexpected "." expecting field name (* or [a..z0..9_$])'),
        ("a-", 3, 'unexpected end of input expecting ">", letter or digit'),
    ],
)
def test_a_bad_key_says_where_and_why(text: str, column: int, details: str) -> None:
    with pytest.raises(ApiError) as raised:
        readers.read_tree_path(text)
    assert raised.value.message == (
        f'"failed to parse tree path ({text})" (line 1, column {column})'
    )
    assert raised.value.details == details


def test_columns_are_names() -> None:
    assert readers.read_columns('a , "b,c",d e') == ("a", "b,c", "d e")
    with pytest.raises(ApiError, match="failed to parse columns parameter"):
        readers.read_columns("")
    with pytest.raises(ApiError, match="failed to parse on_conflict parameter"):
        readers.read_on_conflict("a,,b")


@pytest.mark.parametrize("branch", ["or(", "not.and("])
def test_logic_may_nest_only_so_deep(branch: str) -> None:
    depth = MAX_NESTING
    text = branch * depth + "a.eq.1" + ")" * depth
    assert isinstance(parse(logic.logic_tree, text, ""), LogicTree)
    assert readers.read_logic("or", f"({branch * (depth - 1)}a.eq.1{')' * depth}")
    with pytest.raises(ApiError, match="column") as raised:
        readers.read_logic("or", "(" + branch * 30_000)
    assert raised.value.details == "unexpected nesting expecting at most 50 levels"


@pytest.mark.parametrize("name", ["a", "a-b", "...a!inner"])
def test_embeds_may_nest_only_so_deep(name: str) -> None:
    depth = MAX_NESTING
    assert readers.read_select(f"{name}(" * depth + ")" * depth)
    with pytest.raises(ApiError) as raised:
        readers.read_select(f"{name}(" * (depth + 1) + ")" * (depth + 1))
    assert raised.value.details == "unexpected nesting expecting at most 50 levels"
    with pytest.raises(ApiError):
        readers.read_select(f"{name}(" * 30_000)
