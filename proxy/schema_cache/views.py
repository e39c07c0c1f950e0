"""Which column of which table a view's column shows, read from the view's stored query.

In: the text of `pg_rewrite.ev_action`, a node tree as PostgreSQL writes it
(src/backend/nodes/outfuncs.c): nodes in braces, lists in parentheses, fields as
`:name value`, and a backslash before every character of a name that would mean something
else. Out: `origins`, the direct origin of each column of the outermost SELECT, and
`base_columns`, the same followed through views on views. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

_BRACKET: Final = re.compile(r"\\.|[{}()]", re.DOTALL)
_FIELD: Final = re.compile(r":(\w+) ((?:\\.|[^\\ ])*)", re.DOTALL)
_TARGET_LIST: Final = ":targetList "

# ({QUERY ... :targetList ({TARGETENTRY :expr {...} ...} ...) ...}): what is open there.
_IN_QUERY: Final = 2
_IN_LIST: Final = 3
_IN_ENTRY: Final = 4


class Origin(NamedTuple):
    """A column by the oid of its relation and its number within it."""

    relation: int
    column: int


def origins(node_tree: str) -> dict[int, Origin]:
    """The origins of the columns that show one unchanged, by the number of the column.

    Computed columns have none, and neither have those of a set operation (UNION).
    """
    found = {}
    for entry in _target_entries(node_tree):
        fields = dict(_FIELD.findall(entry))
        origin = Origin(int(fields["resorigtbl"]), int(fields["resorigcol"]))
        if origin.relation and origin.column > 0 and fields["resjunk"] == "false":
            found[int(fields["resno"])] = origin
    return found


def _target_entries(node_tree: str) -> Iterator[str]:
    """The fields after `:expr` of each entry of the outermost target list."""
    depth = 0
    inside = False
    last_closed = 0
    for match in _BRACKET.finditer(node_tree):
        bracket, at = match.group(), match.start()
        if bracket in "({":
            if depth == _IN_QUERY and node_tree.endswith(_TARGET_LIST, 0, at):
                inside = True
            depth += 1
        elif bracket in "})":
            if inside and depth == _IN_ENTRY:
                yield node_tree[last_closed + 1 : at]
            elif inside and depth == _IN_LIST:
                return
            depth -= 1
            last_closed = at


def base_columns(
    views: Mapping[int, Mapping[int, Origin]], wanted: Iterable[int]
) -> dict[int, dict[Origin, list[int]]]:
    """For each view of `wanted`: the columns it shows, with the numbers it shows them under.

    `views` maps views to their `origins`. Views on views show the columns of both. A view
    that leads back to itself ends there.
    """
    found: dict[int, dict[Origin, list[int]]] = {}
    for view in wanted:
        shown = found[view] = {}
        for number, origin in sorted(views.get(view, {}).items()):
            for source in _chain(views, view, origin):
                shown.setdefault(source, []).append(number)
    return found


def _chain(
    views: Mapping[int, Mapping[int, Origin]], view: int, origin: Origin
) -> Iterator[Origin]:
    passed = {view}
    step: Origin | None = origin
    while step is not None and step.relation not in passed:
        yield step
        passed.add(step.relation)
        step = views.get(step.relation, {}).get(step.column)
