"""The grammar is written twice: what recognises it, and what puts its errors into words.

Here one is held against the other: whatever the one accepts, the other accepts with the same
result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.prepared.fingerprint import fingerprint
from proxy.request.grammar import filters, logic, names, order, readers, recogniser, select
from proxy.request.grammar.combinators import MAX_NESTING, Parser, parse
from proxy.request.grammar.recogniser import Unrecognised
from proxy.request.model import HttpRequest
from proxy.request.operators import OPERATORS
from proxy.request.request_headers import RequestHeaders
from proxy.sql.conditions import argument_of

Recogniser = Callable[[str], Any]

REFUSED = "refused"
PAIRS: dict[str, tuple[Recogniser, Parser[Any]]] = {
    "select": (recogniser.select_items, select.select_items),
    "order": (recogniser.order_terms, order.order_terms),
    "names": (recogniser.names, names.columns),
    "tree path": (recogniser.tree_path, names.tree_path),
    "logic path": (recogniser.logic_path, logic.logic_path),
    "filter": (recogniser.operation, filters.filter_value),
    "tree": (recogniser.logic_tree, logic.logic_tree),
}


def recognised(recogniser: Recogniser, text: str) -> Any:
    try:
        return recogniser(text)
    except Unrecognised:
        return REFUSED


def parsed(parser: Parser[Any], text: str) -> Any:
    try:
        found = parse(parser, text, "")
    except ApiError:
        return REFUSED
    return tuple(found) if isinstance(found, list) else found


# --- texts that look like the grammar ------------------------------------------------------

MODIFIERS = ("(any)", "(all)", "(french)", "(a b)", "(²)", "(a²)", "()", "(", "(any) ")
PIECES = [
    *'a0_$- ,.:()!*"\\{}é\t\n|>',
    *('"a"', '"a,b"', '"\\""', "a-b", "é-a", '"*"', '"count"', "->b-c", '->"d"', "->-1"),
    *("->0", "->>0", "->a b-c", "->12-3", "->\u00a0k", "-> ", '"left"', "a b", " a", "\u2003"),
    *("id", "name", "12", "->", "->>", "::", "...", "and(", "or(", "not.", "and", "or"),
    *(
        "in.(",
        "is.",
        "null",
        "NULL",
        "nOt_nUlL",
        "unknown",
        "isdistinct.",
        "is.null",
        "is.\u017f",
    ),
    *("count", "count()", ".sum()", ".min()", ".max", "!inner", "!left", ".desc", ".asc"),
    *(".nullsfirst", ".nullslast", "x:a", "a(", "a.eq.1", "x:count()", "::int", "...a(", "not"),
    *(f"{name}." for name in OPERATORS),
    *MODIFIERS,
]
grammar_texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)

LEAVES = [
    *(
        "a.eq.1",
        "a.eq.",
        "a.not.eq.1 ",
        " a.eq.1",
        "a-b.eq.1",
        "and.eq.1",
        "not.eq.1",
        "a b.eq.1",
    ),
    *(
        "not.not.eq.1",
        "a->0.like(any).x",
        "a->b->>c.eq.1",
        'a->"b".eq.1',
        "a.gt.x y",
        "a\t.eq.1",
    ),
    *("b.in.(1,2)", "b.in.( 1,2)", 'b.in.(1,"2)")', "b.in.()", "b.not.in.(1)", "b.in.1"),
    *("b.in.(1) ", "b.in. (1)\t", 'b.in.("a" ,b)', "c.is.null ", "c.is.null", "c.is.nullx"),
    *("c.is.NULL", "c.cs.{1,2}", "c.cs.{1,2} ", "c.eq.{", "c.eq.}", "c.eq.(", "or.eq.1", " "),
    *('c.eq."x,y"', 'c.eq."x"y', 'c.eq."x', 'c.in.("a)",b)', 'c.in.("a"b,c)', 'c.is."null"'),
    *("c.eq.{1}2", "c.eq.a{", "c.eq.a(b", '"c d".eq.1', 'a->"b c".eq.1', "a->b-c.eq.1"),
    *('c.eq."\\""', 'c.in.("\\"",b)', 'c.in.(a"b",c)', "c.like.x)y", 'c.eq."x" ', "not.in.x"),
    *("c.fts(en).x", "c.fts(a b).x", "c.wfts( ).x", "c.isdistinct.1", "c.noop.1", "é.eq.1", ""),
    *(
        "c.eq(any).1",
        "c.eq(en).1",
        "c.neq(any).1",
        "c.not.plfts(en).x",
        "a->0->b.eq.1",
        "a-.eq.1",
    ),
    *(f"d.{name}.{{1}}" for name in OPERATORS),
]
BLANKS = st.sampled_from(["", "", "", " ", "\t"])
trees = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.builds(
        lambda start, parts, end: start + ",".join(parts) + end,
        st.sampled_from(["and(", "or(", "not.and(", "not.or(", " or( ", "and (", "xor(", "or"]),
        st.lists(st.tuples(BLANKS, inner, BLANKS).map("".join), min_size=1, max_size=3),
        st.sampled_from([")", ")", ")", " )", ") ", ""]),
    ),
    max_leaves=5,
)

ITEMS = [
    *(
        "*",
        " *",
        "* ",
        "a",
        " a ",
        "a b",
        "x:a",
        "x :a",
        "x: a",
        "x:\ta",
        "x: ",
        "x: ::a",
        "a::text",
        "a::double precision",
    ),
    *("a\t::b", "a::b\t", "a->b->>c::text", "a->0", "a->0x", "a.sum()", "a::b.max()::c", "..."),
    *(
        "count",
        "count()",
        "n:count()::int",
        "count()::a::b",
        "count().sum()",
        "x:*",
        '"count"()',
    ),
    *(
        '"a"',
        '"a" ',
        '"a\\"b"',
        '"a',
        "a-b",
        "a-",
        "a - b",
        ":",
        "x::a",
        "x:a:b",
        "a.median()",
        "",
    ),
]
HEADS = [
    "a(",
    " a(",
    "a (",
    "x:a!inner(",
    "a!fk!left(",
    "a!left!fk(",
    "a!h1!h2(",
    "a!leftover(",
    "...a(",
    " ...a!fk(",
    "...x:a(",
    "count(",
    "...count(",
    '"a"!"left"(',
    "a!a!b!c(",
    "a!(",
]
selects = st.recursive(
    st.sampled_from(ITEMS),
    lambda inner: st.builds(
        lambda start, parts, end: start + ",".join(parts) + end,
        st.sampled_from(["", *HEADS]),
        st.lists(st.tuples(BLANKS, inner, BLANKS).map("".join), min_size=1, max_size=3),
        st.sampled_from([")", ")", ")", ") ", " )", ")x", ""]),
    ),
    max_leaves=5,
)
TERMS = [
    "a",
    " a ",
    "a.asc",
    "a.desc.nullslast",
    "a.nullsfirst",
    "a.asc ",
    "a\t.desc",
    "a->b->0.asc",
    "r(a)",
    "r( a ).desc",
    "r(a->b)",
    "r(a,b)",
    "r (a)",
    "a.descc",
    "a.nullsfirst.asc",
    "",
    '"a.b".asc',
    '"r"(a)',
    "r(a) ",
    "a.ac",
    "a->0",
    "r(a->0)",
    "a-",
]
orders = st.lists(st.sampled_from(TERMS), max_size=4).map(",".join)

EXAMPLES = (
    "a(b->0)",
    "a(b->0,c->0)",
    "r(a->0)",
    "and(a.eq.{1},b.is.null)",
    "and(not.not.eq.1)",
    "in.( 1,2)",
    "a!leftover(b)",
    "x: ::a",
    "x:\ta",
    "x: a",
    "not.and.eq.1",
    "a)b",
    ":",
    "*!x",
    "...x",
    " ",
    "a²",
    "a->²",
    'in.("a",b',
    "in.(a)b",
    "is.nullx",
    "fts(²).x",
    "a->b²,c",
    '"²"',
    "a->->",
    "a->",
    "a\n",
    "a(" * MAX_NESTING + ")" * MAX_NESTING,
    "and(" * MAX_NESTING + "a.eq.1" + ")" * MAX_NESTING,
    "and(" * (MAX_NESTING + 1) + "a.eq.1" + ")" * (MAX_NESTING + 1),
)


def is_ordinary(text: str) -> bool:
    """Whether it has no numerals such as `²`, with which only what explains is asked."""
    return not any(c.isalnum() and not c.isalpha() and c > "\x7f" for c in text)


def held(kind: str, text: str) -> None:
    recogniser, parser = PAIRS[kind]
    found, full = recognised(recogniser, text), parsed(parser, text)
    if found != REFUSED or is_ordinary(text):
        assert found == full, text


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("text", EXAMPLES)
def test_both_grammars_know_these(kind: str, text: str) -> None:
    held(kind, text)


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=300, deadline=None)
@given(text=grammar_texts | st.text(max_size=6))
def test_what_either_grammar_accepts_the_other_does(kind: str, text: str) -> None:
    held(kind, text)


@settings(max_examples=400, deadline=None)
@given(text=trees | trees.map("and({},a.eq.1)".format))
@example(text="or.eq.3")
def test_both_grammars_read_the_same_trees(text: str) -> None:
    held("tree", text)


@settings(max_examples=400, deadline=None)
@given(text=selects)
def test_both_grammars_read_the_same_selections(text: str) -> None:
    held("select", text)


@settings(max_examples=200, deadline=None)
@given(text=orders)
def test_both_grammars_read_the_same_orders(text: str) -> None:
    held("order", text)


filter_texts = st.tuples(
    st.sampled_from(["", "not.", "not.not."]),
    st.sampled_from([*OPERATORS, "nope", "EQ", ""]),
    st.sampled_from(["", "", *MODIFIERS]),
    st.sampled_from([".", ".", ".", ""]),
    grammar_texts,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=filter_texts)
def test_both_grammars_read_the_same_filters(text: str) -> None:
    held("filter", text)


@settings(max_examples=300, deadline=None)
@given(text=grammar_texts | filter_texts)
@example(text="fts(²).x")
def test_an_argument_is_what_is_no_filter(text: str) -> None:
    begins = text.startswith(("not.", "in.", "is."))
    expected = not begins and parsed(filters.filter_value, text) == REFUSED
    assert recogniser.is_argument(text) is expected


@settings(max_examples=400, deadline=None)
@given(text=filter_texts)
@example(text="fts(²).x")
@example(text="not.fts(a²).x")
def test_what_stands_in_a_hole_is_what_is_bound(text: str) -> None:
    query = b"a=" + quote(text, safe="").encode()
    request = HttpRequest("GET", b"/items", query, ())
    found = fingerprint(request, RequestHeaders(()))
    assert found is not None
    full = parsed(filters.filter_value, text)
    match found.key[3][0]:
        case (_, "", "argument"):
            assert (full, found.values) == (REFUSED, (text,))
        case (_, before, _):
            read = OPERATORS[full.operator], full.value
            assert found.values == (argument_of(*read),)
            # What precedes the hole tells all the rest.
            known = recogniser.head_of(before)
            assert known is not None
            head = known[0]
            assert (head.operator.name, head.negated, head.quantifier, head.language) == (
                full.operator,
                full.negated,
                full.quantifier,
                full.language,
            )
        case _:
            assert found.texts == ()


@pytest.mark.parametrize("text", ["a²", '"²"', "a²,b"])
def test_what_is_declined_is_asked_of_the_other_grammar(text: str) -> None:
    assert recognised(recogniser.names, text) == REFUSED
    assert readers.read_columns(text) == parsed(names.columns, text)
