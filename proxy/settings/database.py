"""Read the settings that the database holds for the proxy.

In: a pool and the settings so far. Out: the settings under the database's. They come from
`ALTER ROLE <connecting user> IN DATABASE … SET pgrst.…`, then from `ALTER ROLE … SET`, then
from what the function `db-pre-config` sets (PostgREST docs, "In-Database Configuration").
"""

from __future__ import annotations

from typing import Final, Protocol

from pool.model import Outcome, Statement, Transaction
from proxy.schema_cache.model import QualifiedName
from proxy.settings.load import with_database_settings
from proxy.settings.model import TABLE, Settings
from proxy.sql.writer import array_literal, qualified

_READ: Final = """
with said (name, value, rank) as (
    select pg_catalog.split_part(line, '=', 1),
           pg_catalog.substr(line, pg_catalog.strpos(line, '=') + 1),
           case when setdatabase = 0 then 2 else 1 end
    from pg_catalog.pg_db_role_setting as kept
    cross join lateral pg_catalog.unnest(kept.setconfig) as line
    where kept.setrole = (
            select oid from pg_catalog.pg_roles where rolname = current_user
        )
      and kept.setdatabase in (
            0, (
                select oid from pg_catalog.pg_database
                where datname = pg_catalog.current_database()
            )
        )
    union all
    select name, pg_catalog.current_setting(name, true), 3
    from pg_catalog.unnest($1::pg_catalog.text[]) as name
    where $2::boolean
)
select distinct on (name) name, value
from said
where name = any ($1::pg_catalog.text[]) and value is not null
order by name, rank
"""


class Pool(Protocol):
    """What runs transactions: `pool.pool.Pool`."""

    async def run(self, transaction: Transaction, /) -> Outcome: ...


def reading_transaction(settings: Settings) -> Transaction:
    """The transaction whose rows are names and values of in-database settings."""
    names = array_literal(name for row in TABLE if (name := row.database_name) is not None)
    function = settings.db_pre_config
    return Transaction(
        Statement(_READ, (names, "false" if function is None else "true")),
        before=None if function is None else Statement(f"select {_call(function)}"),
    )


async def read_database_settings(pool: Pool, settings: Settings) -> Settings:
    """`settings` under what the database says; as they are when `db-config` is off.

    Raises `pool.PoolError` and, for values that make no sense, `SettingsError`.
    """
    if not settings.db_config:
        return settings
    outcome = await pool.run(reading_transaction(settings))
    rows = {_text(name): _text(value) for name, value in outcome.rows}
    return with_database_settings(settings, rows)


def _call(function: str) -> str:
    schema, _, name = function.rpartition(".")
    return qualified(QualifiedName(schema, name)) + "()"


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
