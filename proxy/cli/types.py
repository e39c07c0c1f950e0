"""`edgerest types`: the types of the API, for the programs that call it.

In: a database with the settings of one app, or the admin server of a running one. Out: the
text of a module.
"""

from __future__ import annotations

from typing import Final

import httpx

from pool.pool import Pool
from proxy.client_types.modules import module_of
from proxy.schema_cache.load import load_schema_cache
from proxy.settings import Settings
from proxy.state.from_settings import cache_options

_TIMEOUT: Final = 30.0


class TypesError(Exception):
    """The running server did not tell; says why in a sentence."""


async def types_of_database(pool: Pool, settings: Settings, language: str) -> str:
    """The module of what `settings` make of the database. Raises PoolError."""
    cache = await load_schema_cache(pool, cache_options(settings))
    return await module_of(pool.run, cache, settings.db_schemas, language)


def types_of_server(url: str, language: str, app: str | None, token: str | None) -> str:
    """The module that the admin server at `url` makes. Raises TypesError."""
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/types/{language}",
            params={} if app is None else {"app": app},
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TypesError(f"The admin server: {str(error) or type(error).__name__}") from error
    if answer.status_code == 200:
        return answer.text
    said = answer.json()["message"] if "json" in answer.headers.get("content-type", "") else ""
    hint = said or "Is that the admin server (admin-server-port)?"
    raise TypesError(f"The admin server answers {answer.status_code}. {hint}")
