"""Steps that call functions: as they are, with arguments, and what comes filtered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from tests.zoo.catalog import Function
from tests.zoo.names import quoted
from tests.zoo.schema import SAMPLES
from tests.zoo.step import CSV, EXACT, ONE, SCHEMA, Shape, Step, literal, url

_JSON: Final = {"Content-Type": "application/json", "Prefer": "tx=rollback"}
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded", "Prefer": "tx=rollback"}


def of_function(function: Function) -> Iterator[Step]:
    """Without arguments; a function that wants some must be refused."""
    at, call = f"/rpc/{url(function.name)}", f"{SCHEMA}.{quoted(function.name)}()"
    query, shape = f"select f as x from {call} f", _shape(function)
    is_record = function.returns == "record" and not function.is_composite
    if function.returns == "void" or is_record:
        query = f"select {call} as x"
    elif function.is_composite:
        query = f"select f.* from {call} f"
    if function.wants:
        query = "select 1 / 0"
    yield Step(at, query, shape)
    yield Step(at, query, shape, "POST", _JSON, "{}")
    if function.is_composite and function.is_set and not function.wants:
        yield Step(f"{at}?limit=1", f"{query} limit 1", "row", headers=ONE)
        yield Step(f"{at}?limit=1", f"select count(*) from {call} f", "count", headers=EXACT)
        yield Step(f"{at}?offset=1", f"{query} offset 1")


def _shape(function: Function) -> Shape:
    if function.returns == "void" and not function.is_set:
        return "nothing"
    if function.is_composite:
        return "rows" if function.is_set else "row"
    return "values" if function.is_set else "value"


def of_signatures() -> Iterator[Step]:
    """The functions that the schema has for each type, with an argument of it."""
    for number, (kind, sample) in enumerate(SAMPLES.items()):
        # A parameter has no length, and a value of it is as long as it comes.
        value, given = f"{literal(sample)}::{_UNBOUND.get(kind, kind)}", url(sample)
        body = f'{{"v": {json.dumps(sample)}}}'
        calls = (
            ("same", "value", f"select zoo.same{number}({value}) as x"),
            ("twice", "values", f"select f as x from zoo.twice{number}({value}) f"),
            ("dressed", "rows", f"select f.* from zoo.dressed{number}({value}) f"),
        )
        for name, shape, query in calls:
            at = f"/rpc/{name}{number}"
            yield Step(f"{at}?v={given}", query, shape)  # type: ignore[arg-type]
            yield Step(at, query, shape, "POST", _FORM, f"v={given}")  # type: ignore[arg-type]
            if kind not in ("json", "jsonb", "zoo.pair", "zoo.nested", "zoo.deep", "zoo.grid"):
                yield Step(at, query, shape, "POST", _JSON, body)  # type: ignore[arg-type]
        at, rows = f"/rpc/dressed{number}?v={given}", f"zoo.dressed{number}({value}) f"
        yield Step(f"{at}&n=eq.2", f"select f.* from {rows} where n = 2")
        yield Step(f"{at}&select=n,x&x=is.null", f"select n, x from {rows} where x is null")
        yield Step(
            f"{at}&order=n.desc&limit=1", f"select f.* from {rows} order by n desc limit 1"
        )
        yield Step(
            at, f"select format('%s', x), format('%s', n) from {rows}", "csv", headers=CSV
        )
        yield Step(f"{at}&n=eq.1", f"select f.* from {rows} where n = 1", "row", headers=ONE)
        yield Step(f"{at}&limit=1", f"select count(*) from {rows}", "count", headers=EXACT)
        yield Step(f"/rpc/listed{number}", "select '{}'::int[] as x", "value")
    for target, query in WITH_ARGUMENTS:
        yield Step(target, query, "value")


_UNBOUND: Final = {"char(5)": "bpchar", "bit(4)": "varbit", "numeric(10,2)": "numeric"}
WITH_ARGUMENTS: Final = (
    ("/rpc/overloaded?a=1", "select zoo.overloaded(a => 1) as x"),
    ("/rpc/overloaded?a=1&b=2", "select zoo.overloaded(a => 1, b => 2) as x"),
    ("/rpc/overloaded?c=1", "select zoo.overloaded(c => '1') as x"),
    ("/rpc/defaults?a=3", "select zoo.defaults(3) as x"),
    ("/rpc/defaults?b=%20&c={4,5}", "select zoo.defaults(b => ' ', c => '{4,5}') as x"),
    ("/rpc/variadics?v=1&v=2&v=4", "select 7 as x"),
    ("/rpc/variadics?v=5", "select 5 as x"),
    ("/rpc/inout?a=8", "select row_to_json(f) as x from (select 8 as a) f"),
    ("/rpc/strict_one?a=4", "select 4 as x"),
    ("/rpc/fails?say=a%22b", "select zoo.fails('a\"b') as x"),
)
