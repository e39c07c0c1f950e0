"""The names in a JSON body, read in pieces: no call takes long or makes many objects.

In: the bytes of a body. Out: the names that its objects have in common; or an `ApiError`
PGRST102. Values are passed over, as slices of the body (`msgspec.Raw`).

An array is cut behind objects, about every 64 KiB. A place that looks like the end of a row
may lie within one; but if what precedes it is an array when put in brackets, it was an end.
Where it was not, brackets are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from proxy.errors import ApiError, api_error
from proxy.request.csv_body import MOST_NAMES, too_many_names
from proxy.request.pieces import PIECE, Between

# For values no Python object is made. Beside json.loads: six times as fast, and a twentieth
# of the memory for 100,000 rows.
_any_value: Final = msgspec.json.Decoder(msgspec.Raw)
_any_rows: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_any_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

_OPENING: Final = ord("{")
_SPACES: Final = b" \t\r\n"
_ROW_END: Final = re.compile(rb"\}[ \t\r\n]*+,")
_BLANKS: Final = re.compile(rb"[ \t\r\n]*+")
# All up to the next bracket outside of strings; one that is not closed takes all that is left.
_TO_BRACKET: Final = re.compile(
    rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"?)*+(?:([\[\]{}])|\Z)', re.DOTALL
)
_NEXT_MEMBER: Final = re.compile(
    rb',(?=[ \t\r\n]*+"(?:[^"\\]++|\\.)*+"[ \t\r\n]*+:)', re.DOTALL
)
_BRACKETS: Final = 8192
"""So many are looked at in one go."""
_GUESSES: Final = 4
_LEVELS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

_Names = frozenset[str]
_NO_NAMES: Final[_Names] = frozenset()


def check_json(body: bytes) -> None:
    """Raises PGRST102 for what is no JSON, or nested so deeply that PostgreSQL would run out
    of stack."""
    try:
        _any_value.decode(body)
    except msgspec.DecodeError:
        raise _invalid() from None
    except RecursionError:
        raise _too_deep() from None


def check_depth(body: bytes) -> None:
    """Refuses what is nested so deeply that the database would run out of stack, which is
    not the caller's error there; all else that is wrong with the JSON it tells better."""
    try:
        _any_value.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError:
        return


def names_of_object(body: bytes) -> _Names:
    """The names in the object that `body` is. Raises `ApiError` PGRST102."""
    try:
        return _names(body)
    except msgspec.DecodeError:
        raise _invalid() from None
    except RecursionError:
        raise _too_deep() from None


def names_of_rows(body: bytes, between: Between) -> _Names | None:
    """The names that all objects have in the array that `body` is; None when there is none.

    `between` is called between pieces; what it raises ends the reading. Raises `ApiError`
    PGRST102.
    """
    known: _Names | None = None
    try:
        for names in _names_of_rows(body, between):
            if known is None:
                known = names
            elif names != known:
                raise msgspec.ValidationError("other names")
    except msgspec.DecodeError:
        # What is no JSON at all is told first, wherever it is.
        check_json(body)
        raise _invalid("All object keys must match") from None
    except RecursionError:
        raise _too_deep() from None
    return known


def _invalid(message: str = "Empty or invalid json") -> ApiError:
    return api_error("PGRST102", message=message)


def _too_deep() -> ApiError:
    return _invalid("The request body is nested too deeply")


def _names_of_rows(body: bytes, between: Between) -> Iterator[_Names]:
    """The sets of names that there are, piece by piece. Raises msgspec's errors."""
    at = _after_blanks(body, 0) + 1
    closing = len(body.rstrip(_SPACES)) - 1
    if closing < at or body[closing : closing + 1] != b"]":
        raise msgspec.DecodeError("no array")
    if _after_blanks(body, at) == closing:
        return
    while True:
        if body[_after_blanks(body, at)] != _OPENING:
            raise msgspec.ValidationError("a row that is no object")
        names, stop = None, closing
        if closing - at <= 2 * PIECE:
            names = _names_of_piece(body, at, closing)
        else:
            ends = _ROW_END.finditer(body, at + PIECE, at + 2 * PIECE)
            for cut in islice(ends, _GUESSES):
                stop = cut.end() - 1
                names = _names_of_piece(body, at, stop)
                if names is not None:
                    break
        if names is None:
            stop = _end_of_rows(body, at, closing)
            names = _names_of_rest(body, at, stop)
            stop = _after_blanks(body, stop)
        if not names:
            raise msgspec.DecodeError("a comma and no row")
        yield from names
        between()
        if stop == closing:
            return
        if body[stop : stop + 1] != b",":
            raise msgspec.DecodeError("no comma behind a row")
        at = stop + 1


def _names_of_piece(body: bytes, at: int, stop: int) -> set[_Names] | None:
    """The names of the rows from `at` to `stop`; None when that is no end of a row. Raises
    `ValidationError` for a row that is no object."""
    try:
        rows = _any_rows.decode(b"[%b]" % body[at:stop])
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return None
    return set(map(frozenset, rows))


def _names_of_rest(body: bytes, at: int, stop: int) -> set[_Names]:
    """The same where `stop` is the end of a row."""
    if stop - at > 2 * PIECE:
        return {_names(body[at:stop])}
    return set(map(frozenset, _any_rows.decode(b"[%b]" % body[at:stop])))


def _end_of_rows(body: bytes, at: int, closing: int) -> int:
    """The end of the last whole row within a piece from `at`, or of the first, if that is
    longer."""
    depth = 0
    end = start = at
    while start < closing and end == at:
        # A row that is longer than a piece is looked at in pieces, too.
        found = _TO_BRACKET.finditer(body, start, closing)
        ends = [match.end() for match in islice(found, _BRACKETS) if match[1]]
        for start in ends:
            depth += _LEVELS[body[start - 1]]
            if depth == 0 and (end == at or start - at <= PIECE):
                end = start
        if not ends:
            return closing
    return end


def _names(body: bytes) -> _Names:
    """The names in one object. With many colons it is cut before members, as arrays are
    behind rows; what can't be cut has few of them."""
    if body.count(b":") <= MOST_NAMES:
        return frozenset(_any_object.decode(body))
    names: set[str] = set()
    at = _after_blanks(body, 0) + 1
    while True:
        cuts = _NEXT_MEMBER.finditer(body, at + PIECE, at + 2 * PIECE)
        for cut in islice(cuts, _GUESSES):
            try:
                names.update(_any_object.decode(b"{%b}" % body[at : cut.start()]))
            except msgspec.DecodeError:
                continue
            at = cut.end()
            break
        else:
            names.update(_any_object.decode(b"{" + body[at:]))
            return frozenset(names)
        if len(names) > MOST_NAMES:
            raise too_many_names()


def _after_blanks(body: bytes, at: int) -> int:
    blanks = _BLANKS.match(body, at)
    return at if blanks is None else blanks.end()
