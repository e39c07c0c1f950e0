"""What writes change, over a real PostgreSQL's catalogs."""

from __future__ import annotations

import pytest

from proxy.lineage.effects import announced_tags, relation_effects, write_tags
from proxy.schema_cache.model import QualifiedName, SchemaCache
from tests.cache.conftest import MakePlan

_EVENTS = ("events", "hidden.events_1", "hidden.events_2", "hidden.events_2a")
_UPSERT = "resolution=merge-duplicates"


def _tags(*names: str) -> frozenset[str]:
    return frozenset(name if "." in name else f"api.{name}" for name in names)


@pytest.mark.parametrize(
    "request_line, body, expected",
    [
        ("POST /plain", '{"id":1}', ["plain"]),
        ("PATCH /plain?id=eq.1", '{"name":"x"}', ["plain"]),
        ("DELETE /plain?id=eq.1", "", ["plain", "other", "grand", "plain_tag"]),
        ("PUT /plain?id=eq.1", '{"id":1}', ["plain"]),
        ("DELETE /other?id=eq.1", "", ["other", "grand"]),
        ("DELETE /strict", "", ["strict"]),
        ("PATCH /code?code=eq.a", '{"code":"b"}', ["code", "coded"]),
        ("DELETE /code", "", ["code"]),
        ("POST /events", '{"id":1}', _EVENTS),
        ("DELETE /events", "", [*_EVENTS, "note"]),
        ("POST /child", '{"id":1}', ["child"]),
        ("DELETE /parent", "", ["parent", "child"]),
        ("POST /v1", '{"id":1}', ["v1", "plain"]),
        ("DELETE /v1", "", ["v1", "plain", "other", "grand", "plain_tag"]),
        ("PATCH /counted", '{"name":"x"}', ["counted", "plain", "code", "coded"]),
        ("POST /instead", '{"id":1}', ["instead", "code", "coded"]),
        ("DELETE /instead", "", ["instead", "plain", "other", "grand", "plain_tag"]),
        ("POST /touched", '{"id":1}', ["touched"]),
        ("PATCH /touched", '{"id":1}', ["touched"]),
        ("POST /well_logged", '{"id":1}', ["well_logged", "code", "coded"]),
        ("POST /silenced", '{"id":1}', ["silenced"]),
        ("DELETE /logged", "", ["logged"]),
        ("POST /numbered", "{}", ["numbered"]),
        ("POST /own", '{"id":1}', ["own"]),
        ("POST /opaque", '{"id":1}', ["opaque"]),
        ("DELETE /ruled", "", ["ruled"]),
        ("POST /ruled", '{"id":1}', ["ruled", "code", "coded"]),
        ("POST /rpc/far_away", "{}", ["tag"]),
        ("POST /tangled", '{"id":1}', ["tangled", "tag"]),
        ("PATCH /stamped", '{"id":1}', ["stamped"]),
        ("POST /well_far", '{"id":1}', ["well_far", "code", "coded"]),
        ("POST /source", '{"id":1}', ["source", "fresh", "tag"]),
        ("POST /rpc/plain_change", "{}", ["plain", "other", "grand", "plain_tag"]),
        ("POST /rpc/declared_change", "{}", ["plain", "other", "grand", "plain_tag"]),
        ("POST /rpc/atomic_change", "{}", ["code", "coded"]),
        ("POST /rpc/declared", "{}", []),
        ("GET /plain", "", []),
        ("GET /rpc/declared", "", []),
        ("GET /rpc/change", "", []),
    ],
)
def test_tags(
    dependent: SchemaCache, plan: MakePlan, request_line: str, body: str, expected: list[str]
) -> None:
    method, _, target = request_line.partition(" ")
    assert write_tags(plan(target, method, body), dependent) == _tags(*expected)


@pytest.mark.parametrize(
    "request_line, body",
    [
        ("POST /logged", '{"id":1}'),
        ("DELETE /root", ""),
        ("POST /defaulted", "{}"),
        ("POST /obscured", "{}"),
        ("POST /dialled", '{"id":1}'),
        ("POST /far", '{"id":1}'),
        ("POST /rpc/change", "{}"),
    ],
)
def test_writes_that_may_change_anything(
    dependent: SchemaCache, plan: MakePlan, request_line: str, body: str
) -> None:
    method, _, target = request_line.partition(" ")
    assert write_tags(plan(target, method, body), dependent) is None


def test_an_upsert_updates_too(dependent: SchemaCache, plan: MakePlan) -> None:
    upsert = plan("/code", "POST", '{"code":"a"}', prefer=_UPSERT)
    assert write_tags(upsert, dependent) == _tags("code", "coded")
    insert = plan("/code", "POST", '{"code":"a"}')
    assert write_tags(insert, dependent) == _tags("code")


@pytest.mark.parametrize(
    "name, expected",
    [
        (QualifiedName("api", "pre"), None),
        (QualifiedName("", "missing"), None),
        (QualifiedName("", "calm_pre"), _tags("plain")),
        (QualifiedName("api", "calm_pre"), _tags("plain")),
        (QualifiedName("api", "setting_pre"), _tags("plain")),
    ],
)
def test_the_function_that_runs_first_may_write_too(
    dependent: SchemaCache, plan: MakePlan, name: QualifiedName, expected: frozenset[str] | None
) -> None:
    assert write_tags(plan("/plain", "POST", '{"id":1}'), dependent, name) == expected
    assert not write_tags(plan("/plain"), dependent, name)


def test_without_facts_a_write_may_change_anything(plan: MakePlan) -> None:
    assert write_tags(plan("/plain", "DELETE"), SchemaCache()) is None


def test_what_is_announced_concerns_partitions_too(dependent: SchemaCache) -> None:
    facts = dependent.facts
    assert facts is not None
    assert announced_tags(facts, "api.events") == _tags(*_EVENTS)
    assert announced_tags(facts, "hidden.events_2") == _tags(
        "hidden.events_2", "hidden.events_2a"
    )
    assert announced_tags(facts, "anything") == {"anything"}
    assert announced_tags(facts, "api.x.y") == {"api.x.y", "api.x.y.1"}
    assert announced_tags(facts, "a.b.c.d") == {"a.b.c.d"}
    assert relation_effects(facts, QualifiedName("api", "root")) is None
