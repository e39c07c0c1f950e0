"""`edgerest migrate pgbouncer`: a configuration made of PgBouncer's.

In: the text of pgbouncer.ini. Out: the text of a configuration file, with remarks on what
PgBouncer's says that has no place here, and on what it can't know. Settings: PgBouncer docs,
"pgbouncer.ini".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from configparser import Error, RawConfigParser
from typing import Final
from urllib.parse import quote, urlencode

_PAIR: Final = re.compile(r"(\w++)\s*+=\s*+('(?:[^']|'')*+'|\S*+)\s*+")

_WORDS: Final = re.compile(r"[a-z0-9]++")
_NUMBER: Final = re.compile(r"[0-9]++(?:\.[0-9]++)?")

_POOL: Final = 10
"""What db-pool is when nobody says."""
_RENAMED: Final = {
    "default_pool_size": "db-pool",
    "min_pool_size": "db-pool-min",
    "max_db_connections": "pool-max-connections",
    "query_wait_timeout": "db-pool-acquisition-timeout",
    "server_idle_timeout": "db-pool-max-idletime",
    "server_lifetime": "db-pool-max-lifetime",
    "query_timeout": "server-request-timeout",
    "client_idle_timeout": "server-idle-timeout",
    "client_tls_cert_file": "server-tls-cert",
    "client_tls_key_file": "server-tls-key",
}
"""Those that mean the same in the same unit."""
_TEXTS: Final = frozenset(("server-tls-cert", "server-tls-key"))
_ENDLESS: Final = frozenset(("query_wait_timeout", "server_idle_timeout", "server_lifetime"))
"""0 stands for no limit there, and would for none at all here."""
_REMARKS: Final = {
    "pool_mode": "every request is a transaction of its own",
    "listen_addr": "server-host says where HTTP is answered",
    "listen_port": "server-port says where HTTP is answered; 3000 if it is not set",
    "unix_socket_dir": "server-unix-socket is where HTTP is answered",
    "auth_type": "callers have tokens, not passwords: jwt-secret or jwt-jwks-uri",
    "auth_file": "callers have tokens, not passwords: jwt-secret or jwt-jwks-uri",
    "auth_query": "callers have tokens, not passwords: jwt-secret or jwt-jwks-uri",
    "auth_user": "callers have tokens, not passwords: jwt-secret or jwt-jwks-uri",
    "auth_hba_file": "callers have tokens, not passwords: jwt-secret or jwt-jwks-uri",
    "max_client_conn": "there is no limit: a caller is a stream, see docs/sizing.md",
    "reserve_pool_size": "there is no second pool: make db-pool as large as it may get",
    "reserve_pool_timeout": "there is no second pool: make db-pool as large as it may get",
    "max_user_connections": "one role connects: db-pool is the limit",
    "max_prepared_statements": "statements are prepared without a limit to set",
    "server_reset_query": "a transaction leaves nothing to reset",
    "server_reset_query_always": "a transaction leaves nothing to reset",
    "admin_users": "admin-server-token lets one in to the admin server",
    "stats_users": "/metrics of the admin server: admin-server-port",
    "idle_transaction_timeout": "nothing a caller does leaves a transaction open",
    "transaction_timeout": "server-request-timeout ends a request with all it does",
    "so_reuseport": "server-workers share the port by themselves",
    "logfile": "the log goes to standard error",
    "pidfile": "the service manager knows the process",
}
_SSL: Final = {
    "server_tls_sslmode": "sslmode",
    "server_tls_ca_file": "sslrootcert",
    "server_tls_cert_file": "sslcert",
    "server_tls_key_file": "sslkey",
}
_TO_FILL_IN: Final = """\
# PgBouncer does not know these. Name the schemas that the API shows, the role of requests
# without a token (or leave it out: there are none then), and the secret of the tokens.
db-schemas = "public"
# db-anon-role = "web_anon"
# jwt-secret = "@/run/secrets/jwt-secret"
"""


class MigrationError(Exception):
    """What was given is no configuration of PgBouncer's; says why in a sentence."""


class _Ini(RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        """Names of databases keep their letters' case."""
        return optionstr


def configuration(text: str) -> str:
    """The configuration file. Raises MigrationError."""
    parser = _Ini(delimiters=("=",), comment_prefixes=(";", "#", "%include"), strict=False)
    try:
        parser.read_string(text)
    except Error as error:
        raise MigrationError(f"This is no pgbouncer.ini: {_place_of(error)}") from None
    if not parser.has_section("databases") or not parser.items("databases"):
        raise MigrationError("This is no pgbouncer.ini: it has no [databases]")
    settings = dict(parser.items("pgbouncer")) if parser.has_section("pgbouncer") else {}
    databases = {_unquoted(key): _options(key, text) for key, text in parser.items("databases")}
    several = len(databases) > 1
    anything = databases.pop("*", {}) if several else {}
    if not several and all(_size_of(given) for given in databases.values()):
        settings.pop("default_pool_size", None)
    _cap_least(settings, databases, several=several)
    parts = [
        "\n".join(_remarks(text, settings)),
        "\n".join(_lines(settings)),
        _TO_FILL_IN.rstrip(),
    ]
    if anything:
        parts.append("# * = …: an app serves one database; add a table for each that is used")
    taken: set[str] = set()
    for name, given in databases.items():
        app = _app_name(name, taken)
        taken.add(app)
        head = (f"[apps.{app}]", f'path-prefix = "/{app}"') if several else ()
        parts.append("\n".join((*head, *_database(name, given, settings))))
    return "\n\n".join(part for part in parts if part) + "\n"


def _cap_least(
    settings: dict[str, str], databases: Mapping[str, Mapping[str, str]], *, several: bool
) -> None:
    """PgBouncer keeps no more open than a pool may have, whatever min_pool_size says."""
    usual = _whole(settings.get("default_pool_size", "")) or _POOL
    numbers = [_size_of(given) or usual for given in databases.values()]
    if several:
        # What is said of all must hold by itself, even where nobody goes by it.
        numbers.append(usual)
    if _whole(settings.get("min_pool_size", "")) > min(numbers):
        settings["min_pool_size"] = str(min(numbers))


def _size_of(given: Mapping[str, str]) -> int:
    """The size of a database's own pool, 0 when it says none."""
    return _whole(given.get("pool_size", ""))


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _unquoted(name: str) -> str:
    """A database's name, which is quoted as SQL quotes where it is no plain word."""
    if len(name) > 1 and name[0] == name[-1] == '"':
        return name[1:-1].replace('""', '"')
    return name


def _place_of(error: Error) -> str:
    """Where it is wrong, without what stands there: it may be a password."""
    errors = getattr(error, "errors", None) or [(getattr(error, "lineno", 1), "")]
    return f"line {errors[0][0]} is neither a section nor a setting"


def _options(database: str, connection: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    while match := _PAIR.match(connection, place):
        name, value = match.groups()
        if value.startswith("'"):
            value = value[1:-1].replace("''", "'")
        found[name] = value
        place = match.end()
    if connection[place:].strip():
        # What is left over may be a part of a password.
        raise MigrationError(f"{database}: its connection string is no list of name=value")
    return found


def _app_name(database: str, taken: Collection[str]) -> str:
    words = _WORDS.findall(database.lower())
    plain = "-".join(words if words and words[0][0].isalpha() else ("app", *words))
    plain = plain[:32].rstrip("-")
    names = (plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _remarks(text: str, settings: Mapping[str, str]) -> Iterator[str]:
    yield "# Made of PgBouncer's configuration. What had no place here:"
    known = {**_RENAMED, **_SSL}
    for name, value in settings.items():
        if name not in known:
            remark = _REMARKS.get(name, "has no counterpart")
            yield f"#   {name} = {' '.join(value.split())}: {remark}"
    if "%include" in text:
        yield "#   %include: the files are not read; give this command one that holds all"
    yield "# Clients do not speak PostgreSQL's protocol here, but HTTP: docs/migrate-pooler.md"


def _lines(settings: Mapping[str, str]) -> Iterator[str]:
    for old, new in _RENAMED.items():
        value = settings.get(old)
        if value is None:
            continue
        if new in _TEXTS:
            yield f"{new} = {json.dumps(value)}"
        elif not _NUMBER.fullmatch(value):
            yield f"# {new}: {old} was {json.dumps(value)}"
        elif float(value) == 0 and old in _ENDLESS:
            yield f"# {new}: {old} was 0, without a limit"
        elif float(value) > 0:
            yield f"{new} = {math.ceil(float(value))}"


def _database(
    name: str, given: Mapping[str, str], settings: Mapping[str, str]
) -> Iterator[str]:
    if "user" not in given:
        yield "# PgBouncer connects as whoever asks. Name the role that edgerest connects as:"
        yield "# it needs LOGIN, and to be granted the roles that tokens name."
    uri = _uri(name, given, settings)
    if given.get("password"):
        yield '# Better in a file that only edgerest reads: db-uri = "@/run/secrets/db-uri"'
    yield f"db-uri = {json.dumps(uri)}"
    size = _size_of(given)
    if size:
        yield f"db-pool = {size}"
    for left in sorted(given.keys() - (_PLACED if size else _PLACED - {"pool_size"})):
        remark = _REMARKS.get(left, "has no counterpart")
        yield f"# {left} = {' '.join(given[left].split())}: {remark}"


_PLACED: Final = frozenset(("host", "port", "dbname", "user", "password", "pool_size"))


def _uri(name: str, given: Mapping[str, str], settings: Mapping[str, str]) -> str:
    user = quote(given.get("user", "authenticator"), safe="")
    password = f":{quote(given['password'], safe='')}" if given.get("password") else ""
    database = quote(given.get("dbname", "postgres" if name == "*" else name), safe="")
    options = {ours: settings[theirs] for theirs, ours in _SSL.items() if theirs in settings}
    host, port = given.get("host", ""), given.get("port", "5432")
    if not host or host.startswith("/"):
        options |= {"host": host or "/var/run/postgresql", "port": port}
        place = ""
    else:
        place = ",".join(f"{_host(each)}:{port}" for each in host.split(","))
    query = f"?{urlencode(options, safe='/', quote_via=quote)}" if options else ""
    return f"postgresql://{user}{password}@{place}/{database}{query}"


def _host(host: str) -> str:
    return f"[{host.strip()}]" if ":" in host else quote(host.strip(), safe="")
