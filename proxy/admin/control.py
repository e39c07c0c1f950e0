"""What the admin server asks of the apps, and has done to them, in all workers.

In: questions of operators. Out: the document of `/apps`, and what became of an action. Each
worker answers for itself (`answer`); the one with the admin server asks all (`document`,
`act`) through the `Exchange`.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any, Final, Literal, get_args

from proxy.admin.exchange import Exchange
from proxy.admin.merge import merged_document
from proxy.app.holds import State
from proxy.app.registry import Apps, Served
from proxy.observability.tally import Json, TallyOf

Action = Literal["pause", "resume", "drain", "reconnect"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
_STATE_AFTER: Final[dict[Action, State]] = {
    "pause": "paused",
    "resume": "running",
    "drain": "draining",
}
_ANSWER_WITHIN: Final = 2.0
"""Seconds that a worker may take to say what goes on in it."""


class Control:
    """Over `apps`; `tally_of` gives what was counted for an app, by the name of its front."""

    def __init__(self, apps: Apps, tally_of: TallyOf, exchange: Exchange) -> None:
        self._apps = apps
        self._tally_of = tally_of
        self._exchange = exchange

    async def document(self) -> Json:
        """What goes on in all workers."""
        question = {"do": "report"}
        return merged_document(await self._exchange.ask(question, patience=_ANSWER_WITHIN))

    async def act(self, name: str, action: Action, patience: float) -> Json | None:
        """What came of `action`, `done` when it is in all workers; None when there is no such
        app. Waits for up to `patience` seconds until nothing runs that is not to go on."""
        if name not in self._apps.served:
            return None
        question = {"do": action, "app": name, "patience": patience}
        answers = await self._exchange.ask(question, patience=patience + _ANSWER_WITHIN)
        return {
            "app": name,
            "action": action,
            "done": all(answer is not None and answer["done"] for answer in answers),
            "workers": [
                {"worker": number, "answered": answer is not None, **(answer or {})}
                for number, answer in enumerate(answers)
            ],
        }

    async def answer(self, question: Json) -> Json:
        """What this worker says."""
        if question["do"] == "report":
            apps = self._apps.served.items()
            return {
                "pid": os.getpid(),
                "apps": {name: self._report(each) for name, each in apps},
            }
        return await self._act(question["app"], question["do"], question["patience"])

    async def _act(self, name: str, action: Action, patience: float) -> Json:
        served = self._apps.served.get(name)
        if served is None:
            # The configuration was read here a moment sooner or later.
            return {"done": False}
        if action == "reconnect":
            served.app.backends.reconnect()
            done = True
        else:
            done = await self._apps.hold(name, _STATE_AFTER[action], patience)
        return {"done": done, "state": served.state, **_busy(served)}

    def _report(self, served: Served) -> Json:
        loads, tally = served.app.schema_loads, self._tally_of(served.front.name)
        report: dict[str, Any] = {
            "ready": served.ready,
            "state": served.state,
            **_busy(served),
            "pool": asdict(served.app.pool.stats),
            "replicas": [
                {
                    "fit": each.fit,
                    "reason": each.reason,
                    "lag": each.lag,
                    "reads": each.reads,
                    "retried": each.retried,
                    "pool": asdict(each.pool),
                }
                for each in served.app.backends.replicas
            ],
            "schema_cache": {
                "loads": loads.succeeded,
                "failures": loads.failed,
                "seconds_of_last_load": loads.seconds,
            },
            "cache": asdict(served.app.cache_counts),
        }
        return report if tally is None else report | tally.shown()


def _busy(served: Served) -> Json:
    return {"in_flight": served.front.requests, "transactions_running": served.busy}
