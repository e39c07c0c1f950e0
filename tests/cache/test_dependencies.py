"""What answers are made of, over a real PostgreSQL's catalogs."""

from __future__ import annotations

import pytest

from proxy.lineage.dependencies import dependencies, read_tags
from proxy.schema_cache.model import SchemaCache
from tests.cache.conftest import MakePlan


def _tags(*names: str) -> frozenset[str]:
    return frozenset(name if "." in name else f"api.{name}" for name in names)


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/plain", ["plain"]),
        ("/plain?id=eq.1&select=name", ["plain"]),
        ("/plain?select=id,other(id,grand(id))", ["plain", "other", "grand"]),
        ("/plain?select=id,tag(id)", ["plain", "tag", "plain_tag"]),
        ("/plain?select=id,...other(other:id)", ["plain", "other"]),
        ("/plain?select=id,other()&other=not.is.null", ["plain", "other"]),
        ("/events", ["events", "hidden.events_1", "hidden.events_2", "hidden.events_2a"]),
        ("/parent", ["parent", "child"]),
        ("/child", ["child"]),
        ("/v1", ["v1", "plain"]),
        ("/v2", ["v2", "v1", "plain", "other"]),
        ("/v1?select=id,other(id)", ["v1", "plain", "other"]),
        ("/counted", ["counted", "plain", "code"]),
        ("/on_mat", ["on_mat", "mat"]),
        ("/rpc/declared", ["plain", "prices"]),
        ("/rpc/of_view", ["v2", "v1", "plain", "other"]),
        ("/rpc/fixed", []),
        ("/rpc/atomic", ["v1", "plain"]),
        ("/on_declared", ["on_declared", "plain", "prices"]),
        ("/on_fixed", ["on_fixed", "plain"]),
        ("/plain?select=full_name", ["plain"]),
        ("/plain?select=id,declared_codes(code)", ["plain", "code"]),
        ("/own", ["own"]),
        ("/on_owned", ["on_owned", "own", "plain"]),
        ("/grouped", ["grouped", "code"]),
        ("/over_opaque", ["over_opaque", "opaque"]),
        ("/off", ["off"]),
        ("/rpc/dotted", ["api.x.y", "api.x.y.1", "a.b.c.d"]),
        ("/plain?select=price::text,n:price.sum()::bigint", ["plain"]),
    ],
)
def test_tags(dependent: SchemaCache, plan: MakePlan, target: str, expected: list[str]) -> None:
    assert read_tags(plan(target), dependent) == _tags(*expected)


@pytest.mark.parametrize(
    "target, reason",
    [
        ("/chance", "random"),
        ("/sampled", "TABLESAMPLE"),
        ("/crossed", "crosstab"),
        ("/catalog", "relation 1259"),
        ("/counter", "or a sequence"),
        ("/rpc/undeclared", "api.undeclared"),
        ("/on_undeclared", "api.undeclared"),
        ("/opaque", "auth.groups"),
        ("/by_other", "auth.groups"),
        ("/plain?select=ranked", "api.ranked"),
        ("/plain?ranked=gt.1", "api.ranked"),
        ("/plain?order=ranked", "api.ranked"),
        ("/plain?or=(id.eq.1,ranked.gt.1)", "api.ranked"),
        ("/other?select=id,plain(id)&order=plain(ranked)", "api.ranked"),
        ("/plain?select=id,codes(code)", "api.codes"),
        ("/plain?select=name::regclass", "a cast to regclass"),
        ("/", "it describes the schema"),
    ],
)
def test_what_must_not_be_kept(
    dependent: SchemaCache, plan: MakePlan, target: str, reason: str
) -> None:
    found = dependencies(plan(target), dependent)
    assert len(found.unknown) == 1
    assert reason in found.unknown[0]
    assert read_tags(plan(target), dependent) is None


@pytest.mark.parametrize(
    "target, traits",
    [
        # Functions run with the rights of the caller, whoever owns the view.
        ("/on_owned", ["claims", "role"]),
        ("/plain", []),
        ("/at_now", ["time"]),
        ("/zoned", ["time"]),
        ("/mine", ["role"]),
        ("/claimed", ["claims"]),
        ("/unrevoked", ["claims", "token"]),
        ("/anyone", ["claims", "token"]),
        ("/pathed", ["claims", "token"]),
        ("/sought", ["claims", "token"]),
        ("/wholes", ["claims", "token"]),
        ("/chosen", ["claims", "token"]),
        ("/nested", ["claims"]),
        ("/called", ["claims"]),
        ("/legacy", ["claims", "token"]),
        ("/unnamed", ["request"]),
        ("/operated", ["claims", "token"]),
        ("/passed", ["claims", "token"]),
        ("/returned", ["claims", "token"]),
        ("/procedural", ["claims", "token"]),
        ("/purely", []),
        ("/lying", ["claims", "token"]),
        ("/rpc/headed_declared", ["claims", "token", "request"]),
        ("/headed", ["request"]),
        ("/configured", []),
        ("/own", ["role", "claims"]),
        ("/grouped", ["role"]),
        ("/over_opaque", []),
        ("/off", []),
        ("/rpc/declared", ["claims", "token"]),
        ("/rpc/fixed", []),
        ("/plain?select=full_name", []),
    ],
)
def test_traits(dependent: SchemaCache, plan: MakePlan, target: str, traits: list[str]) -> None:
    found = dependencies(plan(target), dependent)
    assert found.traits == set(traits)
    assert not found.unknown


def test_changes_of_materialized_views_are_not_announced(
    dependent: SchemaCache, plan: MakePlan
) -> None:
    assert dependencies(plan("/on_mat"), dependent).unannounced == {"api.mat"}
    assert not dependencies(plan("/v2"), dependent).unannounced


def test_without_facts_nothing_is_known(plan: MakePlan) -> None:
    assert read_tags(plan("/plain"), SchemaCache()) is None
