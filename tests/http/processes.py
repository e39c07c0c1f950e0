"""A server under test as what it is in production: a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """A running server, which printed its addresses as a line of JSON: `main`, `admin`."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[bytes], line: str) -> None:
        self._process = process
        self._errors = errors
        addresses: dict[str, str | None] = json.loads(line)
        self.address = addresses["main"] or ""
        self.admin = addresses["admin"]
        self.host, _, port = self.address.rpartition(":")
        self.port = int(port) if port.isdigit() else 0
        self.url = f"http://{self.address}"
        self.tls_url = f"https://localhost:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers, where it has several."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    @property
    def log(self) -> str:
        """What it wrote to stderr so far."""
        return _content(self._errors)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 10) -> tuple[int, str]:
        """Its exit code and what it still wrote to stdout."""
        output, _ = self._process.communicate(timeout=timeout)
        return self._process.returncode, output


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@contextmanager
def running(command: Sequence[str], **environment: str) -> Iterator[ServerProcess]:
    """The server that `command` starts, once it listens; stopped in the end.

    Raises RuntimeError with what it said when it ends instead.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment or None,
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait()
            raise RuntimeError(f"the server did not start: {_content(errors)}")
        try:
            yield ServerProcess(process, errors, line)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()


def echo_server(**options: Any) -> AbstractContextManager[ServerProcess]:
    """The server of `tests.http.echo_server`."""
    return running([sys.executable, "-m", "tests.http.echo_server", json.dumps(options)])
