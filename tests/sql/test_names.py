"""No name in the SQL that we write is ever taken for a user's, nor the other way round.

Tables, columns, types and functions called by every name our SQL has are read, embedded,
grouped, written and called, and the answers compared with what PostgreSQL says by SQL that
shares nothing with ours.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import asyncpg
import httpx
import pytest

from pool import Pool
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.plan.model import FunctionCall, TableRead
from proxy.plan.planner import PlanRules, plan_request
from proxy.plan.read import ReadRules
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.model import HttpRequest
from proxy.schema_cache.load import CacheOptions, load_schema_cache
from proxy.schema_cache.model import SchemaCache
from proxy.sql.statements import main_statement
from tests.conftest import StartEdge, execute
from tests.http.processes import ServerProcess
from tests.sql.names_schema import (
    FIXED,
    TRAPS,
    quoted,
    sample_names,
    schema_sql,
    words,
)

SEED = "seed"
SCHEMAS = ("api", "scalars", "joints")
LONG = ("x" * 63, "x" * 62 + "y", "ü" * 31, "ü" * 30 + "xy")
"""As long as PostgreSQL lets names be; a number behind them would be cut off."""
RESERVED = frozenset({"select", "order", "limit", "offset", "and", "or"})
"""What a query string can't name as an argument."""


def written(name: str) -> str:
    """A name as a query string writes it."""
    return quote('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"', safe="")


def reads(name: str) -> list[tuple[str, str]]:
    """Targets, and queries whose rows they answer; `t`, `u` and `h` can be nobody's, for
    every column is written with its table."""
    n, q, path = written(name), quoted(name), quote(name, safe="")
    t, h, u = f'api.{q} as "z-t"', 'api."z-hub" as "z-h"', f'api.{q} as "z-u"'
    tid, hid, uid = '"z-t"."z-id"', '"z-h"."z-id"', '"z-u"."z-id"'
    # `count(...)` is the aggregate, in PostgREST too: its key tells the table as well.
    e = f"{n}:{n}" if name != "count" else f"{n}:count_z-peer_fkey"
    spread = e.partition(":")[2]
    joined = f'{t} left join {h} on {hid} = "z-t"."z-peer"'
    children = f'from {u} where "z-u"."z-peer" = {hid}'
    by_word = 'order by "z-u"."z-word" desc nulls last'
    pairs = [
        (f"/{path}?order=z-id", f'select "z-t".* from {t} order by {tid}'),
        (
            f"/{path}?select=z-id,{n}:z-word,z-w:{n}->>{n}&order={n}",
            f'select {tid}, "z-t"."z-word" as {q}, (("z-t".{q}).{q})::text as "z-w"'
            f' from {t} order by "z-t".{q}',
        ),
        (
            f"/{path}?select=z-id,{n},z-hub(*)&order=z-id",
            f'select {tid}, "z-t".{q}, case when {hid} is not null then'
            f' to_json("z-h".*) end as "z-hub" from {joined} order by {tid}',
        ),
        (
            f"/{path}?select=z-id,...z-hub({n})&order=z-id",
            f'select {tid}, "z-h".{q} from {joined} order by {tid}',
        ),
        (
            f"/{path}?select=z-id,{n}:z-hub(z-id)&order={n}(z-id).desc,z-id",
            f"select {tid}, case when {hid} is not null then json_build_object('z-id', {hid})"
            f" end as {q} from {joined} order by {hid} desc, {tid}",
        ),
        (
            f"/z-hub?select=z-id,{e}(z-id),z-b:{SEED}(z-id)&{n}=not.is.null",
            f"select {hid}, (select json_agg(json_build_object('z-id', {uid})) {children}) as"
            f""" {q}, (select json_agg(json_build_object('z-id', "z-s"."z-id")) from"""
            f' api.{SEED} as "z-s" where "z-s"."z-peer" = {hid}) as "z-b"'
            f" from {h} where exists (select {children})",
        ),
        (
            f"/z-hub?select=z-id,{e}!inner()&or=({n}.is.null,{n}.not.is.null)",
            f"select {hid} from {h} where exists (select {children})",
        ),
        (
            f"/z-hub?select=z-id,z-a:{spread}()&z-a=is.null",
            f"select {hid} from {h} where not exists (select {children})",
        ),
        (
            f"/z-hub?select=z-id,...{spread}(z-a:z-id,{n}:z-word)&{spread}.order=z-word.desc.nullslast",
            f"select {hid}, (select coalesce(json_agg({uid} {by_word}), '[]') {children})"
            f""" as "z-a", (select coalesce(json_agg("z-u"."z-word" {by_word}), '[]')"""
            f" {children}) as {q} from {h}",
        ),
        (
            f"/{path}?select={n}:z-peer,z-c:count()&order=z-peer",
            f'select "z-t"."z-peer" as {q}, count(*) as "z-c" from {t}'
            f' group by "z-t"."z-peer" order by "z-t"."z-peer"',
        ),
        (
            f"/{path}?select=...z-hub({n},z-a:z-id,z-d:count()),z-c:count()",
            f'select count(*) as "z-c", "z-h".{q}, {hid} as "z-a", count({hid}) as "z-d"'
            f' from {joined} group by "z-h".{q}, {hid}',
        ),
        (
            f"/z-fan?select=z-id,{n}(z-id,z-hub({n}))",
            f"""select "z-f"."z-id", (select json_agg(json_build_object('z-id', {uid},"""
            f""" 'z-hub', (select json_build_object('{name}', "z-h".{q}) from {h} where"""
            f' {hid} = "z-u"."z-peer"))) from {u} where {uid} % 10 = "z-f"."z-id") as {q}'
            ' from api."z-fan" as "z-f"',
        ),
    ]
    return pairs if name != "count" else pairs[:-1]


async def answers(dsn: str, queries: list[str]) -> list[Any]:
    """The rows of every query, as PostgreSQL writes them in JSON."""
    connection = await asyncpg.connect(dsn)
    try:
        return [
            json.loads(
                await connection.fetchval(
                    f"select coalesce(json_agg(z.*), '[]') from ({query}) as z"
                )
            )
            for query in queries
        ]
    finally:
        await connection.close()


def ordered(rows: Any, target: str) -> Any:
    """The rows, in an order of our own where the target asks for none."""
    return rows if "&order=" in target or "?order=" in target else sorted(rows, key=json.dumps)


async def cache_of(dsn: str) -> SchemaCache:
    """The schema cache of a database."""
    pool = Pool(dsn, size=1)
    try:
        return await load_schema_cache(pool, CacheOptions(SCHEMAS))
    finally:
        await pool.close()


def derived_names(cache: SchemaCache) -> set[str]:
    """The names that statements get on top of those of their tables."""
    rules = PlanRules(read=ReadRules(aggregates_enabled=True))
    found: set[str] = set()
    for target, _ in reads(SEED):
        path, _, query = target.partition("?")
        http = HttpRequest("GET", path.encode(), query.encode(), (), b"")
        request = read_api_request(http, RequestRules(schemas=SCHEMAS))
        plan = plan_request(request, cache, rules).plan
        assert isinstance(plan, TableRead | FunctionCall)
        found |= set(words(main_statement(plan).sql))
    return found


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> tuple[str, list[str]]:
    """The name of the database, and the names that things in it have."""
    # What our SQL calls things depends on what they are called: a first look tells.
    for database in ("first_names", "names"):
        asyncio.run(execute(postgres.dsn, f"create database {database}"))
    names = [SEED, *LONG, *(name for name in sample_names() if name not in FIXED)]
    asyncio.run(execute(postgres.dsn_for("first_names"), schema_sql([SEED])))
    derived = derived_names(asyncio.run(cache_of(postgres.dsn_for("first_names"))))
    names += sorted(derived - FIXED - set(names))
    asyncio.run(execute(postgres.dsn_for("names"), schema_sql(names)))
    return "names", names


@pytest.fixture(scope="module")
def names_server(
    start_edge: StartEdge, database: tuple[str, list[str]], postgres: EmbeddedPostgres
) -> Iterator[ServerProcess]:
    with start_edge(
        db_uri=postgres.dsn_for(database[0], "authenticator"),
        db_schemas=", ".join(SCHEMAS),
        db_aggregates_enabled=True,
        db_tx_end="commit-allow-override",
    ) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def names_client(names_server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(http1=False, http2=True, base_url=names_server.url) as client:
        yield client


def test_the_names_are_those_of_our_sql(database: tuple[str, list[str]]) -> None:
    own = {"pgrst_page", "json_agg", "pgrst_source", "elem", "excluded", "z-hub_seed_1"}
    assert own <= set(database[1])


def test_reads(
    names_client: httpx.Client, database: tuple[str, list[str]], postgres: EmbeddedPostgres
) -> None:
    name, names = database
    asked = [pair for each in names for pair in reads(each)]
    expected = asyncio.run(answers(postgres.dsn_for(name), [query for _, query in asked]))
    for (target, query), rows in zip(asked, expected, strict=True):
        answer = names_client.get(target)
        assert answer.status_code == 200, (target, answer.text)
        assert ordered(answer.json(), target) == ordered(rows, target), (target, query)


def test_csv(
    names_client: httpx.Client, database: tuple[str, list[str]], postgres: EmbeddedPostgres
) -> None:
    name, names = database
    queries = [f'select "z-id" from api.{quoted(each)}' for each in names]
    expected = asyncio.run(answers(postgres.dsn_for(name), queries))
    for each, rows in zip(names, expected, strict=True):
        path, csv_wanted = quote(each, safe=""), {"Accept": "text/csv"}
        table = names_client.get(f"/{path}?order=z-id", headers=csv_wanted)
        header, *lines = csv.reader(io.StringIO(table.text))
        assert header == ["z-id", each, "z-peer", "z-word"]
        assert [int(line[0]) for line in lines] == [row["z-id"] for row in rows]
        renamed = names_client.get(f"/{path}?select={written(each)}:z-id", headers=csv_wanted)
        assert renamed.text.splitlines()[0] == each
        assert len(renamed.text.splitlines()) == 1 + len(rows)
        called = names_client.get(
            f"/rpc/{path}", headers={**csv_wanted, "Accept-Profile": "scalars"}
        )
        assert called.text == f"{each},z-label\n1,x\n2,"


def test_calls(names_client: httpx.Client, database: tuple[str, list[str]]) -> None:
    profile = {"Accept-Profile": "scalars", "Content-Profile": "scalars"}
    for each in database[1]:
        path, n = f"/rpc/{quote(each, safe='')}", written(each)
        rows = [{each: 1, "z-label": "x"}, {each: 2, "z-label": None}]
        assert names_client.get(path, headers=profile).json() == rows
        renamed = names_client.get(
            f"{path}?select={n}:z-label,z-a:{n}&{n}=gt.1&order={n}", headers=profile
        )
        assert renamed.json() == [{each: None, "z-a": 2}], renamed.text
        by_post = names_client.post(path, json={each: 41}, headers=profile)
        assert by_post.text == "42", (each, by_post.text)
        if each not in RESERVED:
            by_get = names_client.get(path, params={each: "41"}, headers=profile)
            assert by_get.text == "42", (each, by_get.text)


def test_junctions(names_client: httpx.Client, database: tuple[str, list[str]]) -> None:
    profile = {"Accept-Profile": "joints"}
    for each in database[1]:
        n = written(each)
        embedded = names_client.get(
            f"/z-hub?select=z-id,{n}:z-fan!{n}(z-id,z-hub!{n}(z-id))&order=z-id"
            f"&{n}.order=z-id&{n}.z-hub.order=z-id",
            headers=profile,
        )
        one, two = {"z-id": 1}, {"z-id": 2}
        expected = [
            {**one, each: [{**one, "z-hub": [one]}, {**two, "z-hub": [one, two]}]},
            {**two, each: [{**two, "z-hub": [one, two]}]},
        ]
        assert embedded.json() == expected, embedded.text
        inner = names_client.get(
            f"/z-hub?select=z-id,{n}:z-fan!{n}!inner()&{n}.z-id=eq.1", headers=profile
        )
        assert inner.json() == [one]


def written_rows(
    client: httpx.Client, method: str, target: str, body: Any, *preferences: str
) -> httpx.Response:
    """The answer to a write that is rolled back."""
    prefer = ",".join(("tx=rollback", *preferences))
    answer = client.request(method, target, json=body, headers={"Prefer": prefer})
    assert answer.is_success, (method, target, answer.text)
    return answer


def test_writes(names_client: httpx.Client, database: tuple[str, list[str]]) -> None:
    for number, each in enumerate(database[1], start=1):
        path, first = f"/{quote(each, safe='')}", number * 10 + 1
        kind = {each: 778, "z-label": 'B,"2'}
        row = {"z-id": first + 5, each: kind, "z-peer": 3, "z-word": "new"}
        shown = "return=representation"

        located = written_rows(names_client, "POST", path, row, "return=headers-only")
        assert unquote(located.headers["location"]) == f"/{each}?z-id=eq.{first + 5}"

        created = written_rows(
            names_client, "POST", f"{path}?select=*,z-hub(z-id)", [row], shown
        )
        assert created.json() == [{**row, "z-hub": {"z-id": 3}}]
        replaced = {**row, "z-id": first}
        merged = written_rows(
            names_client, "POST", path, [replaced], shown, "resolution=merge-duplicates"
        )
        assert (merged.status_code, merged.json()) == (200, [replaced])
        put = written_rows(names_client, "PUT", f"{path}?z-id=eq.{first}", replaced, shown)
        assert put.json() == [replaced]
        patched = written_rows(
            names_client,
            "PATCH",
            f"{path}?z-id=eq.{first}&select=z-id,{written(each)}:z-word",
            {each: kind, "z-word": "patched"},
            shown,
        )
        assert patched.json() == [{"z-id": first, each: "patched"}]
        by_key = written_rows(
            names_client,
            "PATCH",
            path,
            [{"z-id": first, each: kind}, {"z-id": first + 1, each: None}],
            shown,
            "update=by-key",
        )
        assert [answered[each] for answered in by_key.json()] == [kind, None]
        deleted = written_rows(
            names_client, "DELETE", f"{path}?z-id=eq.{first}&select=z-id", None, shown
        )
        assert deleted.json() == [{"z-id": first}]


def test_defaults(names_client: httpx.Client, database: tuple[str, list[str]]) -> None:
    for number, each in enumerate(database[1], start=1):
        row = {"z-id": number * 10 + 6, each: {each: 778, "z-label": None}}
        answer = written_rows(
            names_client,
            "POST",
            f"/{quote(each, safe='')}?columns=z-id,z-word,{written(each)}",
            [row],
            "return=representation",
            "missing=default",
        )
        assert answer.json() == [{**row, "z-peer": None, "z-word": "default"}]


def test_functions_and_types_of_users_do_not_stand_for_those_of_postgresql(
    start_edge: StartEdge, database: tuple[str, list[str]], postgres: EmbeddedPostgres
) -> None:
    name = "first_names"
    asyncio.run(execute(postgres.dsn_for(name), TRAPS))
    settings = {
        "db_uri": postgres.dsn_for(name, "authenticator"),
        "db_schemas": ", ".join(SCHEMAS),
        "db_extra_search_path": "traps, pg_catalog",
        "db_aggregates_enabled": True,
        "db_tx_end": "commit-allow-override",
    }
    seed = (name, [SEED])
    with (
        start_edge(**settings) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        assert client.get("/rpc/upper?a=b").status_code == 404, server.log
        test_reads(client, seed, postgres)
        test_csv(client, seed, postgres)
        test_calls(client, seed)
        test_junctions(client, seed)
        test_writes(client, seed)
        stripped = {"Accept": "application/vnd.pgrst.array+json;nulls=stripped"}
        assert client.get(f"/{SEED}?limit=1", headers=stripped).is_success
        counted = {"Prefer": "count=exact"}
        assert client.get(f"/{SEED}?limit=1", headers=counted).status_code == 206
        assert client.get("/").is_success
        assert "a function of a user" not in server.log
