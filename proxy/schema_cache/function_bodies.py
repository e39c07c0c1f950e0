"""What the source of a function depends on, where it is simple enough to be sure.

In: the body of a function in SQL or PL/pgSQL. Out: a `Code`, or None for all that can't be
told at a glance. Helpers such as `auth.uid()` in policies, computed fields, and triggers
that set `updated_at` are simple: they compute something from their arguments, the claims
and the time, with PostgreSQL's own functions, and neither read a table nor write one. A body
that names anything else is not understood, on purpose. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from proxy.schema_cache.node_trees import (
    NO_CLAIMS,
    PASSING_CLAIMS,
    Code,
    Trait,
    is_claims,
    setting_traits,
)

_TOKEN: Final = re.compile(
    r"""
    (?P<space> \s+ | --[^\n\r]* | /\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/ )
  | (?P<text> '(?:[^'\\]|'')*' )
  | (?P<number> \$\d+ | \d[\w.]* )
  | (?P<name> [A-Za-z_][\w$]* | "[^"]+" )
  | (?P<cast> :: )
  | (?P<sign> := | (?!/\*)[-+*/<>=~!@\#%^&|`?.,;:()\[\]]  )
    """,
    re.VERBOSE,
)

# Whatever could read a table, write one or run what is not in sight.
_FORBIDDEN: Final = frozenset(
    """alter analyze call checkpoint close cluster comment commit copy create deallocate delete
    discard do drop execute explain fetch for foreach from grant import insert into join
    listen load lock loop merge move notify open perform prepare query reassign refresh
    regclass regconfig regnamespace regproc regprocedure regrole regtype reindex release
    reset revoke rollback savepoint set show table truncate unlisten update vacuum
    values while with""".split()
)
# They look like calls when a parenthesis follows.
_KEYWORDS: Final = frozenset(
    """all and any array as begin between by case check coalesce else elsif elseif end
    exception exists greatest if in interval is isnull least like ilike not notnull null
    nullif or over return row select similar some then to using when where xor""".split()
)
_FUNCTIONS: Final = frozenset(
    """abs age array_append array_cat array_length array_lower array_position array_prepend
    array_remove array_to_string array_upper ascii bit_length btrim cardinality cast ceil
    ceiling char_length character_length chr concat concat_ws convert_from convert_to
    current_setting date_part date_trunc decode div encode exp extract floor format hashtext
    initcap json_array_length json_build_array json_build_object json_extract_path
    json_extract_path_text jsonb_array_length jsonb_build_array jsonb_build_object
    jsonb_extract_path jsonb_extract_path_text jsonb_exists jsonb_set jsonb_strip_nulls
    json_strip_nulls left length ln log lower lpad ltrim make_date make_interval make_time
    make_timestamp make_timestamptz md5 mod now numeric octet_length overlay position power
    quote_ident quote_literal quote_nullable regexp_match regexp_replace repeat replace
    reverse right round row_to_json rpad rtrim setweight sign split_part sqrt
    starts_with statement_timestamp strpos substr substring text to_char to_date to_json
    to_jsonb to_number to_timestamp to_tsquery to_tsvector transaction_timestamp translate
    trim trunc upper uuid varchar plainto_tsquery phraseto_tsquery websearch_to_tsquery
    gen_random_uuid random clock_timestamp""".split()
)
_TIMES: Final = frozenset(
    """age clock_timestamp current_date current_time current_timestamp gen_random_uuid
    localtime localtimestamp now random statement_timestamp transaction_timestamp
    """.split()
)
_CALLED: Final = _KEYWORDS | _FUNCTIONS
_TIME_TEXTS: Final = re.compile(r"now|today|tomorrow|yesterday", re.IGNORECASE)
_ROLES: Final = frozenset(("current_role", "current_user", "session_user", "user"))

# Words that stand for tokens in `_reads_by_name`: CLAIMS is the text with the setting's name,
# WHOLE the claims as text, JSON as json, PASSING the name of one that passes, NONE a text
# that no claims are, TEXT any other. Names are in lower case.
_OPENING: Final = (
    "(?:^|(?<=[(,] )|"
    + "|".join(f"(?<={word} )" for word in "select and or not when then else".split())
    + ")"
)
_SAME: Final = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (
            r"(?<!\S)(?:pg_catalog \. )?current_setting \( CLAIMS(?: , (?:true|false))? \)",
            "WHOLE",
        ),
        (r"(?<!\S)(?:nullif|coalesce) \( WHOLE , NONE \)", "WHOLE"),
        (r"(?<!\S)WHOLE :: jsonb?(?! [.(\[%])(?!\S)", "JSON"),
        (_OPENING + r"\( (WHOLE|JSON) \)", r"\1"),
    )
)
# Left of it nothing binds as tightly, and right of it nothing makes another name of TEXT.
_MEMBER: Final = re.compile(
    rf"(?:{_OPENING}|(?<=[\w)\]] = ))JSON - >(?: >)? TEXT(?! (?:::|[A-Z]))(?!\S)"
)
_CONSTANT: Final = re.compile(r"(?<!\S)current_setting \( (?:CLAIMS|PASSING|NONE|TEXT) [,)]")
_NAMED_SETTING: Final = re.compile(r"current_setting\s*\(\s*'([^'\\]*)'\s*[,)]")
_WORD: Final = re.compile(r"[^\W\d][\w$]*")
_LEFT: Final = re.compile(r"(?<!\S)(?:CLAIMS|WHOLE|JSON)(?!\S)")

_Token = tuple[str, str]
_END: Final[_Token] = ("", "")


def read_body(
    source: str, user_functions: Collection[str], language: str = "sql"
) -> Code | None:
    """What `source` depends on; None when it can't be told.

    `user_functions` are the names of all functions outside PostgreSQL's own schema: they
    may stand in for others of the same name, and be called as if they were fields.
    """
    traits: set[Trait] = set()
    words = []
    before, reading = _END, _tokens(source)
    now, following = next(reading), next(reading, _END)
    while now != _END:
        after = next(reading, _END)
        kind, token = now
        # Texts that follow each other are one.
        if kind == "odd" or (kind == "text" and before[0] == "text"):
            return None
        words.append(_word(kind, token))
        if kind == "text" and _TIME_TEXTS.search(token):
            traits.add("time")
        elif kind == "name":
            name = token.lower() if token[0] != '"' else token[1:-1]
            if name in _FORBIDDEN or name in user_functions:
                return None
            # A type with a length, such as varchar(10), is known by the cast before it.
            if following[1] == "(" and before[0] != "cast" and name not in _CALLED:
                return None
            if name in _TIMES:
                traits.add("time")
            elif name in _ROLES:
                traits.add("role")
            elif name == "current_setting":
                traits.update(setting_traits(after[1][1:-1] if after[0] == "text" else None))
        before, now, following = now, following, after
    text = " ".join(words)
    if words.count("current_setting") != len(_CONSTANT.findall(text)):
        traits.update(setting_traits(None))
    if "claims" in traits and (language != "sql" or not _reads_by_name(text)):
        traits.add("token")
    return Code(traits=frozenset(traits))


def hints(source: str) -> tuple[frozenset[Trait], frozenset[str]]:
    """Of a body that is not understood: what it seems to read of the request and the role,
    and all words in it, among them the names of functions that it may call."""
    lower = source.lower()
    traits: set[Trait] = set()
    if any(role in lower for role in _ROLES - {"user"}):
        traits.add("role")
    constants = _NAMED_SETTING.findall(lower)
    if len(constants) < lower.count("current_setting"):
        traits.update(setting_traits(None))
    for name in constants:
        traits.update(setting_traits(name))
    if "claims" in traits:
        traits.add("token")
    return frozenset(traits), frozenset(_WORD.findall(source))


def _word(kind: str, token: str) -> str:
    if kind == "name":
        return token.lower() if token[0] != '"' else "QUOTED"
    if kind != "text":
        return token
    text = token[1:-1]
    if is_claims(text):
        return "CLAIMS"
    return "PASSING" if text in PASSING_CLAIMS else "NONE" if text in NO_CLAIMS else "TEXT"


def _reads_by_name(text: str) -> bool:
    """Whether all that is done with the claims is to read such as last, by constant names."""
    before = ""
    while before != text:
        before = text
        for pattern, word in _SAME:
            text = pattern.sub(word, text)
    return _LEFT.search(_MEMBER.sub("VALUE", text)) is None


def _tokens(source: str) -> Iterator[_Token]:
    """The tokens that are no white space, as far as they can be read; `odd` is what can't."""
    place = 0
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            yield "odd", source[place]
            return
        if match.lastgroup != "space":
            yield match.lastgroup or "", match.group()
        place = match.end()
    yield _END
