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
from proxy.schema_cache.source_names import TEXT_RUNNERS

FIRST_OF_USERS: Final = 16384
"""The first oid that PostgreSQL has not given itself (FirstNormalObjectId, transam.h)."""

_COMMON: Final = """
with
own_schema(oid, name) as materialized (
  select oid, nspname from pg_namespace
  where nspname !~ '^pg_' and nspname <> 'information_schema'
),
relation as materialized (
  select c.oid, n.name as schema, c.relname, c.relkind, c.relowner, c.relrowsecurity,
    c.relforcerowsecurity, c.reloptions
  from pg_class c join own_schema n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f')
),
-- PostgreSQL's own functions that run text, and how a node tree that calls one looks.
runner as materialized (
  select oid from pg_proc
  where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^{runners}$'
),
calls_runner(one, pattern) as materialized (
  select min(oid::bigint), ':funcid (' || string_agg(oid::text, '|') || ') ' from runner
)
"""

# [oid, schema, name, kind, owner, row security, forced, view that checks its caller, comment
# of a foreign table].
_RELATIONS: Final = """
select json_agg(json_build_array(
  oid::bigint, schema, relname, relkind, relowner::bigint, relrowsecurity,
  relforcerowsecurity,
  exists (
    select from pg_options_to_table(reloptions)
    where option_name = 'security_invoker' and option_value::boolean
  ),
  case when relkind = 'f' then obj_description(oid, 'pg_class') end
))
from relation
"""

# [parent, child]: partitions and inheritance.
_CHILDREN: Final = """
select json_agg(json_build_array(i.inhparent::bigint, i.inhrelid::bigint))
from pg_inherits i join relation r on r.oid = i.inhrelid
"""

# [view, node tree of its query]; materialized views among them.
_VIEWS: Final = """
select json_agg(json_build_array(r.oid::bigint, w.ev_action::text))
from relation r join pg_rewrite w on w.ev_class = r.oid and w.rulename = '_RETURN'
where r.relkind in ('v', 'm')
"""

# [table, command, node tree of USING, of WITH CHECK]; the command is one of * r a w d.
_POLICIES: Final = """
select json_agg(json_build_array(
  p.polrelid::bigint, p.polcmd, p.polqual::text, p.polwithcheck::text
))
from pg_policy p join relation r on r.oid = p.polrelid
"""

# [table, [function, ...]]: what runs when rows are written, besides triggers and policies:
# defaults, generated columns, checks, the conditions of triggers, the expressions of indexes
# and partition keys. Of PostgreSQL's own functions those that run text.
_STEPS: Final = """
select json_agg(json_build_array(own.relation::bigint, own.functions))
from (
  select step.relation, json_agg(distinct step.function::bigint) as functions
  from (
    select
      coalesce(d.adrelid, k.conrelid, t.tgrelid, i.indrelid, pt.partrelid), s.refobjid
    from pg_depend s
    left join pg_attrdef d on s.classid = 'pg_attrdef'::regclass and d.oid = s.objid
    left join pg_constraint k on s.classid = 'pg_constraint'::regclass and k.oid = s.objid
    left join pg_trigger t on s.classid = 'pg_trigger'::regclass and t.oid = s.objid
      and t.tgfoid <> s.refobjid and t.tgenabled <> 'D'
    left join pg_index i on s.classid = 'pg_class'::regclass and i.indexrelid = s.objid
    left join pg_partitioned_table pt
      on s.classid = 'pg_class'::regclass and pt.partrelid = s.objid
    where s.refclassid = 'pg_proc'::regclass
    union all
    select d.adrelid, c.one from pg_attrdef d, calls_runner c where d.adbin::text ~ c.pattern
    union all
    select k.conrelid, c.one from pg_constraint k, calls_runner c
    where k.conbin is not null and k.conbin::text ~ c.pattern
    union all
    select t.tgrelid, c.one from pg_trigger t, calls_runner c
    where t.tgqual is not null and t.tgqual::text ~ c.pattern
  ) as step(relation, function)
  group by 1
) as own
where own.relation in (select oid from relation)
"""

# [function, ...]: what SQL calls without naming it, by its operators, casts, aggregates (those
# that a request can name), sorting, ranges, or for the sake of a domain.
_IMPLIED: Final = """
select json_agg(distinct called.oid::bigint)
from (
  select oprcode::oid from pg_operator
  union all select castfunc from pg_cast
  union all select amproc::oid from pg_amproc
  union all select rngsubdiff::oid from pg_range
  union all select rngcanonical::oid from pg_range
  union all
  select unnest(array[
    aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn,
    aggminvtransfn, aggmfinalfn
  ]::oid[])
  from pg_aggregate join pg_proc p on p.oid = aggfnoid
  where p.proname in ('avg', 'count', 'max', 'min', 'sum')
  union all
  select s.refobjid from pg_depend s
  join pg_type t on s.classid = 'pg_type'::regclass and t.oid = s.objid and t.typtype = 'd'
  where s.refclassid = 'pg_proc'::regclass
  union all
  select s.refobjid from pg_depend s
  join pg_constraint k on s.classid = 'pg_constraint'::regclass and k.oid = s.objid
  where s.refclassid = 'pg_proc'::regclass and k.contypid <> 0
  union all
  select c.one from pg_type t, calls_runner c
  where t.typtype = 'd' and t.typdefaultbin::text ~ c.pattern
  union all
  select c.one from pg_constraint k, calls_runner c
  where k.contypid <> 0 and k.conbin::text ~ c.pattern
) as called(oid)
where called.oid >= {first} or called.oid in (select oid from runner)
"""

# [relation, function, type bits (pg_trigger.h)]; without those that enforce foreign keys.
_TRIGGERS: Final = """
select json_agg(json_build_array(t.tgrelid::bigint, t.tgfoid::bigint, t.tgtype))
from pg_trigger t
join relation r on r.oid = t.tgrelid
join pg_proc p on p.oid = t.tgfoid
where t.tgenabled <> 'D' and p.oid >= {first}
"""

# [relation, event (2 update, 3 insert, 4 delete), node tree of the action, of the condition]:
# rewrite rules that are no views.
_RULES: Final = """
select json_agg(json_build_array(
  w.ev_class::bigint, w.ev_type, w.ev_action::text, w.ev_qual::text
))
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
# the cache, node trees of a standard SQL body and of the arguments' defaults, source,
# extension]. A long source is not worth looking at, unless all that is known is what its
# comment says. Superusers may put functions into pg_catalog.
_FUNCTIONS: Final = """
select json_agg(json_build_array(
  p.oid::bigint, n.nspname, p.proname, p.provolatile, p.prosecdef, p.proowner::bigint,
  l.lanname,
  case when d.description ~ '(^|\\n)\\s*@cache\\M' then d.description end,
  {body},
  p.proargdefaults::text,
  case
    when l.lanname not in ('c', 'internal') and p.prokind = 'f'
      and (length(p.prosrc) < 10000 or d.description ~ '(^|\\n)\\s*@cache\\M')
    then p.prosrc
  end,
  (
    select x.extname from pg_depend e join pg_extension x on x.oid = e.refobjid
    where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e'
  )
))
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join pg_language l on l.oid = p.prolang
left join pg_description d
  on d.objoid = p.oid and d.objsubid = 0 and d.classoid = 'pg_proc'::regclass
where n.oid in (select oid from own_schema)
  or n.nspname = 'pg_catalog' and p.oid >= {first}
"""
_BODY: Final = "p.prosqlbody::text"
_STANDARD_BODIES: Final = 140000

# [aggregate, [function it is made of, ...]].
_AGGREGATES: Final = """
select json_agg(json_build_array(a.aggfnoid::oid::bigint, array[
  a.aggtransfn::oid::bigint, a.aggfinalfn::oid::bigint, a.aggcombinefn::oid::bigint,
  a.aggserialfn::oid::bigint, a.aggdeserialfn::oid::bigint, a.aggmtransfn::oid::bigint,
  a.aggminvtransfn::oid::bigint, a.aggmfinalfn::oid::bigint
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

# [function, ...]: PostgreSQL's own that run text.
_RUNNERS: Final = "select json_agg(oid::bigint) from runner"

# [its name as SQL, function]: those that casts call.
_CASTS: Final = """
select json_agg(distinct jsonb_build_array(k.castfunc::regproc, k.castfunc::bigint))
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
    "steps",
    "implied",
    "triggers",
    "rules",
    "cascades",
    "functions",
    "aggregates",
    "builtins",
    "runners",
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
        _STEPS,
        _IMPLIED.format(first=FIRST_OF_USERS),
        _TRIGGERS.format(first=FIRST_OF_USERS),
        _RULES,
        _CASCADES,
        _FUNCTIONS.format(body=body, first=FIRST_OF_USERS),
        _AGGREGATES,
        _BUILTINS,
        _RUNNERS,
        _CASTS,
        _FREE_ROLES,
    )
    columns = ",".join(
        f"\n{catalog_json_sql(query)} as {name}"
        for name, query in zip(FACTS, queries, strict=True)
    )
    return f"{_COMMON.format(runners=TEXT_RUNNERS)} select {columns}"
