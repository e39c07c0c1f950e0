"""Tell cheaply whether what the schema cache was made of has changed.

In: the options that the cache is loaded with. Out: a statement whose one row is a
fingerprint of the catalogs. Every row that DDL inserts, updates or deletes has another
transaction id (xmin) than the row before it, so number and checksum of those ids change
with any change of a relation, column, view, constraint or function. Other commands that
rewrite catalog rows (TRUNCATE, REFRESH MATERIALIZED VIEW) change it as well; that costs one
needless reload. Comments, types and casts are left out: no request fails for them alone.
"""

from __future__ import annotations

import json

from pool.model import Statement
from proxy.schema_cache.load import CacheOptions

_FINGERPRINT = """
with searched as materialized (
  select to_regnamespace(quote_ident(name))::oid as oid
  from json_array_elements_text($1::json) as name
),
relation as materialized (
  select oid, xmin from pg_class
  where relkind in ('r', 'v', 'm', 'f', 'p')
    and relnamespace in (select oid from searched)
),
part (kind, changed) as (
  select 'n', n.xmin from pg_namespace n where n.oid in (select oid from searched)
  union all select 'r', xmin from relation
  union all
  select 'a', a.xmin from pg_attribute a join relation r on r.oid = a.attrelid
  where a.attnum > 0
  union all
  select 'v', v.xmin from pg_rewrite v join relation r on r.oid = v.ev_class
  union all select 'k', xmin from pg_constraint where contype in ('p', 'u', 'f')
  union all
  select 'f', p.xmin from pg_proc p where p.pronamespace in (select oid from searched)
)
select coalesce(string_agg(format('%s%s:%s', kind, number, checksum), ' ' order by kind), '')
from (
  select kind, count(*) as number, sum(hashtextextended(changed::text, 0)) as checksum
  from part group by kind
) as counted
"""


def fingerprint_statement(options: CacheOptions) -> Statement:
    """The statement that reads the fingerprint; run it under `queries.SETTINGS`."""
    schemas = (*options.schemas, *options.extra_search_path)
    return Statement(_FINGERPRINT, (json.dumps(schemas),))
