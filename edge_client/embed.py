"""Embedded resources with filters, order and limits of their own.

    db.table("projects").select("name", embed("tasks", "title").eq("done", False).limit(3))

In: a relation and what is wanted of it. Out: its part of `select` and its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

from edge_client.literals import column_name
from edge_client.operation import Params
from edge_client.refine import Refinable


@dataclass(frozen=True, slots=True)
class Embed(Refinable):
    """A relation to embed; made by `embed`, refined by the methods of queries."""

    relation: str
    items: tuple[str | Embed, ...]
    alias: str | None = None
    hint: str | None = None
    inner: bool = False
    spread: bool = False
    params: Params = ()
    _negates: bool = False

    @property
    def name(self) -> str:
        """What it is called in the answer and in filters."""
        return self.alias or self.relation

    def text(self) -> str:
        """Its part of `select`."""
        alias = "" if self.alias is None else f"{column_name(self.alias)}:"
        hint = "" if self.hint is None else f"!{column_name(self.hint)}"
        inner = "!inner" if self.inner else ""
        spread = "..." if self.spread else ""
        items = select_text(self.items)
        return f"{spread}{alias}{column_name(self.relation)}{hint}{inner}({items})"

    def parameters(self) -> Iterator[tuple[str, str]]:
        """Its parameters, and those of what it embeds itself."""
        for name, value in (*self.params, *embed_parameters(self.items)):
            yield f"{column_name(self.name)}.{name}", value

    def _with_parameter(self, name: str, value: str, *, once: bool = False) -> Self:
        kept = self.params
        if once:
            kept = tuple(pair for pair in kept if pair[0] != name)
        return replace(self, params=(*kept, (name, value)), _negates=False)

    def _negating(self) -> Self:
        return replace(self, _negates=not self._negates)

    def _parameter(self, name: str) -> str | None:
        return next((value for key, value in self.params if key == name), None)


def embed(
    relation: str,
    *items: str | Embed,
    alias: str | None = None,
    hint: str | None = None,
    inner: bool = False,
    spread: bool = False,
) -> Embed:
    """`relation` with `items` (all columns if none are named).

    `hint` chooses a foreign key, `inner` leaves out parents without it, `spread` lifts its
    columns into the parent.
    """
    if spread and alias is not None:
        raise ValueError("a spread embed has no alias")
    return Embed(relation, items or ("*",), alias, hint, inner, spread)


def select_text(items: Iterable[str | Embed]) -> str:
    """The value of `select`; blanks outside of double quotes are dropped."""
    return ",".join(
        item.text() if isinstance(item, Embed) else _without_blanks(item) for item in items
    )


def embed_parameters(items: Iterable[str | Embed]) -> Iterator[tuple[str, str]]:
    """The parameters that the embeds among `items` bring."""
    for item in items:
        if isinstance(item, Embed):
            yield from item.parameters()


def _without_blanks(text: str) -> str:
    if not any(letter.isspace() for letter in text):
        return text
    parts = text.split('"')
    # Every other part stands in quotes; a quote escaped by a backslash is none.
    joined: list[str] = []
    in_quotes = False
    for number, part in enumerate(parts):
        if number:
            escaped = in_quotes and joined[-1].endswith("\\")
            in_quotes = in_quotes if escaped else not in_quotes
            joined.append('"')
        joined.append(part if in_quotes else "".join(part.split()))
    return "".join(joined)
