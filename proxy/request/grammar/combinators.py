"""A parser core with Parsec's rules, so that syntax errors read exactly as PostgREST's do.

In: a text and a parser built from the functions here. Out: the value, or an `ApiError`
PGRST100 whose details name the furthest place the text could be read to and what was
expected there.

A parser is a function of a source and an offset. Its reply says whether input was
consumed, because an alternative is only tried when the one before it consumed nothing
(`attempt` lifts that), and carries what would have been accepted at the offset reached:
errors at the same offset add up, the furthest offset wins. (Leijen and Meijer, "Parsec:
Direct Style Monadic Parser Combinators for the Real World", 2001.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar, overload

from proxy.errors import ApiError, api_error

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

MAX_NESTING: Final = 50
"""Levels of parentheses accepted: far beyond any query, far below Python's stack limit."""
MAX_STEPS: Final = 8_000
"""Steps that reading one query string may cost (see `Budget`); hundreds of odd items."""
_CHARACTERS_A_STEP: Final = 16


class Message(NamedTuple):
    """`expected` is what would have been accepted, `unexpected` what a rule named as
    wrong."""

    kind: Literal["unexpected", "expected"]
    text: str


class SyntaxProblem(NamedTuple):
    """What was wrong, or would have been accepted, at an offset of the text.

    An integer among the messages is the offset of a character that was met: most problems
    are overcome, so it is put into words only when one is told.
    """

    offset: int
    messages: tuple[Message | int, ...] = ()


@dataclass(slots=True)
class Budget:
    """The steps that are left for reading one query string.

    A step is one attempt to read a character, a word or a run of up to 16 characters: a
    few microseconds, whatever is tried. The texts of one query string share a budget, so
    that none blocks the event loop for long. Plain texts (`shortcuts`) cost no steps, but
    for trees, which cost by their length.
    """

    left: int = MAX_STEPS

    def take(self, steps: int = 1) -> None:
        """Uses up `steps`; raises `TooComplexError` when there are no more."""
        self.left -= steps
        if self.left < 0:
            raise TooComplexError


@dataclass(slots=True)
class Source:
    """The text being read, the steps left for it and how many parentheses deep it is read.

    `replies` holds, for each `remembered` parser, the last offset it was asked at and what
    it replied.
    """

    text: str
    budget: Budget = field(default_factory=Budget)
    depth: int = 0
    replies: dict[object, tuple[int, Any]] = field(default_factory=dict)


class Success(NamedTuple, Generic[T]):
    """What was read and where reading goes on; `problem` is what could have come next."""

    value: T
    offset: int
    consumed: bool
    problem: SyntaxProblem


class Failure(NamedTuple):
    """Nothing could be read; `consumed` tells whether the parser had begun to."""

    consumed: bool
    problem: SyntaxProblem


Reply = Success[T] | Failure
Parser = Callable[[Source, int], Reply[T]]


class NestedTooDeeplyError(Exception):
    """The text opens more parentheses than `MAX_NESTING`; `offset` is where."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class TooComplexError(Exception):
    """The budget is used up."""


def parse(parser: Parser[T], text: str, description: str, budget: Budget | None = None) -> T:
    """The value `parser` reads from the start of `text`; what follows it is ignored.

    `description` names the text in the error ("failed to parse filter (x)"), `budget` is
    what reading may cost (None: as much as one query string).
    Raises `ApiError` PGRST100.
    """
    try:
        reply = parser(Source(text, budget or Budget()), 0)
    except TooComplexError:
        raise _too_complex() from None
    except NestedTooDeeplyError as problem:
        raise api_error(
            "PGRST100",
            message=f'"{description}" {_line_and_column(text, problem.offset)}',
            details=f"unexpected nesting expecting at most {MAX_NESTING} levels",
        ) from None
    if isinstance(reply, Failure):
        raise api_error(
            "PGRST100",
            message=f'"{description}" {_line_and_column(text, reply.problem.offset)}',
            details=explain(reply.problem.messages, text),
        )
    return reply.value


def charge(text: str, budget: Budget | None) -> None:
    """Takes from `budget` what `text` costs by its length alone.

    Raises `ApiError` PGRST100.
    """
    if budget is not None:
        try:
            budget.take(len(text) // _CHARACTERS_A_STEP)
        except TooComplexError:
            raise _too_complex() from None


def _too_complex() -> ApiError:
    return api_error(
        "PGRST100",
        message="query string is too complex",
        details=f"Reading it takes more than {MAX_STEPS} steps",
        hint="Ask for less at once, or write names without spaces around them",
    )


def _line_and_column(text: str, offset: int) -> str:
    line, column = 1, 1
    for character in text[:offset]:
        if character == "\n":
            line, column = line + 1, 1
        elif character == "\t":
            column += 8 - (column - 1) % 8
        else:
            column += 1
    return f"(line {line}, column {column})"


def explain(messages: tuple[Message | int, ...], text: str) -> str:
    """The messages in one line: `unexpected "x" expecting a, b or c`."""
    if not messages:
        return "unknown parse error"
    met = [offset for offset in messages if isinstance(offset, int)]
    said = [message for message in messages if isinstance(message, Message)]
    unexpected = [message.text for message in said if message.kind == "unexpected"]
    expected = [message.text for message in said if message.kind == "expected"]
    parts = []
    if not unexpected and met:
        at = met[0]
        shown = _shown(text[at], '"') if at < len(text) else "end of input"
        parts.append(f"unexpected {shown}")
    for verb, things in (("unexpected", unexpected), ("expecting", expected)):
        distinct = list(dict.fromkeys(thing for thing in things if thing))
        if distinct:
            *others, last = distinct
            parts.append(f"{verb} " + (f"{', '.join(others)} or {last}" if others else last))
    return " ".join(parts)


# How Haskell shows the characters below the space.
_CONTROLS: Final = (
    "NUL SOH STX ETX EOT ENQ ACK a b t n v f r SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM"
    " SUB ESC FS GS RS US"
)
_ESCAPES: Final = {code: f"\\{name}" for code, name in enumerate(_CONTROLS.split())} | {
    127: "\\DEL",
    92: "\\\\",
}


def _shown(character: str, quote: str) -> str:
    code = ord(character)
    if character == quote:
        return f"{quote}\\{character}{quote}"
    escaped = _ESCAPES.get(code) or (character if code < 128 else f"\\{code}")
    return f"{quote}{escaped}{quote}"


def merge(first: SyntaxProblem, second: SyntaxProblem) -> SyntaxProblem:
    """The problem further on; both when they are at the same offset."""
    if not second.messages:
        return first if first.messages or first.offset >= second.offset else second
    if not first.messages or first.offset < second.offset:
        return second
    if first.offset > second.offset:
        return first
    return SyntaxProblem(first.offset, first.messages + second.messages)


def _expecting(problem: SyntaxProblem, what: Message) -> SyntaxProblem:
    others = [
        message
        for message in problem.messages
        if isinstance(message, int) or message.kind != "expected"
    ]
    return SyntaxProblem(problem.offset, (what, *others))


# --- characters ---------------------------------------------------------------------------


def one(accepts: Callable[[str], bool], *labels: str) -> Parser[str]:
    """One character that `accepts` takes; `labels` say what that is."""
    expected = _expected(labels)

    def run(source: Source, at: int) -> Reply[str]:
        source.budget.take()
        text = source.text
        if at < len(text) and accepts(text[at]):
            return Success(text[at], at + 1, True, SyntaxProblem(at + 1))
        return Failure(False, SyntaxProblem(at, (*expected, at)))

    return run


def _expected(labels: tuple[str, ...]) -> tuple[Message, ...]:
    return tuple(Message("expected", label) for label in labels)


def some(accepts: Callable[[str], bool], *labels: str) -> Parser[str]:
    """One or more characters that `accepts` takes."""
    return _run_of(accepts, labels, at_least_one=True)


def any_number(accepts: Callable[[str], bool], *labels: str) -> Parser[str]:
    """As many characters as `accepts` takes."""
    return _run_of(accepts, labels, at_least_one=False)


def _run_of(
    accepts: Callable[[str], bool], labels: tuple[str, ...], *, at_least_one: bool
) -> Parser[str]:
    expected = _expected(labels)

    def run(source: Source, at: int) -> Reply[str]:
        text = source.text
        end, size = at, len(text)
        while end < size and accepts(text[end]):
            end += 1
        source.budget.take(1 + (end - at) // _CHARACTERS_A_STEP)
        problem = SyntaxProblem(end, (*expected, end))
        if end == at and at_least_one:
            return Failure(False, problem)
        return Success(text[at:end], end, end > at, problem)

    return run


def char(wanted: str) -> Parser[str]:
    """The character `wanted`."""
    return one(wanted.__eq__, _shown(wanted, '"'))


def none_of(refused: str) -> Callable[[str], bool]:
    """Accepts every character but those in `refused`."""
    return lambda character: character not in refused


def string(wanted: str) -> Parser[str]:
    """The text `wanted`; the problem is placed where it should begin."""
    expected = Message("expected", f'"{wanted}"')

    def run(source: Source, at: int) -> Reply[str]:
        source.budget.take()
        text = source.text
        if text.startswith(wanted, at):
            end = at + len(wanted)
            return Success(wanted, end, True, SyntaxProblem(end))
        matched = 0
        while text[at + matched : at + matched + 1] == wanted[matched]:
            matched += 1
        return Failure(matched > 0, SyntaxProblem(at, (expected, at + matched)))

    return run


def string_ignoring_case(wanted: str) -> Parser[str]:
    """The text `wanted` (lower case), each of its letters in either case."""
    letters = [
        either(char(letter), char(letter.upper())) if letter.isalpha() else char(letter)
        for letter in wanted
    ]
    return combine(lambda *_: wanted, *letters)


_END: Final = Message("expected", "end of input")


def end_of_input(source: Source, at: int) -> Reply[None]:
    """Succeeds at the end of the text only."""
    source.budget.take()
    text = source.text
    if at >= len(text):
        return Success(None, at, False, SyntaxProblem(at, (_END, at)))
    met = Message("unexpected", _shown(text[at], "'"))
    return Failure(False, SyntaxProblem(at, (_END, met)))


# --- combinators --------------------------------------------------------------------------


@overload
def combine(build: Callable[[A], T], a: Parser[A], /) -> Parser[T]: ...
@overload
def combine(build: Callable[[A, B], T], a: Parser[A], b: Parser[B], /) -> Parser[T]: ...
@overload
def combine(
    build: Callable[[A, B, C], T], a: Parser[A], b: Parser[B], c: Parser[C], /
) -> Parser[T]: ...
@overload
def combine(
    build: Callable[[A, B, C, D], T],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    /,
) -> Parser[T]: ...
@overload
def combine(
    build: Callable[[A, B, C, D, E], T],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    /,
) -> Parser[T]: ...
@overload
def combine(build: Callable[..., T], /, *parsers: Parser[Any]) -> Parser[T]: ...
def combine(build: Callable[..., T], /, *parsers: Parser[Any]) -> Parser[T]:
    """All `parsers` one after the other, `build` of their values."""

    def run(source: Source, at: int) -> Reply[T]:
        values = []
        consumed, problem = False, SyntaxProblem(at)
        for parser in parsers:
            reply = parser(source, at)
            if reply.consumed:
                consumed, problem = True, reply.problem
            else:
                problem = merge(problem, reply.problem)
            if isinstance(reply, Failure):
                return Failure(consumed, problem)
            values.append(reply.value)
            at = reply.offset
        return Success(build(*values), at, consumed, problem)

    return run


def first(kept: Parser[T], *dropped: Parser[Any]) -> Parser[T]:
    """`kept` followed by `dropped`: the value of `kept`."""
    return combine(lambda value, *_: value, kept, *dropped)


def last(*parsers: Parser[Any]) -> Parser[Any]:
    """The parsers in sequence: the value of the last."""
    return combine(lambda *values: values[-1], *parsers)


def constant(value: T, parser: Parser[Any]) -> Parser[T]:
    """What `parser` reads, standing for `value`."""
    return combine(lambda _: value, parser)


def pure(value: T) -> Parser[T]:
    """`value`, reading nothing."""
    return lambda _, at: Success(value, at, False, SyntaxProblem(at))


def either(*alternatives: Parser[T]) -> Parser[T]:
    """The first alternative that consumes input or succeeds."""

    def run(source: Source, at: int) -> Reply[T]:
        problem = SyntaxProblem(at)
        for alternative in alternatives:
            reply = alternative(source, at)
            if reply.consumed:
                return reply
            problem = merge(problem, reply.problem)
            if isinstance(reply, Success):
                return Success(reply.value, reply.offset, False, problem)
        return Failure(False, problem)

    return run


def optional(parser: Parser[T], otherwise: T) -> Parser[T]:
    """`parser`, or `otherwise` when it reads nothing."""
    return either(parser, pure(otherwise))


def maybe(parser: Parser[T]) -> Parser[T | None]:
    """`parser`, or None when it reads nothing."""

    def run(source: Source, at: int) -> Reply[T | None]:
        reply = parser(source, at)
        if isinstance(reply, Success):
            return Success(reply.value, reply.offset, reply.consumed, reply.problem)
        return reply if reply.consumed else Success(None, at, False, reply.problem)

    return run


def labelled(parser: Parser[T], what: str) -> Parser[T]:
    """`parser`, called `what` in problems at its own beginning."""
    expected = Message("expected", what)

    def run(source: Source, at: int) -> Reply[T]:
        reply = parser(source, at)
        if reply.consumed:
            return reply
        if isinstance(reply, Failure):
            return Failure(False, _expecting(reply.problem, expected))
        if not reply.problem.messages:
            return reply
        problem = _expecting(reply.problem, expected)
        return Success(reply.value, reply.offset, False, problem)

    return run


def attempt(parser: Parser[T]) -> Parser[T]:
    """`parser`, consuming nothing when it fails."""

    def run(source: Source, at: int) -> Reply[T]:
        reply = parser(source, at)
        if isinstance(reply, Failure) and reply.consumed:
            return Failure(False, reply.problem)
        return reply

    return run


def look_ahead(parser: Parser[Any]) -> Parser[None]:
    """Succeeds where `parser` does, reading nothing."""

    def run(source: Source, at: int) -> Reply[None]:
        reply = parser(source, at)
        if isinstance(reply, Failure):
            return reply
        return Success(None, at, False, SyntaxProblem(at))

    return run


def not_followed_by(parser: Parser[str]) -> Parser[None]:
    """Succeeds where `parser`, which reads one character, does not."""

    def run(source: Source, at: int) -> Reply[None]:
        reply = parser(source, at)
        if isinstance(reply, Failure):
            return Success(None, at, False, reply.problem)
        met = SyntaxProblem(reply.offset, (Message("unexpected", _shown(reply.value, "'")),))
        return Failure(False, merge(reply.problem, met))

    return run


def many(parser: Parser[T]) -> Parser[list[T]]:
    """`parser` as often as it succeeds; it must consume input."""
    return _repeat(parser, keep_problem=True)


def _repeat(parser: Parser[T], *, keep_problem: bool) -> Parser[list[T]]:
    def run(source: Source, at: int) -> Reply[list[T]]:
        values: list[T] = []
        problem = SyntaxProblem(at)
        while True:
            reply = parser(source, at)
            if isinstance(reply, Failure):
                if reply.consumed:
                    return reply
                end = merge(problem, reply.problem) if keep_problem else reply.problem
                return Success(values, at, bool(values), end)
            values.append(reply.value)
            at, problem = reply.offset, reply.problem

    return run


def separated(parser: Parser[T], separator: Parser[Any]) -> Parser[list[T]]:
    """One or more `parser`s with `separator` between them."""
    # What could have followed an item is forgotten once the next separator was looked
    # for: that is how Parsec's sepBy1 reports, unlike `many` in applicative style.
    rest = _repeat(combine(lambda _, value: value, separator, parser), keep_problem=False)
    return combine(lambda head, tail: [head, *tail], parser, rest)


def where(parser: Parser[T], accepts: Callable[[T], bool]) -> Parser[T]:
    """`parser`, failing without a word when `accepts` refuses its value."""

    def run(source: Source, at: int) -> Reply[T]:
        reply = parser(source, at)
        if isinstance(reply, Success) and not accepts(reply.value):
            return Failure(reply.consumed, reply.problem)
        return reply

    return run


def remembered(parser: Parser[T]) -> Parser[T]:
    """`parser`, not run again by the next alternative that begins with it."""
    key = object()

    def run(source: Source, at: int) -> Reply[T]:
        known = source.replies.get(key)
        if known is not None and known[0] == at:
            reply: Reply[T] = known[1]
            return reply
        reply = parser(source, at)
        source.replies[key] = (at, reply)
        return reply

    return run


def nested(parser: Parser[T]) -> Parser[T]:
    """`parser` one level of parentheses deeper; raises `NestedTooDeeplyError`."""

    def run(source: Source, at: int) -> Reply[T]:
        if source.depth >= MAX_NESTING:
            raise NestedTooDeeplyError(at)
        source.depth += 1
        try:
            return parser(source, at)
        finally:
            source.depth -= 1

    return run
