"""The very SQL of a request, asked of the server's own code.

In: settings and scenarios. Out: per scenario the `Transaction` that answering it gives to
the pool: the request is answered here, by the same pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence

from pool.model import Transaction
from proxy.app.app import App
from proxy.observability.record import Record
from proxy.pipeline import answer
from proxy.request.model import HttpRequest
from proxy.settings import Settings
from tests.bench.scenarios import Scenario
from tests.bench.server import ServerError


async def transactions_of(
    settings: Settings, scenarios: Sequence[Scenario]
) -> dict[str, Transaction]:
    """The transaction of each scenario's first target, by the scenario's name."""
    app = App(settings)
    await app.start()
    try:
        return {scenario.name: await _transaction_of(app, scenario) for scenario in scenarios}
    finally:
        await app.close()


async def _transaction_of(app: App, scenario: Scenario) -> Transaction:
    record = Record()
    response = await answer(app, _request_of(scenario), record)
    if not 200 <= response.status < 300 or record.transaction is None:
        raise ServerError(
            f"{scenario.name} was answered {response.status}: {response.body.decode()}"
        )
    return record.transaction


def _request_of(scenario: Scenario) -> HttpRequest:
    path, _, query = scenario.targets[0].partition("?")
    headers = [("host", "127.0.0.1:3000"), ("user-agent", "bench"), *scenario.headers]
    if scenario.body is not None:
        headers.append(("content-length", str(len(scenario.body))))
    return HttpRequest(
        method=scenario.method,
        path=path.encode(),
        query=query.encode(),
        headers=tuple((name.encode(), value.encode()) for name, value in headers),
        body=scenario.body or b"",
    )
