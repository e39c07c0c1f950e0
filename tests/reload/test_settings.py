"""Settings from file, environment and database, at the start and after a reload."""

from __future__ import annotations

import logging
import time

import asyncpg
import jwt
import pytest

from pool import DatabaseError
from proxy.app.reloads import BOTH
from proxy.settings import Settings, SettingsError
from proxy.settings.model import TABLE
from proxy.settings.reload import reloaded_settings
from tests.reload.conftest import Database, RunApp, RunningApp
from tests.waiting import until

OLD_SECRET = "the old secret, which is long enough"
NEW_SECRET = "the new secret, which is long enough"


def bearer(secret: str) -> str:
    payload = {"role": "web_anon", "exp": int(time.time()) + 600}
    return "Bearer " + jwt.encode(payload, secret, "HS256")


async def max_rows_is(running: RunningApp, rows: int | None) -> bool:
    return running.app.settings.db_max_rows == rows


def pre_config(*pairs: tuple[str, str]) -> str:
    calls = ", ".join(f"set_config('pgrst.{name}', '{value}', true)" for name, value in pairs)
    return (
        "create or replace function public.pre_config() returns void language sql as"
        f" $$select {calls}$$"
    )


# --- which reloadable, which not ----------------------------------------------------------


def test_a_reload_keeps_what_needs_a_restart_and_says_so() -> None:
    old = Settings(db_pool=3, server_port=3000, db_max_rows=5)
    new = Settings(db_pool=4, server_port=3001, db_max_rows=6)
    reloaded = reloaded_settings(old, new)
    assert reloaded.settings == Settings(db_pool=3, server_port=3000, db_max_rows=6)
    assert sorted(reloaded.need_restart) == ["db-pool", "server-port"]


def test_nothing_changed_is_nothing_told() -> None:
    assert reloaded_settings(Settings(), Settings()).need_restart == ()
    assert any(not row.facts.reloadable for row in TABLE)


# --- precedence ---------------------------------------------------------------------------


async def test_the_database_wins_over_the_environment_over_the_file(
    database: Database, run_app: RunApp
) -> None:
    environ = {"PGRST_DB_MAX_ROWS": "2", "PGRST_DB_ANON_ROLE": "web_anon"}
    given = {"db_max_rows": 1, "db_anon_role": "nobody", "db_plan_enabled": True}
    async with run_app(environ=environ, **given) as running:
        found = running.app.settings
        assert (found.db_max_rows, found.db_anon_role, found.db_plan_enabled) == (
            2,
            "web_anon",
            True,
        )
        await database.execute(f"alter role {database.name} set pgrst.db_max_rows = 3")
        await database.execute("notify pgrst, 'reload config'")
        await until(lambda: max_rows_is(running, 3))


async def test_role_in_database_wins_over_role_over_function(
    database: Database, run_app: RunApp
) -> None:
    name = database.name
    await database.execute(
        pre_config(("db_max_rows", "1"), ("db_plan_enabled", "on"), ("jwt_aud", "func"))
    )
    async with run_app(db_pre_config="public.pre_config") as running:
        found = running.app.settings
        assert (found.db_max_rows, found.db_plan_enabled, found.jwt_aud) == (1, True, "func")
        await database.execute(
            f"alter role {name} set pgrst.db_max_rows = '2';"
            f"alter role {name} set pgrst.jwt_aud = 'role';"
            f"alter role {name} in database {name} set pgrst.db_max_rows = '3';"
            f"alter database {name} set pgrst.db_max_rows = '4'"
        )
        await running.app.reload(BOTH)
        found = running.app.settings
        assert (found.db_max_rows, found.db_plan_enabled, found.jwt_aud) == (3, True, "role")


async def test_the_role_may_name_the_function(database: Database, run_app: RunApp) -> None:
    await database.execute(
        pre_config(("db_max_rows", "1"))
        + f"; alter role {database.name} set pgrst.db_pre_config = 'public.pre_config'"
    )
    async with run_app() as running:
        assert running.app.settings.db_max_rows == 1


async def test_the_database_is_not_asked_when_told_not_to(
    database: Database, run_app: RunApp
) -> None:
    await database.execute(f"alter role {database.name} set pgrst.db_max_rows = '2'")
    async with run_app(db_config=False, db_max_rows=1) as running:
        assert running.app.settings.db_max_rows == 1


async def test_a_schema_reload_brings_the_databases_settings(
    database: Database, run_app: RunApp
) -> None:
    async with run_app() as running:
        await database.execute(f"alter role {database.name} set pgrst.db_max_rows = '2'")
        await database.execute("notify pgrst, 'reload schema'")
        await until(lambda: max_rows_is(running, 2))


async def test_settings_of_the_database_count_at_the_start_even_if_a_reload_can_t_change_them(
    database: Database, run_app: RunApp, caplog: pytest.LogCaptureFixture
) -> None:
    await database.execute(f"alter role {database.name} set pgrst.db_tx_end = 'rollback'")
    async with run_app() as running:
        body = {"id": 9}
        found = await running.send("POST", "/items", body, content_type="application/json")
        assert found.status == 201
        assert (await running.get("/items?id=eq.9")).body == []
        await database.execute(f"alter role {database.name} set pgrst.db_tx_end = 'commit'")
        await running.app.reload(BOTH)
        assert running.app.settings.db_tx_end == "rollback"
        assert "db-tx-end has changed; a restart applies it" in caplog.text


# --- values that make no sense --------------------------------------------------------------


async def test_the_start_is_refused(database: Database, run_app: RunApp) -> None:
    await database.execute(f"alter role {database.name} set pgrst.db_max_rows = 'many'")
    with pytest.raises(SettingsError, match=r"pgrst\.db_max_rows: 'many'"):
        async with run_app():
            pytest.fail("started")


async def test_a_reload_keeps_the_old_values(
    database: Database, run_app: RunApp, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_app(db_max_rows=1) as running:
        before = running.app.settings
        await database.execute(f"alter role {database.name} set pgrst.openapi_mode = 'maybe'")
        await running.app.reload(BOTH)
        assert running.app.settings == before
        assert "pgrst.openapi_mode: 'maybe'" in caplog.text
        running.write(db_max_rows="none")
        await running.app.reload(frozenset(("config",)))
        assert running.app.settings == before
        assert "db-max-rows: 'none'" in caplog.text
        assert (await running.get("/items")).status == 200
        await database.execute(f"alter role {database.name} reset all")
        running.write(db_max_rows=2)
        await running.app.reload(frozenset(("config",)))
        assert running.app.settings.db_max_rows == 2


async def test_a_wrong_setting_does_not_keep_the_schema_from_being_read(
    database: Database, run_app: RunApp
) -> None:
    async with run_app() as running:
        running.write(db_max_rows="none")
        await database.execute("create table v1.added (id int)")
        await running.app.reload(BOTH)
        assert (await running.get("/added")).status == 200


async def test_a_function_that_is_missing_stops_the_start_until_it_is_there(
    database: Database, run_app: RunApp
) -> None:
    """The server must not serve without, say, the secret that the function holds."""
    async with run_app(db_pre_config="public.pre_config") as running:
        assert (await running.get("/items")).body["code"] == "PGRST002"
        await database.execute(pre_config(("db_max_rows", "1")))
        await database.execute("notify pgrst")

        async def serves() -> bool:
            return (await running.get("/items")).status == 200

        await until(serves)
        assert running.app.settings.db_max_rows == 1


# --- what a reload changes ----------------------------------------------------------------


async def test_the_file_is_read_again(
    database: Database, run_app: RunApp, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_app(db_max_rows=1, db_pool=3) as running:
        running.write(db_max_rows=2, db_pool=4, url_schema_prefix=True)
        await database.execute("notify pgrst, 'reload config'")
        await until(lambda: max_rows_is(running, 2))
        assert running.app.settings.db_pool == 3
        assert (await running.get("/v2/things")).body == [{"id": 7}]
        await running.app.reload(BOTH)
        # Once is enough.
        assert caplog.text.count("db-pool has changed; a restart applies it") == 1


async def test_schemas_come_with_their_tables(database: Database, run_app: RunApp) -> None:
    async with run_app(db_schemas="v1", db_reload_on_miss_interval=0) as running:
        assert (await running.get("/things", accept_profile="v2")).status == 406
        running.write(db_schemas="v1, v2")
        await running.app.reload(frozenset(("config",)))
        assert (await running.get("/things", accept_profile="v2")).body == [{"id": 7}]


async def test_a_new_secret_forgets_tokens_of_the_old(
    database: Database, run_app: RunApp
) -> None:
    async with run_app(jwt_secret=OLD_SECRET) as running:
        old, new = bearer(OLD_SECRET), bearer(NEW_SECRET)
        assert (await running.get("/items", authorization=old)).status == 200
        assert (await running.get("/items", authorization=new)).status == 401
        known = running.app.state.authenticator
        await running.app.reload(BOTH)
        # As long as nothing changes, tokens need not be verified again.
        assert running.app.state.authenticator is known
        assert (await running.get("/items", authorization=old)).status == 200
        assert known.counts.hits == 1
        running.write(jwt_secret=NEW_SECRET)
        await running.app.reload(frozenset(("config",)))
        assert (await running.get("/items", authorization=old)).status == 401
        assert (await running.get("/items", authorization=new)).status == 200


async def test_a_secret_changes_even_when_the_schema_can_t_be_read(
    database: Database, run_app: RunApp
) -> None:
    async with run_app(jwt_secret=OLD_SECRET) as running:
        running.write(jwt_secret=NEW_SECRET)
        await database.execute("alter schema v2 rename to v3")
        with pytest.raises(DatabaseError, match="v2"):
            await running.app.reload(BOTH)
        found = await running.get("/items", authorization=bearer(NEW_SECRET))
        assert found.status == 200


async def test_the_channel_can_be_changed(database: Database, run_app: RunApp) -> None:
    async with run_app() as running:
        running.write(db_channel="other", db_max_rows=1)
        await database.execute("notify pgrst, 'reload config'")
        await until(lambda: max_rows_is(running, 1))

        running.write(db_max_rows=2)
        await database.execute("notify other, 'reload config'")
        await until(lambda: max_rows_is(running, 2))
        running.write(db_channel_enabled=False, db_max_rows=3)
        await database.execute("notify other, 'reload config'")
        await until(lambda: max_rows_is(running, 3))

        async def is_ready() -> bool:
            return running.app.ready

        await until(is_ready)
        listening = "select pid from pg_stat_activity where query like 'LISTEN %'"

        async def nobody_listens() -> bool:
            connection = await asyncpg.connect(database.superuser)
            try:
                found = await connection.fetch(f"{listening} and datname = current_database()")
            finally:
                await connection.close()
            return not found

        await until(nobody_listens)


async def test_who_follows_is_told_of_changes_only(
    database: Database, run_app: RunApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with run_app() as running:
        told: list[int | None] = []
        running.app.follow(lambda settings: told.append(settings.db_max_rows))
        await running.app.reload(BOTH)
        running.write(db_max_rows=1)
        await running.app.reload(BOTH)
        assert told == [None, 1]
        assert caplog.text.count("Settings reloaded") == 1


async def test_prepared_statements_can_be_turned_off_and_on(
    database: Database, run_app: RunApp
) -> None:
    await database.execute(
        "create function v1.prepared() returns boolean language sql as"
        " 'select exists (select from pg_prepared_statements)'"
    )
    async with run_app(db_pool=1) as running:
        for prepares in (True, False, True):
            running.write(db_prepared_statements=prepares)
            await running.app.reload(BOTH)
            # The first request may be the one that prepares.
            await running.get("/rpc/prepared")
            assert (await running.get("/rpc/prepared")).body is prepares
            assert running.app.pool.stats.idle == 1
