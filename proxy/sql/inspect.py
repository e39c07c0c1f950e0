"""What the root endpoint asks the database: what of a schema the role may use.

In: a schema and `openapi-mode`. Out: one `Statement`, run as the role that asks, and an
`Inspection` read from its answer. Tables are told by name, for the schema cache knows the
rest; functions are told whole, for their signature and for type names as the
transaction's search_path shortens them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pool.model import Row, Statement
from proxy.schema_cache.catalog_json import catalog_json_sql, read_catalog_json
from proxy.schema_cache.model import Parameter, Volatility

InspectMode = Literal["follow-privileges", "ignore-privileges", "disabled"]
"""openapi-mode. A request under `disabled` is refused before it gets here (PGRST126)."""


@dataclass(frozen=True, slots=True)
class InspectedFunction:
    """What the API's description says of one function, one overload of it."""

    name: str
    description: str | None
    parameters: tuple[Parameter, ...]
    volatility: Volatility


@dataclass(frozen=True, slots=True)
class Inspection:
    """The schema's comment and what the role may use: the names of tables, and functions
    by name, fewest parameters first. Both are empty unless privileges are followed."""

    description: str | None = None
    tables: frozenset[str] = frozenset()
    functions: tuple[InspectedFunction, ...] = ()


_COMMENT: Final = "pg_catalog.obj_description(n.oid, 'pg_namespace')"

_TABLES: Final = """\
(SELECT pg_catalog.json_agg(c.relname)
   FROM pg_catalog.pg_class c
  WHERE c.relnamespace = n.oid
    AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
    AND NOT c.relispartition
    AND (pg_catalog.pg_has_role(c.relowner, 'USAGE')
         OR pg_catalog.has_table_privilege(
              c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
         OR pg_catalog.has_any_column_privilege(
              c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')))"""

# Input arguments only; pronargs and pronargdefaults count those. A function with unnamed
# arguments can't be called by name, unless the one it has takes the request's whole body.
_FUNCTIONS: Final = """\
(SELECT pg_catalog.json_agg(
          pg_catalog.json_build_object(
            'name', p.proname,
            'description', pg_catalog.obj_description(p.oid, 'pg_proc'),
            'volatility', p.provolatile,
            'parameters', coalesce(a.parameters, '[]'))
          ORDER BY p.proname, p.pronargs, p.oid)
   FROM pg_catalog.pg_proc p
  CROSS JOIN LATERAL (
    SELECT pg_catalog.json_agg(
             pg_catalog.json_build_object(
               'name', coalesce(i.name, ''),
               'type', pg_catalog.format_type(i.type, NULL),
               'required', i.place <= p.pronargs - p.pronargdefaults,
               'variadic', i.mode = 'v')
             ORDER BY i.place) AS parameters,
           pg_catalog.count(*) - pg_catalog.count(i.name) AS unnamed,
           (pg_catalog.array_agg(i.type ORDER BY i.place))[1] AS first_type
      FROM (
        SELECT x.name, x.type, coalesce(x.mode, 'i') AS mode,
               pg_catalog.row_number() OVER (ORDER BY x.place) AS place
          FROM ROWS FROM (
                 pg_catalog.unnest(
                   coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[])),
                 pg_catalog.unnest(p.proargnames),
                 pg_catalog.unnest(p.proargmodes)
               ) WITH ORDINALITY AS x (type, name, mode, place)
         WHERE coalesce(x.mode, 'i') IN ('i', 'b', 'v')
      ) i
  ) a
  WHERE p.pronamespace = n.oid
    AND p.prokind = 'f'
    AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype
    AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
    AND (a.unnamed = 0
         OR a.unnamed = 1 AND a.first_type IN (
              'pg_catalog.bytea'::pg_catalog.regtype,
              'pg_catalog.json'::pg_catalog.regtype,
              'pg_catalog.jsonb'::pg_catalog.regtype,
              'pg_catalog.text'::pg_catalog.regtype,
              'pg_catalog.xml'::pg_catalog.regtype)))"""


def inspect_statement(schema: str, mode: InspectMode) -> Statement:
    """Asks for one row of one JSON value, or for no row when the schema is gone."""
    members = f"'description', {_COMMENT}"
    if mode == "follow-privileges":
        members += f", 'tables', {_TABLES}, 'functions', {_FUNCTIONS}"
    found = catalog_json_sql(f"pg_catalog.json_build_object({members})")
    sql = f"SELECT {found} AS found FROM pg_catalog.pg_namespace n WHERE n.nspname = $1"
    return Statement(sql, (schema,))


_VOLATILITIES: Final[dict[str, Volatility]] = {"i": "immutable", "s": "stable"}


def read_inspection(rows: Sequence[Row]) -> Inspection:
    """The answer to `inspect_statement`."""
    if not rows:
        return Inspection()
    answer = read_catalog_json(rows[0][0])
    return Inspection(
        description=answer["description"],
        tables=frozenset(answer.get("tables") or ()),
        functions=tuple(_function(each) for each in answer.get("functions") or ()),
    )


def _function(answer: dict[str, Any]) -> InspectedFunction:
    return InspectedFunction(
        name=answer["name"],
        description=answer["description"],
        parameters=tuple(_parameter(each) for each in answer["parameters"]),
        volatility=_VOLATILITIES.get(answer["volatility"], "volatile"),
    )


def _parameter(answer: dict[str, Any]) -> Parameter:
    return Parameter(
        name=answer["name"],
        type=answer["type"],
        type_without_length=answer["type"],
        required=answer["required"],
        variadic=answer["variadic"],
    )
