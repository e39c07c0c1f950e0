"""request.header.NAME and its like, as PostgREST set them up to version 11."""

from __future__ import annotations

import json
import time

import jwt

from tests.reload.conftest import Answer, Database, RunApp, RunningApp

SECRET = "a secret for tests that is long enough"
FUNCTION = """
create function v1.setting(name text) returns text language sql stable as
    'select current_setting(name, true)'
"""


async def setting(running: RunningApp, name: str, **headers: str) -> object:
    answer: Answer = await running.get(f"/rpc/setting?name={name}", **headers)
    assert answer.status == 200, answer
    return answer.body


def token(**claims: object) -> str:
    payload = {"role": "web_anon", "exp": int(time.time()) + 600, **claims}
    return "Bearer " + jwt.encode(payload, SECRET, "HS256")


async def test_off_by_default(database: Database, run_app: RunApp) -> None:
    await database.execute(FUNCTION)
    async with run_app() as running:
        assert not await setting(running, "request.header.accept", accept="*/*")
        assert not await setting(running, "request.jwt.claim.role")


async def test_each_claim_header_and_cookie_is_a_setting(
    database: Database, run_app: RunApp
) -> None:
    await database.execute(FUNCTION)
    async with run_app(db_use_legacy_gucs=True, jwt_secret=SECRET) as running:
        headers = {
            "authorization": token(
                sub="ada", age=36, tags=["a", "é"], nothing=None, **{"app.name": "x"}
            ),
            "accept": "*/*",
            "cookie": "theme=dark; id=1",
        }
        expected = {
            "request.jwt.claim.sub": "ada",
            "request.jwt.claim.role": "web_anon",
            "request.jwt.claim.age": "36",
            "request.jwt.claim.tags": '["a", "é"]',
            "request.jwt.claim.nothing": "null",
            "request.jwt.claim.app.name": "x",
            "request.header.accept": "*/*",
            "request.cookie.theme": "dark",
            "request.cookie.id": "1",
        }
        found = {name: await setting(running, name, **headers) for name in expected}
        assert found == expected
        # The JSON ones are there as well.
        whole = await setting(running, "request.jwt.claims", **headers)
        assert json.loads(str(whole))["sub"] == "ada"
        assert await setting(running, "request.jwt.claim.role") == "web_anon"


async def test_what_postgresql_refuses_is_left_out(database: Database, run_app: RunApp) -> None:
    await database.execute(FUNCTION)
    claims = {"": 1, "a-b": 1, "1a": 1, "a..b": 1, "a b": 1, 'a"b': 1, "a.": 1, "nul": "x\0y"}
    cookies = "; ".join(["a-b=1", "2=3", "=4", "$x=5", "ok$=6", "ünï=7", "x;y=8"])
    async with run_app(db_use_legacy_gucs=True, jwt_secret=SECRET) as running:
        headers = {
            "authorization": token(**claims, plain="yes"),
            "user_agent": "tests",
            "cookie": cookies,
        }
        assert await setting(running, "request.jwt.claim.plain", **headers) == "yes"
        assert await setting(running, "request.cookie.ok$", **headers) == "6"
        assert await setting(running, "request.cookie.%C3%BCn%C3%AF", **headers) == "7"
        assert not await setting(running, "request.header.user-agent", **headers)


async def test_thousands_of_them_do_no_harm(database: Database, run_app: RunApp) -> None:
    await database.execute(FUNCTION)
    async with run_app(db_use_legacy_gucs=True) as running:
        cookie = "; ".join(f"c{n}={n}" for n in range(5000))
        assert await setting(running, "request.cookie.c150", cookie=cookie) == "150"
        whole = await setting(running, "request.cookies", cookie=cookie)
        assert len(json.loads(str(whole))) == 5000
