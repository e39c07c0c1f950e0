"""The SQL that reads a database's catalogs: one statement, one row, one JSON per concern.

In: the server's version. Out: SQL text with three JSON parameters, each an array of
strings: $1 the exposed schemas, $2 the schemas of the extra search path, $3 the patterns
(POSIX regular expressions over `name=value`) of function settings to hoist. The columns of
the row are those of `CONCERNS`, in that order; what each holds is described at its query
and decoded by `proxy.schema_cache.decode`. Catalogs: PostgreSQL docs, "System Catalogs";
PostgreSQL 13 to 18.

It must run under `SETTINGS`: type and function names come out schema-qualified only when
the search path is empty, and compiling a statement this long takes longer than running it.
An exposed schema that does not exist is PostgreSQL's error 3F000.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from proxy.schema_cache.catalog_json import catalog_json_sql

SETTINGS: Final = (("search_path", ""), ("jit", "off"))

VERSION: Final = "select current_setting('server_version_num')::int"
_PARAMETER_PRIVILEGES: Final = 150000

_COMMON: Final = """
with recursive
exposed(oid) as materialized (
  select quote_ident(name)::regnamespace::oid from json_array_elements_text($1::json) as name
),
searched(oid) as materialized (
  select oid from exposed
  union
  select to_regnamespace(quote_ident(name))::oid
  from json_array_elements_text($2::json) as name
),
hoisted(patterns) as materialized (
  select array(select json_array_elements_text($3::json))
),
relation as materialized (
  select c.oid, c.relname, c.relkind, c.reltype, n.nspname
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'v', 'm', 'f', 'p')
),
domain_step(oid, base) as (
  select oid, typbasetype from pg_type where typtype = 'd'
  union all
  select s.oid, t.typbasetype
  from domain_step s join pg_type t on t.oid = s.base and t.typtype = 'd'
),
domain(oid, base) as materialized (
  select s.oid, s.base
  from domain_step s join pg_type t on t.oid = s.base and t.typtype <> 'd'
),
media_type(oid, type_schema, type_name) as materialized (
  select t.oid, n.nspname, t.typname
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where t.typtype = 'd'
    and (t.typname ~* '^[a-z0-9.-]+/[a-z0-9.+-]+$' or t.typname = '*/*')
)
"""

# [oid, schema, name, description, is view, bitmask of pg_relation_is_updatable, columns],
# a column being [name, description, not null, type, nominal type, type modifier,
# has a default or is generated, default, value is always generated].
_TABLES: Final = """
select json_agg(json_build_array(
  c.oid::bigint, n.nspname, c.relname, d.description, c.relkind in ('v', 'm'),
  case
    when c.relkind in ('r', 'p') then 28
    when c.relkind in ('v', 'f') then pg_relation_is_updatable(c.oid, true)
    else 0
  end,
  (
    select json_agg(json_build_array(
      a.attname, ad.description, a.attnotnull, a.atttypid::bigint,
      format_type(a.atttypid, a.atttypmod), a.atttypmod, a.atthasdef,
      case
        when a.attidentity = 'd' then (
          select format('nextval(%L)', s.objid::regclass)
          from pg_depend s
          where s.refclassid = 'pg_class'::regclass and s.refobjid = a.attrelid
            and s.refobjsubid = a.attnum and s.classid = 'pg_class'::regclass
            and s.deptype = 'i'
          limit 1
        )
        when a.attgenerated <> '' then null
        when a.atthasdef then (
          select pg_get_expr(v.adbin, v.adrelid) from pg_attrdef v
          where v.adrelid = a.attrelid and v.adnum = a.attnum
        )
      end,
      a.attgenerated <> '' or a.attidentity = 'a'
    ) order by a.attnum)
    from pg_attribute a
    left join pg_description ad
      on ad.objoid = a.attrelid and ad.objsubid = a.attnum
      and ad.classoid = 'pg_class'::regclass
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  )
) order by n.nspname, c.relname)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_description d
  on d.objoid = c.oid and d.objsubid = 0 and d.classoid = 'pg_class'::regclass
where c.relkind in ('r', 'v', 'm', 'f', 'p') and not c.relispartition
  and c.relnamespace in (select oid from exposed)
"""

# The types of those columns, by oid: [name when the base type is PostgreSQL's own, labels
# of the enum, then of a domain: not null, default, type and modifier one step down].
_TYPES: Final = """
select json_object_agg(t.oid, json_build_array(
  case when b.typnamespace = 'pg_catalog'::regnamespace then format_type(b.oid, null) end,
  (
    select json_agg(e.enumlabel order by e.enumsortorder)
    from pg_enum e where e.enumtypid = b.oid
  ),
  t.typtype = 'd' and t.typnotnull,
  case when t.typtype = 'd' then pg_get_expr(t.typdefaultbin, 0) end,
  case when t.typtype = 'd' then t.typbasetype::bigint end,
  case when t.typtype = 'd' then t.typtypmod end
))
from pg_type t
left join domain on domain.oid = t.oid
join pg_type b on b.oid = coalesce(domain.base, t.oid)
where t.oid in (
  select a.atttypid
  from pg_attribute a join pg_class c on c.oid = a.attrelid
  where a.attnum > 0 and c.relkind in ('r', 'v', 'm', 'f', 'p')
    and c.relnamespace in (select oid from exposed)
)
"""

# Of all tables, exposed or not, since views may stand in for them: [oid, schema, name,
# constraint, [[column number, column], ...] in the order of the key].
_PRIMARY_KEYS: Final = """
select json_agg(json_build_array(k.conrelid::bigint, own.nspname, own.relname, k.conname, (
  select json_agg(json_build_array(a.attnum, a.attname) order by u.position)
  from unnest(k.conkey) with ordinality as u(number, position)
  join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number
)))
from pg_constraint k
join relation own on own.oid = k.conrelid
where k.contype = 'p'
"""

# Likewise: [table oid, schema, name, foreign table oid, schema, name, constraint,
# whether a primary key or unique constraint has the same columns,
# [[column number, column, foreign column number, foreign column], ...]].
# Those that a partition inherits from its partitioned table are left out.
_FOREIGN_KEYS: Final = """
select json_agg(json_build_array(
  k.conrelid::bigint, own.nspname, own.relname,
  k.confrelid::bigint, other.nspname, other.relname,
  k.conname,
  exists (
    select from pg_constraint u
    where u.conrelid = k.conrelid and u.contype in ('p', 'u')
      and u.conkey @> k.conkey and u.conkey <@ k.conkey
      and cardinality(u.conkey) = cardinality(k.conkey)
  ),
  (
    select json_agg(
      json_build_array(a.attnum, a.attname, f.attnum, f.attname) order by u.position
    )
    from unnest(k.conkey, k.confkey) with ordinality as u(number, foreign_number, position)
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number
    join pg_attribute f on f.attrelid = k.confrelid and f.attnum = u.foreign_number
  )
))
from pg_constraint k
join relation own on own.oid = k.conrelid
join relation other on other.oid = k.confrelid
where k.contype = 'f' and k.conparentid = 0
"""

# [view, node tree of its query].
_VIEWS: Final = """
select json_agg(json_build_array(c.oid::bigint, r.ev_action::text))
from pg_class c
join pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN'
where c.relkind in ('v', 'm') and c.relnamespace in (select oid from searched)
"""

# [schema, name, description, [[name, type, mode], ...] of the input parameters, how many
# of them are required, type schema, type name, returns a set, returns rows, return type
# is a domain, volatility, is variadic, settings, hoisted settings]. Unnamed parameters can
# only be called when there is a single one that a request body can be.
_FUNCTIONS: Final = """
select json_agg(json_build_array(
  n.nspname, p.proname, d.description,
  (
    select json_agg(
      json_build_array(coalesce(a.name, ''), a.type::regtype, a.mode) order by a.position
    )
    from unnest(
      coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes
    ) with ordinality as a(type, name, mode, position)
    where coalesce(a.mode, 'i') in ('i', 'b', 'v')
  ),
  p.pronargs - p.pronargdefaults,
  tn.nspname, coalesce(c.relname, t.typname),
  p.proretset,
  t.typtype = 'c' or coalesce(p.proargmodes && '{t,b,o}'::"char"[], false),
  domain.oid is not null,
  p.provolatile, p.provariadic <> 0, p.proconfig,
  array(
    select setting from unnest(p.proconfig) as setting, hoisted
    where setting ~ any (hoisted.patterns)
  )
))
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
left join domain on domain.oid = p.prorettype
join pg_type t on t.oid = coalesce(domain.base, p.prorettype)
join pg_namespace tn on tn.oid = t.typnamespace
left join pg_class c on c.oid = t.typrelid
left join pg_description d
  on d.objoid = p.oid and d.objsubid = 0 and d.classoid = 'pg_proc'::regclass
where p.pronamespace in (select oid from exposed)
  and p.prokind = 'f' and t.oid <> 'trigger'::regtype
  and (
    p.proargnames is not null or p.pronargs = 0
    or p.pronargs = 1 and p.proargtypes[0] in (
      'json'::regtype, 'jsonb'::regtype, 'text'::regtype, 'xml'::regtype, 'bytea'::regtype
    )
  )
"""

# Functions from one row type to another: [schema, name, table schema, table,
# foreign table schema, foreign table, returns at most one row].
_COMPUTED_RELATIONSHIPS: Final = """
select json_agg(json_build_array(
  n.nspname, p.proname, own.nspname, own.relname, other.nspname, other.relname,
  not p.proretset or p.prorows = 1
))
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join relation own on own.reltype = p.proargtypes[0]
join relation other on other.reltype = p.prorettype
where p.pronargs = 1
"""

# Implicit casts between a domain and json or text: [source type, target type, function].
_REPRESENTATIONS: Final = """
select json_agg(json_build_array(
  k.castsource::regtype, k.casttarget::regtype, k.castfunc::regproc
))
from pg_cast k
join pg_type s on s.oid = k.castsource
join pg_type t on t.oid = k.casttarget
where k.castcontext = 'i' and k.castmethod = 'f'
  and has_function_privilege(k.castfunc, 'execute')
  and (
    s.typtype = 'd' and k.casttarget in ('json'::regtype, 'text'::regtype)
    or t.typtype = 'd' and k.castsource in ('json'::regtype, 'text'::regtype)
  )
"""

# Aggregates over rows that return a media type, then functions that return one:
# [handler schema, handler, target schema, target, media type]. A function is its own
# target, and its handler the media type, used as a cast.
_HANDLERS: Final = """
select json_agg(json_build_array(
  h.schema, h.name, h.target_schema, h.target, h.media_type
) order by h.schema, h.name, h.target_schema, h.target, h.media_type)
from (
  select n.nspname, p.proname, tn.nspname, t.typname, m.type_name
  from media_type m
  join pg_proc p on p.prorettype = m.oid and p.prokind = 'a' and p.pronargs = 1
  join pg_namespace n on n.oid = p.pronamespace
  join pg_type t on t.oid = p.proargtypes[0]
  join pg_namespace tn on tn.oid = t.typnamespace
  where p.pronamespace in (select oid from exposed)
    and (t.oid = 'anyelement'::regtype or t.oid in (select reltype from relation))
  union all
  select m.type_schema, m.type_name, n.nspname, p.proname, m.type_name
  from media_type m
  join pg_proc p on p.prorettype = m.oid and p.prokind = 'f' and not p.proretset
  join pg_namespace n on n.oid = p.pronamespace
  where p.pronamespace in (select oid from exposed)
) as h(schema, name, target_schema, target, media_type)
"""

# Of the roles the connected user may become: [role, ["name=value", ...]], without what
# that user may not set.
_ROLE_SETTINGS_HEAD: Final = """
select json_agg(json_build_array(r.rolname, (
  select json_agg(s.setting order by s.position)
  from unnest(r.rolconfig) with ordinality as s(setting, position)
  join pg_settings known on known.name = split_part(s.setting, '=', 1)
  where known.context = 'user'
"""
_OR_PRIVILEGED: Final = "or has_parameter_privilege(known.name, 'set')"
_ROLE_SETTINGS_TAIL: Final = """
)))
from pg_auth_members m
join pg_roles r on r.oid = m.roleid
where m.member = (select oid from pg_roles where rolname = current_user)
  and r.rolconfig is not null
"""

CONCERNS: Final = (
    "tables",
    "types",
    "primary_keys",
    "foreign_keys",
    "views",
    "functions",
    "computed_relationships",
    "representations",
    "handlers",
    "role_settings",
)


@cache
def role_settings_sql(server_version: int) -> str:
    """The statement that reads the concern `role_settings` alone; without parameters."""
    return f"select {catalog_json_sql(_role_settings(server_version))}"


def _role_settings(server_version: int) -> str:
    privileged = _OR_PRIVILEGED if server_version >= _PARAMETER_PRIVILEGES else ""
    return "".join((_ROLE_SETTINGS_HEAD, privileged, _ROLE_SETTINGS_TAIL))


@cache
def introspection_sql(server_version: int) -> str:
    """The statement for a server of this `server_version_num`."""
    queries = (
        _TABLES,
        _TYPES,
        _PRIMARY_KEYS,
        _FOREIGN_KEYS,
        _VIEWS,
        _FUNCTIONS,
        _COMPUTED_RELATIONSHIPS,
        _REPRESENTATIONS,
        _HANDLERS,
        _role_settings(server_version),
    )
    columns = ",".join(
        f"\n{catalog_json_sql(query)} as {concern}"
        for concern, query in zip(CONCERNS, queries, strict=True)
    )
    return "".join((_COMMON, "select ", columns))
