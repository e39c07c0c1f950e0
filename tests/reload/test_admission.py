"""A request that was let in before a reload, whose body comes after it."""

from __future__ import annotations

import pytest

from proxy.app.reloads import BOTH
from proxy.errors import ApiError
from proxy.observability.record import Record
from tests.reload.conftest import Database, RunApp, answer_of, request_for
from tests.reload.test_settings import NEW_SECRET, OLD_SECRET, bearer

ITEM = {"id": 2, "name": "two"}


async def test_what_was_settled_before_the_body_stays(
    database: Database, run_app: RunApp
) -> None:
    async with run_app(jwt_secret=OLD_SECRET) as running:
        app = running.app
        request = request_for("POST", "/items", ITEM, authorization=bearer(OLD_SECRET))
        record = Record()
        answer = await app.admit(request, record)
        running.write(jwt_secret=NEW_SECRET, db_schemas="v2")
        await app.reload(BOTH)
        with pytest.raises(ApiError, match="key"):
            await app.admit(request, Record())
        assert answer_of(await answer(request, record)).status == 201
        assert record.role == "web_anon"
        later = await running.get("/things", authorization=bearer(NEW_SECRET))
        assert (later.status, later.body) == (200, [{"id": 7}])


async def test_a_former_state_leaves_what_is_kept_alone(
    database: Database, run_app: RunApp
) -> None:
    policy = "comment on table v1.items is '@cache max-age=600 scope=public'"
    await database.execute(policy)
    async with run_app() as running:
        app = running.app
        sent = request_for("QUERY", "/items", content_type="application/x-www-form-urlencoded")
        former = await app.admit(sent, Record())
        await app.reload(BOTH)
        for expected in ("fwd=miss", "hit"):
            assert expected in (await running.get("/items")).headers["cache-status"]
        asked = answer_of(await former(sent, Record()))
        assert asked.status == 200
        assert "hit" in (await running.get("/items")).headers["cache-status"]
