"""Vectors of versions: what changes them, in this process and in others."""

from __future__ import annotations

import os
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache import versions as module
from proxy.cache.versions import Slots, Versions

A = frozenset(("api.a",))
AB = frozenset(("api.a", "api.b"))
B = frozenset(("api.b",))

_names = st.frozensets(st.sampled_from([f"s.t{n}" for n in range(8)]))


def test_nothing_has_changed_before_a_write() -> None:
    versions = Versions()
    assert versions.unchanged(AB, versions.vector(AB))


def test_a_write_changes_what_was_made_of_its_tables_only() -> None:
    versions = Versions()
    before = {tags: versions.vector(tags) for tags in (A, B, AB)}
    versions.touch(A)
    assert not versions.unchanged(A, before[A])
    assert not versions.unchanged(AB, before[AB])
    assert versions.unchanged(B, before[B])
    assert versions.unchanged(A, versions.vector(A))


def test_touching_everything_changes_even_what_depends_on_nothing() -> None:
    versions = Versions()
    nothing: frozenset[str] = frozenset()
    before = versions.vector(nothing)
    versions.touch(A)
    assert versions.unchanged(nothing, before)
    versions.touch_all()
    assert not versions.unchanged(nothing, before)


def test_nothing_holds_while_writes_elsewhere_go_unheard() -> None:
    versions = Versions()
    before = versions.vector(A)
    versions.trusted = False
    assert not versions.unchanged(A, before)
    assert not versions.unchanged(A, versions.vector(A))


@given(st.lists(_names), _names, _names)
def test_a_vector_holds_unless_a_tag_of_its_own_was_touched(
    history: list[frozenset[str]], read: frozenset[str], written: frozenset[str]
) -> None:
    versions = Versions()
    for tags in history:
        versions.touch(tags)
    before = versions.vector(read)
    versions.touch(written)
    # Tags may share a slot, but not those of this small set.
    assert versions.unchanged(read, before) == (not read & written)


def test_a_doubt_lasts_whatever_is_written_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Versions()
    monkeypatch.setattr(module, "SETTLED", 0.05)
    before = versions.vector(B)
    versions.doubt(A)
    began = time.monotonic()
    while not versions.unchanged(AB, versions.vector(AB)):
        versions.touch(A)
        assert time.monotonic() - began < 5
    assert time.monotonic() - began > 0.04
    assert versions.unchanged(B, before)


def test_a_doubt_about_everything_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Versions()
    monkeypatch.setattr(module, "SETTLED", 0.0)
    before = versions.vector(A)
    versions.doubt(None)
    assert not versions.unchanged(A, before)
    assert versions.unchanged(A, versions.vector(A))


def test_a_short_doubt_leaves_a_longer_one_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Versions()
    versions.doubt(A)
    monkeypatch.setattr(module, "SETTLED", 0.0)
    versions.doubt(A)
    assert not versions.unchanged(A, versions.vector(A))


def test_a_death_puts_all_databases_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots()
    both = [Versions(slots, f"h:1/{name}", name) for name in "ab"]
    before = [versions.vector(A) for versions in both]
    monkeypatch.setattr(module, "SETTLED_AFTER_DEATH", 0.05)
    slots.doubt_all()
    for versions, vector in zip(both, before, strict=True):
        assert not versions.unchanged(A, vector)
        assert not versions.unchanged(A, versions.vector(A))
    began = time.monotonic()
    while not both[0].unchanged(A, both[0].vector(A)):
        assert time.monotonic() - began < 5
    assert both[1].unchanged(B, both[1].vector(B))
    assert not both[1].unchanged(A, before[1])


def test_apps_on_one_database_share_its_versions() -> None:
    slots = Slots()
    one, same, other = (Versions(slots, f"h:1/{name}", app) for name, app in ("ap", "aq", "br"))
    assert one.identity == same.identity != other.identity
    before = [versions.vector(A) for versions in (one, other)]
    same.touch(A)
    assert not one.unchanged(A, before[0])
    assert other.unchanged(A, before[1])
    same.touch_all()
    assert not one.unchanged(B, before[0])
    assert other.unchanged(A, before[1])


def test_an_app_shares_them_however_its_database_is_written() -> None:
    """Such as with the one that it replaces, which still ends what it began."""
    slots = Slots()
    one, same = (Versions(slots, f"{host}:1/a", "shop") for host in ("h", "127.0.0.1"))
    for write in (partial(same.touch, A), same.touch_all, partial(same.doubt, A)):
        before = one.vector(A)
        assert one.unchanged(A, before)
        write()
        assert not one.unchanged(A, before)
    # Other servers can't tell; what the two announce they must hear from each other.
    assert one.identity != same.identity


def test_processes_forked_later_see_each_other_at_once() -> None:
    versions = Versions()
    before, other = versions.vector(A), versions.vector(B)
    pid = os.fork()
    if pid == 0:
        versions.touch(A)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not versions.unchanged(A, before)
    assert versions.unchanged(B, other)
