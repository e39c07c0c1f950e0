"""The schema changes while an app serves it."""

from __future__ import annotations

import asyncio
import time

import pytest

from pool import Pool
from pool.model import Transaction
from proxy.app.reloads import BOTH
from proxy.schema_cache.fingerprint import fingerprint_statement
from proxy.schema_cache.load import CacheOptions
from proxy.schema_cache.queries import SETTINGS
from tests.reload.conftest import Database, RunApp, RunningApp
from tests.waiting import until

ADD = "create table v1.added (id int primary key, item int references v1.items)"


async def served(running: RunningApp, target: str) -> bool:
    return (await running.get(target)).status == 200


@pytest.mark.parametrize("payload", ["reload schema", ""])
async def test_a_notification_reloads_the_schema(
    database: Database, run_app: RunApp, payload: str
) -> None:
    async with run_app(db_reload_on_miss_interval=0) as running:
        await database.execute(ADD)
        assert (await running.get("/added")).status == 404
        notified = time.monotonic()
        await database.execute(f"notify pgrst, '{payload}'")
        await until(lambda: served(running, "/added?select=*,items(name)"))
        assert time.monotonic() - notified < 2


async def test_other_notifications_do_nothing(database: Database, run_app: RunApp) -> None:
    async with run_app(db_channel="mine") as running:
        loads = running.app.schema_loads.succeeded
        await database.execute("notify pgrst, 'reload schema'; notify mine, 'hello'")
        await database.execute("notify mine, 'reload schema'")

        async def loaded() -> bool:
            return running.app.schema_loads.succeeded == loads + 1

        await until(loaded)
        await asyncio.sleep(0.3)
        assert await loaded()


async def test_nobody_listens_when_told_not_to(database: Database, run_app: RunApp) -> None:
    async with run_app(db_channel_enabled=False, db_reload_on_miss_interval=0) as running:
        assert running.app.ready
        await database.execute(ADD)
        await database.execute("notify pgrst")
        await asyncio.sleep(0.3)
        assert (await running.get("/added")).status == 404


async def test_a_burst_of_ddl_is_two_reloads(database: Database, run_app: RunApp) -> None:
    async with run_app(db_reload_on_miss_interval=0) as running:
        loads = running.app.schema_loads.succeeded
        await database.execute_each(
            *(f"create table v1.t{n} (id int); notify pgrst" for n in range(50))
        )
        await until(lambda: served(running, "/t49"))
        await asyncio.sleep(0.3)
        # Two, unless the burst took longer than what is waited for its end.
        assert 1 <= running.app.schema_loads.succeeded - loads <= 3


async def test_a_reload_that_fails_leaves_the_old_schema_serving(
    database: Database, run_app: RunApp
) -> None:
    async with run_app(db_reload_on_miss_interval=0) as running:
        running.write(db_schemas="v1, later")

        async def has_failed() -> bool:
            return running.app.schema_loads.failed > 0

        running.app.ask_reload(BOTH)
        await until(has_failed)
        assert (await running.get("/things", accept_profile="v2")).status == 200
        assert (await running.get("/items", accept_profile="later")).status == 406
        await database.execute("create schema later; grant usage on schema later to web_anon")
        await database.execute("create table later.found (id int)")

        async def is_served() -> bool:
            return (await running.get("/found", accept_profile="later")).status == 200

        # By itself: the reload that failed is still owed.
        await until(is_served, seconds=20)
        assert (await running.get("/things", accept_profile="v2")).status == 406


async def test_a_column_may_change_its_type(database: Database, run_app: RunApp) -> None:
    """Statements prepared before know the old types of their parameters."""
    async with run_app(db_pool=1, db_reload_on_miss_interval=0) as running:
        assert (await running.get("/items?id=eq.1")).status == 200
        assert (await running.get("/items?name=eq.1")).status == 200
        await database.execute(
            "alter table v1.items alter id type bigint;"
            "alter table v1.items alter name type int using id; notify pgrst"
        )
        await until(lambda: served(running, "/items?id=eq.3000000000"))
        assert (await running.get("/items?name=eq.1")).body == [{"id": 1, "name": 1}]


async def test_a_type_made_anew_is_found_out_by_itself(
    database: Database, run_app: RunApp
) -> None:
    async with run_app(
        db_pool=1, db_channel_enabled=False, db_reload_on_miss_interval=1
    ) as running:
        assert (await running.get("/items?name=eq.one")).status == 200
        await database.execute(
            "create type v1.word as enum ('one', 'two');"
            "alter table v1.items alter name type v1.word using name::v1.word"
        )
        await until(lambda: served(running, "/items?name=eq.one"))


async def test_the_roles_settings_come_with_either_reload(
    database: Database, run_app: RunApp
) -> None:
    role = f"role_of_{database.name}"
    await database.execute(
        f"create role {role}; grant {role} to {database.name};"
        f" grant usage on schema v1 to {role};"
        "create function v1.timeout() returns text language sql as"
        " $$select current_setting('statement_timeout')$$;"
    )
    async with run_app(db_anon_role=role) as running:
        assert (await running.get("/rpc/timeout")).body == "0"
        await database.execute(f"alter role {role} set statement_timeout = '3s'")

        async def shows(value: str) -> bool:
            return bool((await running.get("/rpc/timeout")).body == value)

        await database.execute("notify pgrst, 'reload config'")
        await until(lambda: shows("3s"))
        await database.execute(f"alter role {role} set statement_timeout = '4s'")
        await database.execute("notify pgrst, 'reload schema'")
        await until(lambda: shows("4s"))
    await database.execute(f"drop owned by {role}; drop role {role}")


async def test_hoisted_settings_and_isolation_come_with_the_schema(
    database: Database, run_app: RunApp
) -> None:
    make = (
        "create or replace function v1.level() returns text language sql {} as"
        " $$select current_setting('transaction_isolation')$$"
    )
    await database.execute(make.format(""))
    async with run_app() as running:
        assert (await running.get("/rpc/level")).body == "read committed"
        await database.execute(
            make.format("set default_transaction_isolation = 'serializable'") + "; notify pgrst"
        )

        async def is_serializable() -> bool:
            return bool((await running.get("/rpc/level")).body == "serializable")

        await until(is_serializable)


# --- without any notification -------------------------------------------------------------


@pytest.mark.parametrize(
    "ddl, method, target, body, status",
    [
        (ADD, "GET", "/added", None, 200),
        (ADD, "GET", "/items?select=*,added(id)", None, 200),
        (ADD, "GET", "/added?select=items(name)", None, 200),
        (
            "create function v1.new_one(a int) returns int language sql as 'select a'",
            "POST",
            "/rpc/new_one",
            {"a": 1},
            200,
        ),
        ("alter table v1.items add price int", "POST", "/items", {"id": 2, "price": 3}, 201),
        ("alter table v1.items rename name to title", "GET", "/items?select=title", None, 200),
        ("alter table v1.items rename name to title", "GET", "/items?select=name", None, 400),
        (
            "alter table v1.items rename name to title",
            "PATCH",
            "/items?id=eq.1&columns=title",
            {"title": "x"},
            204,
        ),
        ("drop table v1.items", "GET", "/items", None, 404),
        ("alter table v1.items alter name type jsonb using '1'", "GET", "/items", None, 200),
        (
            "alter table v1.items alter id type text",
            "POST",
            "/items",
            {"id": "two", "name": "x"},
            201,
        ),
    ],
)
async def test_a_request_that_meets_a_new_schema_is_tried_again(
    database: Database,
    run_app: RunApp,
    ddl: str,
    method: str,
    target: str,
    body: object,
    status: int,
) -> None:
    async with run_app(db_channel_enabled=False, db_reload_on_miss_interval=1) as running:
        # Statements of the old schema are prepared, and some time has passed.
        assert (await running.get("/items")).status == 200
        await asyncio.sleep(1.05)
        await database.execute(ddl)
        found = await running.send(method, target, body, content_type="application/json")
        assert found.status == status, found


async def test_a_function_that_was_renamed_is_found_by_its_new_name_only(
    database: Database, run_app: RunApp
) -> None:
    await database.execute("create function v1.f() returns int language sql as 'select 1'")
    async with run_app(db_channel_enabled=False, db_reload_on_miss_interval=1) as running:
        assert (await running.get("/rpc/f")).status == 200
        await asyncio.sleep(1.05)
        await database.execute("alter function v1.f rename to g")
        old, new = await asyncio.gather(running.get("/rpc/f"), running.get("/rpc/g"))
        assert (old.status, old.body["code"], new.status) == (404, "PGRST202", 200)


async def test_typing_errors_do_not_reload_the_schema(
    database: Database, run_app: RunApp
) -> None:
    async with run_app(db_channel_enabled=False, db_reload_on_miss_interval=1) as running:
        loads = running.app.schema_loads.succeeded
        ends = asyncio.get_running_loop().time() + 1.5
        while asyncio.get_running_loop().time() < ends:
            found = await asyncio.gather(*(running.get(f"/x{n}") for n in range(20)))
            assert {answer.body["code"] for answer in found} == {"PGRST205"}
        assert running.app.schema_loads.succeeded == loads


async def test_a_schema_that_changes_all_the_time_is_read_once_in_the_interval(
    database: Database, run_app: RunApp
) -> None:
    async with run_app(db_channel_enabled=False, db_reload_on_miss_interval=1) as running:
        loads = running.app.schema_loads.succeeded
        began = asyncio.get_running_loop().time()
        number = 0
        while asyncio.get_running_loop().time() < began + 2.5:
            number += 1
            await database.execute(f"create table v1.c{number} ()")
            await asyncio.gather(*(running.get(f"/y{n}") for n in range(10)))
        assert number > 5
        assert 1 <= running.app.schema_loads.succeeded - loads <= 2


async def test_the_second_try_can_be_turned_off(database: Database, run_app: RunApp) -> None:
    async with run_app(db_channel_enabled=False, db_reload_on_miss_interval=0) as running:
        await database.execute(ADD)
        assert (await running.get("/added")).status == 404


# --- telling whether the schema has changed -----------------------------------------------


async def fingerprint(pool: Pool) -> bytes:
    statement = fingerprint_statement(CacheOptions(("v1", "later"), ("v2",)))
    return bytes((await pool.run(Transaction(statement, settings=SETTINGS))).rows[0][0])


CHANGES = [
    "alter table v1.items add note text",
    "alter table v1.items rename name to title",
    "alter table v1.items alter name type varchar(20)",
    "alter table v1.items rename to things",
    "drop table v1.items",
    "create table v1.other (id int)",
    "create view v1.seen as select * from v1.items",
    "alter table v1.items drop constraint items_pkey",
    "alter table v1.items add unique (name)",
    "create table v1.child (id int references v1.items)",
    "create function v1.f() returns int language sql as 'select 1'",
    "create schema later",
    "create table v2.more (id int)",
]
NO_CHANGES = [
    "insert into v1.items values (2, 'two'); delete from v1.items where id = 2",
    "analyze v1.items",
    "vacuum (analyze) v1.items",
    "create temp table passing (id int)",
    "create schema elsewhere",
    "select 1",
]


@pytest.mark.parametrize(
    "sql, changes", [(sql, True) for sql in CHANGES] + [(sql, False) for sql in NO_CHANGES]
)
async def test_what_changes_the_fingerprint(
    database: Database, sql: str, changes: bool
) -> None:
    pool = Pool(database.dsn, size=1)
    try:
        before = await fingerprint(pool)
        await database.execute(sql)
        assert (await fingerprint(pool) != before) is changes
    finally:
        await pool.close()
