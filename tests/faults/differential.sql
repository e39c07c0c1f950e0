-- What a cache can get wrong: row security (direct, through another table, with claims),
-- cascades, triggers, views, functions, partitions, rows of many owners.
create role differential_server login noinherit;
create role differential_member;
create role differential_anon;
grant differential_member, differential_anon to differential_server;
create schema api;
create schema hidden;
grant usage on schema api, hidden to differential_member, differential_anon;

create function hidden.me() returns text language sql stable
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub' $$;

create table api.accounts (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(),
  name text not null, code text unique
);
create table api.documents (
  id bigint generated always as identity primary key,
  account_id bigint not null references api.accounts on delete cascade,
  title text not null, revision int not null default 0
);
create table api.notes (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(),
  document_id bigint references api.documents on delete set null,
  account_code text references api.accounts (code) on update cascade on delete set null,
  body text
);
create table api.tags (id bigint primary key, name text not null);
create table api.document_tags (
  document_id bigint references api.documents on delete cascade,
  tag_id bigint references api.tags on delete cascade,
  primary key (document_id, tag_id)
);
create index on api.documents (account_id);
create index on api.notes (document_id);
create index on api.notes (account_code);

-- Written by triggers only.
create table api.audit (
  id bigint generated always as identity primary key,
  owner text, action text, what text
);
create table api.totals (owner text primary key, changes bigint not null);

create table api.events (owner text not null default hidden.me(), kind int not null, n int)
  partition by list (kind);
create table api.events_0 partition of api.events for values in (0);
create table api.events_1 partition of api.events for values in (1);

-- Written by everybody, and by programs without edgerest.
create table api.prices (id int primary key, amount bigint not null, updated timestamptz);

alter table api.accounts enable row level security;
create policy own on api.accounts using (owner = hidden.me());
alter table api.documents enable row level security;
create policy own on api.documents using (account_id in (select id from api.accounts));
alter table api.notes enable row level security;
create policy own on api.notes using (owner = hidden.me());
alter table api.document_tags enable row level security;
create policy own on api.document_tags
  using (document_id in (select id from api.documents));
alter table api.audit enable row level security;
create policy own on api.audit for select using (owner = hidden.me());
alter table api.totals enable row level security;
create policy own on api.totals for select using (owner = hidden.me());
alter table api.events enable row level security;
create policy own on api.events using (owner = hidden.me());
alter table api.events_0 enable row level security;
create policy own on api.events_0 using (owner = hidden.me());
alter table api.events_1 enable row level security;
create policy own on api.events_1 using (owner = hidden.me());

-- A trigger that says what it writes, one that does not, one that writes its own row only.
create function hidden.log_note() returns trigger language plpgsql security definer as $$
begin
  insert into api.audit (owner, action, what) values (hidden.me(), tg_op, new.body);
  delete from api.audit where owner = hidden.me() and id < (select max(id) - 100 from api.audit);
  return null;
end $$;
comment on function hidden.log_note() is '@cache writes=api.audit';
create trigger log after insert or update on api.notes
  for each row execute function hidden.log_note();
create function hidden.count_change() returns trigger language plpgsql security definer as $$
begin
  insert into api.totals values (hidden.me(), 1)
    on conflict (owner) do update set changes = totals.changes + 1;
  return null;
end $$;
create trigger count_change after insert or update on api.document_tags
  for each row execute function hidden.count_change();
create function hidden.next_revision() returns trigger language plpgsql as $$
begin new.revision := old.revision + 1; return new; end $$;
create trigger revise before update on api.documents
  for each row execute function hidden.next_revision();

-- Views: with the rights of their owner (and a filter of their own), of their caller, nested.
create view api.my_documents as
  select d.id, d.title, d.revision, a.name as account
  from api.documents d join api.accounts a on a.id = d.account_id
  where a.owner = hidden.me();
create view api.slow_documents {invoker} as
  select id, title from api.documents where (select sum(n) from generate_series(1, 30000) n) > 0;
create view api.account_names {invoker} as select id, owner, name from api.accounts;
create view api.evens as select * from api.events_0 where owner = hidden.me();
create view api.summary as
  select a.account, count(*) as documents, sum(a.revision) as revisions
  from api.my_documents a group by a.account;

-- What nobody can see through is not kept, nor is its query shared across writes.
create function api.obscure() returns setof text language sql stable
  as 'select title from api.documents order by id';
comment on function api.obscure() is '@cache max-age=600';
create function api.titles() returns setof text language sql stable
  as 'select title from api.documents order by id';
comment on function api.titles() is '@cache max-age=600 reads=api.documents';
create function api.note_count() returns bigint language sql stable
  begin atomic select count(*) from api.notes; end;
comment on function api.note_count() is '@cache max-age=600';
create function api.rename_all(suffix text) returns void language sql volatile
  as 'update api.accounts set name = left(name, 20) || suffix';
comment on function api.rename_all(text) is '@cache writes=api.accounts';
-- Row security hides rows of one table when another is written.
create function api.give_away(ending text) returns void language sql volatile security definer
  as $$ update api.accounts set owner = 'nobody'
        where owner = hidden.me() and name like '%' || ending $$;
comment on function api.give_away(text) is '@cache writes=api.accounts';
create function api.wipe_notes() returns void language sql volatile
  as 'delete from api.notes where document_id is null';

create function api.attach(kind text, name text) returns void language plpgsql as $$
begin
  if kind = 'document' then
    insert into api.documents (account_id, title)
      select id, attach.name from api.accounts order by id desc limit 2;
  else
    insert into api.notes (document_id, account_code, body) values (
      (select max(id) from api.documents), (select max(code) from api.accounts), attach.name
    );
  end if;
end $$;
comment on function api.attach(text, text) is '@cache writes=documents,notes';
create function api.attach_tags() returns void language sql volatile as $$
  insert into api.document_tags
    select d.id, t.id
    from (select id from api.documents order by id desc limit 3) d,
      (select id from api.tags order by id limit 2) t
    on conflict do nothing
$$;

comment on table api.accounts is '@cache max-age=600';
comment on table api.documents is '@cache max-age=600';
comment on table api.notes is '@cache max-age=600';
comment on table api.document_tags is '@cache max-age=600';
comment on table api.audit is '@cache max-age=600';
comment on table api.totals is '@cache max-age=600';
comment on table api.events is '@cache max-age=600';
comment on view api.evens is '@cache max-age=600';
comment on table api.prices is '@cache max-age=600 scope=public';
comment on view api.my_documents is '@cache max-age=600';
comment on view api.account_names is '@cache max-age=600';
comment on view api.slow_documents is '@cache max-age=600';
comment on view api.summary is '@cache max-age=600';

grant select, insert, update, delete on all tables in schema api to differential_member;
grant select on api.prices to differential_anon;
insert into api.tags select n, 'tag ' || n from generate_series(1, 5) n;
insert into api.prices select n, 0, now() from generate_series(1, 3) n;
