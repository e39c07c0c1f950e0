"""The way in: the command line, once it is sure that `proxy` and `pool` are edgerest's own.

Other distributions have packages of these names (proxy.py installs `proxy`): installed into
the same environment they overwrite files of ours, and from PYTHONPATH they come first.
Imported, they would fail anywhere and say anything; so they are looked at before.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("proxy", "pool")
_MARK: Final = '"""edgerest: '
"""How the `__init__.py` of each begins."""


def stranger(package: str) -> Path | None:
    """The file that `import package` would read, if it isn't edgerest's.

    Nothing is imported. A package that is not there at all is its own folder's absence.
    """
    home = Path(__file__).resolve().parents[1] / package / "__init__.py"
    spec = find_spec(package)
    found = Path(spec.origin) if spec is not None and spec.origin else home
    if found.resolve() != home or not home.is_file():
        return found
    return None if home.read_text(encoding="utf-8").startswith(_MARK) else found


def main() -> None:
    """The command line; exit status 1 and a sentence if its packages are somebody else's."""
    for package in _PACKAGES:
        found = stranger(package)
        if found is not None:
            sys.exit(
                f"edgerest: `import {package}` finds another program's package ({found}): "
                "install edgerest into a virtual environment of its own (pipx, uv tool), "
                "without PYTHONPATH."
            )
    # Not before: what is imported here is what was looked at above.
    from proxy.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
