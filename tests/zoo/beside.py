"""The steps of the walk asked of another server too: status, headers and body side by side.

In: two addresses and steps. Out: how often each known difference was met (`EXPLAINED`,
which docs/migrate-postgrest.md tells of); whatever else differs is told.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from tests.ports import free_port
from tests.zoo.run import Tell
from tests.zoo.step import Step

PASSING: Final = frozenset("date server server-timing connection transfer-encoding".split())
"""Headers that tell of the moment and the program, not of the answer."""

Answer = httpx.Response
EXPLAINED: Final[dict[str, Callable[[Step, Answer, Answer], bool]]] = {
    "names of objects (regclass and its kin) are compared by name": lambda step, ours, theirs: (
        ours.is_success and theirs.json().get("code") == "22P02"
    ),
    "63 bytes of a name are enough to be embedded by": lambda step, ours, theirs: (
        ours.is_success and len(step.target) > 90 and not theirs.is_success
    ),
    "a table called count can be embedded, in quotes": lambda step, ours, theirs: (
        "%22count%22" in step.target and ours.is_success and not theirs.is_success
    ),
}
"""The differences that are meant, and how each is known: our answer comes first."""


async def compare(url: str, other_url: str, taken: Sequence[Step], tell: Tell) -> Counter[str]:
    """How often each explained difference was met; others are told."""
    met: Counter[str] = Counter()
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as ours,
        httpx.AsyncClient(base_url=other_url, timeout=60) as theirs,
    ):
        for step in taken:
            one, other = [
                await client.request(
                    step.method, step.target, headers=dict(step.headers), content=step.body
                )
                for client in (ours, theirs)
            ]
            if (found := between(one, other)) is None:
                continue
            reason = next(
                (why for why, holds in EXPLAINED.items() if holds(step, one, other)), ""
            )
            if reason:
                met[reason] += 1
            else:
                tell(f"{step.method} {step.target} {step.body or ''}: {found}")
    return met


def between(one: Answer, other: Answer) -> str | None:
    """The first thing in which two answers differ, or None."""
    if one.status_code != other.status_code:
        return f"{one.status_code} {one.text[:200]} / {other.status_code} {other.text[:200]}"
    ours, theirs = _headers(one), _headers(other)
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            return f"{name}: {ours.get(name)!r} / {theirs.get(name)!r}"
    if one.content != other.content and _json(one) != _json(other):
        return f"{one.text[:300]} / {other.text[:300]}"
    return None


def _headers(answer: Answer) -> dict[str, str]:
    kept = {name: value for name, value in answer.headers.items() if name not in PASSING}
    # White space in JSON is nobody's matter, and `_json` forgives it.
    if _json(answer) is not answer:
        kept.pop("content-length", None)
    return kept


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.text)
    except ValueError:
        return answer


@contextmanager
def other_server(
    program: str, directory: Path, settings: dict[str, str | bool], patience: float = 60
) -> Iterator[str]:
    """The address of `program CONFIG`, once it answers anything but 503."""
    config, port = directory / "other.conf", free_port()
    lines = {
        **settings,
        "db-anon-role": "web_anon",
        "server-host": "127.0.0.1",
        "server-port": port,
    }
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items()))
    with subprocess.Popen([program, str(config)], stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, url, patience)
            yield url
        finally:
            process.terminate()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, patience: float) -> None:
    end = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(url).status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"the other server does not answer at {url}")
