"""`edgerest cache triggers`: the SQL for triggers that announce writes by other programs.

In: a pool and the settings of one app. Out: a script for `psql`.
"""

from __future__ import annotations

from dataclasses import replace

from pool.pool import Pool
from proxy.cache.notify import channel_of
from proxy.cache.trigger_sql import drop_script, trigger_script, watched
from proxy.schema_cache.load import load_schema_cache
from proxy.settings import Settings
from proxy.state.from_settings import cache_options


async def print_triggers(
    pool: Pool, settings: Settings, *, schema: str | None, drop: bool
) -> str:
    """The script that makes the triggers, or with `drop` the one that takes them away."""
    schema = schema or settings.db_schemas[0]
    if drop:
        return drop_script(schema=schema)
    options = replace(cache_options(settings), with_facts=True)
    cache = await load_schema_cache(pool, options)
    assert cache.facts is not None
    return trigger_script(
        watched(cache.facts, cache.tables),
        schema=schema,
        channel=channel_of(settings.cache_channel, settings.db_channel),
        server_version=cache.server_version,
    )
