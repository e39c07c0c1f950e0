"""What an HTTP/2 connection remembers."""

from __future__ import annotations

from h2.stream import StreamClosedBy

from proxy.engines.hypercorn_protocols import MOST_RESET, ResetStreams


def test_streams_that_ended_are_not_remembered() -> None:
    streams = ResetStreams()
    streams[1] = StreamClosedBy.SEND_END_STREAM
    streams[3] = StreamClosedBy.RECV_END_STREAM
    streams[5] = None
    assert not streams


def test_the_last_ones_that_were_reset_are_remembered() -> None:
    streams = ResetStreams()
    for stream_id in range(1, 4 * MOST_RESET, 2):
        streams[stream_id] = StreamClosedBy.RECV_RST_STREAM
    assert len(streams) == MOST_RESET
    assert 4 * MOST_RESET - 1 in streams
    assert 1 not in streams
