"""`edgerest types`: the types of the API, for the programs that call it.

In: a pool and the settings of one app. Out: the text of a module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from pool.model import Statement, Transaction
from pool.pool import Pool
from proxy.client_types.model import Described, described
from proxy.client_types.python import python
from proxy.client_types.queries import described_sql
from proxy.client_types.typescript import typescript
from proxy.schema_cache.load import load_schema_cache
from proxy.schema_cache.queries import SETTINGS
from proxy.settings import Settings
from proxy.state.from_settings import cache_options

LANGUAGES: Final[Mapping[str, Callable[[Described], str]]] = {
    "typescript": typescript,
    "python": python,
}


async def types_text(pool: Pool, settings: Settings, language: str) -> str:
    """The module in `language`, one of `LANGUAGES`. Raises PoolError."""
    return LANGUAGES[language](await read_described(pool, settings))


async def read_described(pool: Pool, settings: Settings) -> Described:
    """What the API has that `settings` make of the database. Raises PoolError."""
    cache = await load_schema_cache(pool, cache_options(settings))
    asked = Statement(described_sql(), (json.dumps(settings.db_schemas),))
    outcome = await pool.run(Transaction(asked, settings=SETTINGS))
    return described(cache, settings.db_schemas, tuple(outcome.rows[0]))
