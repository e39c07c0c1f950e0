"""What may be kept, for how long and for whom: the cache policies of one app.

In: the `cache.` keys of a configuration (`[cache.tables."api.products"]`) and the comments
of database objects (`@cache max-age=60 scope=role`). Out: the `Policy` of a table, view or
function for a role, or none: then nothing is kept. Pure.

The configuration wins over a comment, what is said of an object over `[cache.default]`, and
what is said of a role over what is said of all; a role takes the directives that its own
table leaves out from the object's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from proxy.schema_cache.model import QualifiedName, SchemaCache

Scope = Literal["public", "role", "claims", "none"]
"""Who shares an answer: everybody, all who have the same database role, only those whose
tokens make the same claims (times and token id apart), or nobody: it is not kept."""
Kind = Literal["tables", "functions"]
Level = Literal["default", "tables", "functions"]

SCOPES: Final[tuple[Scope, ...]] = ("public", "role", "claims", "none")
PREFIX: Final = "cache."
"""How the keys of policies begin, once dots stand for tables."""
MOST_SECONDS: Final = 2**31 - 1
"""The longest time that a cache must understand (RFC 9111, section 1.2.2)."""

_TIMES: Final = ("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error")
DIRECTIVES: Final = (*_TIMES, "scope")
_ROLES: Final = ".roles."
_COMMENT: Final = re.compile(r"^[ \t]*@cache\b(.*)$", re.MULTILINE)
_COMMENT_LINE: Final = re.compile(r"^[ \t]*@cache\b.*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long an answer is fresh and how long it may be used after that, in seconds.

    `max_age` is for everybody, `s_maxage` for shared caches, this one included.
    """

    max_age: int = 0
    s_maxage: int | None = None
    stale_while_revalidate: int = 0
    stale_if_error: int = 0
    scope: Scope = "claims"

    @property
    def lifetime(self) -> int:
        """Seconds that an answer is fresh here (RFC 9111, section 4.2.1)."""
        return self.max_age if self.s_maxage is None else self.s_maxage

    @property
    def keeps(self) -> bool:
        """Whether it keeps anything at all."""
        return self.scope != "none" and (self.lifetime > 0 or self.stale_while_revalidate > 0)


Directives = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """What one table of the configuration says. `name` is `schema.name`, or a name in the
    first exposed schema; `role` None is for all."""

    level: Level
    name: str
    role: str | None
    directives: Directives

    @property
    def where(self) -> str:
        """The table as a configuration file names it."""
        named = f'."{self.name}"' if self.name else ""
        role = f".roles.{self.role}" if self.role else ""
        return f"[cache.{self.level}{named}{role}]"


class PolicyError(ValueError):
    """What is wrong with a policy, as a sentence."""


# --- from the configuration -----------------------------------------------------------------


def read_policy_rows(written: Mapping[str, object]) -> tuple[PolicyRow, ...]:
    """The rows in the flat keys of a configuration (`cache.tables.api.items.max-age`).

    Raises PolicyError for the first key that makes no sense.
    """
    found: dict[tuple[Level, str, str | None], list[tuple[str, object]]] = {}
    for key, value in written.items():
        if key.startswith(PREFIX):
            owner, directive = _split_key(key)
            found.setdefault(owner, []).append((directive, _value(directive, value, key)))
    return tuple(PolicyRow(*owner, tuple(values)) for owner, values in found.items())


def _split_key(key: str) -> tuple[tuple[Level, str, str | None], str]:
    path, _, directive = key.removeprefix(PREFIX).rpartition(".")
    if directive not in DIRECTIVES:
        raise PolicyError(
            f"{key}: {directive} is no cache directive; there are {', '.join(DIRECTIVES)}"
        )
    path, mark, role = f"{path}.".rpartition(_ROLES) if _ROLES in path else (path, "", "")
    level, _, name = path.partition(".")
    named = level in ("tables", "functions")
    if not (named and name) and not (level == "default" and not name):
        raise PolicyError(
            f"{key}: a cache policy is written in [cache.default],"
            ' [cache.tables."schema.name"] or [cache.functions."schema.name"]'
        )
    return (cast("Level", level), name, role.rstrip(".") if mark else None), directive


def _value(directive: str, raw: object, where: str) -> object:
    if directive == "scope":
        if raw not in SCOPES:
            raise PolicyError(f"{where}: '{raw}' is none of {', '.join(SCOPES)}")
        return raw
    seconds = int(raw) if isinstance(raw, str) and raw.isdecimal() else raw
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        raise PolicyError(f"{where}: '{raw}' is not a whole number of seconds")
    return min(seconds, MOST_SECONDS)


# --- from comments --------------------------------------------------------------------------


def read_comment(comment: str | None) -> tuple[tuple[str | None, Directives], ...]:
    """What the `@cache` lines of an object's comment say, by role (`role=NAME`, or for all).

    Raises PolicyError for a line that makes no sense.
    """
    if comment is None or "@cache" not in comment:
        return ()
    return tuple(_comment_line(line.group(1)) for line in _COMMENT.finditer(comment))


def _comment_line(line: str) -> tuple[str | None, Directives]:
    role: str | None = None
    directives: list[tuple[str, object]] = []
    for word in line.split():
        name, equals, value = word.partition("=")
        if name == "role" and value:
            role = value
        elif name in ("reads", "writes") and equals:
            continue  # what a function depends on: proxy.schema_cache.facts
        elif name in DIRECTIVES and equals:
            directives.append((name, _value(name, value, f"@cache {word}")))
        else:
            raise PolicyError(
                f"@cache {word}: write directives as NAME=VALUE; there are"
                f" {', '.join(DIRECTIVES)}, role, reads and writes"
            )
    return role, tuple(directives)


def without_policy_lines(comment: str) -> str | None:
    """The comment as a reader of the API's description should see it, if anything is left."""
    if "@cache" not in comment:
        return comment
    return _COMMENT_LINE.sub("", comment).strip("\n") or None


# --- all of an app --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of one app; `roles` None stands for every role.

    `faults` are sentences about comments that make no sense and about rows for what is not
    there; they are passed over.
    """

    objects: Mapping[tuple[Kind, QualifiedName], Mapping[str | None, Policy]] = field(
        default_factory=dict
    )
    default: Mapping[str | None, Policy] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.objects or self.default)

    def find(self, kind: Kind, name: QualifiedName, role: str) -> Policy | None:
        """The policy for a table, view or function as `role` sees it; None: keep nothing."""
        by_role = self.objects.get((kind, name), self.default)
        policy = by_role.get(role) or by_role.get(None)
        return policy if policy is not None and policy.keeps else None


def make_policies(
    rows: Iterable[PolicyRow], schema_cache: SchemaCache, schemas: tuple[str, ...]
) -> Policies:
    """The policies that the configuration and the database's comments make together."""
    said: dict[tuple[Level, QualifiedName], dict[str | None, Directives]] = {}
    faults: list[str] = []
    for kind, name, comment in _comments(schema_cache):
        try:
            lines = read_comment(comment)
        except PolicyError as error:
            faults.append(f"The comment on {name.schema}.{name.name} has no effect: {error}")
            continue
        for role, directives in lines:
            said.setdefault((kind, name), {})[role] = directives
    configured: dict[tuple[Level, QualifiedName], dict[str | None, Directives]] = {}
    for row in rows:
        known = schema_cache.functions if row.level == "functions" else schema_cache.tables
        key = row.level, _qualified(row.name, schemas, known)
        if row.level != "default" and key[1] not in known:
            faults.append(_unknown(row, key[1], known))
        configured.setdefault(key, {})[row.role] = row.directives
    said |= configured
    objects: dict[tuple[Kind, QualifiedName], Mapping[str | None, Policy]] = {}
    default: Mapping[str | None, Policy] = {}
    for (level, name), by_role in said.items():
        if level == "default":
            default = _resolved(by_role)
        else:
            objects[level, name] = _resolved(by_role)
    return Policies(objects, default, tuple(faults))


def _unknown(row: PolicyRow, name: QualifiedName, known: Collection[QualifiedName]) -> str:
    """What is told of a row about nothing that is exposed."""
    names = {f"{each.schema}.{each.name}": each for each in known}
    near = difflib.get_close_matches(f"{name.schema}.{name.name}", names, n=1)
    kind = "table or view" if row.level == "tables" else "function"
    remedy = f"did you mean {near[0]}?" if near else "expose its schema, or leave it out"
    return (
        f"{row.where} has no effect: there is no {kind} {name.schema}.{name.name} in the"
        f" exposed schemas; {remedy}"
    )


def _comments(cache: SchemaCache) -> Iterator[tuple[Kind, QualifiedName, str | None]]:
    for name, table in cache.tables.items():
        yield "tables", name, table.description
    for name, overloads in cache.functions.items():
        for function in overloads:
            yield "functions", name, function.description


def _qualified(
    name: str, schemas: tuple[str, ...], known: Collection[QualifiedName]
) -> QualifiedName:
    """The object that `name` means. Schemas and objects may have dots in their names."""
    dots = [place for place, letter in enumerate(name) if letter == "."]
    meant = [QualifiedName(name[:dot], name[dot + 1 :]) for dot in dots]
    meant.append(QualifiedName(schemas[0], name))
    return next((each for each in meant if each in known), meant[0])


def _resolved(by_role: Mapping[str | None, Directives]) -> Mapping[str | None, Policy]:
    shared = by_role.get(None, ())
    return {
        role: _policy(directives if role is None else (*shared, *directives))
        for role, directives in by_role.items()
    }


def _policy(directives: Directives) -> Policy:
    values = {name.replace("-", "_"): value for name, value in directives}
    return Policy(**values)  # type: ignore[arg-type]
