"""The one table of filter operators (PostgREST docs: "Operators").

To add an operator: one row here. The grammar reads the names, `proxy.sql` reads the SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

OperatorKind = Literal["simple", "quantifiable", "pattern", "in", "is", "isdistinct", "fts"]


@dataclass(frozen=True, slots=True)
class Operator:
    """`sql` is the SQL operator, for `fts` the tsquery-making function.

    `pattern` operators are quantifiable and take `*` for `%`.
    """

    name: str
    kind: OperatorKind
    sql: str


_ROWS: Final[tuple[tuple[str, OperatorKind, str], ...]] = (
    ("eq", "quantifiable", "="),
    ("gte", "quantifiable", ">="),
    ("gt", "quantifiable", ">"),
    ("lte", "quantifiable", "<="),
    ("lt", "quantifiable", "<"),
    ("like", "pattern", "LIKE"),
    ("ilike", "pattern", "ILIKE"),
    ("match", "quantifiable", "~"),
    ("imatch", "quantifiable", "~*"),
    ("neq", "simple", "<>"),
    ("cs", "simple", "@>"),
    ("cd", "simple", "<@"),
    ("ov", "simple", "&&"),
    ("sl", "simple", "<<"),
    ("sr", "simple", ">>"),
    ("nxr", "simple", "&<"),
    ("nxl", "simple", "&>"),
    ("adj", "simple", "-|-"),
    ("in", "in", "= ANY"),
    ("is", "is", "IS"),
    ("isdistinct", "isdistinct", "IS DISTINCT FROM"),
    ("fts", "fts", "to_tsquery"),
    ("plfts", "fts", "plainto_tsquery"),
    ("phfts", "fts", "phraseto_tsquery"),
    ("wfts", "fts", "websearch_to_tsquery"),
)
OPERATORS: Final[Mapping[str, Operator]] = {row[0]: Operator(*row) for row in _ROWS}
