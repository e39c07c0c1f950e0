"""What one app is asked for in one process: by whom, and with which statements.

In: every request as it begins and ends. Out: `Tally`, whose two tables are bounded: clients
by address and HTTP version, those seen last; statements by their SQL text, which holds no
values, those that took longest altogether. What has no room is added up under one name, so
that sums stay right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from proxy.observability.record import Record
from proxy.response.model import Response

MOST_CLIENTS: Final = 500
MOST_STATEMENTS: Final = 200
SHOWN_CLIENTS: Final = 100
SHOWN_STATEMENTS: Final = 50
SHOWN_SQL: Final = 4000
"""Characters of a statement that are shown."""
OTHERS: Final = "others"
"""Stands for all that had no room in a table."""

Json = dict[str, Any]


@dataclass(slots=True, eq=False)
class Client:
    """What came from one address: requests `in_flight`, and all there ever were."""

    in_flight: int = 0
    requests: int = 0


@dataclass(slots=True, eq=False)
class Calls:
    """What running a statement took, in seconds; waiting for a connection is no part of it."""

    calls: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, other: Calls) -> None:
        """Take over what another has counted."""
        self.calls += other.calls
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)


class Clients:
    """A table of at most `most` clients; those with requests in flight are never put out."""

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        self._most = most
        self._rows: dict[tuple[str, str], Client] = {}
        self._others = Client()

    def began(self, client: tuple[str, str]) -> None:
        """A request of `client` (address and HTTP version) has arrived."""
        row = self._rows.pop(client, None) or self._new()
        # Those seen last stand at the end.
        if row is not self._others:
            self._rows[client] = row
        row.in_flight += 1
        row.requests += 1

    def ended(self, client: tuple[str, str]) -> None:
        """It was answered, or given up."""
        row = self._rows.get(client)
        if row is None or not row.in_flight:
            row = self._others
        row.in_flight -= 1

    def _new(self) -> Client:
        if len(self._rows) < self._most:
            return Client()
        for client, row in self._rows.items():
            if not row.in_flight:
                self._others.requests += row.requests
                del self._rows[client]
                return Client()
        return self._others

    def shown(self) -> Iterator[Json]:
        """The busiest rows, as JSON."""
        rows = [(*client, row) for client, row in self._rows.items()]
        if self._others.requests:
            rows.append((OTHERS, "", self._others))
        rows.sort(key=lambda each: (-each[2].in_flight, -each[2].requests))
        for address, version, row in rows[:SHOWN_CLIENTS]:
            yield {
                "address": address,
                "http_version": version,
                "in_flight": row.in_flight,
                "requests": row.requests,
            }


class Statements:
    """A table of at most `most` statements."""

    def __init__(self, most: int = MOST_STATEMENTS) -> None:
        self._most = most
        self._rows: dict[str, Calls] = {}
        self._others = Calls()

    def took(self, sql: str, seconds: float) -> None:
        """`sql` was run once."""
        row = self._rows.get(sql)
        if row is None:
            if len(self._rows) >= self._most:
                least = min(self._rows, key=lambda each: self._rows[each].seconds)
                self._others.add(self._rows.pop(least))
            row = self._rows[sql] = Calls()
        row.calls += 1
        row.seconds += seconds
        row.longest = max(row.longest, seconds)

    def shown(self) -> Iterator[Json]:
        """The rows that took longest altogether, as JSON."""
        rows = [*self._rows.items()]
        if self._others.calls:
            rows.append((OTHERS, self._others))
        rows.sort(key=lambda each: -each[1].seconds)
        for sql, row in rows[:SHOWN_STATEMENTS]:
            yield {
                "sql": sql[:SHOWN_SQL],
                "calls": row.calls,
                "seconds": row.seconds,
                "longest": row.longest,
            }


class Tally:
    """Counts the requests of one app; the methods are those of an observer."""

    def __init__(self) -> None:
        self.clients = Clients()
        self.statements = Statements()
        self.requests = self.failed = self.abandoned = 0

    def began(self, scope: Any) -> None:
        """A request has arrived."""
        self.clients.began(_client(scope))

    def ended(self, scope: Any, record: Record, response: Response | None) -> None:
        """It was answered; or its client has left (None)."""
        self.clients.ended(_client(scope))
        self.requests += 1
        if response is None:
            self.abandoned += 1
        elif response.status >= 500:
            self.failed += 1
        took = record.database_time
        if took is not None and record.transaction is not None:
            self.statements.took(record.transaction.statement.sql, took)

    def shown(self) -> Json:
        """The counts, as JSON: `failed` were answered 5xx, `abandoned` left by the client."""
        return {
            "answered": self.requests,
            "failed": self.failed,
            "abandoned": self.abandoned,
            "clients": [*self.clients.shown()],
            "statements": [*self.statements.shown()],
        }


def _client(scope: Any) -> tuple[str, str]:
    peer = scope.get("client")
    # Over a Unix socket there is no address.
    address: str = peer[0] if peer else "unix"
    return address.removeprefix("::ffff:"), scope["http_version"]


TallyOf = Callable[[str], "Tally | None"]
