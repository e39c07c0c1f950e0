"""What a connection string asks for that no server can give, so that trying again is in vain.

In: a `Target` and the environment that asyncpg reads. Out: a sentence, or None. A server that
is away, or a database or role that is still to be made, is no such thing. Values are told by
their name, never quoted: `pool.dsn` says why.

Source: PostgreSQL docs, "Parameter Key Words"; for which file counts under which `sslmode`,
"SSL Support" and what asyncpg makes of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pool.dsn import Target

SERVER_KINDS: Final = (
    *("any", "primary", "standby"),
    *("prefer-standby", "read-write", "read-only"),
)
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_VERIFYING: Final = SSL_MODES[4:]
_REQUIRING: Final = SSL_MODES[3:]
_TLS_VERSIONS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_CHOICES: Final = (
    ("sslmode", "PGSSLMODE", SSL_MODES),
    ("sslnegotiation", "PGSSLNEGOTIATION", ("postgres", "direct")),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", _TLS_VERSIONS),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", _TLS_VERSIONS),
)


def why_unusable(target: Target, env: Mapping[str, str]) -> str | None:
    """A sentence on what keeps `target` from ever being reached, if anything does.

    Reads the files that it names.
    """
    return next(_reasons(target, env), None)


def _reasons(target: Target, env: Mapping[str, str]) -> Iterator[str]:
    asked = dict(parse_qsl(urlsplit(target.uri).query))
    if target.server_kind not in SERVER_KINDS:
        yield _none_of("target_session_attrs", SERVER_KINDS)
    for name, variable, choices in _CHOICES:
        value = asked.get(name) or env.get(variable)
        if value and value not in choices:
            yield _none_of(name, choices)
    mode = asked.get("sslmode") or env.get("PGSSLMODE")
    if (asked.get("sslnegotiation") or env.get("PGSSLNEGOTIATION")) == "direct" and (
        mode not in _REQUIRING
    ):
        yield f"sslnegotiation=direct needs an sslmode out of {', '.join(_REQUIRING)}"
    # Without a mode encryption is tried, but not through a Unix socket.
    if mode is not None and mode != "disable":
        yield from _file_faults(_Files(asked, env, target.doubtful), mode)


def _none_of(name: str, choices: tuple[str, ...]) -> str:
    return f"{name}: it is none of {', '.join(choices)}"


class _Files:
    """The files that a target names, and what they are called in a message."""

    def __init__(self, asked: Mapping[str, str], env: Mapping[str, str], hidden: bool) -> None:
        self._asked = asked
        self._env = env
        self._hidden = hidden

    def named(self, name: str) -> str | None:
        return self._asked.get(name) or self._env.get(f"PG{name.upper()}")

    def fault(self, name: str, load: Callable[[str], object]) -> str | None:
        """What is wrong with the file that `name` names, which `load` reads."""
        path = self.named(name)
        if path is None:
            return None
        shown = "its file" if self._hidden else path
        try:
            Path(path).read_bytes()
            load(path)
        except ssl.SSLError as error:
            return f"{name}: {shown} is not what it should be: {error.reason or 'no PEM file'}"
        except OSError as error:
            return f"{name}: {shown} can't be read: {error.strerror}"
        return None


def _file_faults(files: _Files, mode: str) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    faults = []
    if mode in _REQUIRING:
        faults += [files.fault("sslrootcert", context.load_verify_locations)]
        faults += [files.fault("sslcrl", context.load_verify_locations)]
        known = Path("~/.postgresql/root.crt").expanduser()
        if mode in _VERIFYING and not files.named("sslrootcert") and not known.exists():
            yield (
                f"sslmode={mode} needs the certificate of the server's authority, in a file"
                f" that sslrootcert names, or in {known}"
            )
    faults += [files.fault("sslkey", lambda path: None)]
    faults += [files.fault("sslcert", lambda path: _load_chain(context, path, files))]
    yield from (fault for fault in faults if fault is not None)


def _load_chain(context: ssl.SSLContext, path: str, files: _Files) -> None:
    standard = Path("~/.postgresql/postgresql.key").expanduser()
    key = files.named("sslkey") or (str(standard) if standard.exists() else None)
    context.load_cert_chain(path, key, lambda: files.named("sslpassword") or "")
