"""Writes of which nobody can say whether they were committed: what is kept is not trusted."""

from __future__ import annotations

import httpx
import pytest

from tests.cache.served.conftest import Sql
from tests.cache.served.test_serving import fresh, status_of
from tests.conftest import MakeToken
from tests.http.processes import ServerProcess
from tests.waiting import until

_STUBBORN = """
create table api.stubborn (id integer primary key, body text not null);
insert into api.stubborn values (1, 'before');
grant select, update on api.stubborn to web_anon, web_user;
comment on table api.stubborn is '@cache max-age=600 scope=public';
create function public.take_time() returns trigger language plpgsql as $$
begin
    -- Whatever asks it to end, it goes on, as a COMMIT does that waits for a standby.
    for turn in 1..8 loop
        begin
            perform pg_sleep(0.25);
        exception when query_canceled then null;
        end;
    end loop;
    return null;
end $$;
create constraint trigger late after update on api.stubborn
    deferrable initially deferred for each row execute function public.take_time();
notify pgrst;
"""


@pytest.fixture
def stubborn(sql: Sql) -> None:
    """A table whose writes can't be cancelled any more once they are about to be committed."""
    sql(_STUBBORN)


async def test_a_write_that_is_committed_after_its_deadline_outdates_what_it_touched(
    catalogue_server: ServerProcess, stubborn: None, token: MakeToken
) -> None:
    target = fresh("/stubborn?select=body")
    async with httpx.AsyncClient(base_url=catalogue_server.url, timeout=60) as client:

        async def kept() -> bool:
            answer = await client.get(target)
            return answer.status_code == 200 and "; hit" in status_of(answer)

        await until(kept)
        late = token("web_user") | {"x-request-timeout": "0.3"}
        answer = await client.patch("/stubborn?id=eq.1", json={"body": "after"}, headers=late)
        assert (answer.status_code, answer.json()["code"]) == (504, "EDGE504")

        async def committed() -> bool:
            newest = await client.get(target, headers={"cache-control": "no-store"})
            return bool(newest.json() == [{"body": "after"}])

        await until(committed)
        assert (await client.get(target)).json() == [{"body": "after"}]
