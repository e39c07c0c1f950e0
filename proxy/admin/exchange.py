"""How the worker with the admin server asks the others.

In: a question, JSON. Out: the answer of every worker, None from one that does not give any in
time. Each worker listens on a Unix socket in a directory that is made before workers are
forked and that nobody else can enter; a connection carries one question and its answer, a
line each, so that a worker that is replaced leaves nothing half said.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Answer = Callable[[Json], Awaitable[Json]]

_LONGEST_LINE: Final = 16 * 1024 * 1024


class Exchange:
    """Between the `workers` of a server; made before they are forked."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._worker = 0
        self._answer: Answer | None = None
        self._server: asyncio.Server | None = None
        self._directory = Path(mkdtemp(prefix="edgerest-")) if workers > 1 else None

    def _path(self, worker: int) -> Path:
        assert self._directory is not None
        return self._directory / str(worker)

    async def open(self, worker: int, answer: Answer) -> None:
        """Answer the questions that are asked of `worker`, which this process is."""
        self._worker, self._answer = worker, answer
        if self._directory is not None:
            # One that was there before has left it.
            self._path(worker).unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(
                self._serve, self._path(worker), limit=_LONGEST_LINE
            )

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    def remove(self) -> None:
        """Leave nothing behind; to be called when all workers have ended."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def ask(self, question: Json, *, patience: float) -> list[Json | None]:
        """The answers of all workers, each within `patience` seconds."""
        asked = (
            self._ask_in_time(worker, question, patience) for worker in range(self._workers)
        )
        return [*await asyncio.gather(*asked)]

    async def _ask_in_time(self, worker: int, question: Json, patience: float) -> Json | None:
        try:
            async with asyncio.timeout(patience):
                if worker == self._worker:
                    assert self._answer is not None
                    return await self._answer(question)
                return await self._ask_another(worker, question)
        except (OSError, TimeoutError, ValueError) as error:
            logger.warning("Worker %d gave no answer: %s", worker, str(error) or "too late")
            return None

    async def _ask_another(self, worker: int, question: Json) -> Json:
        reader, writer = await asyncio.open_unix_connection(
            self._path(worker), limit=_LONGEST_LINE
        )
        try:
            writer.write(_line(question))
            await writer.drain()
            answer: Json = json.loads(await reader.readline())
            return answer
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert self._answer is not None
            writer.write(_line(await self._answer(json.loads(await reader.readline()))))
            await writer.drain()
        except (OSError, ValueError) as error:
            logger.debug("A question was not answered: %s", error)
        finally:
            writer.close()


def _line(value: Json) -> bytes:
    return json.dumps(value).encode() + b"\n"
