"""The query string: which parameter is what, and what each means.

In: the raw bytes behind the `?`. Out: `QueryParams`, or an `ApiError` PGRST100 that says
where reading stopped. How a single value is read stands in `proxy.request.grammar`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from proxy.errors import ApiError, api_error
from proxy.request.grammar import names, readers
from proxy.request.grammar.combinators import Budget
from proxy.request.model import EmbedPath, FieldPath, Filter, QueryParams, SelectField
from proxy.request.pieces import PIECE
from proxy.request.ranges import Range, range_of

_SEPARATORS: Final = re.compile(rb"[&;]")
_PERCENT: Final = ord("%")
_SINGLE: Final = ("select", "columns", "on_conflict")
_SHAPING: Final = ("order", "limit", "offset")
_LOGIC: Final = ("and", "or")
_LAST_WORDS: Final = frozenset((*_SHAPING, *_LOGIC))
_WHOLE_ROW: Final = (SelectField(FieldPath("*")),)

RawPair = tuple[str, str | None]
Pair = tuple[str, str]


def parse_query(query: bytes, *, is_call_read: bool) -> QueryParams:
    """The meaning of a query string (without its `?`).

    `is_call_read`: a function is called with GET, so parameters that aren't filters are
    its arguments. Raises `ApiError` PGRST100.
    """
    if not query:
        return QueryParams()
    try:
        raw_pairs = decode_pairs(query)
    except UnicodeDecodeError as error:
        raise _no_text(error) from None
    single: dict[str, str | None] = {}
    by_last_word: dict[str, list[Pair]] = {}
    filters: list[Pair] = []
    for key, value in raw_pairs:
        if key in _SINGLE:
            single.setdefault(key, value)
        elif value is not None:
            word = key.rpartition(".")[2]
            if word in _SHAPING:
                by_last_word.setdefault(word, []).append((key, value))
            elif word in _LOGIC:
                by_last_word.setdefault("logic", []).append((key, value))
            else:
                filters.append((key, value))

    # The order of reading decides which of several errors is reported.
    budget = Budget()
    order = tuple(
        (readers.read_tree_path(key, budget)[0], readers.read_order(value, budget))
        for key, value in by_last_word.get("order", ())
    )
    logic = tuple(
        readers.read_logic(key, value, budget) for key, value in by_last_word.get("logic", ())
    )
    columns = single.get("columns")
    written = None if columns is None else frozenset(readers.read_columns(columns, budget))
    select = single.get("select")
    items = _WHOLE_ROW if select is None else readers.read_select(select, budget)
    conditions, arguments = _filters_and_arguments(filters, budget, is_call_read=is_call_read)
    conflict = single.get("on_conflict")
    return QueryParams(
        canonical=canonical_query(raw_pairs),
        select=items,
        filters=conditions,
        logic=logic,
        order=order,
        on_conflict=None if conflict is None else readers.read_on_conflict(conflict, budget),
        ranges=_ranges(by_last_word.get("limit", ()), by_last_word.get("offset", ()), budget),
        columns=written,
        arguments=arguments,
    )


def decode_pairs(text: bytes) -> list[RawPair]:
    """The parameters of `text`, percent-decoded, `+` as a space; None: there was no `=`.

    Raises `UnicodeDecodeError`.
    """
    if not text:
        return []
    parts = _SEPARATORS.split(text)
    if not parts[-1]:
        parts.pop()
    encoded = not text.isascii() or b"%" in text or b"+" in text
    decoded = _decoded if encoded else bytes.decode
    pairs: list[RawPair] = []
    for part in parts:
        key, equals, value = part.partition(b"=")
        pairs.append((decoded(key), decoded(value) if equals else None))
    return pairs


def _decoded(text: bytes) -> str:
    spaced = text.replace(b"+", b" ")
    if b"%" not in spaced:
        return spaced.decode()
    if len(spaced) <= PIECE:
        return unquote_to_bytes(spaced).decode()
    # What decodes makes an object for each percent sign.
    return b"".join(map(unquote_to_bytes, _pieces(spaced))).decode()


def _pieces(text: bytes) -> Iterator[bytes]:
    """`text` cut where no `%41` is."""
    at = 0
    while at < len(text):
        end = at + PIECE
        if end < len(text):
            end -= 1 if text[end - 1] == _PERCENT else 2 if text[end - 2] == _PERCENT else 0
        yield text[at:end]
        at = end


def _no_text(error: UnicodeDecodeError) -> ApiError:
    raw = error.object
    return api_error(
        "PGRST100",
        message="failed to parse the query string: it is not valid UTF-8",
        details=f"unexpected byte {raw[error.start]:#04x} in {ascii(raw)[1:]}",
    )


def is_filter(key: str) -> bool:
    """Whether a parameter of this name is a filter, or a function's argument."""
    return key not in _SINGLE and key.rpartition(".")[2] not in _LAST_WORDS


def filter_key(column: str) -> str:
    """The parameter, not yet percent-encoded, that filters by `column`."""
    name = names.written_name(column)
    return name if is_filter(name) else f'"{name}"'


def canonical_query(pairs: Sequence[RawPair]) -> str:
    """The parameters sorted by name, values of equal names joined by commas, encoded."""
    values: dict[str, list[str]] = {}
    for key, value in sorted(pairs, key=itemgetter(0)):
        values.setdefault(key, []).append(quote(value or "", safe=""))
    return "&".join(f"{quote(key, safe='')}={','.join(texts)}" for key, texts in values.items())


def _filters_and_arguments(
    pairs: Iterable[Pair], budget: Budget, *, is_call_read: bool
) -> tuple[tuple[tuple[EmbedPath, Filter], ...], tuple[Pair, ...]]:
    conditions: list[tuple[EmbedPath, Filter]] = []
    arguments: list[Pair] = []
    for key, value in pairs:
        path, field = readers.read_tree_path(key, budget)
        if is_call_read:
            operation = readers.read_filter_or_argument(value, budget)
        else:
            operation = readers.read_filter(value, budget)
        if operation is None:
            arguments.append((field.name, value))
        else:
            conditions.append((path, Filter(field, operation)))
    return tuple(conditions), tuple(arguments)


def _ranges(
    limits: Iterable[Pair], offsets: Iterable[Pair], budget: Budget
) -> Mapping[EmbedPath, Range]:
    """The ranges, of equal paths the last limit and the last offset; later paths come last."""
    rows: dict[EmbedPath, str] = {}
    starts: dict[EmbedPath, str] = {}
    for found, pairs in ((rows, limits), (starts, offsets)):
        for key, value in pairs:
            named = key.removesuffix("offset") + "limit" if found is starts else key
            path, _ = readers.read_tree_path(named, budget)
            # Only the bare parameters speak of the root.
            if path or named == "limit":
                found.pop(path, None)
                found[path] = value
    return {path: range_of(rows.get(path), starts.get(path)) for path in (*rows, *starts)}
