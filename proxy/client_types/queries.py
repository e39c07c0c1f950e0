"""The SQL that reads types and the signatures of functions: one statement, one row.

$1: the exposed schemas, a JSON array of strings. The columns are those of `model.described`.
It must run under `proxy.schema_cache.queries.SETTINGS`, so that all names are qualified.
Catalogs: PostgreSQL docs, "System Catalogs"; PostgreSQL 13 to 18.
"""

from __future__ import annotations

from typing import Final

from proxy.schema_cache.catalog_json import catalog_json_sql

_EXPOSED: Final = """
(select quote_ident(name)::regnamespace::oid from json_array_elements_text($1::json) as name)
"""

# [name, kind (pg_type.typtype; "t" for the row of a table or view), schema, bare name, labels
# of an enum, fields of a row as [name, type], base of a domain, has a cast to json].
_TYPES: Final = """
select json_agg(json_build_array(
  format_type(t.oid, null), case when c.relkind <> 'c' then 't' else t.typtype end,
  n.nspname, t.typname,
  (select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e
    where e.enumtypid = t.oid),
  (select json_agg(json_build_array(a.attname, format_type(a.atttypid, null))
      order by a.attnum) from pg_attribute a
    where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped),
  case when t.typtype = 'd' then format_type(t.typbasetype, null) end,
  exists (select from pg_cast k
    where k.castsource = t.oid and k.casttarget = 'pg_catalog.json'::regtype)
) order by n.nspname, t.typname)
from pg_type t
join pg_namespace n on n.oid = t.typnamespace
left join pg_class c on c.oid = t.typrelid
where n.nspname !~ '^pg_(catalog$|toast|temp_)'
  and not (t.typelem <> 0 and t.typlen = -1 and t.typcategory = 'A')
"""

# [schema, name, result type, returns a set, at most one row, arguments as [mode, name, type,
# has a default], description].
_FUNCTIONS: Final = """
select json_agg(json_build_array(
  n.nspname, p.proname, format_type(p.prorettype, null), p.proretset, p.prorows = 1,
  (
    select json_agg(json_build_array(
      a.mode, a.name, format_type(a.type, null), a.nth > p.pronargs - p.pronargdefaults
    ) order by a.place)
    from (
      select m.place, m.type, coalesce(p.proargmodes[m.place], 'i') as mode,
        coalesce(p.proargnames[m.place], '') as name,
        count(*) filter (where coalesce(p.proargmodes[m.place], 'i') in ('i', 'b', 'v'))
          over (order by m.place) as nth
      from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
        with ordinality as m(type, place)
    ) as a
  ),
  obj_description(p.oid, 'pg_proc')
) order by n.nspname, p.proname, p.pronargs, pg_get_function_identity_arguments(p.oid))
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where p.pronamespace in {exposed} and p.prokind = 'f'
  and p.prorettype not in ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype)
"""

# [schema, view, column]: those that can't be written through it.
_READ_ONLY: Final = """
select json_agg(json_build_array(n.nspname, c.relname, a.attname))
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace in {exposed} and c.relkind = 'v'
  and not pg_column_is_updatable(c.oid, a.attnum, false)
"""


def described_sql() -> str:
    """The statement; its row is for `model.described`."""
    concerns = (_TYPES, _FUNCTIONS, _READ_ONLY)
    columns = (catalog_json_sql(each.replace("{exposed}", _EXPOSED)) for each in concerns)
    return f"select {', '.join(columns)}"
