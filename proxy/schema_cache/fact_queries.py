"""The SQL that reads what a response cache must know of a database: what depends on what.

Out: SQL without parameters whose one row has a JSON text per concern of `FACTS`; what each
holds is described at its query and decoded by `proxy.schema_cache.facts`. It covers all
schemas but PostgreSQL's own, exposed or not, since views, keys and triggers lead anywhere.
Expressions come as node trees (`pg_node_tree`), in which also PostgreSQL's own functions
can be seen; pg_depend does not list those. Run it under `queries.SETTINGS`. Catalogs:
PostgreSQL docs, "System Catalogs"; PostgreSQL 13 to 18.
"""

from __future__ import annotations

from typing import Final

from proxy.schema_cache.catalog_json import catalog_json_sql

_COMMON: Final = """
with
own_schema(oid, name) as materialized (
  select oid, nspname from pg_namespace
  where nspname !~ '^pg_' and nspname <> 'information_schema'
),
relation as materialized (
  select c.oid, n.name as schema, c.relname, c.relkind, c.relowner, c.relrowsecurity,
    c.relforcerowsecurity, c.reloptions, c.reltype
  from pg_class c join own_schema n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f')
)
"""

# [oid, schema, name, kind, owner, row security, forced, view that checks its caller].
_RELATIONS: Final = """
select json_agg(json_build_array(
  oid::bigint, schema, relname, relkind, relowner::bigint, relrowsecurity,
  relforcerowsecurity,
  exists (
    select from pg_options_to_table(reloptions)
    where option_name = 'security_invoker' and option_value::boolean
  )
))
from relation
"""

# [parent, child]: partitions and inheritance.
_CHILDREN: Final = """
select json_agg(json_build_array(i.inhparent::bigint, i.inhrelid::bigint))
from pg_inherits i join relation r on r.oid = i.inhrelid
"""

# [view, node tree of its query].
_VIEWS: Final = """
select json_agg(json_build_array(r.oid::bigint, w.ev_action::text))
from relation r join pg_rewrite w on w.ev_class = r.oid and w.rulename = '_RETURN'
where r.relkind = 'v'
"""

# [table, command, node tree of USING, of WITH CHECK]; the command is one of * r a w d.
_POLICIES: Final = """
select json_agg(json_build_array(
  p.polrelid::bigint, p.polcmd, p.polqual::text, p.polwithcheck::text
))
from pg_policy p join relation r on r.oid = p.polrelid
"""

# [table, [function, ...]]: those of schemas of its users that defaults, generated columns
# and checks call.
_DEFAULTS: Final = """
select json_agg(json_build_array(own.relation::bigint, own.functions))
from (
  select coalesce(d.adrelid, k.conrelid) as relation,
    json_agg(distinct s.refobjid::bigint) as functions
  from pg_depend s
  left join pg_attrdef d on s.classid = 'pg_attrdef'::regclass and d.oid = s.objid
  left join pg_constraint k on s.classid = 'pg_constraint'::regclass and k.oid = s.objid
  where s.refclassid = 'pg_proc'::regclass
    and s.classid in ('pg_attrdef'::regclass, 'pg_constraint'::regclass)
  group by 1
) as own
where own.relation in (select oid from relation)
"""

# [relation, function, type bits (pg_trigger.h)]; without those that enforce foreign keys.
_TRIGGERS: Final = """
select json_agg(json_build_array(t.tgrelid::bigint, t.tgfoid::bigint, t.tgtype))
from pg_trigger t
join relation r on r.oid = t.tgrelid
join pg_proc p on p.oid = t.tgfoid
where t.tgenabled <> 'D' and p.pronamespace <> 'pg_catalog'::regnamespace
"""

# [relation, event: 2 update, 3 insert, 4 delete]: rewrite rules that are no views.
_RULES: Final = """
select json_agg(json_build_array(w.ev_class::bigint, w.ev_type))
from pg_rewrite w join relation r on r.oid = w.ev_class
where w.ev_type <> '1' and w.ev_enabled <> 'D'
"""

# [referenced table, referencing table, on delete, on update]: foreign keys that write to
# the referencing table (c cascade, n set null, d set default).
_CASCADES: Final = """
select json_agg(json_build_array(
  confrelid::bigint, conrelid::bigint, confdeltype, confupdtype
))
from pg_constraint
where contype = 'f' and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))
"""

# [oid, schema, name, volatility, security definer, owner, language, comment if it speaks of
# the cache, node trees of a standard SQL body and of the arguments' defaults, source, takes a
# row, is of an extension].
# A long source is not worth looking at.
_FUNCTIONS: Final = """
select json_agg(json_build_array(
  p.oid::bigint, n.name, p.proname, p.provolatile, p.prosecdef, p.proowner::bigint,
  l.lanname,
  case when d.description ~ '(^|\\n)\\s*@cache\\M' then d.description end,
  {body},
  p.proargdefaults::text,
  case
    when l.lanname in ('sql', 'plpgsql') and p.prokind = 'f' and length(p.prosrc) < 10000
    then p.prosrc
  end,
  row.oid is not null,
  exists (
    select from pg_depend e
    where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e'
  )
))
from pg_proc p
join own_schema n on n.oid = p.pronamespace
join pg_language l on l.oid = p.prolang
left join pg_description d
  on d.objoid = p.oid and d.objsubid = 0 and d.classoid = 'pg_proc'::regclass
left join relation row on row.reltype = p.proargtypes[0]
"""
_BODY: Final = "p.prosqlbody::text"
_STANDARD_BODIES: Final = 140000

# [aggregate, [function it is made of, ...]].
_AGGREGATES: Final = """
select json_agg(json_build_array(a.aggfnoid::oid::bigint, array[
  a.aggtransfn::oid::bigint, a.aggfinalfn::oid::bigint
]))
from pg_aggregate a
join pg_proc p on p.oid = a.aggfnoid
join own_schema n on n.oid = p.pronamespace
"""

# [oid, name, volatility] of PostgreSQL's own functions that are not immutable.
_BUILTINS: Final = """
select json_agg(json_build_array(oid::bigint, proname, provolatile))
from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and provolatile <> 'i'
"""

# [function, its name as SQL]: those that casts call.
_CASTS: Final = """
select json_agg(distinct jsonb_build_array(k.castfunc::bigint, k.castfunc::regproc))
from pg_cast k
join pg_proc p on p.oid = k.castfunc
join own_schema n on n.oid = p.pronamespace
"""

# The roles that row security does not bind.
_FREE_ROLES: Final = """
select json_agg(oid::bigint) from pg_roles where rolsuper or rolbypassrls
"""

FACTS: Final = (
    "relations",
    "children",
    "views",
    "policies",
    "defaults",
    "triggers",
    "rules",
    "cascades",
    "functions",
    "aggregates",
    "builtins",
    "casts",
    "free_roles",
)


def facts_sql(server_version: int) -> str:
    """The statement for a server of this `server_version_num`."""
    body = _BODY if server_version >= _STANDARD_BODIES else "null"
    queries = (
        _RELATIONS,
        _CHILDREN,
        _VIEWS,
        _POLICIES,
        _DEFAULTS,
        _TRIGGERS,
        _RULES,
        _CASCADES,
        _FUNCTIONS.format(body=body),
        _AGGREGATES,
        _BUILTINS,
        _CASTS,
        _FREE_ROLES,
    )
    columns = ",".join(
        f"\n{catalog_json_sql(query)} as {name}"
        for name, query in zip(FACTS, queries, strict=True)
    )
    return f"{_COMMON} select {columns}"
