"""A standby of a private PostgreSQL, made with pg_basebackup; it streams from then on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres, find_binaries


@contextmanager
def standby_of(
    primary: EmbeddedPostgres, primary_directory: Path, directory: Path
) -> Iterator[EmbeddedPostgres]:
    """A running standby that lives in `directory`; skips the test without pg_basebackup."""
    program = find_binaries() / "pg_basebackup"
    if not os.access(program, os.X_OK):
        pytest.skip(f"there is no pg_basebackup in {program.parent}")
    owner = (primary_directory / "data").stat()
    identity = (
        {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": ()}
        if os.geteuid() == 0
        else {}
    )
    directory.mkdir()
    directory.chmod(0o711)
    data = directory / "data"
    data.mkdir(mode=0o700)
    os.chown(data, owner.st_uid, owner.st_gid)
    subprocess.run(
        [
            *(program, "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync"),
            *("-h", str(primary.socket_directory), "-p", str(primary.port), "-U", "postgres"),
        ],
        check=True,
        capture_output=True,
        **identity,  # type: ignore[call-overload]
    )
    shutil.copy(primary_directory / "password", directory / "password")
    settings = {"max_standby_streaming_delay": "100ms", "wal_receiver_status_interval": "1s"}
    with EmbeddedPostgres(directory, durable=False, settings=settings) as standby:
        yield standby


@contextmanager
def pair(scratch: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A primary and its standby, in two directories of `scratch`."""
    scratch.chmod(0o711)
    home = scratch / "primary"
    with (
        EmbeddedPostgres(home, durable=False) as primary,
        standby_of(primary, home, scratch / "standby") as standby,
    ):
        yield primary, standby
