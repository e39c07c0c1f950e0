"""All that is made of some hundred requests, as text: `python -m tests.cache.made DSN`.

Statements, settings, responses and keys over the planner's sample, and what reads and writes
depend on in the database of `dependencies.sql`. Nothing in it may depend on the process.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from pool.model import Outcome, Transaction
from proxy.auth.model import Identity
from proxy.cache.freshness import Lifetimes
from proxy.cache.headers import policy_headers
from proxy.cache.key import key_of
from proxy.cache.notify import Announcement, payload_of
from proxy.cache.trigger_sql import trigger_script, watched
from proxy.cache_rules.policy import Policy
from proxy.lineage.dependencies import dependencies
from proxy.lineage.effects import relation_effects, write_tags
from proxy.observability.record import Record
from proxy.pipeline import answer
from proxy.plan.planner import PlanRules, plan_request
from proxy.request.api_request import RequestRules, read_api_request
from proxy.request.model import Headers, HttpRequest
from proxy.request.request_headers import caching_headers
from proxy.schema_cache.model import SchemaCache
from tests.apps_of_one_state import AppOfOneState
from tests.cache.conftest import load
from tests.speed.cost import ROW, state_for

_REQUESTS: Final = 300
_EMBEDS: Final = "id,name,projects(id,tasks(id)),kept:projects(id)"
_PARAMETERS: Final = (
    *("projects.limit=1", '"projects".limit=2', "kept.limit=3", "kept.offset=1", "limit=4"),
    *("projects.tasks.limit=1", 'projects."tasks".offset=2', "offset=1", "order=name.desc"),
    *("projects.order=id", "kept.order=id.desc", "kept.id=eq.1", "or=(id.eq.1,name.eq.a)"),
    *("and=(id.gt.1,name.neq.b)", "id=in.(1,2)", "name=like.a*", "kept=not.is.null", "id=x.1"),
    *("nothing.id=eq.1", "a=1", "b=2", "c=3", "client=1", "v=1", "v=2", "name=x"),
)
_PATHS: Final = (
    *("/clients", "/tasks", "/rpc/add", "/rpc/projects_of", "/rpc/total", "/rpc/greet", "/"),
    *("/rpc/same", "/rpc/ad", "/client", "/orders"),
)
_LINES: Final = (
    (b"prefer", b"count=exact, handling=strict, b=1, a=2"),
    (b"prefer", b"return=representation, missing=default"),
    (b"prefer", b"resolution=merge-duplicates"),
    (b"accept", b"text/csv, application/json"),
    (b"accept", b"image/png, text/xml"),
    (b"range", b"0-1"),
    (b"x-other", b"1"),
)
_INSPECTED: Final = '{"description":null,"tables":["clients","tasks","orders"]}'
_IDENTITY: Final = Identity("a", '{"sub":"x","role":"a","jti":"1","app":{}}', True)


def requests() -> Iterator[HttpRequest]:
    """The same whenever and wherever."""
    random = Random(15)
    for _ in range(_REQUESTS):
        path = random.choice(_PATHS)
        parameters = random.sample(_PARAMETERS, random.randrange(6))
        if path == "/clients" and random.random() < 0.8:
            parameters.append(f"select={_EMBEDS}")
        lines: Headers = tuple(random.sample(_LINES, random.randrange(4)))
        method, body = random.choice(("GET", "GET", "HEAD", "POST", "PATCH", "OPTIONS")), b""
        if method in ("POST", "PATCH"):
            names = random.sample(("id", "name", "project_id", "a", "b", "c", "zz"), 4)
            lines = (*lines, (b"content-type", b"application/json"))
            body = json.dumps(dict.fromkeys(names, 1)).encode()
        yield HttpRequest(method, path.encode(), "&".join(parameters).encode(), lines, body)


async def _over_the_sample() -> Iterator[Any]:
    state = state_for(recognises=False)
    made: list[Any] = []
    row = ROW | {0: _INSPECTED}

    async def run(transaction: Transaction) -> Outcome:
        made.append(re.sub(" at 0x[0-9a-f]+", "", repr(transaction)))
        return Outcome([row], (), kept=True)

    for http in requests():
        response = await answer(AppOfOneState(state, run), http, Record())
        key = key_of(http, caching_headers(http.headers), "claims", _IDENTITY)
        made.append((http.method, http.path, http.query, response, key))
    return iter(made)


def _over_the_database(cache: SchemaCache) -> Iterator[Any]:
    facts = cache.facts
    assert facts is not None
    for name in sorted(cache.tables):
        target = f"/{name.name}".encode()
        for method, body in (("GET", b""), ("POST", b"[]"), ("DELETE", b"")):
            http = HttpRequest(method, target, b"", (), body)
            request = read_api_request(http, RequestRules(("api",)))
            plan = plan_request(request, cache, PlanRules()).plan
            found, tags = dependencies(plan, cache), write_tags(plan, cache)
            yield (
                method,
                name,
                found.unknown,
                sorted(found.tags),
                sorted(found.traits),
                sorted(found.unannounced),
                sorted(found.reached),
                payload_of(Announcement(tags, "me")),
                policy_headers(Policy(1, scope="public"), Lifetimes(1.0), found.tags),
            )
        effects = relation_effects(facts, name)
        yield None if effects is None else sorted(effects)
    yield trigger_script(
        watched(facts, cache.tables), schema="api", channel="c", server_version=180000
    )


async def main(dsn: str) -> None:
    sys.stdout.writelines(f"{each!r}\n" for each in await _over_the_sample())
    sys.stdout.writelines(f"{each!r}\n" for each in _over_the_database(await load(dsn)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
