"""What the people of the differential test do, and what of it is to be seen where.

A scene is a write, what has to be there before it, and the reads whose answers it changes:
its author knows, the cache has to find out. `READS` says how PostgreSQL is asked for the
same as the server. `$me`, `$name` (of this round alone) and `$team` are filled in. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import Final

_ACCOUNTS: Final = "/accounts?select=id,owner,name,code&order=id"
_OWNED: Final = (
    "/accounts?select=owner,id,documents(id,title,revision)&order=id&documents.order=id"
)
_DOCUMENTS: Final = "/documents?select=id,title,revision&order=id"
_TAGGED: Final = "/documents?select=id,tags(id)&order=id&tags.order=id"
_NOTES: Final = "/notes?select=id,owner,document_id,account_code,body&order=id"
_AUDIT: Final = "/audit?select=id,owner,action,what&order=id"
_TOTALS: Final = "/totals?order=owner"
_EVENTS: Final = "/events?select=owner,kind,n&order=kind,n"
_EVENS: Final = "/evens?select=owner,kind,n&order=kind,n"
_MINE: Final = "/my_documents?order=id"
_NAMES: Final = "/account_names?order=id"
_SUMMARY: Final = "/summary?order=account"
_TITLES: Final = "/rpc/titles"
_OBSCURE: Final = "/rpc/obscure"
_COUNT: Final = "/rpc/note_count"
_LISTS: Final = "/lists?select=owner,name,items(name,marks(id))&order=id"
_ITEMS: Final = "/items?select=id,owner,name,list_code&order=id"
_MARKS: Final = "/marks?select=id,owner,item_id&order=id"
_PINS: Final = "/pins?select=id,owner,item_id&order=id"
_MEMBERSHIPS: Final = "/memberships?select=person,team&order=person,team"
_REPORTS: Final = "/reports?select=id,title,lines(id)&order=id&lines.order=id"
_LINES: Final = "/lines?select=id,report_id&order=id"
_REMARKS: Final = "/remarks?select=id,team&order=id"
GATED_ITEMS: Final = "/gated_items?order=id"
GATED_REPORTS: Final = "/gated_reports?order=id"

READS: Final[dict[str, str]] = {
    _ACCOUNTS: "select id, owner, name, code from api.accounts order by id",
    _OWNED: "select owner, id, (select coalesce(json_agg(d), '[]') from (select d.id, title,"
    " revision from api.documents d where d.account_id = a.id order by d.id) d)"
    " as documents from api.accounts a order by id",
    _DOCUMENTS: "select id, title, revision from api.documents order by id",
    _TAGGED: "select id, (select coalesce(json_agg(t), '[]') from (select t.id from"
    " api.document_tags x join api.tags t on t.id = x.tag_id where x.document_id = d.id"
    " order by t.id) t) as tags from api.documents d order by id",
    _NOTES: "select id, owner, document_id, account_code, body from api.notes order by id",
    _AUDIT: "select id, owner, action, what from api.audit order by id",
    _TOTALS: "select owner, changes from api.totals order by owner",
    _EVENTS: "select owner, kind, n from api.events order by kind, n",
    _EVENS: "select owner, kind, n from api.evens order by kind, n",
    _MINE: "select * from api.my_documents order by id",
    _NAMES: "select * from api.account_names order by id",
    _SUMMARY: "select * from api.summary order by account",
    _TITLES: "select titles from api.titles() as titles",
    _OBSCURE: "select titles from api.titles() as titles",
    _COUNT: "select api.note_count()",
    _LISTS: "select owner, name, (select coalesce(json_agg(i), '[]') from (select name,"
    " (select coalesce(json_agg(m), '[]') from (select id from api.marks"
    " where item_id = i.id) m) as marks from api.items i where list_code = l.code) i)"
    " as items from api.lists l order by id",
    _ITEMS: "select id, owner, name, list_code from api.items order by id",
    _MARKS: "select id, owner, item_id from api.marks order by id",
    _PINS: "select id, owner, item_id from api.pins order by id",
    _MEMBERSHIPS: "select person, team from api.memberships order by person, team",
    _REPORTS: "select id, title, (select coalesce(json_agg(l), '[]') from (select l.id"
    " from api.lines l where report_id = r.id order by l.id) l) as lines"
    " from api.reports r order by id",
    _LINES: "select id, report_id from api.lines order by id",
    _REMARKS: "select id, team from api.remarks order by id",
    GATED_ITEMS: "select id, name, list_code from api.items order by id",
    GATED_REPORTS: "select id, title from api.reports order by id",
}
GATED: Final = (GATED_ITEMS, GATED_REPORTS)
"""Reads that wait while somebody holds the gate."""
UNGATED: Final = tuple(target for target in READS if target not in GATED)


def truth_of(target: str) -> str:
    """The query whose only value is what `target` must answer, as JSON."""
    sql = READS[target]
    if target == _COUNT:
        return f"select to_json(({sql}))::text"
    rows = "r.titles" if target in (_TITLES, _OBSCURE) else "r"
    return f"select coalesce(json_agg({rows}), '[]')::text from ({sql}) as r"


def unheard_of(target: str, number: int) -> str | None:
    """The same read in words that nobody has used before; None when there are none."""
    return f"{target}&limit={1_000_000 + number}" if "?" in target else None


@dataclass(frozen=True, slots=True)
class Write:
    """A request that writes; the body is JSON, or empty."""

    method: str
    target: str
    body: str = ""

    def filled(self, **values: object) -> Write:
        """With its placeholders replaced."""
        target = Template(self.target).substitute(values)
        return Write(self.method, target, Template(self.body).substitute(values))


@dataclass(frozen=True, slots=True)
class Scene:
    """`write`, done after `before`, changes the answers to `reads`. With `guest` those of the
    writer's guest, another identity, who writes nothing. `gated`: a read that begins before
    the write and ends after it."""

    write: Write
    reads: tuple[str, ...]
    before: tuple[Write, ...] = ()
    guest: bool = False
    gated: str | None = None


_ACCOUNT: Final = (Write("POST", "/rpc/plant_account", '{"name": "$name"}'),)
_LIST: Final = (Write("POST", "/rpc/plant_list", '{"name": "$name"}'),)
_JOIN: Final = Write("POST", "/memberships", '{"person": "$me", "team": $team}')
_LEAVE: Final = Write("DELETE", "/memberships?person=eq.$me&team=eq.$team")
_INVITE: Final = Write("POST", "/memberships", '{"person": "$guest", "team": $team}')
_DISMISS: Final = Write("DELETE", "/memberships?person=eq.$guest&team=eq.$team")
_EVENT: Final = Write("POST", "/events", '{"kind": 0, "n": $n}')
_UNLIST: Final = Write("DELETE", "/lists?name=eq.$name")
_PROTECTED: Final = (_REPORTS, _LINES, _REMARKS)

SCENES: Final[tuple[Scene, ...]] = (
    # Cascades, one level and two, ON DELETE and ON UPDATE.
    Scene(_UNLIST, (_ITEMS, _MARKS, _PINS, _LISTS), _LIST),
    Scene(Write("DELETE", "/items?name=eq.$name"), (_MARKS, _PINS, _LISTS), _LIST),
    Scene(
        Write("PATCH", "/lists?name=eq.$name", '{"code": "$name."}'), (_ITEMS, _LISTS), _LIST
    ),
    Scene(
        Write("DELETE", "/accounts?name=eq.$name"),
        (_NOTES, _DOCUMENTS, _TITLES, _MINE, _SUMMARY),
        _ACCOUNT,
    ),
    Scene(
        Write("DELETE", "/documents?title=eq.$name"),
        (_NOTES, _MINE, _OWNED, _OBSCURE),
        _ACCOUNT,
    ),
    Scene(
        Write("PATCH", "/accounts?name=eq.$name", '{"code": "$name."}'),
        (_NOTES, _ACCOUNTS),
        _ACCOUNT,
    ),
    # Row security that reads other tables: those who gain and lose rows.
    Scene(_JOIN, _PROTECTED, (_LEAVE,)),
    Scene(_LEAVE, (*_PROTECTED, _MEMBERSHIPS), (_JOIN,)),
    Scene(_INVITE, _PROTECTED, (_DISMISS,), guest=True),
    Scene(_DISMISS, (*_PROTECTED, _MEMBERSHIPS), (_INVITE,), guest=True),
    Scene(
        Write("POST", "/rpc/give_away", '{"ending": "$name"}'),
        (_DOCUMENTS, _TAGGED, _TITLES, _NAMES, _OWNED),
        _ACCOUNT,
    ),
    # Triggers that say what they write, and that do not.
    Scene(Write("POST", "/notes", '{"body": "$name"}'), (_AUDIT, _NOTES, _COUNT)),
    Scene(Write("PATCH", "/notes?body=eq.$name", '{"body": "$name."}'), (_AUDIT,), _ACCOUNT),
    Scene(
        Write("PATCH", "/document_tags?tag_id=eq.2", '{"tag_id": 5}'),
        (_TOTALS, _TAGGED),
        (
            *_ACCOUNT,
            Write("DELETE", "/document_tags?tag_id=gt.0"),
            Write("POST", "/rpc/attach_tags", "{}"),
        ),
    ),
    Scene(
        Write("PATCH", "/documents?title=eq.$name", '{"title": "$name."}'),
        (_DOCUMENTS, _SUMMARY, _MINE, _TITLES, _OBSCURE),
        _ACCOUNT,
    ),
    # Functions, and views that can be written.
    Scene(
        Write("POST", "/rpc/rename_all", '{"suffix": "$n"}'),
        (_NAMES, _ACCOUNTS, _SUMMARY),
        _ACCOUNT,
    ),
    Scene(
        Write("POST", "/rpc/attach", '{"kind": "document", "name": "$name"}'),
        (_DOCUMENTS, _TITLES),
        _ACCOUNT,
    ),
    Scene(Write("POST", "/rpc/attach", '{"kind": "note", "name": "$name"}'), (_NOTES, _AUDIT)),
    Scene(
        Write("POST", "/rpc/wipe_notes", "{}"),
        (_NOTES, _COUNT),
        (Write("POST", "/notes", '{"body": "$name"}'),),
    ),
    Scene(
        Write("PATCH", "/account_names?name=eq.$name", '{"name": "$name."}'),
        (_ACCOUNTS, _MINE, _SUMMARY),
        _ACCOUNT,
    ),
    # Partitions, written and read by either name.
    Scene(_EVENT, (_EVENS, _EVENTS)),
    Scene(Write("POST", "/evens", '{"kind": 0, "n": $n}'), (_EVENTS,)),
    Scene(Write("PATCH", "/events?n=eq.$n", '{"kind": 1}'), (_EVENS, _EVENTS), (_EVENT,)),
    Scene(Write("DELETE", "/events?n=lte.$n"), (_EVENS, _EVENTS), (_EVENT,)),
    # Reads that a write overtakes.
    Scene(_UNLIST, (_ITEMS,), _LIST, gated=GATED_ITEMS),
    Scene(_LIST[0], (_ITEMS,), gated=GATED_ITEMS),
    Scene(_JOIN, (_REPORTS,), (_LEAVE,), gated=GATED_REPORTS),
    Scene(_LEAVE, (_REPORTS,), (_JOIN,), gated=GATED_REPORTS),
    # So that there are never many rows.
    Scene(Write("DELETE", "/accounts?id=gt.0"), (_OWNED, _NOTES, _TAGGED), _ACCOUNT),
    Scene(Write("DELETE", "/lists?id=gt.0"), (_MARKS, _PINS), _LIST),
    Scene(Write("DELETE", "/pins?item_id=is.null"), (_PINS,), (*_LIST, _UNLIST)),
)
