"""Reading what is to be purged."""

from __future__ import annotations

import pytest

from proxy.cache.purge import PurgeError, read_purge
from proxy.schema_cache.model import SchemaCache


@pytest.mark.parametrize(
    "body, tags",
    [
        (b'{"all": true}', None),
        (b'{"tables": ["api.plain"]}', {"api.plain"}),
        (
            b'{"tables": ["api.parent"], "tags": ["prices"]}',
            {"api.parent", "api.child", "prices"},
        ),
        (b'{"tags": ["api.parent"]}', {"api.parent"}),
        (b'{"tables": []}', set()),
        (b'{"tables": ["no.such"]}', {"no.such"}),
    ],
)
def test_what_is_purged(dependent: SchemaCache, body: bytes, tags: set[str] | None) -> None:
    purged = read_purge(body, dependent.facts)
    assert (None if purged is None else set(purged)) == tags


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"table": []}',
        b'{"tables": "api.plain"}',
        b'{"tags": [1]}',
        b'{"all": 1}',
        b'{"all": true, "tags": []}',
        b"\xff",
    ],
)
def test_what_makes_no_sense(body: bytes) -> None:
    with pytest.raises(PurgeError):
        read_purge(body, None)
