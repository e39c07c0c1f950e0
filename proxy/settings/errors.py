"""What is wrong with a configuration: all of it at once, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence


class SettingsError(Exception):
    """The configuration can't be used. `problems` holds one sentence per fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
