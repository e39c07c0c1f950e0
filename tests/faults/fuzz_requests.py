"""Requests that are nearly the same: what the fuzz of the cache asks.

In: a seed. Out: requests and writes to `fuzz_cache.sql`. They come in families: one request,
and others made of it by changes that a cache may take for nothing: another order, a name
written otherwise or given twice, a header on two lines, claims in another order, repeated,
or with other times. Whether the change means anything is not known here. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final
from urllib.parse import quote

from tests.auth.signing import sign

SECRET: Final = "a secret for the fuzz of the cache, long enough"
FAR: Final = 4_000_000_000

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ask:
    """A read. `params` are names and values as they stand in the URL; `claims` names and
    JSON texts, None for no token; `lines` the other header lines."""

    path: str
    params: tuple[Pair, ...] = ()
    lines: tuple[Pair, ...] = ()
    claims: tuple[Pair, ...] | None = None
    method: str = "GET"

    @property
    def query(self) -> str:
        return "&".join(f"{name}={value}" for name, value in self.params)

    @property
    def head(self) -> tuple[Pair, ...]:
        """All header lines."""
        lines = self.lines
        if self.method == "QUERY":
            lines = (*lines, ("content-type", "application/x-www-form-urlencoded"))
        return lines if self.claims is None else (*lines, token_line(self.claims))

    @property
    def target(self) -> str:
        return (
            self.path
            if self.method == "QUERY" or not self.params
            else f"{self.path}?{self.query}"
        )

    @property
    def body(self) -> bytes:
        return self.query.encode() if self.method == "QUERY" else b""

    def __str__(self) -> str:
        claims = "nobody" if self.claims is None else text_of(self.claims)
        return f"{self.method} {self.path}?{self.query} {self.lines} by {claims}"


@dataclass(frozen=True, slots=True)
class Write:
    """A request that writes; the body is JSON, or empty."""

    method: str
    target: str
    body: str = ""


def text_of(claims: tuple[Pair, ...]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in claims) + "}"


def token_line(claims: tuple[Pair, ...]) -> Pair:
    return "authorization", f"Bearer {sign(text_of(claims), SECRET)}"


_ROLES: Final = ('"fuzz_member"', '"fuzz_other"')
_SUBS: Final = ('"a"', '"b"')
_JTIS: Final = ('"1"', '"2"', '"3"')
_TIMES: Final = ("0", "100", "200")
_CLAIMS: Final[dict[str, tuple[str, ...]]] = {
    "role": _ROLES,
    "sub": _SUBS,
    "jti": _JTIS,
    "iat": _TIMES,
    "nbf": _TIMES,
    "exp": (str(FAR), f"{FAR}.5"),
    "app": ('{"team":"a"}', '{"team":"b","team":"a"}', '{"team":"a","team":"b"}', "{}"),
}
_ACCEPTS: Final = (
    "application/json",
    "*/*",
    "text/csv",
    "text/csv;q=0.5",
    "application/vnd.pgrst.object+json;q=0.1",
    "application/vnd.pgrst.array+json;nulls=stripped",
    "image/png",
)
_PREFERS: Final = (
    "count=exact",
    "count=planned",
    "handling=strict",
    "handling=lenient, count=exact",
    "timezone=Asia/Tokyo",
    "nonsense",
)
_RANGES: Final = ("0-1", "1-2", "0-", "3-1", "0-0, 1-1", "lines=1")
_PROFILES: Final = ("api", "other", "api, other", "none")
_TENANTS: Final = ("one", "two")
_HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "accept": _ACCEPTS,
    "prefer": _PREFERS,
    "range": _RANGES,
    "accept-profile": _PROFILES,
    "x-tenant": _TENANTS,
}
_LIMITS: Final = ("0", "1", "2", "x")
_WAYS: Final = (
    *("sub", "app", "constant", "path", "jsonpath", "declared", "procedural", "returned"),
    *("aged", "order", "role"),
)
_FILTERS: Final[dict[str, tuple[Pair, ...]]] = {
    "/items": (
        ("id", "eq.1"),
        ("id", "gt.3"),
        ("n", "lt.3"),
        ("n", "in.(1,2)"),
        ("grp", "eq.x"),
        ("name", "like.item*"),
        ("or", "(n.eq.1,n.eq.2)"),
        ("select", "id,name"),
        ("select", "n"),
        ("order", "id.desc"),
        ("order", "name,id"),
        ("limit", "2"),
        ("limit", "1"),
        ("offset", "1"),
    ),
    "/parents": (
        ("select", "id,children(id,n)"),
        ("select", "id,kids:children(id)"),
        ("order", "id"),
        ("children.order", "id"),
        ("children.order", "n.desc,id"),
        ("children.n", "gt.0"),
        *(("children.limit", limit) for limit in _LIMITS),
        *(("kids.limit", limit) for limit in _LIMITS),
        ("children.offset", "1"),
        ("limit", "2"),
    ),
    "/rpc/args": tuple((name, value) for name in "ab" for value in "123"),
    "/rpc/sums": tuple(("v", value) for value in "1234"),
    "/rpc/whoami": (),
    "/rpc/names": (),
    "/rpc/tenant": (),
    **{f"/by_{way}": (("order", "id"), ("id", "gt.0"), ("select", "id")) for way in _WAYS},
}
_GROUPS: Final = tuple(
    tuple(path for path in _FILTERS if path.startswith(beginning))
    for beginning in ("/by_", "/by_", "/rpc/", "/rpc/args", "/items", "/parents")
)


class Source:
    """Requests, always the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def family(self) -> Iterator[Ask]:
        """A request, and some that are nearly the same."""
        random = self._random
        ask = self._ask()
        yield ask
        for _ in range(random.randrange(1, 6)):
            changed = ask
            for _ in range(random.choice((0, 1, 1, 2, 3))):
                changed = self._change(changed)
            yield changed
            if random.random() < 0.3:
                ask = changed

    def _change(self, ask: Ask) -> Ask:
        """Where the answer is told apart by claims, more often one of those."""
        random = self._random
        told_apart = ask.path.startswith("/by_") and random.random() < 0.6
        change = _reclaimed if told_apart else random.choice(_CHANGES)
        return change(random, ask)

    def write(self) -> Write:
        """Something that changes what some requests are answered."""
        random = self._random
        number, jti = random.randint(1, 12), random.choice("123")
        child, n = random.randint(1, 9), random.randint(0, 4)
        name = random.choice(["item 0", "item 9", "thing"])
        return random.choice(
            (
                Write("PATCH", f"/items?id=eq.{number}", json.dumps({"n": n, "name": name})),
                Write("DELETE", f"/items?id=eq.{number}"),
                Write("POST", "/items", json.dumps({"id": number, "name": name, "n": n})),
                Write("PATCH", f"/children?id=eq.{child}", json.dumps({"n": n})),
                Write("POST", "/revoked", json.dumps({"jti": jti})),
                Write("DELETE", f"/revoked?jti=eq.{jti}"),
                Write("POST", "/cut_off", json.dumps({"sub": "a", "since": 50})),
                Write("PATCH", "/cut_off?sub=eq.a", json.dumps({"since": 100 + n})),
                Write("DELETE", "/cut_off?sub=eq.a"),
                Write(
                    "PATCH", f"/by_sub?id=eq.{n}", json.dumps({"owner": random.choice("ab")})
                ),
            )
        )

    def _ask(self) -> Ask:
        """Often with something twice already, so that its order or spelling counts."""
        random = self._random
        path = random.choice(random.choice(_GROUPS))
        known = _FILTERS[path]
        params = random.sample(known, min(len(known), random.randrange(5)))
        if path == "/parents":
            params.insert(0, ("select", "id,children(id,n)"))
        if path == "/rpc/args" and not any(name == "a" for name, _ in params):
            params.append(("a", "1"))
        lines = []
        if random.random() < 0.5:
            name = random.choice(tuple(_HEADERS))
            lines = [(name, value) for value in random.sample(_HEADERS[name], 2)]
        claims = None
        if random.random() < 0.85:
            names = [
                name for name in _CLAIMS if name in ("role", "sub") or random.random() < 0.6
            ]
            claims = tuple((name, random.choice(_CLAIMS[name])) for name in names)
        method = random.choices(("GET", "HEAD", "QUERY"), (8, 1, 1))[0]
        ask = Ask(path, tuple(params), tuple(lines[: random.randint(1, 2)]), claims, method)
        if not path.startswith("/by_") and random.random() < 0.5:
            ask = _respell(random, _repeat(random, ask))
        return ask


# --- changes ---------------------------------------------------------------------------------

Change = Callable[[Random, Ask], Ask]


def _shuffled(random: Random, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    return tuple(random.sample(pairs, len(pairs)))


def _reorder(random: Random, ask: Ask) -> Ask:
    return replace(ask, params=_shuffled(random, ask.params))


def _respell(random: Random, ask: Ask) -> Ask:
    """One name is written otherwise."""
    named = [at for at, (name, _) in enumerate(ask.params) if name]
    if not named:
        return ask
    at = random.choice(named)
    name, value = ask.params[at]
    first, dot, rest = name.partition(".")
    spelt = random.choice(
        (
            f"%22{first}%22{dot}{rest}",
            f"%22{first}%22{dot}{rest}",
            f"+{name}",
            f"%{ord(name[0]):02x}{name[1:]}",
            quote(name, safe="").replace(".", "%2E"),
            f"{name}+",
        )
    )
    return replace(ask, params=(*ask.params[:at], (spelt, value), *ask.params[at + 1 :]))


def _repeat(random: Random, ask: Ask) -> Ask:
    """One parameter comes once more, with the same value or another."""
    known = _FILTERS[ask.path]
    if not known:
        return ask
    pair = random.choice(known if not ask.params or random.random() < 0.4 else ask.params)
    values = [value for name, value in known if name == pair[0]] or [pair[1]]
    params = list(ask.params)
    params.insert(random.randint(0, len(params)), (pair[0], random.choice(values)))
    return replace(ask, params=tuple(params))


def _separate(random: Random, ask: Ask) -> Ask:
    """Something stands between parameters, or behind them."""
    empty = random.choice((("", ""), ("select", ""), ("unknown", "eq.1")))
    return replace(ask, params=(*ask.params, empty))


def _relined(random: Random, ask: Ask) -> Ask:
    """Header lines are joined, split, put in another order, or more."""
    lines = list(_shuffled(random, ask.lines))
    name = random.choice([*(name for name, _ in lines), random.choice(tuple(_HEADERS))])
    own = [value for each, value in lines if each == name]
    others = [line for line in lines if line[0] != name]
    match random.randrange(4):
        case 0:
            own = [", ".join(own)] if own else [random.choice(_HEADERS[name])]
        case 1:
            own = [part.strip() for value in own for part in value.split(",")]
        case 2:
            own.insert(random.randint(0, len(own)), random.choice(_HEADERS[name]))
        case _:
            own = own[1:]
    return replace(ask, lines=(*others, *((name, value) for value in own)))


def _reclaimed(random: Random, ask: Ask) -> Ask:
    """The claims in another order, one of them more, twice or with another value."""
    if ask.claims is None:
        return ask
    claims = list(ask.claims)
    name = random.choice(("sub", "sub", "app", "jti", "jti", "iat", "exp", "role"))
    match random.randrange(5):
        case 0:
            claims = list(_shuffled(random, ask.claims))
        case 1:
            claims.insert(random.randint(0, len(claims)), (name, random.choice(_CLAIMS[name])))
        case 2:
            claims = [pair for pair in claims if pair[0] != name or name == "role"]
        case _:
            chosen = random.choice(_CLAIMS[name])
            claims = [(each, chosen if each == name else value) for each, value in claims]
    return replace(ask, claims=tuple(claims))


def _other_method(random: Random, ask: Ask) -> Ask:
    return replace(ask, method=random.choice(("GET", "HEAD", "QUERY")))


_CHANGES: Final[tuple[Change, ...]] = (
    _reorder,
    _respell,
    _repeat,
    _separate,
    _relined,
    _relined,
    _reclaimed,
    _reclaimed,
    _other_method,
)
