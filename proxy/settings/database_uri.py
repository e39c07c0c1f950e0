"""Where the database is, asked again and again: files named with `@` may change.

In: settings, or one URI as it is written. Out: a DSN for `pool`, or a function that gives the
DSN of the moment, which the pool asks when a password is refused: so a rotated password
reaches new connections without a reload. What can't be read stays as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from pool.dsn import Dsn
from proxy.settings import Settings

logger = logging.getLogger(__name__)


def newest_uri(settings: Settings) -> Dsn:
    """What `db-uri` says, and what its file says later."""
    if settings.db_uri_file is None:
        return settings.db_uri
    return _reader(settings.db_uri_file, settings.db_uri)


def uri_source(written: str) -> Dsn:
    """What `written` says, which is a URI or `@file`."""
    return _reader(Path(written[1:]), "") if written.startswith("@") else written


def _reader(file: Path, last: str) -> Callable[[], str]:
    def read() -> str:
        nonlocal last
        try:
            last = file.read_text(encoding="utf-8").strip() or last
        except (OSError, ValueError) as error:
            # Without its name: a URI that begins with @ by mistake would be taken for one.
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            logger.warning("The file of a database's URI can't be read: %s", reason)
        return last

    return read
