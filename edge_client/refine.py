"""What queries and embedded resources have in common: filters, order, limits.

In: a class that can add a parameter to itself and return the changed copy. Out: a method
for each operator and modifier, named as Python users of `postgrest` know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from edge_client import filters
from edge_client.filters import (
    AnyCondition,
    Bounds,
    Of,
    Patterns,
    SearchType,
    Tree,
    all_of,
    any_of,
    not_,
)
from edge_client.literals import column_path

_SEARCHES: Mapping[SearchType | None, str] = {
    None: "fts",
    "plain": "plfts",
    "phrase": "phfts",
    "web_search": "wfts",
}


class Refinable:
    """Filters and modifiers; every method returns a changed copy.

    A column is written `name`, of an embedded resource `embed.name`, within JSON
    `data->key->>key`; a name with a dot or an arrow in it stands in double quotes.
    """

    __slots__ = ()

    _negates: bool

    def _with_parameter(self, name: str, value: str, *, once: bool = False) -> Self:
        raise NotImplementedError

    def _negating(self) -> Self:
        raise NotImplementedError

    def _parameter(self, name: str) -> str | None:
        raise NotImplementedError

    # --- filters --------------------------------------------------------------------------

    @property
    def not_(self) -> Self:
        """The opposite of the filter that follows: `query.not_.eq("a", 1)`."""
        return self._negating()

    def where(self, condition: AnyCondition, reference_table: str | None = None) -> Self:
        """Any condition of `edge_client.filters`."""
        name, value = (not_(condition) if self._negates else condition).parameter()
        if reference_table is not None:
            name = f"{column_path(reference_table)}.{name}"
        return self._with_parameter(name, value)

    def or_(self, *conditions: AnyCondition | str, reference_table: str | None = None) -> Self:
        """Any of `conditions`, which may be PostgREST's own syntax: `"a.eq.1,b.gt.2"`."""
        return self.where(any_of(*conditions), reference_table)

    def and_(self, *conditions: AnyCondition | str, reference_table: str | None = None) -> Self:
        """All of `conditions`; of use below `not_`."""
        return self.where(all_of(*conditions), reference_table)

    def filter(self, column: str, operator: str, criteria: object) -> Self:
        """An operator by its name in the URL: `filter("age", "gte", 18)`."""
        return self.where(filters.custom(column, operator, criteria))

    def match(self, query: Mapping[str, object]) -> Self:
        """Every column equal to its value. (The operator `match` is `regex`.)"""
        if not query:
            raise ValueError("match() needs at least one column")
        if self._negates:
            conditions = [filters.eq(column, value) for column, value in query.items()]
            return self.where(Tree("and", tuple(conditions)))
        changed = self
        for column, value in query.items():
            changed = changed.eq(column, value)
        return changed

    def eq(self, column: str, value: object, *, of: Of = None) -> Self:
        """Equal; None asks for rows that have no value."""
        return self.where(filters.eq(column, value, of=of))

    def neq(self, column: str, value: object) -> Self:
        """Not equal; None asks for rows that have a value."""
        return self.where(filters.neq(column, value))

    def gt(self, column: str, value: object, *, of: Of = None) -> Self:
        """Greater than `value`; with `of="any"` or `of="all"` than any or all of a list."""
        return self.where(filters.gt(column, value, of=of))

    def gte(self, column: str, value: object, *, of: Of = None) -> Self:
        """Greater than or equal to `value`."""
        return self.where(filters.gte(column, value, of=of))

    def lt(self, column: str, value: object, *, of: Of = None) -> Self:
        """Less than `value`."""
        return self.where(filters.lt(column, value, of=of))

    def lte(self, column: str, value: object, *, of: Of = None) -> Self:
        """Less than or equal to `value`."""
        return self.where(filters.lte(column, value, of=of))

    def like(self, column: str, pattern: Patterns, *, of: Of = None) -> Self:
        """Like the pattern, in which `%` or `*` is any text."""
        return self.where(filters.like(column, pattern, of=of))

    def ilike(self, column: str, pattern: Patterns, *, of: Of = None) -> Self:
        """`like`, upper and lower case being the same."""
        return self.where(filters.ilike(column, pattern, of=of))

    def like_all_of(self, column: str, pattern: Patterns) -> Self:
        """Like all of the patterns: a list, or a text such as `a*,*b`."""
        return self.where(filters.like(column, pattern, of="all"))

    def like_any_of(self, column: str, pattern: Patterns) -> Self:
        """Like any of the patterns."""
        return self.where(filters.like(column, pattern, of="any"))

    def ilike_all_of(self, column: str, pattern: Patterns) -> Self:
        """`like_all_of`, upper and lower case being the same."""
        return self.where(filters.ilike(column, pattern, of="all"))

    def ilike_any_of(self, column: str, pattern: Patterns) -> Self:
        """`like_any_of`, upper and lower case being the same."""
        return self.where(filters.ilike(column, pattern, of="any"))

    def regex(self, column: str, pattern: Patterns, *, of: Of = None) -> Self:
        """Matches the POSIX regular expression (PostgREST's operator `match`)."""
        return self.where(filters.regex(column, pattern, of=of))

    def iregex(self, column: str, pattern: Patterns, *, of: Of = None) -> Self:
        """`regex`, upper and lower case being the same (`imatch`)."""
        return self.where(filters.iregex(column, pattern, of=of))

    def is_(self, column: str, value: bool | str | None) -> Self:
        """IS None, True, False, `not_null` or `unknown`."""
        return self.where(filters.is_(column, value))

    def is_distinct(self, column: str, value: object) -> Self:
        """Not equal, where no value is a value too."""
        return self.where(filters.is_distinct(column, value))

    def in_(self, column: str, values: Iterable[object]) -> Self:
        """One of `values`, as many as you like."""
        return self.where(filters.in_(column, values))

    def fts(self, column: str, query: str, *, config: str | None = None) -> Self:
        """Full-text search (`to_tsquery`); `config` is the language."""
        return self.where(filters.fts(column, query, config=config))

    def plfts(self, column: str, query: str, *, config: str | None = None) -> Self:
        """Full-text search for all words (`plainto_tsquery`)."""
        return self.where(filters.plfts(column, query, config=config))

    def phfts(self, column: str, query: str, *, config: str | None = None) -> Self:
        """Full-text search for a phrase (`phraseto_tsquery`)."""
        return self.where(filters.phfts(column, query, config=config))

    def wfts(self, column: str, query: str, *, config: str | None = None) -> Self:
        """Full-text search as in web search engines (`websearch_to_tsquery`)."""
        return self.where(filters.wfts(column, query, config=config))

    def text_search(
        self,
        column: str,
        query: str,
        *,
        type: SearchType | None = None,
        config: str | None = None,
    ) -> Self:
        """Full-text search of a type: None is `fts`, then `plain`, `phrase`, `web_search`."""
        operator = _SEARCHES[type]
        name = operator if config is None else f"{operator}({config})"
        return self.where(filters.Condition(column, name, query))

    def contains(self, column: str, value: object) -> Self:
        """The array, JSON or range contains `value`."""
        return self.where(filters.contains(column, value))

    def contained_by(self, column: str, value: object) -> Self:
        """The array, JSON or range is contained by `value`."""
        return self.where(filters.contained_by(column, value))

    def overlaps(self, column: str, value: object) -> Self:
        """The array or range has something in common with `value`."""
        return self.where(filters.overlaps(column, value))

    def range_lt(self, column: str, range: Bounds) -> Self:
        """The range lies strictly left of `range`, a pair or a text such as `[1,5)`."""
        return self.where(filters.range_lt(column, range))

    def range_gt(self, column: str, range: Bounds) -> Self:
        """The range lies strictly right of `range`."""
        return self.where(filters.range_gt(column, range))

    def range_lte(self, column: str, range: Bounds) -> Self:
        """The range does not extend to the right of `range`."""
        return self.where(filters.range_lte(column, range))

    def range_gte(self, column: str, range: Bounds) -> Self:
        """The range does not extend to the left of `range`."""
        return self.where(filters.range_gte(column, range))

    def range_adjacent(self, column: str, range: Bounds) -> Self:
        """The range is adjacent to `range`."""
        return self.where(filters.range_adjacent(column, range))

    cs, cd, ov = contains, contained_by, overlaps
    sl, sr, nxr, nxl, adj = range_lt, range_gt, range_lte, range_gte, range_adjacent

    # --- order and limits -----------------------------------------------------------------

    def order(
        self,
        column: str,
        *,
        desc: bool = False,
        nullsfirst: bool | None = None,
        foreign_table: str | None = None,
    ) -> Self:
        """Sort by `column`, after what was ordered by before.

        `column` may be one of a to-one embed, `projects(name)`; `foreign_table` orders the
        rows of an embed.
        """
        nulls = "" if nullsfirst is None else (".nullsfirst" if nullsfirst else ".nullslast")
        written = column if "(" in column else column_path(column)
        term = f"{written}.{'desc' if desc else 'asc'}{nulls}"
        name = _of("order", foreign_table)
        before = self._parameter(name)
        return self._with_parameter(name, f"{before},{term}" if before else term, once=True)

    def limit(self, size: int, *, foreign_table: str | None = None) -> Self:
        """At most `size` rows."""
        return self._with_parameter(_of("limit", foreign_table), str(size), once=True)

    def offset(self, size: int, *, foreign_table: str | None = None) -> Self:
        """Leave out the first `size` rows."""
        return self._with_parameter(_of("offset", foreign_table), str(size), once=True)

    def range(self, start: int, end: int, foreign_table: str | None = None) -> Self:
        """The rows from `start` to `end`, both counted from 0 and both included."""
        from_start = self.offset(start, foreign_table=foreign_table)
        return from_start.limit(end - start + 1, foreign_table=foreign_table)


def _of(parameter: str, foreign_table: str | None) -> str:
    return parameter if foreign_table is None else f"{column_path(foreign_table)}.{parameter}"
