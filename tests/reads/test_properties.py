"""What holds for every read: no server error, and a count that is the number of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

COLUMNS: dict[str, dict[str, str | None]] = {
    "authors": {"id": "1", "name": "Ada", "mentor_id": "2", "pen_names": "{x}", "home": None},
    "books": {"id": "3", "title": "No*", "price": "7", "published": "1900-01-01", "data": "{}"},
    "tags": {"id": "1", "label": "music"},
    "covers": {"book_id": "1", "artist": "Eve"},
    "sales": {"id": "2", "day": "2026-01-01", "amount": "3"},
    "cheap": {"nr": "2", "name": "Notes", "price": "7"},
}
EMBEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "authors": (("books!author_id", "books"), ("mentor_id", "authors"), ("cheap", "cheap")),
    "books": (
        ("authors!author_id", "authors"),
        ("tags", "tags"),
        ("covers", "covers"),
        ("sales", "sales"),
    ),
    "tags": (("books", "books"),),
    "covers": (("books", "books"),),
    "sales": (("books", "books"),),
    "cheap": (("authors", "authors"), ("tags", "tags")),
}
"""How each table's rows may embed others: what is written, and which table it is."""


@dataclass(frozen=True)
class Tree:
    """A table with what is asked of it; `written` embeds it under `alias`."""

    table: str
    columns: tuple[str, ...]
    filters: tuple[tuple[str, str], ...] = ()
    order: str = ""
    limit: int | None = None
    written: str = ""
    alias: str = ""
    join: str = ""
    spread: bool = False
    is_null: str = ""
    children: tuple[Tree, ...] = field(default=())

    def selected(self) -> str:
        # What spreads lift into one row needs names of its own.
        prefix = f"{self.alias}_" if self.alias else ""
        columns = [f"{prefix}{name}:{name}" if prefix else name for name in self.columns]
        items = [*columns, *(child.embedded() for child in self.children)]
        return ",".join(items)

    def embedded(self) -> str:
        name = f"...{self.written}" if self.spread else f"{self.alias}:{self.written}"
        return f"{name}{self.join}({self.selected()})"

    def path_name(self) -> str:
        return self.written.partition("!")[0] if self.spread else self.alias

    def parameters(self, prefix: str = "") -> list[tuple[str, str]]:
        found = [(prefix + name, value) for name, value in self.filters]
        if self.order:
            found.append((f"{prefix}order", self.order))
        if self.limit is not None:
            found.append((f"{prefix}limit", str(self.limit)))
        for child in self.children:
            if child.is_null and not child.spread:
                found.append((prefix + child.alias, child.is_null))
            found += child.parameters(f"{prefix}{child.path_name()}.")
        return found


@st.composite
def trees(draw: st.DrawFn, table: str | None = None, path: str = "e") -> Tree:
    table = table or draw(st.sampled_from(sorted(COLUMNS)))
    known = COLUMNS[table]
    names = sorted(known)
    columns = tuple(draw(st.lists(st.sampled_from(names), max_size=2, unique=True)))
    columns = columns or (names[0],)
    filters = []
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        value = known[name]
        operators = ["is.null", "not.is.null"]
        if value is not None:
            operators += [f"{op}.{value}" for op in ("eq", "not.gt", "lte", "isdistinct")]
            operators += [] if "{" in value else [f"in.({value})"]
        filters.append((name, draw(st.sampled_from(operators))))
    if path == "e" and draw(st.booleans()):
        filters.append(("or", f"({names[0]}.is.null,{names[1]}.not.is.null)"))
    return Tree(
        table,
        columns,
        tuple(filters),
        draw(st.sampled_from(["", names[0], f"{names[-1]}.desc.nullslast,{names[0]}"])),
        draw(st.none() | st.integers(0, 3)),
        children=tuple(draw(children(table, path))) if len(path) < 4 else (),
    )


@st.composite
def children(draw: st.DrawFn, table: str, path: str) -> list[Tree]:
    chosen = draw(
        st.lists(st.sampled_from(EMBEDS[table]), max_size=2, unique_by=lambda embed: embed[1])
    )
    found = []
    for number, (written, target) in enumerate(chosen):
        child = draw(trees(target, f"{path}{number}"))
        found.append(
            Tree(
                child.table,
                child.columns,
                child.filters,
                child.order,
                child.limit,
                written,
                f"{path}{number}",
                draw(st.sampled_from(["", "!inner", "!left"])),
                draw(st.booleans()),
                draw(st.sampled_from(["", "", "is.null", "not.is.null"])),
                child.children,
            )
        )
    return found


def target_of(tree: Tree, *, paged: bool) -> str:
    pairs = [
        (name, value)
        for name, value in [("select", tree.selected()), *tree.parameters()]
        if paged or name != "limit"
    ]
    return f"/{tree.table}?" + "&".join(f"{name}={quote(value)}" for name, value in pairs)


@settings(max_examples=150, deadline=None)
@given(tree=trees())
def test_an_exact_count_is_the_number_of_rows(reads: httpx.Client, tree: Tree) -> None:
    everything = reads.get(target_of(tree, paged=False))
    assert everything.status_code == 200, (target_of(tree, paged=False), everything.text)
    rows = len(everything.json())
    exact = {"Prefer": "count=exact"}
    for paged in (True, False):
        target = target_of(tree, paged=paged)
        counted = reads.get(target, headers=exact)
        assert counted.status_code in (200, 206), (target, counted.text)
        assert counted.headers["content-range"].rpartition("/")[2] == str(rows), target
        limit = tree.limit if paged and tree.limit is not None else rows
        assert len(counted.json()) == min(rows, limit), target
        head = reads.head(target, headers=exact)
        assert head.headers["content-range"] == counted.headers["content-range"], target


@settings(max_examples=150, deadline=None)
@given(
    tree=trees(),
    accept=st.sampled_from(["text/csv", "application/vnd.pgrst.array;nulls=stripped"]),
)
def test_other_formats_have_the_same_range(
    reads: httpx.Client, tree: Tree, accept: str
) -> None:
    target = target_of(tree, paged=True)
    plain, other = reads.get(target), reads.get(target, headers={"Accept": accept})
    assert other.status_code == plain.status_code == 200, (target, other.text)
    assert other.headers["content-range"] == plain.headers["content-range"]


pieces = st.sampled_from(
    "select order limit offset and or not id title books authors tags cheap e0 name price data "
    "= & , . ( ) { } * : :: -> ->> ! !inner ... eq in is null fts like any sum() count() cs "
    '" \\ %00 %ff %27 %22 %5C %C3%A9 %F0%9F%98%80 + ; 1 -1 99999999999999999999 1e5 NaN $1 '
    "text int json desc nullslast columns on_conflict headline pupils größe".split(" ")
)
queries = st.one_of(
    st.lists(pieces, max_size=12).map("".join).map(str.encode),
    st.binary(max_size=30),
    st.builds(
        lambda column, start, value: f"{column}={start}{quote(value)}".encode(),
        st.sampled_from(
            ["id", "title", "data", "isbn", "shade", "published", "data->a", "headline"]
        ),
        st.sampled_from(
            ["eq.", "cs.", "in.(", "like.", "match.", "fts.", "is.", "ov.", "adj."]
        ),
        st.text(max_size=12),
    ),
    st.builds(
        lambda name, value: f"{name}={quote(value)}".encode(),
        st.sampled_from(["select", "order", "limit", "offset", "or", "columns"]),
        st.text(max_size=12),
    ),
)


@settings(max_examples=500, deadline=None)
@given(
    path=st.sampled_from(["/books", "/authors", "/rpc/pairs", "/rpc/find_books"]),
    query=queries,
)
def test_no_query_string_is_a_server_error(
    reads: httpx.Client, path: str, query: bytes
) -> None:
    # Only what HTTP itself can't carry is encoded; the rest is sent as it is.
    sent = quote(query, safe="!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".replace("#", ""))
    response = reads.get(httpx.URL(reads.base_url, path=path, query=sent.encode()))
    assert response.status_code < 500, (path, sent, response.text)
