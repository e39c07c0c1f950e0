"""What is recognised by its shape is what reading and planning in full would have given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.model import Outcome, Transaction, keep_always
from proxy.auth.model import AuthRules
from proxy.auth.role_claim import parse_role_claim
from proxy.auth.token_cache import Authenticator
from proxy.observability.record import Record
from proxy.openapi.swagger import OpenApiOptions
from proxy.pipeline import answer
from proxy.plan.planner import PlanRules
from proxy.plan.read import ReadRules
from proxy.prepared.fingerprint import Fingerprint, filled, fingerprint
from proxy.prepared.queries import PreparedQueries
from proxy.prepared.rules import QueryRules, TransactionRules
from proxy.request.api_request import RequestRules
from proxy.request.model import Headers, HttpRequest
from proxy.request.operators import OPERATORS
from proxy.request.request_headers import RequestHeaders
from proxy.response.model import Response
from proxy.schema_cache.model import QualifiedName
from proxy.state.app_state import AppState
from tests.apps_of_one_state import AppOfOneState
from tests.plan.sample import CACHE, SCHEMA

NO_HEADERS = RequestHeaders(())


def state_with(
    entries: int = 1000, *, max_rows: int | None = None, legacy: bool = False
) -> AppState:
    cache = replace(
        CACHE,
        role_settings={"web_anon": (("statement_timeout", "5s"),)},
        role_isolation={"web_anon": "repeatable read"},
    )
    rules = QueryRules(
        RequestRules((SCHEMA, "other"), allow_transaction_override=True),
        PlanRules(ReadRules(aggregates_enabled=True, max_rows=max_rows), plan_enabled=True),
        TransactionRules(
            pre_request=QualifiedName(SCHEMA, "check"), max_rows=max_rows, legacy_gucs=legacy
        ),
    )
    auth_rules = AuthRules(None, parse_role_claim("$.role"), "web_anon")
    return AppState(
        authenticator=Authenticator(auth_rules, None),
        queries=PreparedQueries(cache, rules, entries),
        openapi=OpenApiOptions("16", "localhost", 3000, None, False, (SCHEMA,)),
    )


# --- one request, answered with and without ------------------------------------------------


class AnyRow(dict[Any, Any]):
    """A row with all that any statement is asked for."""

    def __missing__(self, position: int) -> bytes:
        return b'[{"Plan": {"Plan Rows": 7}}]'


ROW = AnyRow(
    total=5,
    page=1,
    body=b'[{"id":1}]',
    response_headers=None,
    response_status=None,
    location=b'[["id","eq.1"]]',
    inserted=1,
    matching=b"[1,0,1,1,1]",
)


@dataclass
class Told:
    """All that an answer shows: the response, what the database was asked, the record."""

    response: Response
    transaction: Transaction | None
    keeps: tuple[bool, ...]
    record: tuple[object, ...]


def told(state: AppState, http: HttpRequest, row: AnyRow = ROW) -> Told:
    asked: list[Transaction] = []

    async def run(transaction: Transaction) -> Outcome:
        asked.append(transaction)
        return Outcome([row], [row], kept=True)

    record = Record()
    response = asyncio.run(answer(AppOfOneState(state, run), http, record))
    keeps: tuple[bool, ...] = ()
    transaction = None
    if asked:
        keep = asked[0].keep
        keeps = (keep is keep_always, *(keep([AnyRow(row, page=n)]) for n in (0, 1, 2)))
        transaction = replace(asked[0], keep=keep_always)
    noted = (record.role, record.resource, record.code, list(record.laps))
    return Told(response, transaction, keeps, noted)


# --- requests ---------------------------------------------------------------------------------

TEXTS = [
    *("1", "", "a b", "a+b", "a,b", '"a"', "(1,2)", "(1)", "null", "a.b", "eq.1", "not.eq.1"),
    *("*a*", "%", "\\", "a&b=c;d", "é", "\0", "'; drop--", "{1,2}", "(", ")", ".", "[]", "?#"),
    *('("a,b",c)', '("a"b)', "()", "( 1)", "(1,2", '("a","b\\"c")', "not", "is.null", "²"),
]
texts = st.sampled_from(TEXTS) | st.text(max_size=4).filter(
    lambda text: not any("\ud800" <= c <= "\udfff" for c in text)
)
heads = st.sampled_from(
    [
        *(f"{name}." for name in OPERATORS),
        *("eq(any).", "like(all).", "ilike(any).", "gt(all).", "neq(any).", "fts(french)."),
        *("", "nope.", "EQ.", " eq."),
    ]
)
keys = st.sampled_from(
    [
        *("id", "name", "data->>a", "data->a->>b", '"name"', "client_id", "color", "search"),
        *("tasks.id", "tasks.name", "clients.name", "a", "b", "v", "client", "tasks", "na me"),
    ]
)
others = st.sampled_from(
    [
        *("select=*", "select=id,name", "select=id,tasks(id),clients(name)", "select=count()"),
        *("select=id,t:tasks!inner(id,name)", "select=id,...clients(name)", "select=color"),
        *("order=id", "order=name.desc,id", "limit=3", "limit=0", "offset=2", "tasks.limit=1"),
        *("and=(id.eq.1,name.neq.a)", "or=(id.eq.1,id.gt.3)", "tasks.or=(id.eq.1,id.eq.2)"),
        *("columns=id,name", "on_conflict=id", "id=is.null", "tasks=not.is.null", "id"),
        *("id=in.(1,2)", "id=in.()", 'name=in.("a,b",c)', "name=fts(english).x", "&", "=x"),
    ]
)
encoders: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="(),.*\"'{}!~:"),
        quote_plus,
    ]
)


@st.composite
def parameters(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 2)) == 0:
        return draw(others)
    encode = draw(encoders)
    negation = "not." if draw(st.integers(0, 4)) == 0 else ""
    return f"{encode(draw(keys))}={encode(negation + draw(heads) + draw(texts))}"


header_sets = st.lists(
    st.sampled_from(
        [
            (b"accept", b"application/json"),
            (b"accept", b"text/csv"),
            (b"accept", b"application/vnd.pgrst.object+json"),
            (b"accept", b"application/vnd.pgrst.plan+text; options=analyze"),
            (b"accept", b"image/png"),
            (b"accept-profile", b"api"),
            (b"accept-profile", b"other"),
            (b"content-profile", b"api"),
            (b"prefer", b"count=exact"),
            (b"prefer", b"count=planned"),
            (b"prefer", b"count=estimated, tx=rollback"),
            (b"prefer", b"return=representation, timezone=Europe/Berlin"),
            (b"prefer", b"return=headers-only, resolution=merge-duplicates"),
            (b"prefer", b"handling=strict, max-affected=1"),
            (b"prefer", b"handling=strict, nonsense"),
            (b"prefer", b"missing=default, update=by-key"),
            (b"range", b"0-4"),
            (b"range", b"2-"),
            (b"x-request-id", b"1"),
            (b"x-request-id", b"2"),
            (b"cookie", b"a=1; b=2"),
            (b"user-agent", "é".encode()),
            (b"content-type", b"text/csv"),
            (b"content-type", b"application/vnd.edgerest.query"),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ]
    ),
    max_size=3,
    unique=True,
).map(tuple)
paths = st.sampled_from(
    [
        *("/projects", "/clients", "/tasks", "/users_tasks", "/log", "/nothing"),
        *("/rpc/add", "/rpc/greet", "/rpc/projects_of", "/rpc/touch", "/rpc/total"),
        *("/rpc/store", "/rpc/take", "/rpc/same", "/rpc/refresh", "/a/b"),
    ]
)
bodies = st.sampled_from(
    [
        *(b"", b"{}", b"[]", b'{"id":1}', b'{"id":2}', b'{"name":"x","id":3}', b"nonsense"),
        *(b'[{"id":1},{"id":2}]', b'[{"id":4}]', b'{"a":1,"b":2}', b'{"client":1}', b"[1]"),
        *(b"id,name\n1,x\n", b"id=1", b'{"nope":1}', b'{"id":\xff}', b"[{}]", b' {"id":7} '),
    ]
)


@dataclass(frozen=True)
class Kind:
    """Requests that may be of one shape."""

    method: str
    path: str
    parameters: tuple[str, ...]
    headers: Headers

    def request(self, values: tuple[str, ...], more: Headers, body: bytes) -> HttpRequest:
        query = list(self.parameters)
        for number, value in enumerate(values[: len(query)]):
            before, equals, after = query[number].partition("=")
            head, dot, _ = after.rpartition(".")
            if equals and before not in ("select", "columns", "on_conflict", "order"):
                query[number] = f"{before}={head}{dot}{value}"
        joined = "&".join(query).encode()
        return HttpRequest(self.method, self.path.encode(), joined, self.headers + more, body)


kinds = st.builds(
    Kind,
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "QUERY"]),
    paths,
    st.lists(parameters(), max_size=3).map(tuple),
    header_sets,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[HttpRequest]:
    """Requests of few kinds, so that fingerprints are met again and again."""
    some = draw(st.lists(kinds, min_size=1, max_size=2))
    encode = draw(encoders)
    return [
        draw(st.sampled_from(some)).request(
            tuple(map(encode, draw(st.lists(texts, max_size=2)))),
            draw(st.sampled_from([(), ((b"x-one", b"1"),), ((b"cookie", b"c=3"),)])),
            draw(bodies),
        )
        for _ in range(draw(st.integers(3, 8)))
    ]


@settings(max_examples=400, deadline=None)
@given(
    requests=conversations(),
    max_rows=st.sampled_from([None, 4]),
    legacy=st.booleans(),
)
def test_a_recognised_request_is_answered_as_if_it_were_read_in_full(
    requests: list[HttpRequest], max_rows: int | None, legacy: bool
) -> None:
    recognising = state_with(max_rows=max_rows, legacy=legacy)
    reading = state_with(0, max_rows=max_rows, legacy=legacy)
    for request in requests:
        assert told(recognising, request) == told(reading, request)


RECOGNISED = [
    ("GET", "/clients?id=eq.{}", b""),
    ("GET", "/clients?id=not.gt.{}&name=like.{}*&order=id&limit=3", b""),
    ("HEAD", "/clients?name=not.ilike(any).{}", b""),
    ("GET", "/projects?id=in.(1,{},3)&data->>a=eq.{}&tasks.name=neq.{}&select=*,tasks(*)", b""),
    ("GET", "/projects?color=eq.{}", b""),
    ("GET", "/projects?search=fts.{}", b""),
    ("GET", "/projects?search=fts(english).{}", None),
    ("GET", "/projects?or=(id.eq.{},id.eq.2)", None),
    ("GET", "/rpc/greet?name={}", b""),
    ("GET", "/rpc/projects_of?client={}&id=gt.{}", b""),
    ("GET", "/rpc/total?v={}&v=2", None),
    ("POST", "/clients", b'{"id":1,"name":"%s"}'),
    ("POST", "/clients", b'[{"id":1,"name":"%s"},{"id":2,"name":"b"}]'),
    ("PATCH", "/clients?id=eq.{}", b'{"name":"%s"}'),
    ("PUT", "/clients?id=eq.{}", b'{"id":1,"name":"%s"}'),
    ("DELETE", "/clients?id=eq.{}", b""),
    ("POST", "/rpc/touch", b'{"id":%s}'),
    ("POST", "/rpc/take", b'{"anything":%s}'),
]


@pytest.mark.parametrize("method, target, body", RECOGNISED)
def test_which_requests_are_recognised(method: str, target: str, body: bytes | None) -> None:
    """Those whose body is None here are read in full unless all their text is the same."""
    recognising, reading = state_with(), state_with(0)
    queries = recognising.queries
    for number, value in enumerate(("1", "2", "7", "99")):
        raw = target.replace("{}", value)
        path, _, query = raw.encode().partition(b"?")
        content = (body or b"").replace(b"%s", value.encode())
        request = HttpRequest(method, path, query, (), content)
        assert told(recognising, request) == told(reading, request)
        assert queries.counts.hits == (0 if number < 2 or body is None else number - 1)


@pytest.mark.parametrize("row", [ROW, AnyRow(ROW, page=0, body=b"[]"), AnyRow(ROW, total=None)])
@pytest.mark.parametrize(
    "guc", [{}, {"response_status": b"418"}, {"response_headers": b'[{"Vary":"x"}]'}]
)
def test_the_rows_and_what_sql_says_make_the_answer(row: AnyRow, guc: dict[str, bytes]) -> None:
    recognising, reading = state_with(), state_with(0)
    for value in range(4):
        request = HttpRequest(
            "GET", b"/clients", b"offset=1&id=gt.%d" % value, ((b"prefer", b"count=exact"),)
        )
        given = AnyRow(row, **guc)
        assert told(recognising, request, given) == told(reading, request, given)


# --- what makes a shape ----------------------------------------------------------------------


def fingerprint_of(
    target: str, headers: Headers = (), method: str = "GET"
) -> Fingerprint | None:
    path, _, query = target.encode().partition(b"?")
    return fingerprint(HttpRequest(method, path, query, headers), RequestHeaders(headers))


@pytest.mark.parametrize(
    "one, other",
    [
        ("/a?x=eq.1", "/a?x=eq.2"),
        ("/a?x=eq.1", "/a?x=eq.a,b.c(d)%22"),
        ("/a?x=in.(1,2)", "/a?x=in.(3)"),
        ("/a?x=like.a*", "/a?x=like.%25"),
        ("/rpc/f?x=1", "/rpc/f?x=2.5"),
        ("/a?x=eq.1&y=gt.2", "/a?x=eq.&y=gt.+"),
        ("/a?%78=eq.1", "/a?x=eq.2"),
    ],
)
def test_values_are_no_part_of_the_shape(one: str, other: str) -> None:
    first, second = fingerprint_of(one), fingerprint_of(other)
    assert first is not None
    assert second is not None
    assert first.key == second.key
    assert first.values != second.values


@pytest.mark.parametrize(
    "one, other",
    [
        ("/a?x=eq.1", "/b?x=eq.1"),
        ("/a?x=eq.1", "/a?y=eq.1"),
        ("/a?x=eq.1", "/a?x=not.eq.1"),
        ("/a?x=eq.1", "/a?x=gt.1"),
        ("/a?x=eq.1", "/a?x=eq(any).1"),
        ("/a?x=eq.1", "/a?x=eq"),
        ("/a?x=eq.1", "/a?x"),
        ("/a?x", "/a?x="),
        ("/a", "/a?&"),
        ("/a?x=eq.1&y=eq.2", "/a?y=eq.2&x=eq.1"),
        ("/a?x=in.(1,2)", "/a?x=in.(1,2"),
        ("/a?x=is.null", "/a?x=is.true"),
        ("/a?select=a", "/a?select=b"),
        ("/a?limit=1", "/a?limit=2"),
        ("/a?b.order=x", "/a?b.order=y"),
        ("/a?and=(x.eq.1)", "/a?and=(x.eq.2)"),
        ("/a?x=fts(a).1", "/a?x=fts(b).1"),
        ("/rpc/f?x=1", "/rpc/f?x=eq.1"),
    ],
)
def test_all_else_is_part_of_the_shape(one: str, other: str) -> None:
    first, second = fingerprint_of(one), fingerprint_of(other)
    assert first is not None
    assert second is not None
    assert first.key != second.key


@pytest.mark.parametrize(
    "name",
    ["accept", "accept-profile", "content-profile", "content-type", "prefer", "range"],
)
def test_headers_that_shape_the_answer_are_part_of_the_shape(name: str) -> None:
    plain = fingerprint_of("/a?x=eq.1")
    shaped = fingerprint_of("/a?x=eq.1", ((name.encode(), b"1"),))
    assert plain is not None
    assert shaped is not None
    assert plain.key != shaped.key


def test_the_method_is_part_of_the_shape() -> None:
    found = [fingerprint_of("/a?x=eq.1", (), method) for method in ("GET", "HEAD", "DELETE")]
    assert len({each.key for each in found if each is not None}) == 3
    assert fingerprint_of("/a", (), "QUERY") is None


@pytest.mark.parametrize("target", ["/a?x=eq.%ff", "/a?x=%ff", f"/a?x=eq.{'1' * 5000}"])
def test_what_is_not_understood_at_a_glance_has_no_shape(target: str) -> None:
    assert fingerprint_of(target) is None


@settings(max_examples=200, deadline=None)
@given(found=st.lists(parameters(), max_size=4).map("&".join), value=texts)
def test_a_filled_fingerprint_is_that_fingerprint(found: str, value: str) -> None:
    first = fingerprint(HttpRequest("GET", b"/a", found.encode(), ()), NO_HEADERS)
    assert first is not None
    holes = [part[2] for part in first.key[3] if len(part) == 3]
    given_texts = tuple(
        "(a,b)" if hole == "in" else "a" if hole == "argument" else value for hole in holes
    )
    query = filled(first.key, given_texts)
    again = fingerprint(HttpRequest("GET", b"/a", query, ()), NO_HEADERS)
    assert again is not None
    assert (again.key, again.texts) == (first.key, given_texts)


# --- bounds and owners -----------------------------------------------------------------------


def many_requests() -> Iterator[HttpRequest]:
    for number in range(40):
        for value in range(3):
            yield HttpRequest("GET", b"/clients", b"limit=%d&id=eq.%d" % (number, value), ())


def test_no_more_queries_are_kept_than_wanted() -> None:
    state = state_with(10)
    queries = state.queries
    for request in many_requests():
        told(state, request)
    assert queries.counts.hits == 40
    assert queries.size <= 20


def test_a_bodys_names_are_part_of_the_shape() -> None:
    state = state_with()
    queries = state.queries
    for names in ({"id": 1}, {"name": "a"}, {"id": 1, "name": "a"}):
        for _ in range(3):
            body = json.dumps(names).encode()
            transaction = told(
                state, HttpRequest("POST", b"/clients", b"", (), body)
            ).transaction
            assert transaction is not None
            listed = ", ".join(f'"{name}"' for name in sorted(names))
            assert f'INSERT INTO "api"."clients" ({listed})' in transaction.statement.sql
    assert queries.counts.hits == 3
