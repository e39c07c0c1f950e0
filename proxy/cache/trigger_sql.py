"""SQL for triggers that tell of writes which don't come through edgerest.

In: the facts of a database and the relations that are exposed. Out: a script for `psql`, to
be run by the owner of the tables; a second run changes nothing. Statement triggers on every
table that reads depend on call one function, which announces the table (see
`proxy.cache.notify`): one notification per statement and table, however many rows. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from proxy.lineage.dependencies import relation_dependencies
from proxy.schema_cache.facts import Facts, RelationFacts
from proxy.schema_cache.model import QualifiedName
from proxy.sql.writer import identifier, literal, qualified

FUNCTION: Final = "edgerest_announce_write"
TRIGGER: Final = "edgerest_announce_write"

_REPLACE_TRIGGER: Final = 140000


@dataclass(frozen=True, slots=True)
class Watched:
    """`tables` get a trigger; of `unannounced` nobody can be told."""

    tables: tuple[RelationFacts, ...]
    unannounced: tuple[RelationFacts, ...]


def watched(facts: Facts, exposed: Iterable[QualifiedName]) -> Watched:
    """What reads of the relations `exposed`, and of what is embedded in them, depend on."""
    tags: set[str] = set()
    for name in exposed:
        tags |= relation_dependencies(facts, name).tags
    for function in facts.functions.values():
        tags |= function.reads or frozenset()
    found = sorted((r for r in facts.relations.values() if r.tag in tags), key=lambda r: r.name)
    return Watched(
        tuple(r for r in found if r.kind == "table"),
        tuple(r for r in found if r.kind in ("materialized view", "foreign table")),
    )


def trigger_script(found: Watched, *, schema: str, channel: str, server_version: int) -> str:
    """The script that makes the function in `schema`, and the triggers."""
    return "\n".join(_script(found, schema, channel, server_version))


def drop_script(*, schema: str) -> str:
    """The script that takes all of it away."""
    function = qualified(QualifiedName(schema, FUNCTION))
    return f"-- Its triggers go with it.\ndrop function if exists {function}() cascade;\n"


def _script(found: Watched, schema: str, channel: str, server_version: int) -> Iterator[str]:
    function = qualified(QualifiedName(schema, FUNCTION))
    yield (
        "-- Tells edgerest's caches of writes to these tables by other programs.\n"
        "begin;\n"
        f"create or replace function {function}() returns trigger language plpgsql\n"
        "as $edgerest$\n"
        "begin\n"
        "  perform pg_catalog.pg_notify(\n"
        f"    {literal(channel)}, tg_table_schema || '.' || tg_table_name\n"
        "  );\n"
        "  return null;\n"
        "end $edgerest$;\n"
        f"comment on function {function}() is '@cache writes=';"
    )
    trigger = identifier(TRIGGER)
    for relation in found.tables:
        table = qualified(relation.name)
        create = "create or replace trigger"
        if server_version < _REPLACE_TRIGGER:
            yield f"drop trigger if exists {trigger} on {table};"
            create = "create trigger"
        yield (
            f"{create} {trigger} after insert or update or delete or truncate on {table}\n"
            f"  for each statement execute function {function}();"
        )
    for relation in found.unannounced:
        yield (
            f"-- No trigger can tell of changes of the {relation.kind}"
            f" {_in_comment(relation.tag)}: after each, run\n"
            f"--   select pg_notify({_in_comment(literal(channel))},"
            f" {_in_comment(literal(relation.tag))});"
        )
    yield "commit;\n"


def _in_comment(text: str) -> str:
    return " ".join(text.split())
