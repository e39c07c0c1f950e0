"""Why a connection could not be made, in words for the operator.

In: an error of asyncpg, the system or the server, and the target. Out: a part of a sentence;
only the error's kind where its text may quote a part of a password.
"""

from __future__ import annotations

import configparser
import os
import re
import socket
import ssl
from typing import Final

import asyncpg

from pool.dsn import ESCAPE, Target

_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")
_PLACE: Final = re.compile(r"\('([^']+)', (\d+)")
_NO_TLS: Final = "rejected SSL upgrade"


def reason_of(error: Exception, target: Target, host: str | None = None) -> str:
    """What `error`, of connecting to `host` of `target` or to its only one, says."""
    if isinstance(error, configparser.Error):
        # It quotes lines of the service file.
        return f"the service file can't be read ({type(error).__name__})"
    if not target.doubtful:
        return _in_words(error, target, host) or str(error) or type(error).__name__
    said = error.strerror if isinstance(error, OSError) else None
    return (
        f"{said or type(error).__name__} (names are not shown, for the connection string"
        f" is doubtful; {ESCAPE})"
    )


def _in_words(error: Exception, target: Target, host: str | None) -> str | None:
    """Nothing for what PostgreSQL said itself."""
    match error:
        case socket.gaierror():
            name = host or target.host or "that PGHOST names"
            return f"the host {name} can't be resolved: {error.strerror}"
        case ssl.SSLCertVerificationError():
            return (
                f"the server's certificate is not trusted: {error.verify_message}; name the"
                " certificate of its authority with sslrootcert"
            )
        case ssl.SSLError():
            return f"TLS can't be agreed on with the server: {error.reason}"
        case ConnectionError() if _NO_TLS in str(error):
            return "the server has no TLS, which sslmode demands"
        case asyncpg.TargetServerAttributeNotMatched():
            return f"no server is {target.server_kind}, as target_session_attrs demands"
        case OSError():
            return _of_the_system(error)
    return None


def _of_the_system(error: OSError) -> str | None:
    """The event loop has texts of its own, for several addresses of a host in one."""
    numbers = [error.errno] if error.errno else map(int, _NUMBER.findall(str(error)))
    reasons = list(dict.fromkeys(os.strerror(number) for number in numbers))
    found = _PLACE.findall(str(error))
    places = [f"[{at}]:{port}" if ":" in at else f"{at}:{port}" for at, port in found]
    if not reasons:
        return None
    return f"{', '.join(reasons)}{' at ' if places else ''}{', '.join(places)}"
