"""`edgerest` as people run it: a process with its own output and environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

EDGEREST = (
    sys.executable,
    "-c",
    "import sys; from proxy.cli.main import main; sys.exit(main())",
)
ROOT = Path(__file__).parents[2]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours without PGRST_* and PG*, with the tree importable from everywhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **extra}


def run_edgerest(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*EDGEREST, *args],
        env=environment(extra),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Running:
    """A started `edgerest`, whose output (both streams) is collected line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def output(self) -> str:
        """What it said so far."""
        with self._news:
            return "\n".join(self._lines)

    def wait_for(self, words: str, timeout: float = 60) -> str:
        """The first line with `words` in it; fails when the process ends without."""

        def line() -> str | None:
            return next((found for found in self._lines if words in found), None)

        with self._news:
            self._news.wait_for(lambda: self._ended or line() is not None, timeout)
            found = line()
        assert found is not None, f"nothing with '{words}' in:\n{self.output}"
        return found

    def stop(self, number: int = signal.SIGINT, timeout: float = 30) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 30) -> int:
        """The exit code, once its output has been read to the end."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status


@contextmanager
def start_edgerest(*args: str, **extra: str) -> Iterator[Running]:
    """Start it; killed in the end if it still runs."""
    with subprocess.Popen(
        [*EDGEREST, *args],
        env=environment(extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        running = Running(process)
        try:
            yield running
        finally:
            if process.poll() is None:
                running.stop(signal.SIGTERM)
