"""A brief run of the fuzzer; `python -m tests.engines.fuzz` is the whole."""

from __future__ import annotations

import logging
import random

import pytest

from tests.engines.fuzz import Wrong, check_said, run
from tests.engines.model import DATA, END_STREAM, HEADERS, PREFACE, frame


async def test_nothing_that_is_sent_raises_hangs_or_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    await run(500, random.randrange(10**9))
    assert "Error in the application" not in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        frame(DATA, 0, 1, b"abc")[:-1],
        frame(HEADERS, 5, 1, b"\x88") + frame(DATA, END_STREAM, 1, b"x"),
    ],
    ids=["a frame that is cut off", "DATA after the end"],
)
def test_the_fuzzer_sees_what_is_no_http(said: bytes) -> None:
    with pytest.raises(Wrong):
        check_said(said, PREFACE)
