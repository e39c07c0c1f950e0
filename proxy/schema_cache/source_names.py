"""Whatever the source of a function can lead to: all that it has the name of.

In: the source of a function in SQL or PL/pgSQL, and the names of all relations and functions
of the database. Out: a `Code` with each of them whose name is anywhere in the source,
whichever schema it is in and whatever the word is there for; None when text is run that is
made elsewhere (EXECUTE, DO), or the schema is changed. SQL reaches relations and functions by
their names alone, apart from operators, casts and domains (`Facts.implied`), so nothing is
missed; a column that is called like a table is taken for it, which costs hits. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from proxy.schema_cache.node_trees import Code

TEXT_RUNNERS: Final = (
    r"((query|cursor|table|schema|database)_to_xml\w*"
    r"|ts_stat|ts_rewrite|brin_(de)?summarize\w*)"
)
"""PostgreSQL's own functions that run SQL which they are given, or what belongs to a table
which they are given (PostgreSQL docs, "Mapping Tables to XML", "Text Search Functions"). A
regular expression to Python and to PostgreSQL."""

_RUNNER: Final = re.compile(TEXT_RUNNERS, re.IGNORECASE)
# COMMENT, LOCK, NOTIFY, SET and the like change no table; REFRESH, CALL and MERGE name theirs.
_UNSEEN: Final = re.compile(
    r"(?<!\w)(?:alter|analy[sz]e|cluster|copy|create|drop|execute|grant|import|reassign"
    r"|reindex|revoke|truncate|do(?!\s++(?:update|nothing)(?!\w)))(?!\w)",
    re.IGNORECASE,
)
_WRITING: Final = re.compile(
    r"(?<!\w)(?:delete|insert|merge|refresh|update)(?!\w)", re.IGNORECASE
)
# Where it does not match, everything counts as code. PostgreSQL nests comments, ends a line
# at a carriage return, too, and takes any character beyond ASCII for a letter.
_PIECE: Final = re.compile(
    r"""
    (?P<code> [^'"$\-/\\]++ | -(?!-) | /(?!\*) | "[^"]*+" | \$\d++ )
  | '[^'\\]*+' | --[^\n\r]*+ | /\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/
    """,
    re.VERBOSE,
)
_WORD: Final = re.compile(r"[^\x00-\x2f:-@\[-^`{-\x7f]++")
_WORD_WITH_DOLLARS: Final = re.compile(r"[^\x00-\x23\x25-\x2f:-@\[-^`{-\x7f]++")
_ESCAPED_NAME: Final = re.compile(r'[uU]&"')
_LONGEST_NAME: Final = 63

Oids = Mapping[str, Sequence[int]]
"""The oids of all that have a name, whatever their schema."""


def read_names(source: str, relations: Oids, functions: Oids) -> Code | None:
    """All that `source` can lead to; None when that can't be told."""
    if _UNSEEN.search(_code_of(source)) or _RUNNER.search(source):
        return None
    if _ESCAPED_NAME.search(source):
        return None
    names = set(_names(source))
    if '""' in source:
        names.update(name for name in (*relations, *functions) if '"' in name)
    return Code(
        frozenset(oid for name in names & relations.keys() for oid in relations[name]),
        frozenset(oid for name in names & functions.keys() for oid in functions[name]),
    )


def can_write(source: str) -> bool:
    """Whether a statement in `source` itself may write to the relations it names."""
    return _WRITING.search(_code_of(source)) is not None


def _code_of(source: str) -> str:
    """`source` without its comments and texts, or all of it when they can't be told."""
    pieces, place = [], 0
    while place < len(source):
        match = _PIECE.match(source, place)
        if match is None:
            return source
        pieces.append(match["code"] or " ")
        place = match.end()
    return "".join(pieces)


def _names(source: str) -> Iterator[str]:
    """Every name that may be written in `source`: words as they are and folded, and whatever
    is between two quotation marks. In texts and comments, too."""
    for word in (
        *_WORD.findall(source),
        *_WORD_WITH_DOLLARS.findall(source),
        *source.split('"'),
    ):
        yield from _folded(word)
        if len(word) * 4 > _LONGEST_NAME:
            yield from _folded(word.encode()[:_LONGEST_NAME].decode(errors="ignore"))


def _folded(word: str) -> tuple[str, ...]:
    # How letters beyond ASCII are folded depends on the encoding.
    lower = word.lower()
    return (word, lower) if word.isascii() else (word, lower, word.encode().lower().decode())
