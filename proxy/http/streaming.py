"""An answer of unknown length, sent piece by piece as it is made.

In: a `Stream` of bytes, and how to send. Out: the pieces on the wire; `stream` has how many
bytes that were, and the error that broke it off. The next piece is asked for once the one
before is handed to the transport, so that a slow reader slows down who makes them. However it
ends, the generator is closed: within `WATCH_DELAY` when the client leaves.
An answer that breaks off has no end on the wire either: HTTP/2 resets its stream, HTTP/1.1
closes the connection before the last chunk (RFC 9112, section 8), so that nobody takes it for
whole.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from proxy.errors import ApiError
from proxy.http.asgi import ClientGone, Message, Receive, Send
from proxy.http.disconnect import DisconnectWatch
from proxy.http.time_limits import Limit
from proxy.response.model import Stream

logger = logging.getLogger(__name__)

CHUNK: Final = 64 * 1024
"""Bytes of a large body per ASGI message: the server pauses us between two of them."""
SENDING: Final = 1024
"""Answers at a time that wait to be taken; of more, those are given up whose clients have
taken nothing for a second."""


def piece(body: bytes, *, more: bool) -> Message:
    """ASGI's message with some of a body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


async def send_stream(
    send: Send, receive: Receive, start: Message, stream: Stream, seconds: float
) -> None:
    """Send the head `start` and all of `stream`. Raises `ClientGone`, also when the client
    takes nothing for `seconds`. Nothing else is raised: an error is noted in `stream.code`, and
    the end of the answer is missing."""
    watch = DisconnectWatch(receive)
    until = asyncio.timeout_at(stream.deadline)
    try:
        async with aclosing(stream.pieces), until:
            # The head goes out at once, however long the first piece takes.
            await _sent(seconds, send, start, piece(b"", more=True))
            async for part in stream.pieces:
                for offset in range(0, len(part), CHUNK):
                    some = part[offset : offset + CHUNK]
                    await _sent(seconds, send, piece(some, more=True))
                    stream.sent += len(some)
                # Sending to a client that has left waits for nothing: the news of it, and
                # others, have their turn here.
                await asyncio.sleep(0)
            await _sent(seconds, send, piece(b"", more=False))
    except asyncio.CancelledError:
        if watch.client_gone:
            watch.task.uncancel()
            raise ClientGone from None
        raise
    except ClientGone:
        raise
    except Exception as error:  # noqa: BLE001 - its end is missing, which is all there is to say
        stream.code = _code_of(error, late=until.expired())
    finally:
        watch.stop()
    if watch.client_gone:
        # The cancellation was swallowed on the way, or came a moment too late.
        watch.task.uncancel()
        raise ClientGone


async def _sent(seconds: float, send: Send, *messages: Message) -> None:
    try:
        with Limit(seconds, SENDING):
            for message in messages:
                await send(message)
    except TimeoutError:
        raise ClientGone from None


def _code_of(error: Exception, *, late: bool) -> str:
    if late:
        return "EDGE504"
    if isinstance(error, ApiError):
        return error.code
    logger.error("Unexpected error in the middle of an answer", exc_info=error)
    return "PGRSTX00"
