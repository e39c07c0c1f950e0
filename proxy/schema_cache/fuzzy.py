"""A set of strings to look an approximate spelling up in. Pure.

In: strings, then a query. Out: the strings like it, best first. It gives the answers of
the Haskell library fuzzyset 0.2.4, which PostgREST's hints come from: candidates share
pairs or triples of characters with the query, the fifty nearest by cosine similarity are
ranked by Levenshtein distance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import sqrt
from typing import Final
from unicodedata import category

_GRAM_SIZES: Final = (3, 2)
_MOST_CANDIDATES: Final = 50
_DEFAULT_MIN_SCORE: Final = 0.33

# The library keeps candidates in a hash trie of 32-way branches; its order decides ties.
_TRIE_BITS: Final = 5
_TRIE_MASK: Final = 31


class FuzzySet:
    """Strings, indexed by the pairs and triples of characters in them.

    Of strings that differ in case only, the one without capitals is found, or else the
    first. Never changes once made.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._spelling: dict[str, str] = {}
        self._keys: list[str] = []
        for string in reversed(list(strings)):
            key = string.lower()
            # Another spelling than the plain one is indexed each time it comes, which
            # counts towards the candidates.
            if self._spelling.get(key) != key:
                self._spelling[key] = string
                self._keys.append(key)
        self._longest = max(map(len, self._keys), default=0)
        self._holders: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._norms: dict[int, list[float]] = {size: [] for size in _GRAM_SIZES}
        for index, key in enumerate(self._keys):
            for size in _GRAM_SIZES:
                grams = _grams(key, size)
                self._norms[size].append(_norm(grams))
                for gram, count in grams.items():
                    self._holders[gram].append((index, count))

    def get(self, query: str, min_score: float = _DEFAULT_MIN_SCORE) -> list[tuple[float, str]]:
        """(score, string) for the strings like `query`, best first; scores up to 1."""
        key = query.lower()
        if key in self._spelling:
            return [(1.0, self._spelling[key])]
        if len(key) > self._longest and self._longest / len(key) < min_score:
            return []
        for size in _GRAM_SIZES:
            found = [
                (score, self._spelling[other])
                for score, other in self._matches(key, size, min_score)
                if score >= min_score
            ]
            if found:
                return found
        return []

    def get_one(self, query: str, min_score: float = _DEFAULT_MIN_SCORE) -> str | None:
        """The string most like `query`, if one is at least `min_score` like it."""
        return next((string for _, string in self.get(query, min_score)), None)

    def _matches(self, key: str, size: int, min_score: float) -> list[tuple[float, str]]:
        grams = _grams(key, size)
        products: dict[int, int] = defaultdict(int)
        for gram, count in grams.items():
            for index, own_count in self._holders.get(gram, ()):
                products[index] += count * own_count
        query_norm, norms = _norm(grams), self._norms[size]
        nearest = sorted(
            sorted(products, key=_trie_order),
            key=lambda index: products[index] / (query_norm * norms[index]),
            reverse=True,
        )[:_MOST_CANDIDATES]
        others = (self._keys[index] for index in nearest)
        scored = [
            (_likeness(key, other), other)
            for other in others
            if _best_likeness(len(key), len(other)) >= min_score
        ]
        return sorted(scored, key=lambda match: match[0], reverse=True)


def _grams(text: str, size: int) -> Counter[str]:
    padded = f"-{''.join(filter(_counts, text.lower()))}-"
    return Counter(padded[at : at + size] for at in range(len(padded) - size + 1))


def _counts(character: str) -> bool:
    """Letters, digits, spaces and commas; the underscores of identifiers do not count."""
    kind = category(character)
    return kind[0] in "LN" or kind == "Zs" or character in ",\t\n\r\f\v"


def _norm(grams: Counter[str]) -> float:
    return sqrt(sum(count * count for count in grams.values()))


def _best_likeness(query_length: int, length: int) -> float:
    """The best score that strings of these lengths could have.

    Comparing takes time with the product of the lengths, and queries come from anyone.
    """
    longer = max(query_length, length)
    return min(query_length, length) / longer if longer else 1.0


def _likeness(one: str, other: str) -> float:
    longer = max(len(one), len(other))
    return (longer - levenshtein(one, other)) / longer if longer else 1.0


def levenshtein(one: str, other: str) -> int:
    """The edit distance, a column of the usual table at a time: the bits of a number tell
    where it grows and where it shrinks (Myers, "A Fast Bit-Vector Algorithm for Approximate
    String Matching", 1999). Queries come from anyone, and may be long."""
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for at, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << at
    every, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    grows, shrinks, distance = every, 0, len(one)
    for character in other:
        equal = places.get(character, 0)
        vertical = equal | shrinks
        diagonal = (((equal & grows) + grows) ^ grows) | equal
        up = shrinks | ~(diagonal | grows) & every
        down = grows & diagonal
        distance += bool(up & last) - bool(down & last)
        up, down = up << 1 | 1, down << 1
        grows = (down | ~(vertical | up)) & every
        shrinks = up & vertical & every
    return distance


def _trie_order(index: int) -> tuple[int, ...]:
    path: list[int] = []
    while index or not path:
        path.append(index & _TRIE_MASK)
        index >>= _TRIE_BITS
    return tuple(path)
