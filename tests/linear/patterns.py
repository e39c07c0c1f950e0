"""Every regular expression of the packages, what it is used for, and how long it can take.

`patterns()` finds them all: the test of this folder needs no list. `slow_text` looks for a
text that a pattern needs more than linear time for. Such a text repeats something (a pump)
behind something (what leads to a repetition), and then ends as the pattern does not expect;
all three are made of the characters that the pattern itself tells apart.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, Final

# The standard library's own parser of patterns; nothing else tells what is in one.
codes: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")
compiler: Any = importlib.import_module("re._compiler")

PACKAGES: Final = ("proxy", "pool", "edge_client")
ROOT: Final = Path(__file__).parents[2]
METHODS: Final = frozenset(
    ("match", "fullmatch", "search", "findall", "finditer", "sub", "subn", "split")
)
_ELSEWHERE: Final = frozenset(("js", "pyodide"))
"""Modules that exist in browsers only; what imports them can't be imported here."""


@dataclass(frozen=True)
class Used:
    """A compiled pattern, the place of its name, and the methods that it is used by."""

    name: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]


# --- finding ------------------------------------------------------------------------------


@cache
def sources() -> Mapping[str, ast.Module]:
    """The syntax trees of all modules, by name."""
    trees = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            trees[name] = ast.parse(path.read_text(), str(path))
    return trees


@cache
def _nodes(name: str) -> tuple[ast.AST, ...]:
    """Everything in a module's tree; walking it is what takes the time."""
    return tuple(ast.walk(sources()[name]))


def patterns() -> list[Used]:
    """All compiled patterns that the modules, their classes and their containers hold."""
    methods = _methods_by_name()
    found: dict[int, Used] = {}
    for name in sources():
        module = _imported(name)
        for attribute, pattern in _held(module) if module else ():
            used = methods.get((_home(name, attribute), attribute)) or METHODS
            known = found.get(id(pattern))
            if known is None:
                found[id(pattern)] = Used(f"{name}.{attribute}", pattern, used)
    return list(found.values())


def misplaced() -> Iterator[str]:
    """Uses of `re` that `patterns()` can't see: in functions, or in what can't be imported."""
    for name in sources():
        functions = [
            node
            for node in _nodes(name)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ]
        inside = {id(node) for function in functions for node in _body_of(function)}
        for node in _nodes(name):
            if isinstance(node, ast.ImportFrom) and node.module in ("re", "regex"):
                yield f"{name}:{node.lineno} imports from {node.module}"
            if isinstance(node, ast.Call) and _is_of_re(node.func):
                called = ast.unparse(node.func)
                unseen = id(node) in inside or _imported(name) is None
                if unseen or called not in ("re.compile", "re.escape"):
                    yield f"{name}:{node.lineno} calls {called}"


def _body_of(
    function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
) -> Iterator[ast.AST]:
    for node in function.body if isinstance(function.body, list) else [function.body]:
        yield from ast.walk(node)


def _is_of_re(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "re"
    )


@cache
def _imported(name: str) -> ModuleType | None:
    needed = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in _nodes(name)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return None if needed & _ELSEWHERE else importlib.import_module(name)


def _held(module: ModuleType) -> Iterator[tuple[str, re.Pattern[Any]]]:
    for name, value in vars(module).items():
        for pattern in _within(value, module.__name__, depth=3):
            yield name, pattern


def _within(value: object, module: str, *, depth: int) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, type):
        if value.__module__ == module:
            for each in vars(value).values():
                yield from _within(each, module, depth=depth - 1)
    elif depth and isinstance(value, Mapping):
        for each in (*value.keys(), *value.values()):
            yield from _within(each, module, depth=depth - 1)
    elif depth and isinstance(value, tuple | list | set | frozenset):
        for each in value:
            yield from _within(each, module, depth=depth - 1)


def _home(module: str, name: str) -> str:
    """Private names mean something in their module only."""
    return module if name.startswith("_") else ""


def _methods_by_name() -> Mapping[tuple[str, str], frozenset[str]]:
    """By the home and name of a global: what is asked of it. One that is handed on as it
    is may be asked everything."""
    asked: dict[tuple[str, str], set[str]] = {}
    for module in sources():
        plain = {id(node.value) for node in _nodes(module) if isinstance(node, ast.Attribute)}
        for node in _nodes(module):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                key = _home(module, node.value.id), node.value.id
                asked.setdefault(key, set()).add(node.attr)
            elif (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Load)
                and id(node) not in plain
            ):
                asked.setdefault((_home(module, node.id), node.id), set()).update(METHODS)
    return {key: frozenset(used & METHODS) for key, used in asked.items()}


# --- hostile texts ------------------------------------------------------------------------

_CODE_POINTS: Final = (*range(256), 0x2003, 0x20AC, 0x3042)
_LENGTHS: Final = (20, 30, 45, 70, 110, 300, 3_000)
_MOST_PUMPS: Final = 250
_MOST_LETTERS: Final = 14
_ATOMS: Final = (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY)
_REPEATS: Final = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
_UNBOUNDED: Final = 64
"""A repetition that may be longer counts as one without an end."""


def slow_text(used: Used) -> str | None:
    """A description of a text that takes more than linear time; None when none was found."""
    for prefix, pump, suffix in _shapes(used.pattern):
        for method in sorted(used.methods):
            if _is_slow(used.pattern, method, prefix, pump, suffix):
                return f"{method}: {prefix!r} + {pump!r} * n + {suffix!r}"
    return None


def _is_slow(
    pattern: re.Pattern[Any], method: str, prefix: str, pump: str, suffix: str
) -> bool:
    def run(length: int) -> float:
        written = prefix + pump * (length // len(pump)) + suffix
        is_bytes = isinstance(pattern.pattern, bytes)
        text = written.encode("latin-1") if is_bytes else written
        return _seconds(lambda: _applied(pattern, method, text))

    # Short texts first: something exponential would not come back from a long one.
    for length in _LENGTHS:
        if run(length) > _allowed(length):
            break
    else:
        return False
    return all(run(length) > _allowed(length) for _ in range(3)) and (
        length < _LENGTHS[-1]
        or min(run(4 * length) for _ in range(3)) > 9 * min(run(length) for _ in range(5))
    )


def _allowed(length: int) -> float:
    """Seconds of CPU; three times of what the slowest of the linear patterns takes."""
    return 0.0005 + length * 0.15e-6


def _applied(pattern: re.Pattern[Any], method: str, text: str | bytes) -> None:
    if method in ("sub", "subn"):
        getattr(pattern, method)(text[:0], text)
    elif method == "finditer":
        for _ in pattern.finditer(text):
            pass
    else:
        getattr(pattern, method)(text)


def _seconds(call: Callable[[], object]) -> float:
    """Of CPU, of this thread alone: what else the machine does makes little difference."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def _shapes(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str, str]]:
    tree = parser.parse(pattern.pattern, pattern.flags)
    letters = _letters(pattern, tree)
    repeats = list(_repeats(tree, pattern.flags))
    prefixes = dict.fromkeys(("", *(before for before, _ in repeats)))
    words = [*letters, *map("".join, product(letters, repeat=2))]
    # What leads to a repetition, again and again, makes many of them that never end.
    openings = [before + more for before, _ in repeats for more in ("", *letters)]
    bodies = [body for _, body in repeats]
    pumps = dict.fromkeys(each for each in (*bodies, *openings, *words) if each)
    endings = ("", *letters)
    for prefix in prefixes:
        for pump in list(pumps)[:_MOST_PUMPS]:
            for suffix in _differing(pump, endings):
                yield prefix, pump, suffix


def _differing(pump: str, endings: Iterable[str]) -> list[str]:
    """The end of the text, and the characters that are not those of the pump."""
    return [each for each in endings if not each or each not in pump][:4]


def _letters(pattern: re.Pattern[Any], tree: Any) -> list[str]:
    """A character of each kind that the pattern tells apart."""
    is_bytes = isinstance(pattern.pattern, bytes)
    points = [code for code in _CODE_POINTS if not is_bytes or code < 256]
    atoms = {repr(atom): atom for atom in _atoms(tree)}
    tests = [_tester(atom, pattern.flags) for atom in atoms.values()]
    kinds: dict[tuple[bool, ...], str] = {}
    for code in sorted(points, key=lambda code: (not 33 <= code < 127, code)):
        kinds.setdefault(tuple(test(chr(code)) for test in tests), chr(code))
    return list(kinds.values())[:_MOST_LETTERS]


def _atoms(tree: Any) -> Iterator[Any]:
    for code, value in tree:
        if code in _ATOMS:
            yield (code, value)
        else:
            for child in _children(code, value):
                yield from _atoms(child)


def _children(code: Any, value: Any) -> Iterator[Any]:
    if code in _REPEATS:
        yield value[2]
    elif code is codes.SUBPATTERN:
        yield value[3]
    elif code is codes.ATOMIC_GROUP:
        yield value
    elif code is codes.BRANCH:
        yield from value[1]
    elif code in (codes.ASSERT, codes.ASSERT_NOT):
        yield value[1]
    elif code is codes.GROUPREF_EXISTS:
        yield from (each for each in value[1:] if each is not None)


def _tester(atom: tuple[Any, Any], flags: int) -> Callable[[str], bool]:
    """Whether the part of a pattern that stands for one character takes a character."""
    part = parser.SubPattern(parser.State(), [atom])
    compiled: re.Pattern[Any] = compiler.compile(part, flags)
    return lambda letter: compiled.match(letter) is not None


def _repeats(tree: Any, flags: int) -> Iterator[tuple[str, str]]:
    """For each repetition without an end: a text that leads to it, and one that it takes."""
    before = ""
    for code, value in tree:
        if code in _REPEATS:
            least, most, body = value
            example = _example([*body], flags)
            if most is codes.MAXREPEAT or most > _UNBOUNDED:
                yield before, example
            for inner, pump in _repeats(body, flags):
                yield before + inner, pump
            before += example * least
            continue
        for child in _children(code, value):
            for inner, pump in _repeats(child, flags):
                yield before + inner, pump
        before += _example([(code, value)], flags)


def _example(tree: Any, flags: int) -> str:
    """A short text that the parts in `tree` take."""
    text = ""
    for code, value in tree:
        if code in _ATOMS:
            test = _tester((code, value), flags)
            text += next((c for c in map(chr, _CODE_POINTS[33:]) if test(c)), " ")
        elif code in _REPEATS:
            text += _example(value[2], flags) * max(value[0], 1)
        elif code in (codes.SUBPATTERN, codes.ATOMIC_GROUP, codes.BRANCH):
            text += _example(next(_children(code, value)), flags)
    return text
