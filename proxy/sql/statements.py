"""A plan as the one statement that answers it: rows, counts, body and response GUCs.

Out: a `Statement` that answers one row: `total` rows that match (null when not counted),
`page` rows in the answer, `body`, the response GUCs `response_headers` and
`response_status`, empty or null when not set; for writes also `location`, a JSON array of
[column, value] pairs that find the created row, and for upserts `inserted`, how many rows
were inserted; for by-key updates `matching`, the counts of
`proxy.sql.write.matching_sql`. PostgreSQL makes the body, so that the rows never pass
through Python.

Names of ours are written so that none of a user's can be taken for them (`plan.names`), and
PostgreSQL's functions, operators and types with their schema. Only what a request itself
asks for, an operator of a filter, an aggregate, a cast, is looked up in the search path, for
it may be an extension's.
"""

from __future__ import annotations

from pool.model import Statement
from proxy.plan.model import (
    SOURCE,
    Answering,
    DatabasePlan,
    FunctionCall,
    InsertPlan,
    ReadPlan,
    TableWrite,
    UpdatePlan,
)
from proxy.request.media_types import MediaType
from proxy.request.preferences import Count
from proxy.request.ranges import ALL_ROWS, Range
from proxy.schema_cache.model import Function, MediaHandler
from proxy.sql.call import call_sql
from proxy.sql.read import count_sql, select_sql
from proxy.sql.write import keyed_payload_sql, matching_sql, mutation_sql
from proxy.sql.writer import Writer, array_literal, qualified

_HEADERS = "pg_catalog.current_setting('response.headers', true) AS response_headers"
_STATUS = "pg_catalog.current_setting('response.status', true) AS response_status"
_NO_LOCATION = "NULL::pg_catalog.json AS location"
"""PostgREST has a column there too, and in plans columns are known by their place."""
_INSERTED = "pg_catalog.current_setting('pgrst.inserted', true) AS inserted"


_CSV_HEADER = (
    "(SELECT coalesce(pg_catalog.string_agg("
    "CASE WHEN f.key OPERATOR(pg_catalog.~) '[\",\\r\\n]' THEN pg_catalog.concat("
    "'\"', pg_catalog.replace(f.key, '\"', '\"\"'), '\"') ELSE f.key END, ','), '')"
    " FROM pg_catalog.json_object_keys("
    "(SELECT pg_catalog.row_to_json(r.*) FROM pgrst_rows AS r LIMIT 1)) AS f(key))"
)
# A row's own text form is CSV, but in brackets and with backslashes doubled.
_CSV_LINE = "pg_catalog.left(pg_catalog.substr((pgrst_page.*)::pg_catalog.text, 2), -1)"
_PLAIN_CSV_LINE = f"pg_catalog.replace({_CSV_LINE}, E'\\\\\\\\', E'\\\\')"


def main_statement(
    plan: DatabasePlan,
    *,
    count: Count | None = None,
    max_rows: int | None = None,
    page: Range = ALL_ROWS,
    locates: bool = False,
) -> Statement:
    """The statement for `plan`; `page` is the range the caller asked of the root,
    `locates` whether the answer to a POST names its row (Prefer: return=headers-only)."""
    writer = Writer()
    if isinstance(plan, TableWrite):
        sql = _write_sql(writer, plan, locates)
    else:
        function = plan.call.function if isinstance(plan, FunctionCall) else None
        ctes = (
            [f"{SOURCE} AS ({call_sql(writer, plan.call)})"]
            if isinstance(plan, FunctionCall)
            else []
        )
        total = _total(writer, plan.read, count, max_rows, page)
        rows = select_sql(writer, plan.read)
        sql = _answer_sql(ctes, rows, plan.answering, function, total=total)
    return writer.statement(_explained(plan.answering.media_type, sql))


def _write_sql(writer: Writer, plan: TableWrite, locates: bool) -> str:
    mutation = plan.mutation
    ctes = [f"{SOURCE} AS ({mutation_sql(writer, mutation)})"]
    matching = None
    if isinstance(mutation, UpdatePlan) and mutation.keys:
        ctes.insert(0, keyed_payload_sql(writer, mutation))
        matching = f"{matching_sql(mutation)} AS matching"
    shows_rows = plan.answering.handler.kind != "none"
    rows = select_sql(writer, plan.read) if shows_rows else f"SELECT * FROM {SOURCE}"
    location, inserted = _NO_LOCATION, None
    if isinstance(mutation, InsertPlan):
        if locates:
            location = _location(writer, mutation.primary_key)
        if mutation.resolution == "merge-duplicates":
            inserted = _INSERTED
    return _answer_sql(
        ctes,
        rows,
        plan.answering,
        None,
        total="NULL::bigint",
        location=location,
        inserted=inserted,
        matching=matching,
    )


def planned_count_statement(read: ReadPlan) -> Statement:
    """EXPLAIN of the count, for count=planned and count=estimated; answers one JSON."""
    writer = Writer()
    return writer.statement(f"EXPLAIN (FORMAT JSON) {count_sql(writer, read)}")


def _total(
    writer: Writer, read: ReadPlan, count: Count | None, max_rows: int | None, page: Range
) -> str:
    if count not in ("exact", "estimated"):
        return "NULL::bigint"
    if max_rows is None and page == ALL_ROWS:
        return "pg_catalog.count(*)"  # the page is all there is
    counted = count_sql(writer, read)
    if count == "estimated" and max_rows is not None:
        # One row more than db-max-rows tells that the estimate is to be used.
        counted += f" LIMIT {writer.bind(str(max_rows + 1))}"
    return f"(SELECT pg_catalog.count(*) FROM ({counted}) AS counted)"


def _answer_sql(
    ctes: list[str],
    rows: str,
    answering: Answering,
    function: Function | None,
    *,
    total: str,
    location: str | None = None,
    inserted: str | None = None,
    matching: str | None = None,
) -> str:
    source = f"({rows}) AS pgrst_page"
    if answering.handler.kind == "csv":
        # The header line is made of the rows' own column names.
        ctes = [*ctes, f"pgrst_rows AS ({rows})"]
        source = "pgrst_rows AS pgrst_page"
    single = function is not None and not function.returns_set
    page = "1::bigint" if single else "pg_catalog.count(*)"
    columns = (
        f"{total} AS total",
        f"{page} AS page",
        location,
        f"{_body(answering, function)} AS body",
        _HEADERS,
        _STATUS,
        inserted,
        matching,
    )
    listed = ", ".join(column for column in columns if column is not None)
    prefix = f"WITH {', '.join(ctes)} " if ctes else ""
    return f"{prefix}SELECT {listed} FROM {source}"


def _location(writer: Writer, primary_key: tuple[str, ...]) -> str:
    keys = writer.bind(array_literal(primary_key))
    return (
        "CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 1 THEN ("
        "SELECT pg_catalog.json_agg(pg_catalog.json_build_array("
        "f.key, coalesce('eq.' OPERATOR(pg_catalog.||) f.value, 'is.null')))"
        " FROM pg_catalog.json_each_text(("
        f"SELECT pg_catalog.row_to_json(s.*) FROM {SOURCE} AS s LIMIT 1)) AS f(key, value)"
        f" WHERE f.key OPERATOR(pg_catalog.=) ANY ({keys}::pg_catalog.text[])"
        ") END AS location"
    )


def _body(answering: Answering, function: Function | None) -> str:
    handler = answering.handler
    match handler.kind:
        case "none":
            return "''::pg_catalog.text"
        case "csv":
            line = _PLAIN_CSV_LINE if answering.plain_csv else _CSV_LINE
            lines = f"coalesce(pg_catalog.string_agg({line}, E'\\n'), '')"
            return f"pg_catalog.concat({_CSV_HEADER}, E'\\n', {lines})"
        case "geojson":
            return (
                "pg_catalog.json_build_object('type', 'FeatureCollection', 'features',"
                " coalesce(pg_catalog.json_agg("
                "ST_AsGeoJSON(pgrst_page.*)::pg_catalog.json), '[]'))"
            )
        case "custom":
            return _custom_body(handler, function)
        case "single_json":
            scalar = function is not None and function.returns_scalar
            return _json_body(scalar, first=True, strip_nulls=handler.strip_nulls)
        case "json" | "array_json_strip":
            scalar = function is not None and not function.returns_composite
            first = function is not None and not function.returns_set
            return _json_body(scalar, first=first, strip_nulls=handler.strip_nulls)


def _json_body(scalar: bool, *, first: bool, strip_nulls: bool) -> str:
    rows = f"pg_catalog.json_agg(pgrst_page.{'pgrst_scalar' if scalar else '*'})"
    rows = f"({rows} OPERATOR(pg_catalog.->) 0)" if first else rows
    rows = f"pg_catalog.json_strip_nulls({rows})" if strip_nulls else rows
    return f"coalesce({rows}, '{'null' if first else '[]'}')"


def _custom_body(handler: MediaHandler, function: Function | None) -> str:
    assert handler.function is not None
    argument = "pgrst_page.*"
    if function is not None and function.returns_scalar:
        argument = "pgrst_page.pgrst_scalar"
    elif handler.target is not None:
        argument = f"({argument})::{qualified(handler.target)}"
    return f"{qualified(handler.function)}({argument})"


def _explained(media_type: MediaType, sql: str) -> str:
    if media_type.kind != "plan":
        return sql
    options = [f"FORMAT {media_type.plan_format.upper()}"]
    options += [option.upper() for option in media_type.plan_options]
    return f"EXPLAIN ({', '.join(options)}) {sql}"
