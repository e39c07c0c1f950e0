"""Reads through the real server, each beside the SQL that says what it should answer."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest

from tests.reads.conftest import Rows

Case = tuple[str, str]

COLUMNS: list[Case] = [
    ("/books?select=id,title&order=id", "select id, title from books order by id"),
    (
        "/books?select=nr:id,cost:price::text&order=id",
        "select id as nr, price::text as cost from books order by id",
    ),
    (
        "/books?select=data->lang->>code,first:data->parts->0&order=id",
        "select data->'lang'->>'code' as code, data->'parts'->0 as first from books order by"
        " id",
    ),
    (
        "/authors?select=id,home->>city,pen_names->1&order=id",
        "select id, (home).city, to_jsonb(pen_names)->1 as pen_names from authors order by id",
    ),
    (
        "/authors?select=*&order=id",
        "select * from authors order by id",
    ),
    (
        f"/books?select=id,{quote('größe')}&order=id",
        'select id, "größe" from books order by id',
    ),
    (
        "/books?select=x:" + quote('"odd, .:()*\\"name"') + "&order=id",
        'select "odd, .:()*""name" as x from books order by id',
    ),
    (
        "/" + quote("Bücher und, mehr") + "?order=" + quote("schlüssel 1"),
        'select * from "Bücher und, mehr" order by 1',
    ),
]

FILTERS: list[Case] = [
    ("price=gt.7", "price > 7"),
    ("price=gte.7&price=lt.10", "price >= 7 and price < 10"),
    ("price=lte.7", "price <= 7"),
    ("id=neq.2", "id <> 2"),
    ("title=like.*o*", "title like '%o%'"),
    ("title=ilike.*S*", "title ilike '%s%'"),
    ("title=like(any).{N*,D*}", "title like any('{N%,D%}')"),
    ("title=ilike(all).{*s*,*n*}", "title ilike all('{%s%,%n%}')"),
    ("title=match.^[EN]", "title ~ '^[EN]'"),
    ("title=imatch.KOSMOS$", "title ~* 'KOSMOS$'"),
    ("title=eq." + quote("100% *Star*"), "title = '100% *Star*'"),
    ("id=eq(any).{1,3}", "id in (1, 3)"),
    ("id=gt(all).{1,3}", "id > all('{1,3}')"),
    ("id=in.(1,5,77)", "id in (1, 5, 77)"),
    ("id=in.()", "false"),
    ("id=not.in.(1,5)", "id not in (1, 5)"),
    ('title=in.("Notes","100% *Star*")', "title in ('Notes', '100% *Star*')"),
    ("price=is.null", "price is null"),
    ("price=not.is.null", "price is not null"),
    ("price=is.not_null", "price is not null"),
    ("author_id=isdistinct.1", "author_id is distinct from 1"),
    ("published=not.gt.1900-01-01", "not published > '1900-01-01'"),
    ("or=(id.eq.1,price.lt.6)", "id = 1 or price < 6"),
    ("not.or=(id.eq.1,price.lt.6)", "not (id = 1 or price < 6)"),
    (
        "and=(id.gt.1,or(title.like.D*,not.and(price.gt.6,price.lt.8)))",
        "id > 1 and (title like 'D%' or not (price > 6 and price < 8))",
    ),
    ('or=(title.eq."Notes",id.in.(4,5))', "title = 'Notes' or id in (4, 5)"),
    ("data->>pages=eq.20", "data->>'pages' = '20'"),
    ("data->pages=gt.60", "data->'pages' > '60'"),
    ('data=cs.{"lang":{"code":"hu"}}', 'data @> \'{"lang":{"code":"hu"}}\''),
    ("data->parts->>0=eq.i", "data->'parts'->>0 = 'i'"),
    (quote("größe") + "=gte.20", '"größe" >= 20'),
    (quote('"odd, .:()*\\"name"') + "=eq.a,b", '"odd, .:()*""name" = \'a,b\''),
    (quote('"odd, .:()*\\"name"') + "=eq.back\\slash", "id = 4"),
    (quote('"odd, .:()*\\"name"') + '=in.("say \\"hi\\"","x(y)")', "id in (2, 3)"),
    (quote('"odd, .:()*\\"name"') + '=in.("back\\\\slash")', "id = 4"),
    ("isbn=eq.3-3", "isbn = '3-3'"),
    ("shade=eq." + quote("#00ff00"), "shade = 65280"),
    ("shade=in.(" + quote("#0000ff,#000000") + ")", "shade in (255, 0)"),
    (
        "title=fts(english).engine",
        "to_tsvector('english', title) @@ to_tsquery('english', 'engine')",
    ),
    ("title=plfts.notes", "to_tsvector(title) @@ plainto_tsquery('notes')"),
    (
        "title=phfts(simple).star",
        "to_tsvector('simple', title) @@ phraseto_tsquery('simple', 'star')",
    ),
    ("title=not.wfts.notes", "not to_tsvector(title) @@ websearch_to_tsquery('notes')"),
    ("data=fts.en", "to_tsvector(data) @@ to_tsquery('en')"),
    ("headline=eq.NOTES!", "upper(title) || '!' = 'NOTES!'"),
]

AUTHOR_FILTERS: list[Case] = [
    ("pen_names=cs.{Countess}", "pen_names @> '{Countess}'"),
    ("pen_names=cd.{Countess,A.A.L.,x}", "pen_names <@ '{Countess,A.A.L.,x}'"),
    (
        "pen_names=ov.{{x},Countess}".replace("{{x}", '{"{x}"'),
        "pen_names && '{\"{x}\",Countess}'",
    ),
    ("pen_names=eq.{}", "pen_names = '{}'"),
    (
        'pen_names=in.("{Countess,A.A.L.}",{})',
        "pen_names in ('{Countess,A.A.L.}', '{}')",
    ),
    ("pen_names=not.in.({})", "pen_names <> '{}'"),
    ("active=cs.[1850,1851)", "active @> 1850"),
    ("active=ov.[1845,1850]", "active && '[1845,1850]'"),
    ("active=sl.[1890,1899]", "active << '[1890,1899]'"),
    ("active=sr.(1853,1860)", "active >> '(1853,1860)'"),
    ("active=nxl.[1835,1840]", "active &> '[1835,1840]'"),
    ("active=nxr.[1850,1900]", "active &< '[1850,1900]'"),
    ("active=adj.[1853,1855]", "active -|- '[1853,1855]'"),
    ("home->>city=eq.London", "(home).city = 'London'"),
    ("mentor_id=is.null", "mentor_id is null"),
]

ORDER: list[Case] = [
    ("order=price.desc.nullslast,id.asc", "order by price desc nulls last, id"),
    ("order=price.asc.nullsfirst,id.desc", "order by price nulls first, id desc"),
    ("order=price.nullsfirst,id", "order by price nulls first, id"),
    ("order=data->pages.desc,id", "order by data->'pages' desc, id"),
    ("order=headline.desc", "order by upper(title) || '!' desc"),
    (f"order={quote('größe')}.desc.nullslast,id", 'order by "größe" desc nulls last, id'),
    ("order=id&limit=2&offset=1", "order by id limit 2 offset 1"),
    ("order=id&limit=0", "limit 0"),
]

EMBEDS: list[Case] = [
    (  # many to one, by the key's column
        "/books?select=id,writer:author_id(name)&order=id",
        "select id, (select row_to_json(a) from (select name from authors where id ="
        " author_id) a)"
        " as writer from books order by id",
    ),
    (  # many to one, hinted, on two keys between the same tables
        "/books?select=id,authors!books_editor_id_fkey(name)&order=id",
        "select id, (select row_to_json(a) from (select name from authors where id ="
        " editor_id) a)"
        " as authors from books order by id",
    ),
    (  # one to many, ordered and limited for each parent
        "/authors?select=name,books!author_id(title)&books.order=title.desc&books.limit=1&order=id"
        "",
        "select name, (select coalesce(json_agg(b), '[]') from (select title from books"
        " where author_id = authors.id order by title desc limit 1) b) as books"
        " from authors order by id",
    ),
    (
        "/books?select=id,covers(artist)&order=id",
        "select id, (select row_to_json(c) from (select artist from covers where book_id ="
        " id) c)"
        " as covers from books order by id",
    ),
    (
        "/tags?select=label,books(title)&books.order=id&order=id",
        "select label, (select coalesce(json_agg(b), '[]') from (select title from books,"
        " book_tags"
        " where book_id = books.id and tag_id = tags.id order by books.id) b) as books"
        " from tags order by id",
    ),
    (  # itself: the children by the table's name, the parent by the key's column
        "/authors?select=name,mentor_id(name),authors(name)&authors.order=id&order=id",
        "select name, (select row_to_json(m) from (select name from authors where id ="
        " a.mentor_id) m)"
        " as mentor_id, (select coalesce(json_agg(p), '[]') from (select name from authors"
        " where mentor_id = a.id order by id) p) as authors from authors a order by id",
    ),
    (
        "/authors?select=name,books!author_id!inner(id)&books.price=gt.9&order=id",
        "select name, (select json_agg(b) from (select id from books where author_id = a.id"
        " and price > 9) b) as books from authors a"
        " where exists (select from books where author_id = a.id and price > 9) order by id",
    ),
    (
        "/authors?select=id,books!author_id()&books=is.null&order=id",
        "select id from authors a where not exists (select from books where author_id = a.id)"
        " order by id",
    ),
    (
        "/books?select=id,covers(),tags()&or=(covers.is.null,tags.is.null)&order=id",
        "select id from books where id not in (select book_id from covers)"
        " or id not in (select book_id from book_tags) order by id",
    ),
    (
        "/books?select=id,w:authors!author_id(name)&order=w(name).desc.nullslast,id",
        "select b.id, (select row_to_json(n) from (select a.name) n where a.id is not null)"
        " as w"
        " from books b left join authors a on a.id = author_id order by a.name desc nulls"
        " last, 1",
    ),
    (
        "/authors?select=id,books!author_id(id,tags(label))&books.tags.label=eq.science"
        "&books.order=id&id=lt.3&order=id",
        "select id, (select coalesce(json_agg(b), '[]') from (select id, (select"
        " coalesce(json_agg(t), '[]') from (select label from tags, book_tags where tag_id ="
        " tags.id"
        " and book_id = books.id and label = 'science') t) as tags from books"
        " where author_id = authors.id order by id) b) as books from authors where id < 3"
        " order by id",
    ),
    (
        "/sales?select=id,books(title)&order=id&limit=3",
        "select id, (select row_to_json(b) from (select title from books where id = book_id) b)"
        " as books from sales order by id limit 3",
    ),
    (
        "/books?select=id,sales(id,day)&sales.day=gte.2026-01-01&sales.order=id&order=id",
        "select id, (select coalesce(json_agg(s), '[]') from (select id, day from sales"
        " where book_id = books.id and day >= '2026-01-01' order by id) s) as sales"
        " from books order by id",
    ),
]

SPREADS: list[Case] = [
    (
        "/books?select=id,...authors!author_id(writer:name)&order=id",
        "select b.id, a.name as writer from books b left join authors a on a.id = author_id"
        " order by 1",
    ),
    (  # to one through to one
        "/sales?select=id,...books(title,...authors!author_id(writer:name))&order=id",
        "select s.id, title, name as writer from sales s join books b on b.id = book_id"
        " left join authors a on a.id = author_id order by 1",
    ),
    (  # to many: arrays in step with each other
        "/authors?select=name,...books!author_id(titles:title,prices:price)&books.order=price.desc"
        ""
        "&order=id",
        "select name, (select coalesce(json_agg(title order by price desc), '[]') from books"
        " where author_id = a.id) as titles, (select coalesce(json_agg(price order by price"
        " desc), '[]')"
        " from books where author_id = a.id) as prices from authors a order by id",
    ),
    (
        "/authors?select=name,...books!author_id(titles:title)&books.order=title&books.limit=1"
        "&order=id",
        "select name, (select coalesce(json_agg(title), '[]') from (select title from books"
        " where author_id = a.id order by title limit 1) x) as titles from authors a order by"
        " id",
    ),
    (  # to one inside to many
        "/authors?select=name,...books!author_id(title,...covers(artist))&books.order=id&order=id"
        "",
        "select name, (select coalesce(json_agg(title order by id), '[]') from books"
        " where author_id = a.id) as title, (select coalesce(json_agg(artist order by id),"
        " '[]')"
        " from books left join covers on book_id = id where author_id = a.id) as artist"
        " from authors a order by id",
    ),
    (  # an embed inside a spread is lifted whole
        "/books?select=id,...authors!author_id(name,mentor_id(name))&order=id",
        "select b.id, a.name, (select row_to_json(m) from (select name from authors"
        " where id = a.mentor_id) m) as mentor_id"
        " from books b left join authors a on a.id = author_id order by 1",
    ),
]

AGGREGATES: list[Case] = [
    ("/books?select=count()", "select count(*) from books"),
    (
        "/books?select=total:price.sum(),price.avg()::int,price.max(),price.min()",
        "select sum(price) as total, avg(price)::int, max(price), min(price) from books",
    ),
    (
        "/books?select=author_id,count()&order=author_id",
        "select author_id, count(*) from books group by author_id order by author_id",
    ),
    (
        "/books?select=data->lang->>code,n:price::text::numeric.sum()&order=id".replace(
            "::text::numeric", "::numeric"
        ).replace("&order=id", ""),
        "select data->'lang'->>'code' as code, sum(price) as n from books group by 1",
    ),
    (
        "/sales?select=amount.sum(),books(title)",
        "select sum(amount), json_build_object('title', title) as books from sales"
        " join books b on b.id = book_id group by title",
    ),
    (
        "/sales?select=...books(author_id,price.sum())",
        "select author_id, sum(price) from sales join books b on b.id = book_id group by"
        " author_id",
    ),
    (
        "/books?select=id,sales(amount.sum(),count())&order=id",
        "select id, (select json_agg(s) from (select sum(amount), count(*) from sales"
        " where book_id = books.id) s) as sales from books order by id",
    ),
    (
        "/sales?select=...books(author:authors!author_id(name),price.sum())",
        "select sum(price), (select json_build_object('name', a.name) from authors a"
        " where a.id = books.author_id)::jsonb as author from sales"
        " join books on books.id = sales.book_id group by author",
    ),
    (
        "/sales?select=count(),...books(author:authors!author_id(name))",
        "select count(*), (select json_build_object('name', a.name) from authors a"
        " where a.id = books.author_id)::jsonb as author from sales"
        " join books on books.id = sales.book_id group by author",
    ),
    (
        "/sales?select=count(),...books(...authors!author_id(wrote:books!author_id(id)))"
        "&books.authors.wrote.order=id",
        "select count(*), (select json_agg(json_build_object('id', b.id) order by b.id)"
        " from books b where b.author_id = books.author_id)::jsonb as wrote from sales"
        " join books on books.id = sales.book_id group by wrote",
    ),
    (
        "/books?select=title:price,count()",
        "select price as title, count(*) from books group by price",
    ),
    ("/books?select=count()&price=gt.7", "select count(*) from books where price > 7"),
]

VIEWS: list[Case] = [
    ("/cheap?order=nr", "select * from cheap order by nr"),
    (
        "/cheapest?select=label,authors(name)&order=nr",
        "select label, (select row_to_json(a) from (select name from authors where id ="
        " writer) a)"
        " as authors from cheapest order by nr",
    ),
    (
        "/authors?select=name,cheap(name)&cheap.order=nr&order=id",
        "select name, (select coalesce(json_agg(c), '[]') from (select name from cheap"
        " where writer = authors.id order by nr) c) as cheap from authors order by id",
    ),
    (
        "/shelf?select=title,authors(name)&price=gt.8&order=id",
        "select title, (select row_to_json(a) from (select name from authors where id ="
        " author_id) a)"
        " as authors from shelf where price > 8 order by id",
    ),
    (
        "/cheap?select=nr,tags(label)&tags.order=id&order=nr",
        "select nr, (select coalesce(json_agg(t), '[]') from (select label from tags, book_tags"
        " where tag_id = tags.id and book_id = nr order by id) t) as tags from cheap order by"
        " nr",
    ),
]

FUNCTIONS: list[Case] = [
    ("/rpc/find_books?word=o&select=id", "select id from find_books('o')"),
    (
        "/rpc/find_books?word=o&select=id&order=title.desc",
        "select id from find_books('o') order by title desc",
    ),
    (
        "/rpc/find_books?word=o&select=id,authors!author_id(name)&order=id&price=lt.9",
        "select id, (select row_to_json(a) from (select name from authors where id ="
        " author_id) a)"
        " as authors from find_books('o') where price < 9 order by id",
    ),
    (
        "/rpc/find_books?word=o&select=id,headline,w:authors!author_id(name)&order=w(name),id",
        "select b.id, headline(b), (select row_to_json(n) from (select a.name) n) as w"
        " from find_books('o') b join authors a on a.id = author_id order by a.name, 1",
    ),
    (
        "/rpc/find_books?word=o&select=price.sum()",
        "select sum(price) from find_books('o')",
    ),
    ("/rpc/pairs?n=3&a=gt.1&select=b,a&order=a.desc&limit=1", "select 'xxx' as b, 3 as a"),
    (
        "/books?select=id,headline&id=eq.2",
        "select id, upper(title) || '!' as headline from books where id = 2",
    ),
    (
        "/authors?select=name,first_book(title)&order=id",
        "select name, (select row_to_json(b) from (select title from first_book(a)) b)"
        " as first_book from authors a order by id",
    ),
    (
        "/authors?select=name,pupils(name,peers(name))&pupils.order=id&id=eq.1",
        "select name, (select json_agg(p) from (select name, (select coalesce(json_agg(q),"
        " '[]')"
        " from (select name from peers(u)) q) as peers from pupils(a) u order by id) p) as"
        " pupils"
        " from authors a where id = 1",
    ),
    (
        "/authors?select=id,pupils!inner()&pupils.name=like.B*",
        "select id from authors a where exists (select from pupils(a) where name like 'B%')",
    ),
    (
        "/authors?select=id,...first_book(title)&first_book=not.is.null&order=id",
        "select id, (select title from first_book(a)) as title from authors a"
        " where exists (select from first_book(a)) order by id",
    ),
]


def the_case(case: Case) -> str:
    return case[0]


@pytest.mark.parametrize(
    "case",
    [*COLUMNS, *EMBEDS, *SPREADS, *AGGREGATES, *VIEWS, *FUNCTIONS],
    ids=the_case,
)
def test_a_read_answers_what_the_sql_answers(
    reads: httpx.Client, rows_of: Rows, case: Case
) -> None:
    target, sql = case
    response = reads.get(target)
    assert response.status_code == 200, response.text
    expected = rows_of(sql)
    if "order" not in target:
        assert sorted(map(json.dumps, response.json())) == sorted(map(json.dumps, expected))
    else:
        assert response.json() == expected


@pytest.mark.parametrize(
    "table, case",
    [
        *[("books", case) for case in FILTERS],
        *[("authors", case) for case in AUTHOR_FILTERS],
    ],
    ids=str,
)
def test_a_filter_chooses_what_the_condition_chooses(
    reads: httpx.Client, rows_of: Rows, table: str, case: Case
) -> None:
    query, condition = case
    response = reads.get(
        f"/{table}?select=id&order=id&{query}", headers={"Prefer": "count=exact"}
    )
    expected = rows_of(f"select id from {table} where {condition} order by id")
    assert response.status_code == 200, response.text
    assert response.json() == expected
    assert response.headers["content-range"].endswith(f"/{len(expected)}")


@pytest.mark.parametrize("case", ORDER, ids=the_case)
def test_rows_come_in_the_order_asked_for(
    reads: httpx.Client, rows_of: Rows, case: Case
) -> None:
    query, clause = case
    response = reads.get(f"/books?select=id&{query}")
    assert response.json() == rows_of(f"select id from books {clause}")


@pytest.mark.parametrize("zone", ["+02:00", "+0200", "+02"])
@pytest.mark.parametrize(
    "query",
    [
        "day=lt.{}",
        "day=not.eq.{}",
        "day=in.({},2024-01-01)",
        "day=eq(any).{{{}}}",
        "or=(day.eq.{},id.eq.1)",
        "and=(id.eq.1,or(day.gt.{}))",
    ],
)
def test_a_plus_that_became_a_space_is_told(reads: httpx.Client, query: str, zone: str) -> None:
    moment = "2026-01-01T00:00:00"
    lost = reads.get(f"/sales?{query.format(moment + zone)}")
    assert lost.status_code == 400
    assert lost.json()["hint"] == "In a URL + stands for a space; write it as %2B"
    kept = reads.get(f"/sales?{query.format(moment + quote(zone))}")
    assert kept.status_code == 200


def test_spreads_of_one_table_stand_side_by_side(reads: httpx.Client, rows_of: Rows) -> None:
    target = (
        "/books?select=id,...authors!author_id(a:name),...authors!editor_id(b:name)&order=id"
    )
    sql = (
        "select books.id, a.name as a, b.name as b from books left join authors a"
        " on a.id = author_id left join authors b on b.id = editor_id order by books.id"
    )
    answer = reads.get(target)
    assert answer.status_code == 200, answer.text
    assert answer.json() == rows_of(sql)
