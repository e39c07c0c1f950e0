"""Where the default engine answers otherwise than the RFCs say:
`python -m tests.engines.conformance [--check FILE]`.

In: the tables of cases. Out: docs/engines.md, made from a run of all of them; with `--check`
whether FILE is that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from tests.engines import http1_cases, http2_cases
from tests.engines.model import Bystander, Case, try_http1, try_http2
from tests.http.processes import echo_server

AT_ONCE: Final = 8
_Try = Callable[[Case, str, int], Awaitable[str]]
_VERSIONS: Final[tuple[tuple[str, tuple[Case, ...], _Try], ...]] = (
    ("HTTP/1.1", http1_cases.CASES, try_http1),
    ("HTTP/2", http2_cases.CASES, try_http2),
)


async def outcomes(host: str, port: int) -> list[tuple[str, Case, str]]:
    """What comes of each case: its version of HTTP, the case, the outcome, or what went wrong.

    Beside each a request is in flight on another connection, which must be answered.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def tried(case: Case, attempt: _Try) -> str:
        async with turns:
            try:
                bystander = await Bystander.connect(host, port)
                outcome = await attempt(case, host, port)
                status = await bystander.finish()
            except (AssertionError, OSError, EOFError, TimeoutError, ValueError) as error:
                return f"failed: {error!r}"[:300]
            return outcome if status == "200" else f"a bystander got {status}"

    found: list[tuple[str, Case, str]] = []
    for version, cases, attempt in _VERSIONS:
        results = await asyncio.gather(*(tried(case, attempt) for case in cases))
        found += [(version, case, result) for case, result in zip(cases, results, strict=True)]
    return found


def run() -> list[tuple[str, Case, str]]:
    """`outcomes`, of a server of its own."""
    with echo_server() as server:
        return asyncio.run(outcomes(server.host, server.port))


def document(found: Sequence[tuple[str, Case, str]]) -> str:
    """docs/engines.md."""
    text = Path(__file__).with_name("engines.md").read_text()
    rows = [
        f"| {version} | {_cell(case.name)} | {case.rfc} | {_cell(' or '.join(case.allowed))} "
        f"| {_cell(outcome)} | {_cell(case.why)} |"
        for version, case, outcome in found
        if outcome not in case.allowed
    ]
    counts = " and ".join(f"{len(cases)} cases on {version}" for version, cases, _ in _VERSIONS)
    return text.replace("COUNTS", counts).replace("ROWS", "\n".join(rows))


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "\\<")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the document; 1 when something comes otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.engines.conformance", description=__doc__
    )
    parser.add_argument("--check", type=Path)
    options = parser.parse_args(arguments)
    found = run()
    wrong = [each for each in found if each[2] != each[1].comes]
    for version, case, outcome in wrong:
        sys.stderr.write(f"{version}: {case.name}: {case.comes} was to come, came {outcome}\n")
    if options.check is None:
        sys.stdout.write(document(found))
    elif options.check.read_text() != document(found):
        sys.stderr.write(f"{options.check} is not what the run says\n")
        return 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
