"""The text of a module of types, in each of the languages.

In: what runs a transaction, and the schema cache. Out: the text.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from pool.model import Outcome, Statement, Transaction
from proxy.client_types.model import Described, described
from proxy.client_types.python import python
from proxy.client_types.queries import described_sql
from proxy.client_types.typescript import typescript
from proxy.schema_cache.model import SchemaCache
from proxy.schema_cache.queries import SETTINGS

LANGUAGES: Final[Mapping[str, Callable[[Described], str]]] = {
    "typescript": typescript,
    "python": python,
}
Run = Callable[[Transaction], Awaitable[Outcome]]


async def module_of(run: Run, cache: SchemaCache, schemas: Sequence[str], language: str) -> str:
    """The module in `language`, one of `LANGUAGES`. Raises what `run` raises."""
    told = await read_described(run, cache, schemas)
    # Thousands of tables take a second, in which a server has others to answer.
    return await asyncio.to_thread(LANGUAGES[language], told)


async def read_described(run: Run, cache: SchemaCache, schemas: Sequence[str]) -> Described:
    """What the API has in `schemas`. Raises what `run` raises."""
    asked = Statement(described_sql(), (json.dumps(schemas),))
    outcome = await run(Transaction(asked, settings=SETTINGS))
    return await asyncio.to_thread(described, cache, schemas, tuple(outcome.rows[0]))
