"""Nothing a caller writes changes the structure of the SQL, whatever position it is in.

A statement is reduced to its tokens with every quoted name, literal and parameter blanked
out. A request with a hostile name or value must give the same tokens as the same request
with a harmless one, or be refused with an API error.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.schema_cache.model import QualifiedName
from proxy.sql.writer import identifier, literal, qualified
from tests.plan.requests import statement

TOKEN = re.compile(
    r"""(?P<name>"(?:[^"]|"")*")|(?P<escaped>E'(?:[^'\\]|''|\\.)*')|(?P<text>'(?:[^']|'')*')"""
    r"""|(?P<parameter>\$\d+)|(?P<word>\w+)|(?P<space>\s+)|(?P<other>.)""",
    re.DOTALL,
)

HOSTILE = st.one_of(
    st.text(min_size=1, max_size=30),
    st.text(alphabet="\"'\\;-*/()$ ,.:%\0\n\tabe1_{}[]<>=|&!", min_size=1, max_size=40),
    st.sampled_from(
        [
            'a";DROP TABLE x;--',
            "a';DROP TABLE x;--",
            "$1",
            "$$;select 1;$$",
            "\\'; drop table x; --",
            "a/*",
            "*/",
            '""',
            "''",
            "\0",
            "pg_sleep(10)",
            "id) OR 1=1--",
            "1; SET ROLE postgres",
            "\u2019\uff02\uff07",
        ]
    ),
)


def structure(sql: str) -> list[str]:
    tokens = []
    for match in TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind != "space":
            tokens.append(match.group() if kind in ("word", "other") else f"<{kind}>")
    return tokens


def quoted_name(text: str) -> str:
    """`text` as a quoted name of the query-string grammar."""
    return quote('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"', safe="")


def raw(text: str) -> str:
    return quote(text, safe="")


NAME_POSITIONS = [
    "/tasks?select={}",
    "/tasks?select={}:id",
    "/tasks?select=id:{}",
    "/tasks?select=id::text,x:{}::text",
    "/tasks?select={}.sum()",
    "/tasks?select={}:projects(id)",
    "/tasks?select=p:projects({})",
    "/tasks?select=...projects({}:name)",
    "/tasks?{}=eq.1",
    "/tasks?or=({}.eq.1,id.eq.2)",
    "/tasks?order={}.desc",
    "/tasks?select=projects(*)&order=projects({})",
    "/tasks?select=projects(*)&projects.{}=eq.1",
    "/projects?select=data->{}",
    "/projects?data->>{}=eq.1",
    "/projects?order=data->{}->>b",
]
VALUE_POSITIONS = [
    "/tasks?name=eq.{}",
    "/tasks?name=like.{}",
    "/tasks?name=not.imatch.{}",
    "/tasks?name=isdistinct.{}",
    "/tasks?name=neq.{}",
    "/tasks?name=like(any).{}",
    "/projects?search=fts.{}",
    "/projects?color=eq.{}",
    "/projects?data->>a=eq.{}",
    "/rpc/greet?name={}",
    "/rpc/total?v={}",
    "/tasks?limit={}",
    "/tasks?offset={}",
]
QUOTED_VALUE_POSITIONS = [
    "/tasks?name=in.({},b)",
    "/tasks?or=(name.eq.{},id.eq.1)",
    "/tasks?and=(name.in.({},b),not.or(id.eq.1,name.like.{}))",
    "/projects?color=in.({},b)",
]


VOCABULARY = set(
    """
    SELECT FROM WHERE AND OR NOT AS ON TRUE FALSE NULL UNKNOWN IS DISTINCT ANY ALL ASC DESC
    NULLS FIRST LAST ORDER GROUP BY LIMIT OFFSET LEFT INNER JOIN LATERAL COALESCE CAST EXISTS
    bigint int json jsonb pg_catalog count coalesce json_agg pgrst_page nullif
    current_setting true body total page response_headers response_status location inserted
    OPERATOR row_to_json to_jsonb to_tsvector to_tsquery plainto_tsquery phraseto_tsquery
    websearch_to_tsquery LIKE ILIKE sum avg max min api color_to_json color_from_text
    """.split()
)
PUNCTUATION = set("(),.*:=<>|&@~-")


def check_vocabulary(sql: str) -> None:
    """Unquoted text may ask for another shape (`a,b` are two columns), but the SQL is
    made of our own words: what the caller wrote stands in quoted names and parameters."""
    assert "--" not in re.sub('"(?:[^"]|"")*"', "", sql).replace("-|-", "")
    without_types = re.sub(r" AS [\w$]+(?: [\w$]+)*\)", ")", sql)
    ours = re.sub(r" GROUP BY \d+(?:, \d+)*", " GROUP BY", without_types)
    for match in TOKEN.finditer(ours):
        if match.lastgroup == "word":
            assert match.group() in VOCABULARY
        if match.lastgroup == "other":
            assert match.group() in PUNCTUATION


def attempt(target: str, **request: Any) -> str | None:
    """The SQL of a request, None when it is refused in the caller's language."""
    try:
        return statement(target, **request).sql
    except ApiError as error:
        refusal = error
    assert refusal.status < 500
    return None


def check(benign: str, hostile: str, **request: Any) -> None:
    got = attempt(hostile, **request)
    if got is not None:
        assert structure(got) == structure(statement(benign, **request).sql)


@pytest.mark.parametrize("position", NAME_POSITIONS)
@given(text=HOSTILE)
@example(text='a";DROP TABLE x;--')
def test_names(position: str, text: str) -> None:
    if text != "*":  # quoted or not, the name * stands for all columns
        check(position.format(quoted_name("zzz")), position.format(quoted_name(text)))
    sql = attempt(position.format(raw(text)))
    if sql is not None:
        check_vocabulary(sql)


@pytest.mark.parametrize("position", VALUE_POSITIONS)
@given(text=HOSTILE)
@example(text="a';DROP TABLE x;--")
def test_values(position: str, text: str) -> None:
    benign = "5" if "limit" in position or "offset" in position else "zzz"
    got = attempt(position.format(raw(text)))
    if got is None:
        return
    shapes = [structure(statement(position.format(benign)).sql)]
    if benign == "5":
        shapes += [
            structure(statement("/tasks").sql),
            structure(statement("/tasks?limit=0").sql),
        ]
    assert structure(got) in shapes


@pytest.mark.parametrize("position", QUOTED_VALUE_POSITIONS)
@given(text=HOSTILE)
def test_quoted_values(position: str, text: str) -> None:
    hostile = quoted_name(text)
    check(position.replace("{}", "zzz"), position.replace("{}", hostile))


@given(text=HOSTILE)
def test_payload_keys(text: str) -> None:
    body = json.dumps({text: 1}).encode()
    check("/tasks", "/tasks", method="POST", body=body, content_type="application/json")


@given(text=HOSTILE)
def test_write_parameters(text: str) -> None:
    body = b'{"id": 1}'
    for parameter in ("columns", "on_conflict"):
        check(
            f"/tasks?{parameter}=id",
            f"/tasks?{parameter}={quoted_name(text)}",
            method="POST",
            body=body,
            prefer="resolution=merge-duplicates",
        )


@given(text=HOSTILE)
def test_casts_and_languages(text: str) -> None:
    for position in ("/tasks?select=id::{}", "/tasks?select=id.sum()::{}"):
        sql = attempt(position.format(raw(text)))
        if sql is not None:
            assert re.search(r"CAST\([^()]*(\([^()]*\))? AS [\w$]+( [\w$]+)*\)", sql)
    check("/projects?name=fts(zzz).a", f"/projects?name=fts({raw(text)}).a")


@given(text=st.text())
def test_one_quoting_function(text: str) -> None:
    assert structure(identifier(text)) == ["<name>"]
    assert structure(qualified(QualifiedName(text, text)))[-1] == "<name>"
    assert structure(literal(text)) in (["<text>"], ["<escaped>"])
    words = attempt(f"/tasks?select=id::{raw(text)}")
    assert words is None or ";" not in words
