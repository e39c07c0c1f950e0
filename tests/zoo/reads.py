"""Steps that read, filter, order, page and count one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tests.zoo.catalog import Column, Table
from tests.zoo.names import ODD_NAMES, quoted
from tests.zoo.step import (
    CSV,
    EXACT,
    ONE,
    STRIPPED,
    Step,
    array_text,
    literal,
    path,
    url,
    written,
)

OPERATORS: Final = {
    "eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=",
    "like": "~~", "ilike": "~~*", "match": "~", "imatch": "~*",
    "cs": "@>", "cd": "<@", "ov": "&&", "sl": "<<", "sr": ">>", "nxr": "&<", "nxl": "&>",
    "adj": "-|-", "isdistinct": "is distinct from",
}  # fmt: skip
QUANTIFIED: Final = frozenset("eq lt lte gt gte like ilike match imatch".split())
SEARCHES: Final = {
    "fts": "to_tsquery", "plfts": "plainto_tsquery", "phfts": "phraseto_tsquery",
    "wfts": "websearch_to_tsquery",
}  # fmt: skip
ORDERS: Final = (
    ("", ""),
    (".desc", " desc"),
    (".nullsfirst", " nulls first"),
    (".asc.nullslast", " asc nulls last"),
    (".desc.nullslast", " desc nulls last"),
)


def is_thorough(table: Table, column: Column) -> bool:
    """Whether the column is there for its type: not for its name, and no variant of one."""
    return table.name.startswith("type") and column.name[0] not in "ad"


def operators(table: Table, column: Column) -> Iterable[str]:
    """What is asked of the column: everything, or a few for how they read its name."""
    if is_thorough(table, column):
        return OPERATORS
    return FEW_FOR_TYPES if table.name.startswith("type") else FEW_FOR_NAMES


FEW_FOR_TYPES: Final = ("eq", "neq", "gte", "match", "cs", "ov", "isdistinct")
FEW_FOR_NAMES: Final = ("eq", "like", "isdistinct")


def of_table(table: Table) -> Iterator[Step]:
    """The whole table, in each form, and its pages."""
    at, source = path(table.name), table.sql
    texts = ", ".join(f"format('%s', {column.sql})" for column in table.columns)
    count = f"select count(*) from {source}"
    yield Step(at, f"select z.* from {source}")
    yield Step(at, f"select {texts} from {source}", "csv", headers=CSV)
    yield Step(f"{at}?limit=1", f"select z.* from {source} limit 1", "row", headers=ONE)
    yield Step(at, f"select z.* from {source}", "row", headers=ONE)
    for paged in ("limit=1", "limit=0"):
        yield Step(f"{at}?{paged}", count, "count", headers=EXACT)
    for paged in ("offset=1", "limit=1&offset=1"):
        # There is nothing behind the end.
        beyond = f"select count(*) / (count(*) >= 1)::int from {source}"
        yield Step(f"{at}?{paged}", beyond, "count", headers=EXACT)
    yield Step(at, count, "count", "HEAD", headers=EXACT)
    yield Step(at, count, "count", headers={**EXACT, "Range": "0-0"})
    yield Step(f"{at}?select=count()", f"select count(*) from {source}")
    if table.name == "tree":
        for name in ODD_NAMES:
            yield from _aliased(table, name)


def _aliased(table: Table, name: str) -> Iterator[Step]:
    at, source, alias = path(table.name), table.sql, quoted(name)
    query = f"select id as {alias} from {source}"
    yield Step(f"{at}?select={written(name)}:id", query)
    yield Step(f"{at}?select={written(name)}:id", f"select id::text from {source}", "csv",
               headers=CSV)  # fmt: skip
    yield Step(f"{at}?select={written(name)}:id&id=eq.1", f"{query} where id = 1", "row",
               headers=ONE)  # fmt: skip
    yield Step(
        f"{at}?select={written(name)}:tree_1,n_:id.count()",
        f"select tree_1 as {alias}, count(id) as n_ from {source} group by z.tree_1",
    )
    yield Step(
        f"{at}?select=id,{written(name)}:parent(id)",
        f"select id, (select to_json(p) from (select q.id from zoo.tree q"
        f" where q.id = z.parent) p) as {alias} from {source}",
    )
    yield Step(
        f"{at}?select=id,{written(name)}:parent(id)&{written(name)}=not.is.null"
        f"&order={written(name)}(id).desc",
        f"select id, (select to_json(p) from (select q.id from zoo.tree q"
        f" where q.id = z.parent) p) as {alias} from {source}"
        " where parent is not null order by parent desc",
    )


def of_column(table: Table, column: Column) -> Iterator[Step]:
    """One column selected, ordered by, counted and compared with null."""
    at, source, n, c = path(table.name), table.sql, written(column.name), column.sql
    null = f"{c} is null"
    yield Step(f"{at}?select={n}", f"select {c} from {source}")
    yield Step(f"{at}?select=x:{n}", f"select {c} as x from {source}")
    yield Step(f"{at}?select=x:{n}::text", f"select {c}::text as x from {source}")
    yield Step(f"{at}?select={n},{n}", f"select {c}, {c} from {source}")
    yield Step(f"{at}?select={n}", f"select format('%s', {c}) from {source}", "csv",
               headers=CSV)  # fmt: skip
    yield Step(f"{at}?select={n}&limit=1", f"select {c} from {source} limit 1", "row",
               headers=ONE)  # fmt: skip
    yield Step(
        f"{at}?select=x:{n}",
        f"select json_strip_nulls(row_to_json(o)) as x from (select {c} as x from {source}) o",
        "values",
        headers=STRIPPED,
    )
    thorough = is_thorough(table, column)
    for suffix, order in ORDERS if thorough else ORDERS[-1:]:
        yield Step(
            f"{at}?select={n}&order={n}{suffix}",
            f"select {c} from {source} order by {c}{order}",
        )
    yield Step(f"{at}?{n}=is.null", f"select z.* from {source} where {null}")
    yield Step(f"{at}?{n}=not.is.null", f"select z.* from {source} where not {null}")
    yield Step(f"{at}?{n}=is.not_null", f"select z.* from {source} where not {null}")
    yield Step(
        f"{at}?{n}=is.null",
        f"select count(*) from {source} where {null}",
        "count",
        headers={**EXACT, "Range": "0-0"},
    )
    yield Step(
        f"{at}?or=({n}.is.null,not.and({n}.not.is.null,{n}.is.null))",
        f"select z.* from {source}",
    )
    for word in ("true", "false", "unknown") if thorough else ():
        yield Step(f"{at}?{n}=is.{word}", f"select z.* from {source} where {c} is {word}")
    for aggregate in ("count", "min", "max", "sum", "avg") if thorough else ("count",):
        yield Step(
            f"{at}?select=x:{n}.{aggregate}()", f"select {aggregate}({c}) as x from {source}"
        )
    yield Step(
        f"{at}?select={n},n:count()", f"select {c}, count(*) as n from {source} group by {c}"
    )
    # Whatever is no JSON is made some.
    json = c if column.type in ("json", "jsonb") else f"to_jsonb({c})"
    yield Step(
        f"{at}?select=x:{n}->0,y:{n}->>0,a:{n}->a,b:{n}->>b",
        f"select {json}->0 as x, {json}->>0 as y, {json}->'a' as a, {json}->>'b' as b"
        f" from {source}",
    )


def of_operator(
    table: Table, column: Column, operator: str, value: str, taken: bool
) -> Iterator[Step]:
    """One operator with a value; where PostgreSQL does not take it, just a refusal."""
    at, n, v, c = path(table.name), written(column.name), url(value), column.sql
    rows = f"select z.* from {table.sql} where"
    test = condition(column, operator, value)
    yield Step(f"{at}?{n}={operator}.{v}", f"{rows} {test}")
    if not taken:
        return
    yield Step(f"{at}?{n}=not.{operator}.{v}", f"{rows} not {test}")
    if not is_thorough(table, column) and operator != "eq":
        return
    yield Step(
        f"{at}?or=({n}.{operator}.{written(value)},{n}.is.null)",
        f"{rows} {test} or {c} is null",
    )
    yield Step(
        f"{at}?not.and=({n}.{operator}.{written(value)},{n}.not.is.null)",
        f"{rows} not ({test} and {c} is not null)",
    )
    yield Step(
        f"{at}?select={n}&{n}={operator}.{v}",
        f"select format('%s', {c}) from {table.sql} where {test}",
        "csv",
        headers=CSV,
    )
    yield Step(
        f"{at}?{n}={operator}.{v}&limit=1",
        f"select count(*) from {table.sql} where {test}",
        "count",
        headers=EXACT,
    )
    if operator in QUANTIFIED and not column.base.startswith("_"):
        sql, values = OPERATORS[operator], array_text([value, value])
        # A list of names of objects would be one of their numbers.
        kind = f"::{column.type}[]" if column.is_object_name else ""
        for word in ("any", "all"):
            yield Step(
                f"{at}?{n}={operator}({word}).{url(values)}",
                f"{rows} {c} {sql} {word} ({literal(values)}{kind})",
            )


def condition(column: Column, operator: str, value: str) -> str:
    """The condition in SQL. The value has no type but what PostgreSQL gives it, as a
    parameter has; names of objects are told to be such, or they would be numbers."""
    kind = f"::{column.type}" if column.is_object_name else ""
    text = value.replace("*", "%") if operator in ("like", "ilike") else value
    return f"({column.sql} {OPERATORS[operator]} {literal(text)}{kind})"


def of_lists(table: Table, column: Column, value: str) -> Iterator[Step]:
    """`in` and full text search."""
    at, n, c = path(table.name), written(column.name), column.sql
    rows = f"select z.* from {table.sql} where"
    equal = condition(column, "eq", value)
    yield Step(f"{at}?{n}=in.({written(value)},{written(value)})", f"{rows} {equal}")
    if value:  # PostgREST takes a lone empty text for no value at all
        yield Step(f"{at}?{n}=in.({written(value)})", f"{rows} {equal}")
        yield Step(f"{at}?{n}=not.in.({written(value)})", f"{rows} not {equal}")
    for operator, function in SEARCHES.items() if is_thorough(table, column) else ():
        made = c if column.base == "tsvector" else f"to_tsvector({c})"
        english = made.replace("to_tsvector(", "to_tsvector('english', ")
        yield Step(f"{at}?{n}={operator}.cat", f"{rows} {made} @@ {function}('cat')")
        yield Step(
            f"{at}?{n}=not.{operator}(english).cat",
            f"{rows} not {english} @@ {function}('english', 'cat')",
        )
