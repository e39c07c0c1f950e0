"""Purging on demand: what an operator or a deployment script wants forgotten.

In: a request's body: `{"tables": ["api.items"]}`, `{"tags": ["prices"]}`, both, or
`{"all": true}`. Out: the tags to touch. A table stands for its partitions too; a view for
the answers that were made of it. Pure.
"""

from __future__ import annotations

import json

from proxy.lineage.effects import announced_tags
from proxy.schema_cache.facts import Facts

_KEYS = ("all", "tables", "tags")


class PurgeError(ValueError):
    """What is wrong with the request, as a sentence."""


def read_purge(body: bytes, facts: Facts | None) -> frozenset[str] | None:
    """The tags that `body` asks for, None for everything. Raises PurgeError."""
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise PurgeError("The body is no JSON") from error
    if not isinstance(asked, dict) or not asked or set(asked) - set(_KEYS):
        raise PurgeError(f"The body is to be an object with some of {', '.join(_KEYS)}")
    if asked.get("all", False) is not False:
        if asked["all"] is not True or len(asked) > 1:
            raise PurgeError("`all` is true, and then alone")
        return None
    tags = _names(asked, "tags")
    for table in _names(asked, "tables"):
        tags |= announced_tags(facts, table)
    return tags


def _names(asked: dict[str, object], key: str) -> frozenset[str]:
    names = asked.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PurgeError(f"`{key}` is to be an array of strings")
    return frozenset(names)
