"""Several processes that serve one socket, and the parent that looks after them.

In: how many, and what each does. Out: an exit code. Processes are forked before any event
loop or thread exists, so each starts with the bound sockets and nothing else shared. A
worker that dies is replaced; one that can't even start ends the whole, as it would again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final, NoReturn

logger = logging.getLogger(__name__)

MIN_LIFE: Final = 5.0
"""Seconds: a worker that dies sooner is taken for one that can't start."""

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_FORWARDED: Final = (signal.SIGUSR1, signal.SIGUSR2)

Work = Callable[[int, int], int]
"""Serves, given the worker's number and a file descriptor that reads as closed when the
parent is gone; returns the exit code. Number 0 is the first."""


def run_workers(
    count: int,
    work: Work,
    *,
    on_stop: Callable[[], object],
    on_death: Callable[[], object] = lambda: None,
) -> int:
    """Run `work` in `count` processes until SIGTERM or SIGINT; then call `on_stop`.

    `on_death` is called whenever one has failed or was killed. SIGUSR1 and SIGUSR2 go to
    every worker, and to each that replaces another. Returns 0 when all ended cleanly, else 1.
    """
    return _Workers(count, work, on_stop, on_death).run()


class _Workers:
    def __init__(
        self,
        count: int,
        work: Work,
        on_stop: Callable[[], object],
        on_death: Callable[[], object],
    ) -> None:
        self._count = count
        self._work = work
        self._on_stop = on_stop
        self._on_death = on_death
        self._running: dict[int, tuple[int, float]] = {}
        self._stopping = False
        self._failed = False
        self._alive, self._keep_open = os.pipe()

    def run(self) -> int:
        handled = (*_STOPPING, *_FORWARDED)
        # Until a worker has handlers of its own, signals wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        before = {number: signal.signal(number, self._handle) for number in handled}
        try:
            for number in range(self._count):
                self._start(number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
            while self._running:
                self._reap()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._alive)
            os.close(self._keep_open)
        return int(self._failed)

    def _handle(self, number: int, _frame: object) -> None:
        if number in _STOPPING:
            self._stop()
            return
        for pid in self._running:
            os.kill(pid, number)

    def _stop(self) -> None:
        self._stopping = True
        self._on_stop()
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)

    def _start(self, number: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be_worker(number)
        self._running[pid] = number, time.monotonic()
        return pid

    def _be_worker(self, number: int) -> NoReturn:
        code = 1
        try:
            os.close(self._keep_open)
            for handled in (*_STOPPING, *_FORWARDED):
                signal.signal(handled, signal.SIG_DFL)
            code = self._work(number, self._alive)
        except BaseException:
            logger.exception("Worker %d failed", number)
        finally:
            # The parent's clean-up is not the worker's to do.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        pid, status = os.wait()
        if pid not in self._running:
            return
        number, started = self._running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            self._on_death()
        if self._stopping:
            self._failed |= code != 0
        elif time.monotonic() - started < MIN_LIFE:
            logger.error("Worker %d ended with %d as soon as it started", number, code)
            self._failed = True
            self._stop()
        else:
            logger.warning("Worker %d ended with %d and is replaced", number, code)
            self._replace(number)

    def _replace(self, number: int) -> None:
        """Start a worker, and tell it what the others may have been told before it was there:
        it begins with what the parent knows, and that is what there was at the start."""
        handled = (*_STOPPING, *_FORWARDED)
        signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        pid = self._start(number)
        for told in _FORWARDED:
            os.kill(pid, told)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
