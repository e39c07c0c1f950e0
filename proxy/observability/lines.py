"""Lines for whoever reads a log, who may stall, leave, or run out of disk: nobody waits for it.

In: lines. Out: a file descriptor, written to only when it takes something at once. What it
does not take is kept, up to a bound; beyond, lines are dropped and counted.
"""

from __future__ import annotations

import errno
import logging
import os
import select
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

logger = logging.getLogger(__name__)

PIPE_BUF: Final = 4096
"""Bytes that are written to a pipe in one piece whatever other processes write, and that one
which is ready takes without blocking (POSIX)."""
_MOST_KEPT: Final = 1 << 20
"""Bytes that wait for a reader that stalls."""
_AGAIN: Final = 0.05
"""Seconds between two looks whether it reads again."""
_GOODBYE: Final = 1.0
"""Seconds that it has in the end."""
_GONE: Final = (errno.EPIPE, errno.EBADF, errno.ECONNRESET)

CallSoon = Callable[[Callable[[], None]], object]
CallLater = Callable[[float, Callable[[], None]], object]


def _drop_silently(_lines: int) -> None:
    pass


class LineWriter:
    """Writes lines to a file descriptor, those of one turn of the event loop together.

    Lines never mix with those of other processes on the same pipe. A reader that has gone
    ends the log; one that stalls, or has no room, loses what is beyond a bound, of which
    `on_drop` is told the number of lines.
    """

    def __init__(
        self,
        descriptor: int,
        call_soon: CallSoon,
        call_later: CallLater,
        on_drop: Callable[[int], None] = _drop_silently,
    ) -> None:
        self._descriptor = descriptor
        self._call_soon, self._call_later = call_soon, call_later
        self._on_drop = on_drop
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lines: deque[bytes] = deque()
        self._kept = 0
        self._planned = self._broken = self._torn = self._mends = False
        self._dropped = 0

    def write(self, line: str) -> None:
        """Write `line` soon, or drop it."""
        if self._broken:
            return
        encoded = line.encode(errors="backslashreplace")
        if self._kept + len(encoded) > _MOST_KEPT:
            self._drop(1, "its reader stalls")
            return
        self._lines.append(encoded)
        self._kept += len(encoded)
        if not self._planned:
            self._planned = True
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Write what is taken at once, and the rest later."""
        self._planned = False
        if not self._write_while_ready(0.0):
            self._planned = True
            self._call_later(_AGAIN, self.flush)

    def close(self) -> None:
        """Write what there is, for a second at most."""
        self._write_while_ready(_GOODBYE)

    def _write_while_ready(self, seconds: float) -> bool:
        """Write for as long as the reader takes it, waiting for it so long altogether; whether
        nothing is left to write."""
        end = monotonic() + seconds
        while self._lines and not self._broken:
            if not self._poll.poll(max(end - monotonic(), 0) * 1000):
                return False
            try:
                self._write_piece()
            except BlockingIOError:
                return False
            except OSError as error:
                self._fail(error)
        return True

    def _write_piece(self) -> None:
        """Write as many lines as fit in one piece, or some of the first."""
        size = count = 0
        for line in self._lines:
            if count and size + len(line) > PIPE_BUF:
                break
            size, count = size + len(line), count + 1
        piece = b"".join(self._lines.popleft() for _ in range(count))
        end = b"\n" if self._mends else b""
        try:
            written = os.write(self._descriptor, (end + piece)[:PIPE_BUF]) - len(end)
        except BaseException:
            self._lines.appendleft(piece)
            raise
        self._mends = False
        self._kept -= written
        self._torn = piece[written - 1 : written] != b"\n"
        if written < len(piece):
            self._lines.appendleft(piece[written:])
        if self._dropped:
            logger.error("The access log is written again; it lacks %d lines", self._dropped)
            self._dropped = 0

    def _fail(self, error: OSError) -> None:
        if error.errno in _GONE:
            self._broken = True
            self._lines.clear()
            logger.error("The access log can't be written any more: %s", error)
            return
        lost = b"".join(self._lines).count(b"\n")
        self._lines.clear()
        self._kept = 0
        # What comes when there is room again begins on a line of its own.
        self._mends = self._mends or self._torn
        self._drop(lost, str(error))

    def _drop(self, lines: int, reason: str) -> None:
        if not self._dropped:
            logger.error("Lines of the access log are dropped: %s", reason)
        self._dropped += lines
        self._on_drop(lines)


class DescriptorHandler(logging.Handler):
    """Writes records to a file descriptor as long as it takes them at once; what is lost is
    told with the next record that is not."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, or count it as lost."""
        text = self.format(record) + "\n"
        if self._lost:
            text += f"({self._lost} more lines were lost: nobody read them)\n"
        rest = text.encode(errors="backslashreplace")
        try:
            while rest and self._poll.poll(0):
                rest = rest[os.write(self._descriptor, rest[:PIPE_BUF]) :]
        except OSError:
            # There is nobody left to tell.
            pass
        self._lost = self._lost + 1 if rest else 0
