"""The way in: the command line, once it is sure that `proxy` and `pool` are edgerest's own.

Other distributions have packages of these names (proxy.py installs `proxy`): installed into
the same environment they overwrite files of ours, and from PYTHONPATH they come first.
Imported, they would fail anywhere and say anything; so they are looked at before.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("proxy", "pool")
_MARK: Final = '"""edgerest: '
"""How the `__init__.py` of each begins."""


def stranger(package: str) -> str | None:
    """What `import package` would read, if it is not ours. Nothing is imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return "nothing"
    found = Path(spec.origin)
    # As installed; an editable install has it elsewhere.
    home = Path(str(distribution("edgerest").locate_file(f"{package}/__init__.py")))
    elsewhere = home.exists() and not home.samefile(found)
    is_ours = found.read_text(encoding="utf-8", errors="replace").startswith(_MARK)
    return None if is_ours and not elsewhere else str(found)


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
