"""Names of every shape, and a table for each.

A table has its own name for its key, and the next one's name for a text: so that each is
met as a table, as a column, as an embed and as a composite type.
"""

from __future__ import annotations

from typing import Final

ODD_NAMES: Final = (
    # What query strings, PostgREST's grammar and SQL read otherwise.
    *("select", "order", "limit", "offset", "and", "or", "not", "on_conflict", "columns"),
    *("table", "user", "null", "true", "is", "in", "asc", "count", "sum", "text", "json"),
    *("a.b", "a,b", "a:b", "a(b)", "a->b", "a->>0", "a::text", "a!inner", "...x", "-x"),
    *('a"b', "a\\b", "a'b", "$1", "--", "/*", "{a}", "[0]", "(", ")", "a)b", '"', "\\"),
    # What URLs, headers and CSV read otherwise.
    *(" lead", "trail ", "tab\there", "line\nbreak", "return\rhere", "per%cent"),
    *("%22", "pl+us", "am&per", "eq=ual", "ha#sh", "qu?estion", "sl/ash", "semi;colon"),
    # Letters of others, and as many as there may be.
    *("ünï", "ключ", "表", "😀", "Ⅷ", "A", "e\u0301", "\u00e9", "\u200d", "\u00a0"),
    *("n" * 62, "ü" * 31, "表" * 21, "😀" * 15 + "abc"),
    # What SQL of ours is known to say.
    *("pgrst_source", "pgrst_body", "pgrst_call", "pgrst_page", "pgrst_scalar", "pgrst_rows"),
    *("r", "s", "f", "v", "z", "key", "value", "body", "page", "total", "location", "found"),
)
COLUMNS_BESIDE: Final = ("up_", "side_")
"""The columns of such a table whose names are not the matter."""


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def odd_tables_sql(schema: str) -> str:
    """A table for each name; each refers to itself and to the one before."""
    tables, before = [], None
    for number, name in enumerate(ODD_NAMES):
        own, table = quoted(name), f"{schema}.{quoted(name)}"
        text = quoted(ODD_NAMES[(number + 1) % len(ODD_NAMES)])
        side = f", side_ int references {before}" if before else ""
        tables.append(f"""
            create table {table} (
                {own} int primary key, {text} text, up_ int references {table} {side}
            );
            insert into {table} ({own}, {text}, up_ {", side_" if before else ""}) values
                (1, 'a "b", c\\d', null {", 1" if before else ""}),
                (2, null, 1 {", null" if before else ""});
        """)
        before = table
    return "".join(tables)
