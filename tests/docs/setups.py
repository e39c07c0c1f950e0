"""What each page with something to run takes for granted.

A page's sh, sql and toml blocks are one script, in the order of the page: sql is run in the
page's database by its owner, toml is saved, sh is run by bash. Its python and js blocks are
programs of their own, which are given URL, TOKEN and DATABASE_URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Serves = Literal["shop", "demo", "nothing", "database", "fresh"]


@dataclass(frozen=True)
class Setup:
    """`serves`: which server answers where the page says localhost:3000.

    `shop` and `demo` are the tests' own, `database` is one with `schema` and without a
    server. With `nothing` the page starts a server itself, for the shop's database, with
    `fresh` for an empty PostgreSQL.
    `says` are parts of what the script prints, in this order.
    """

    serves: Serves
    schema: str = "select 1"
    says: tuple[str, ...] = ()


CACHED = """
create schema api;
create schema hidden;
create schema auth;
create function api.top_products() returns int language sql as 'select 1';
create function api.place_order(json) returns int language sql as 'select 1';
create function hidden.log_change() returns int language sql as 'select 1';
create function auth.team_ids() returns int language sql as 'select 1';
"""

SETUPS = {
    "docs/caching.md": Setup("demo", says=("304", "etag:", "204", "changed meanwhile")),
    "README.md": Setup(
        "demo",
        says=('[{"id":', '"tasks":[', "content-range:", '[{"id":', "swagger", "[]", "Payroll"),
    ),
    "docs/index.md": Setup("demo", says=('[{"id":', '"project":{"name":')),
    "docs/quick-start.md": Setup(
        "fresh", says=("ok: db-anon-role", '[{"id":1,"owner":"ada","body":"Buy bread"}]')
    ),
    "docs/migrate-postgrest.md": Setup(
        "nothing", says=("ok: db-anon-role", "200", '[{"id":1,"amount":12.00}]')
    ),
    "docs/migrate-pooler.md": Setup("shop"),
    "docs/migrate-edge-functions.md": Setup("shop"),
    "docs/long-queries.md": Setup("demo", says=('{"id":3,"title"', '{"id":3,"title"')),
    "docs/writes.md": Setup("demo", says=("204", "content-range: 0-1/*")),
    "docs/openapi.md": Setup("demo", says=('"swagger":"2.0"', '"openapi":"3.1')),
    "docs/operations.md": Setup("database"),
    "docs/tls.md": Setup("database"),
    "docs/cache-invalidation.md": Setup("database", CACHED),
}

ELSEWHERE = {
    ("docs/migrate-supabase.md", "sql"): "tests/clients/test_supabase_js.py",
    ("docs/migrate-supabase.md", "sh"): "tests/clients/test_supabase_js.py",
    ("docs/migrate-supabase.md", "js"): "tests/clients/test_supabase_js.py",
    **{
        ("docs/proxies-and-cdns.md", language): "tests/deploy/test_proxies.py"
        for language in ("nginx", "vcl", "caddyfile", "haproxy")
    },
    ("docs/reading.md", "sh"): "tests/reads/test_documented_reads.py",
    ("docs/sdk.md", "python"): "tests/sdk/test_docs.py",
    ("docs/migrate-postgrest.md", "python"): "tests/sdk/test_docs.py",
    ("edge_client/README.md", "python"): "tests/sdk/test_docs.py",
    ("docs/types.md", "ts"): "tests/client_types/test_modules.py",
    ("docs/types.md", "python"): "tests/client_types/test_modules.py",
}
"""Blocks that another test runs, all of that page and language."""
