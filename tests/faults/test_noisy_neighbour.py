"""A quiet pool beside a noisy one, a short run; the long one is
`python -m tests.faults.noisy_neighbour`."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import uvloop

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.faults.noisy_neighbour import compare


def test_the_quiet_one_is_served_and_the_budget_kept() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="noisy-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        found = runner.run(compare(server.dsn, total=4, in_flight=300, rate=10, seconds=1))
    assert found.most_sessions <= 4
    assert found.noise > 0
    # Not the wait behind three hundred others. The ratio itself is for quiet machines.
    assert found.beside.p50 < 1000 * 300 / found.noise
