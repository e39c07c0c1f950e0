"""What holds for every query string: no surprise, one meaning, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.model import (
    FieldPath,
    Filter,
    HttpRequest,
    JsonStep,
    LogicTree,
    Operation,
    OrderTerm,
    SelectEmbed,
    SelectField,
    SelectItem,
)
from proxy.request.operators import OPERATORS
from proxy.request.query_string import canonical_query, decode_pairs, parse_query
from tests.request.test_grammars import grammar_texts

T = TypeVar("T")


def outcome(call: Callable[[], T]) -> T | ApiError:
    """What a call gives or the error it answers with; anything else fails the test."""
    try:
        return call()
    except ApiError as error:
        return error


# --- any bytes -----------------------------------------------------------------------------

keys = st.sampled_from(
    ["select", "order", "a", "a.order", "or", "r.not.and", "limit", "r.offset", "columns"]
)
query_texts = st.lists(
    st.tuples(keys | grammar_texts, grammar_texts).map(lambda pair: "=".join(map(quote, pair))),
    max_size=4,
).map(lambda parts: "&".join(parts).encode())


@settings(max_examples=200, deadline=None)
@given(query=st.binary(max_size=60) | query_texts, is_call_read=st.booleans())
def test_any_bytes_are_read_or_refused(query: bytes, is_call_read: bool) -> None:
    result = outcome(lambda: parse_query(query, is_call_read=is_call_read))
    if isinstance(result, ApiError):
        assert (result.code, result.status) == ("PGRST100", 400)
        assert result.body()
    else:
        assert result.canonical.isascii()


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"]),
    path=st.sampled_from([b"/", b"/a", b"/rpc/f", b"/a/"]) | st.binary(max_size=12),
    query=st.just(b"") | query_texts,
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [b"accept", b"content-type", b"cookie", b"prefer", b"range", b"accept-profile"]
            ),
            st.binary(max_size=20)
            | st.sampled_from([b"text/csv", b"application/x-www-form-urlencoded", b"0-9"]),
        ),
        max_size=3,
    ),
    body=st.binary(max_size=40)
    | st.text(alphabet='{}[]",:a1 \r\n', max_size=30).map(str.encode),
)
def test_any_request_is_read_or_refused(
    method: str,
    path: bytes,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    request = HttpRequest(method, path, query, tuple(headers), body)
    result = outcome(lambda: read_api_request(request, RequestRules(("public",))))
    if isinstance(result, ApiError):
        assert 400 <= result.status < 500
        assert result.body()
    else:
        assert result.method == method


# --- written and read again ----------------------------------------------------------------

any_name = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6
)
plain_name = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(
    lambda name: name not in ("count", "left", "inner", "not", "and", "or")
)
a_name = plain_name | any_name
casts = plain_name


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def written_name(name: str) -> str:
    is_plain = name.isascii() and name.replace("_", "a").isalnum()
    return name if is_plain and name != "count" else quoted(name)


steps = st.lists(
    st.one_of(
        st.builds(JsonStep, st.sampled_from(["->", "->>"]), any_name, st.just(False)),
        st.builds(
            JsonStep,
            st.sampled_from(["->", "->>"]),
            st.integers(-99, 99).map(str),
            st.just(True),
        ),
    ),
    max_size=2,
).map(tuple)
no_steps = st.just(())
field_paths = st.builds(FieldPath, a_name, no_steps | steps)


def written_path(path: FieldPath) -> str:
    return written_name(path.name) + "".join(
        step.arrow + (step.operand if step.is_index else quoted(step.operand))
        for step in path.path
    )


# Before ")" an index would be a key, so paths stand where something else follows.
select_fields = st.builds(
    SelectField,
    field_paths,
    st.none() | a_name,
    casts,
    st.none() | st.sampled_from(["sum", "avg", "count", "max", "min"]),
    st.none(),
)
select_items = st.recursive(
    select_fields | st.just(SelectField(FieldPath("*"))),
    lambda inner: st.builds(
        lambda spread, alias, relation, hint, join, items: SelectEmbed(
            relation, tuple(items), None if spread else alias, hint, join, spread
        ),
        st.booleans(),
        st.none() | a_name,
        a_name.filter(lambda name: name != "count"),
        st.none() | plain_name.filter(lambda n: not n.startswith(("left", "inner"))),
        st.none() | st.sampled_from(["inner", "left"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def written_item(item: SelectItem) -> str:
    alias = f"{written_name(item.alias)}:" if item.alias is not None else ""
    if isinstance(item, SelectField):
        if item.field == FieldPath("*"):
            return "*"
        aggregate = f".{item.aggregate}()" if item.aggregate else ""
        return f"{alias}{written_path(item.field)}::{item.cast}{aggregate}"
    dots = "..." if item.spread else ""
    hint = f"!{item.hint}" if item.hint else ""
    join = f"!{item.join}" if item.join else ""
    inner = ",".join(map(written_item, item.items))
    return f"{alias}{dots}{written_name(item.relation)}{hint}{join}({inner})"


values = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
tree_values = values.filter(lambda text: not text.startswith("{")).map(str)
simple = [o.name for o in OPERATORS.values() if o.kind in ("simple", "isdistinct")]
quantifiable = [o.name for o in OPERATORS.values() if o.kind in ("quantifiable", "pattern")]
full_text = [o.name for o in OPERATORS.values() if o.kind == "fts"]
operations = st.one_of(
    st.builds(Operation, st.sampled_from(simple), values, st.booleans()),
    st.builds(
        Operation,
        st.sampled_from(quantifiable),
        values,
        st.booleans(),
        st.none() | st.sampled_from(["any", "all"]),
    ),
    st.builds(
        Operation,
        st.sampled_from(full_text),
        values,
        st.booleans(),
        st.none(),
        st.none() | plain_name,
    ),
    st.builds(
        Operation,
        st.just("in"),
        st.lists(values, min_size=1, max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(
        Operation,
        st.just("is"),
        st.sampled_from(["null", "not_null", "true", "false", "unknown"]),
        st.booleans(),
    ),
)


def written_operation(operation: Operation, *, in_tree: bool) -> str:
    negation = "not." if operation.negated else ""
    modifier = operation.quantifier or operation.language
    if isinstance(operation.value, tuple):
        value = f"({','.join(map(quoted, operation.value))})"
    elif in_tree and operation.operator != "is":
        value = quoted(operation.value)
    else:
        value = operation.value
    return f"{negation}{operation.operator}{f'({modifier})' if modifier else ''}.{value}"


conditions = st.builds(Filter, field_paths, operations)
trees = st.recursive(
    conditions,
    lambda inner: st.builds(
        LogicTree,
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3).map(tuple),
        st.booleans(),
    ),
    max_leaves=6,
)


def written_tree(tree: LogicTree | Filter) -> str:
    if isinstance(tree, Filter):
        return f"{written_path(tree.field)}.{written_operation(tree.operation, in_tree=True)}"
    negation = "not." if tree.negated else ""
    return f"{negation}{tree.connective}({','.join(map(written_tree, tree.children))})"


order_terms = st.builds(
    OrderTerm,
    field_paths,
    st.none(),
    st.none() | st.sampled_from(["asc", "desc"]),
    st.none() | st.sampled_from(["nullsfirst", "nullslast"]),
) | st.builds(
    OrderTerm,
    st.builds(FieldPath, a_name),
    a_name,
    st.none() | st.sampled_from(["asc", "desc"]),
    st.none() | st.sampled_from(["nullsfirst", "nullslast"]),
)


def written_order(term: OrderTerm) -> str:
    path = written_path(term.field)
    if term.relation is not None:
        path = f"{written_name(term.relation)}({path})"
    return ".".join([path, *filter(None, (term.direction, term.nulls))])


embed_paths = st.lists(a_name, max_size=2).map(tuple)


def written_key(path: tuple[str, ...], end: str) -> str:
    return ".".join([*map(written_name, path), end])


@settings(max_examples=100, deadline=None)
@given(
    items=st.lists(select_items, min_size=1, max_size=3).map(tuple),
    conditions=st.lists(st.tuples(embed_paths, conditions), max_size=3).map(tuple),
    tree=trees.filter(lambda tree: isinstance(tree, LogicTree)),
    terms=st.lists(order_terms, min_size=1, max_size=3).map(tuple),
    columns=st.frozensets(a_name, min_size=1, max_size=3),
    limit=st.integers(0, 100),
)
def test_what_is_written_is_read(
    items: tuple[SelectItem, ...],
    conditions: tuple[tuple[tuple[str, ...], Filter], ...],
    tree: LogicTree,
    terms: tuple[OrderTerm, ...],
    columns: frozenset[str],
    limit: int,
) -> None:
    negation = "not." if tree.negated else ""
    inner = ",".join(map(written_tree, tree.children))
    reserved = {"select", "columns", "on_conflict", "order", "limit", "offset", "and", "or"}
    pairs = [
        ("select", ",".join(map(written_item, items))),
        ("order", ",".join(map(written_order, terms))),
        ("columns", ",".join(map(written_name, columns))),
        ("limit", str(limit)),
        (f"{negation}{tree.connective}", f"({inner})"),
    ]
    for path, condition in conditions:
        key = written_key(path, written_path(condition.field))
        assume(key.rpartition(".")[2] not in reserved)
        pairs.append((key, written_operation(condition.operation, in_tree=False)))
    query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
    read = parse_query(query.encode(), is_call_read=False)
    assert read.select == items
    assert read.filters == conditions
    assert read.logic == (((), tree),)
    assert read.order == (((), terms),)
    assert read.columns == columns
    assert read.ranges[()].limit == limit


@settings(max_examples=100, deadline=None)
@given(st.text("abc=&;+% é", max_size=20).map(str.encode))
def test_the_canonical_query_is_its_own_canonical_query(text: bytes) -> None:
    """Equal names are joined, so only a string with distinct names is a fixed point."""
    try:
        pairs = decode_pairs(text)
    except UnicodeDecodeError:
        reject()
    canonical = canonical_query(pairs)
    if len({key for key, _ in pairs}) == len(pairs):
        assert canonical_query(decode_pairs(canonical.encode())) == canonical
