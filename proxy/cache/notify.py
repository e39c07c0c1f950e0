"""Writes elsewhere: how other servers and other programs tell of theirs, and we of ours.

In: notifications on a channel of PostgreSQL's, and the writes of this server. Out: versions
that change, and transactions that announce themselves. A notification is sent within the
transaction that writes, so PostgreSQL delivers it if and when that is committed (docs,
"NOTIFY"). Its payload is one tag (`schema.table`, as the triggers of `edgerest cache
triggers` send it), `*` for everything, or a JSON array of the sender and its tags. What this
server, all its workers, has sent is of no interest to it.

While notifications can't be heard the versions are not trusted: nothing is answered from the
cache. A connection that vanishes without a word is found out by its silence, `HEARTBEAT`
seconds later at the earliest and twice that at the latest.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pool.dsn import Dsn
from pool.listener import Listener
from pool.model import Row, Statement, Transaction
from proxy.cache.versions import Versions
from proxy.lineage.effects import announced_tags
from proxy.schema_cache.facts import Facts

EVERYTHING: Final = "*"
HEARTBEAT: Final = 5.0
_LONGEST: Final = 7999
"""Bytes of a payload (PostgreSQL docs, "NOTIFY")."""

_NOTIFY: Final = "SELECT pg_catalog.pg_notify($1, $2)"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What was written: `tags`, None for everything. `sender` is empty for other programs."""

    tags: frozenset[str] | None
    sender: str = ""


def channel_of(cache_channel: str, db_channel: str) -> str:
    """The channel to use, given the settings of that name."""
    return cache_channel or f"{db_channel}_cache"


def payload_of(announcement: Announcement) -> str:
    """As it travels; everything when the tags are too many for one payload."""
    tags = (EVERYTHING,) if announcement.tags is None else sorted(announcement.tags)
    text = json.dumps((announcement.sender, *tags), ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > _LONGEST:
        return payload_of(replace(announcement, tags=None))
    return text


def read_payload(payload: str) -> Announcement:
    """What a notification tells; whatever is no array of ours is one tag."""
    if payload.startswith("["):
        try:
            words = json.loads(payload)
        except ValueError:
            words = None
        if isinstance(words, list) and words and all(isinstance(w, str) for w in words):
            sender, *tags = words
            everything = EVERYTHING in tags
            return Announcement(None if everything else frozenset(tags), sender)
    return Announcement(None if payload == EVERYTHING else frozenset((payload,)))


def notify_statement(channel: str, announcement: Announcement) -> Statement:
    """Announces something by itself."""
    return Statement(_NOTIFY, (channel, payload_of(announcement)))


def announced(
    transaction: Transaction, channel: str, announcement: Announcement
) -> Transaction:
    """`transaction`, which announces what it writes if it is committed."""
    notify = notify_statement(channel, announcement)
    first = transaction.before
    if first is not None:
        assert not first.args
        # count(*) has the rows of a function of whatever type computed.
        rows = f"({first.sql}) AS edgerest_first"
        counted = f"(SELECT pg_catalog.count(*) FROM {rows})"  # noqa: S608 -- ours
        notify = replace(notify, sql=f"{notify.sql}, {counted}")
    return replace(transaction, before=notify)


class Announcements:
    """One app's ear for writes elsewhere, and its voice.

    `facts` gives those of the schema cache in use. `speaks`: whether writes are announced,
    for other servers keep answers. `on_heard` is told of every announcement of others; with
    `per_process` the workers of one server are others to each other.
    """

    def __init__(
        self,
        channel: str,
        versions: Versions,
        facts: Callable[[], Facts | None],
        *,
        speaks: bool,
        on_heard: Callable[[Announcement], None] = lambda _: None,
        per_process: bool = False,
    ) -> None:
        self.channel = channel
        self.speaks = speaks
        self._per_process = per_process
        self._versions = versions
        self._facts = facts
        self._on_heard = on_heard
        self._listener: Listener | None = None
        self._sender = versions.identity

    @property
    def begun(self) -> bool:
        """Whether it tries to listen."""
        return self._listener is not None

    def listen(self, dsn: Dsn | str) -> None:
        """Begin to listen, in the background; until it works nothing is trusted."""
        if self._per_process:
            self.disown()
        self._lose()
        self._listener = Listener(
            dsn,
            self.channel,
            on_message=self._hear,
            on_listening=self._find_ear,
            on_loss=self._lose,
            heartbeat=HEARTBEAT,
        )
        self._listener.start()

    async def first_attempt(self) -> None:
        """Wait until it listens, or has failed to for the first time."""
        if self._listener is not None:
            await self._listener.first_attempt()

    async def fetch(self, statement: Statement) -> Sequence[Row] | None:
        """The rows of a statement on the connection that listens, where no request is waited
        for; None without one. Raises ConnectionLost."""
        if self._listener is None or not self._listener.listening:
            return None
        return await self._listener.fetch(statement, HEARTBEAT)

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            await self._listener.close()
            self._listener = None

    def announce(self, transaction: Transaction, tags: frozenset[str] | None) -> Transaction:
        """`transaction`, made to announce that it writes `tags`, if anybody is to know."""
        if not self.speaks or transaction.rollback or tags == frozenset():
            return transaction
        return announced(transaction, self.channel, Announcement(tags, self._sender))

    def statement(self, tags: frozenset[str] | None) -> Statement:
        """Announces `tags` by itself."""
        return notify_statement(self.channel, Announcement(tags, self._sender))

    def disown(self) -> None:
        """Take what was announced up to now for somebody else's."""
        self._sender = secrets.token_hex(8)

    def _hear(self, payload: str) -> None:
        heard = read_payload(payload)
        if heard.sender == self._sender:
            return
        if heard.tags is None:
            self._versions.touch_all()
        else:
            facts = self._facts()
            for tag in heard.tags:
                self._versions.touch(announced_tags(facts, tag))
        self._on_heard(heard)

    def _find_ear(self) -> None:
        # What was announced meanwhile is lost.
        self._versions.touch_all()
        self._versions.trusted = True
        self._on_heard(Announcement(None))

    def _lose(self) -> None:
        self._versions.trusted = False
