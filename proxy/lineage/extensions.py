"""What is known of functions in C that extensions bring.

Nobody can read what they do, so most of them may do anything: `graphql.resolve` writes
whatever table it is asked to, as `dblink_exec` and the triggers of `temporal_tables` do. Where
the line is:

- Those behind operators, operator classes, casts and aggregates of an extension only compute,
  and so do those that are IMMUTABLE: its own indexes rest on that.
- Those of the extensions listed here only compute, too, or write nothing that is kept:
  `uuid_generate_v4`, `moddatetime`, `lo_manage`. They are those of PostgreSQL's contrib, and
  widely used ones.
- Functions that run SQL which they are given as text may do anything in any case.
- The input and output functions of a type are never called by name and not looked at: they
  turn text into a value.

Others say in their comments what they write (`@cache writes=`). Pure.
"""

from __future__ import annotations

from typing import Final

from proxy.schema_cache.facts import FunctionFacts

RUN_TEXTS: Final = ("_st_mapalgebra", "connectby", "crosstab", "dblink", "xpath_table")
"""Functions of extensions that run SQL in their arguments, or a function that is named there
(PostgreSQL docs, "tablefunc", "xml2", "dblink"; PostGIS docs, "ST_MapAlgebra")."""

# Not dblink, refint (cascades by SPI) and amcheck (runs the expressions of any index).
_ONLY_COMPUTE: Final = frozenset(
    """address_standardizer autoinc bloom btree_gin btree_gist citext cube dict_int dict_xsyn
    earthdistance file_fdw fuzzystrmatch h3 hll hstore insert_username intagg intarray ip4r isn
    lo ltree moddatetime pageinspect pg_bigm pg_buffercache pg_freespacemap pg_hashids
    pg_jsonschema pg_prewarm pg_stat_statements pg_trgm pg_uuidv7 pg_visibility pg_walinspect
    pgcrypto pgrowlocks pgstattuple pgx_ulid postgis postgis_sfcgal postgres_fdw prefix
    roaringbitmap rum seg semver sslinfo tablefunc tcn tsm_system_rows tsm_system_time ulid
    unaccent uuid-ossp vector xml2""".split()
)


def only_computes(function: FunctionFacts, *, implied: bool) -> bool:
    """Whether a function that nobody can read is trusted to write nothing. `implied`: there
    is an operator or the like that calls it."""
    return (
        function.extension is not None
        and function.language in ("c", "internal")
        and not function.name.name.startswith(RUN_TEXTS)
        and (
            implied or function.volatility == "immutable" or function.extension in _ONLY_COMPUTE
        )
    )
