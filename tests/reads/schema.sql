-- A library: small, and with one of everything that reads have to cope with.
create schema lib;

create type lib.address as (street text, city text);
create domain lib.isbn as text check (value ~ '^[0-9-]+$');

create table lib.authors (
    id int primary key,
    name text not null,
    mentor_id int references lib.authors,
    home lib.address,
    pen_names text[] not null default '{}',
    active int4range
);

-- A domain over a number that clients see and write as a colour: #00ff00.
create domain lib.colour as int;
create function lib.colour_json(lib.colour) returns json language sql immutable
    return to_json('#' || lpad(to_hex($1), 6, '0'));
create function lib.colour_from(text) returns lib.colour language sql immutable
    return ('x' || lpad(ltrim($1, '#'), 8, '0'))::bit(32)::int::lib.colour;
create cast (lib.colour as json) with function lib.colour_json(lib.colour) as implicit;
create cast (text as lib.colour) with function lib.colour_from(text) as implicit;

create table lib.books (
    id int primary key,
    title text not null,
    author_id int references lib.authors,
    editor_id int references lib.authors,
    published date,
    price numeric(8, 2),
    "größe" int,
    "odd, .:()*""name" text,
    data jsonb not null default '{}',
    isbn lib.isbn,
    shade lib.colour
);
create table lib.covers (book_id int primary key references lib.books, artist text);
create table lib.tags (id int primary key, label text not null);
create table lib.book_tags (
    book_id int references lib.books,
    tag_id int references lib.tags,
    primary key (book_id, tag_id)
);
create table lib.sales (
    id int,
    day date,
    book_id int not null references lib.books,
    amount numeric(8, 2) not null,
    primary key (id, day)
) partition by range (day);
create table lib.sales_2025 partition of lib.sales for values from ('2025-01-01') to ('2026-01-01');
create table lib.sales_2026 partition of lib.sales for values from ('2026-01-01') to ('2027-01-01');
create table lib."Bücher und, mehr" ("schlüssel 1" int primary key, "ünïcode" text);
create table lib.many (id int primary key);

insert into lib.authors values
    (1, 'Ada', null, ('Mill Lane 1', 'London'), '{Countess,A.A.L.}', '[1830,1853)'),
    (2, 'Béla', 1, ('Fő utca 2', 'Budapest'), '{}', '[1900,)'),
    (3, 'Chidi', 1, null, '{"C, the second","{x}"}', null),
    (4, 'Dora', 2, null, '{}', '[1840,1900)');
insert into lib.books values
    (1, 'Engines', 1, 2, '1843-09-01', 12.50, 30, 'a,b', '{"pages": 66, "lang": {"code": "en"}}', '1-1', 65280),
    (2, 'Notes', 1, null, '1844-01-01', 7.00, null, 'x(y)', '{"pages": 20, "parts": ["i", "ii"]}', null, 255),
    (3, 'Mikrokosmos', 2, 1, null, 9.99, 20, 'say "hi"', '{"pages": 153, "lang": {"code": "hu"}}', '3-3', null),
    (4, 'Drafts', null, null, '2001-05-05', null, 10, 'back\slash', '{}', null, 16711680),
    (5, '100% *Star*', 3, 3, '2020-02-29', 5.00, 15, null, '{"pages": 7}', '5-5', 0);
insert into lib.covers values (1, 'Eve'), (3, 'Finn');
insert into lib.tags values (1, 'science'), (2, 'music'), (3, 'unused'), (4, 'draft');
insert into lib.book_tags values (1, 1), (2, 1), (2, 4), (3, 2), (3, 1);
insert into lib.sales
    select n, date '2025-10-01' + n * 20, 1 + n % 3, n * 1.5 from generate_series(1, 12) n;
insert into lib."Bücher und, mehr" values (1, 'größte'), (2, '日本'), (3, '');
insert into lib.many select generate_series(1, 500);

create view lib.cheap as
    select id as nr, title as name, author_id as writer, price from lib.books where price < 10;
create view lib.cheapest as select nr, name as label, writer from lib.cheap where price < 8;
create materialized view lib.shelf as
    select id, author_id, title, coalesce(price, 0) as price from lib.books;

create function lib.headline(lib.books) returns text language sql stable
    return upper($1.title) || '!';
create function lib.find_books(word text) returns setof lib.books language sql stable
    as $$ select * from lib.books where title ilike '%' || word || '%' order by id $$;
create function lib.pairs(n int) returns table (a int, b text) language sql stable
    as $$ select i, repeat('x', i) from generate_series(1, n) i $$;
create function lib.first_book(lib.authors) returns setof lib.books rows 1 language sql stable
    as $$ select * from lib.books where author_id = $1.id order by published limit 1 $$;
create function lib.pupils(lib.authors) returns setof lib.authors language sql stable
    as $$ select * from lib.authors where mentor_id = $1.id $$;
create function lib.peers(lib.authors) returns setof lib.authors language sql stable
    as $$ select * from lib.authors where mentor_id = $1.mentor_id and id <> $1.id $$;

-- A media type of the library's own for tags, by an aggregate.
create domain lib."text/vnd.labels" as text;
create function lib.add_label(state lib."text/vnd.labels", tag lib.tags)
    returns lib."text/vnd.labels" language sql immutable
    return (coalesce(state, '') || tag.label || E'\n')::lib."text/vnd.labels";
create aggregate lib.labels (lib.tags) (sfunc = lib.add_label, stype = lib."text/vnd.labels");

analyze;
grant usage on schema lib to web_anon;
grant select on all tables in schema lib to web_anon;
