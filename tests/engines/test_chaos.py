"""A proxy with callers of all kinds, a short run; the long one is
`python -m tests.engines.chaos`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.engines.chaos import KEPT, caddy_program, chaos


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_some_do_wrong_harms_nobody_else() -> None:
    if shutil.which(caddy_program()) is None:
        pytest.skip("there is no Caddy for this platform in the environment")
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        scratch = Path(directory)
        # PostgreSQL does not run as root: its user must get through to its directory.
        scratch.chmod(0o711)
        with EmbeddedPostgres(scratch / "pg", durable=False, settings=KEPT) as database:
            verdict = chaos(database, scratch, callers=24, seconds=3, between=1, checkpoints=2)
    assert verdict.wrong == []
    assert {"read", "written"} <= verdict.innocent.keys()
    assert len(verdict.trouble) == 5
