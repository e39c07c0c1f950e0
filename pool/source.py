"""Where to connect, for those who do it again and again: it may change, as a password does.

In: a DSN, or what gives the DSN of the moment. Out: the `Target` of the moment.
"""

from __future__ import annotations

from collections.abc import Mapping

from pool.dsn import Dsn, Target, parse_dsn
from pool.errors import ConnectionFailed
from pool.unusable import why_unusable


class Source:
    """The target of a DSN that may change, read with `parse_dsn`.

    `ConnectionFailed` when it can't be read, or asks for what can never be had.
    """

    def __init__(self, dsn: Dsn, *, application_name: str, env: Mapping[str, str]) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._env = env
        self._target = self._parse()

    @property
    def target(self) -> Target:
        """What was read last."""
        return self._target

    def reread(self) -> bool:
        """Read it again; whether it says something else now. `ConnectionFailed` when it
        can't be read, and the target stays."""
        if isinstance(self._dsn, str):
            return False
        before, self._target = self._target, self._parse()
        return self._target != before

    def _parse(self) -> Target:
        text = self._dsn if isinstance(self._dsn, str) else self._dsn()
        target = parse_dsn(text, application_name=self._application_name, env=self._env)
        reason = why_unusable(target, self._env)
        if reason is not None:
            raise ConnectionFailed(reason)
        return target
