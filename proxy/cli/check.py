"""`edgerest check`: would a server with these settings work, and if not, what is wrong?

In: valid settings and a pool that connects as they say. Out: findings, each a sentence,
good and bad, in the order of asking. What can be told without database and identity provider
is in `proxy.server.preflight`, for the server asks that as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from pool.errors import PoolError
from pool.model import Row, Statement
from pool.pool import Pool
from proxy.auth.key_source import fetch_keys
from proxy.cache.scope_check import safe_policies
from proxy.cache_rules.policy import make_policies
from proxy.schema_cache.load import CacheOptions, load_schema_cache
from proxy.server.preflight import Finding
from proxy.settings import Settings, SettingsError
from proxy.settings.database import read_database_settings
from proxy.settings.database_uri import uri_source
from proxy.sql.writer import array_literal

_SERVER: Final = Statement(
    "select current_user, pg_catalog.current_database(),"
    " pg_catalog.current_setting('server_version'),"
    " pg_catalog.current_setting('server_version_num')::int >= 130000,"
    " (select rolsuper from pg_catalog.pg_roles where rolname = current_user)"
)
_CLUSTER: Final = Statement(
    "select pg_catalog.pg_is_in_recovery(), system_identifier::text"
    " from pg_catalog.pg_control_system()"
)
_LIMITS: Final = Statement(
    "select limited.name, limited.most from pg_catalog.pg_roles"
    " join pg_catalog.pg_database on datname = pg_catalog.current_database()"
    " cross join lateral (values"
    " ('max_connections', pg_catalog.current_setting('max_connections')::int"
    " - case when rolsuper then 0 else"
    " pg_catalog.current_setting('superuser_reserved_connections')::int"
    " + coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::int end),"
    " ('the connection limit of the role ' || rolname, nullif(rolconnlimit, -1)),"
    " ('the connection limit of the database ' || datname, nullif(datconnlimit, -1))"
    ") as limited (name, most)"
    " where rolname = current_user and limited.most is not null"
    " order by limited.most limit 1"
)
_ROLE: Final = (
    "select rolname is not null, pg_catalog.pg_has_role(current_user, rolname, 'member')"
    " from (values ($1::text)) as asked (name)"
    " left join pg_catalog.pg_roles on rolname = name"
)
_MISSING_SCHEMAS: Final = (
    "select name from pg_catalog.unnest($1::text[]) with ordinality as asked (name, place)"
    " where not exists (select from pg_catalog.pg_namespace where nspname = name)"
    " order by place"
)
_FUNCTION: Final = (
    "select exists (select from pg_catalog.pg_proc as proc"
    " join pg_catalog.pg_namespace as ns on ns.oid = proc.pronamespace"
    " where proc.proname = $1::text and (ns.nspname = $2::text or $2::text = '' and"
    " ns.nspname = any (pg_catalog.current_schemas(true)))"
    " and proc.pronargs = proc.pronargdefaults)"
)


async def check_database(pool: Pool, settings: Settings) -> AsyncIterator[Finding]:
    """Connect and compare `settings` with what is there. Raises nothing that it foresees."""
    try:
        server = (await pool.fetch(_SERVER))[0]
    except PoolError as error:
        yield Finding("bad", f"db-uri: {error}")
        return
    user, database, version = (_text(value) for value in server[:3])
    yield Finding("good", f"PostgreSQL {version}, database {database}, as {user}")
    if not server[3]:
        yield Finding(
            "bad", f"db-uri: PostgreSQL {version} is too old; 13 is the oldest supported"
        )
    if server[4]:
        yield Finding(
            "doubtful",
            f"db-uri: {user} is a superuser; connect as a role that may do nothing but"
            " become others",
        )
    asked = "db-config" if settings.db_pre_config is None else "db-pre-config"
    try:
        settings = await read_database_settings(pool, settings)
        asked = "db-uri"
        for finding in await _compare(pool, settings, user):
            yield finding
        yield await _check_connections(pool, settings)
        if not await _missing_schemas(pool, settings.db_schemas):
            for finding in await _check_cache(pool, settings):
                yield finding
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("bad", f"in the database: {problem}")
    except PoolError as error:
        yield Finding("bad", f"{asked}: the database refused a question: {error}")
    async for finding in _check_replicas(pool, settings):
        yield finding


async def _compare(pool: Pool, settings: Settings, user: str) -> list[Finding]:
    found = [*await _check_schemas(pool, settings)]
    role = settings.db_anon_role
    if role is not None:
        found.append(await _check_role(pool, role, user))
    elif settings.jwt_secret is None:
        found.append(
            Finding(
                "bad",
                "neither db-anon-role nor jwt-secret is set: every request would be refused;"
                " set the role of requests without a token, or what verifies tokens",
            )
        )
    for key, function in (
        ("db-pre-request", settings.db_pre_request),
        ("db-root-spec", settings.db_root_spec),
    ):
        if function is not None:
            found.append(await _check_function(pool, key, function))
    return found


async def _check_replicas(pool: Pool, settings: Settings) -> AsyncIterator[Finding]:
    """Whether each read replica can be reached and is a standby of the database of `pool`."""
    cluster = None
    for number, uri in enumerate(settings.db_read_uris, 1):
        # Its address may hold a password.
        name = f"db-read-uris: replica {number}"
        try:
            cluster = cluster or (await pool.fetch(_CLUSTER))[0][1]
            replica = Pool(uri_source(uri), size=1, outage_grace=0)
            try:
                in_recovery, its_cluster = (await replica.fetch(_CLUSTER))[0]
            finally:
                await replica.close()
        except PoolError as error:
            yield Finding("bad", f"{name} can't be asked: {error}")
            continue
        if its_cluster != cluster:
            yield Finding("bad", f"{name} is another database's; it will not be used")
        elif not in_recovery:
            yield Finding("doubtful", f"{name} accepts writes; it will not be used")
        else:
            yield Finding("good", name)


async def check_keys(settings: Settings) -> AsyncIterator[Finding]:
    """Whether the identity provider gives keys. The server would go on asking."""
    if settings.jwt_jwks_uri is None:
        return
    try:
        keys = await fetch_keys(settings.jwt_jwks_uri)
    except ValueError as error:
        yield Finding("doubtful", f"jwt-jwks-uri: there are no keys to be had: {error}")
    else:
        yield Finding("good", f"jwt-jwks-uri: {len(keys.keys)} keys")


async def _check_connections(pool: Pool, settings: Settings) -> Finding:
    """Whether the server grants as many connections as all workers may open together."""
    row = (await pool.fetch(_LIMITS))[0]
    name, limit = _text(row[0]), int(_text(row[1]))
    workers = settings.server_workers
    pooled = workers * settings.db_pool
    if settings.pool_max_connections is not None:
        pooled = min(pooled, settings.pool_max_connections)
    listening = settings.db_channel_enabled + bool(settings.cache_policies)
    needed = pooled + workers * listening
    sum_of = f"{needed} connections ({pooled} to work with, {workers * listening} to listen)"
    if needed <= limit:
        return Finding("good", f"db-pool: {sum_of}, of {limit} that {name} allows")
    fits = (limit - workers * listening) // workers
    remedy = f"lower db-pool to {fits}" if fits > 0 else "lower server-workers"
    return Finding(
        "doubtful",
        f"db-pool: {workers} workers may open {sum_of}, and {name} allows {limit};"
        f" {remedy}, or raise the limit",
    )


async def _check_cache(pool: Pool, settings: Settings) -> list[Finding]:
    """What the policies of the cache, configured and in comments, say of nothing."""
    options = CacheOptions(
        schemas=settings.db_schemas,
        extra_search_path=settings.db_extra_search_path,
        hoisted_settings=settings.db_hoisted_tx_settings,
    )
    schema_cache = await load_schema_cache(pool, options)
    policies = make_policies(settings.cache_policies, schema_cache, settings.db_schemas)
    faults = safe_policies(policies, schema_cache).faults
    return [Finding("doubtful", fault) for fault in faults]


async def _check_schemas(pool: Pool, settings: Settings) -> list[Finding]:
    missing = await _missing_schemas(pool, settings.db_schemas)
    found = [
        Finding("bad", f"db-schemas: there is no schema {name}; create it or leave it out")
        for name in missing
    ]
    if not found:
        found.append(Finding("good", f"db-schemas: {', '.join(settings.db_schemas)}"))
    found += [
        Finding("doubtful", f"db-extra-search-path: there is no schema {name}")
        for name in await _missing_schemas(pool, settings.db_extra_search_path)
    ]
    return found


async def _missing_schemas(pool: Pool, names: tuple[str, ...]) -> list[str]:
    rows = await pool.fetch(Statement(_MISSING_SCHEMAS, (array_literal(names),)))
    return [_text(row[0]) for row in rows]


async def _check_role(pool: Pool, role: str, user: str) -> Finding:
    row: Row = (await pool.fetch(Statement(_ROLE, (role,))))[0]
    exists, may_become = row[0], row[1]
    if not exists:
        return Finding("bad", f'db-anon-role: there is no role {role}; create role "{role}"')
    if not may_become:
        return Finding(
            "bad", f'db-anon-role: {user} may not become {role}; grant "{role}" to "{user}"'
        )
    return Finding("good", f"db-anon-role: {role}")


async def _check_function(pool: Pool, key: str, function: str) -> Finding:
    schema, _, name = function.rpartition(".")
    if (await pool.fetch(Statement(_FUNCTION, (name, schema))))[0][0]:
        return Finding("good", f"{key}: {function}")
    return Finding("bad", f"{key}: there is no function {function} without arguments")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
