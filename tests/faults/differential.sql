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
-- Two levels of cascades, and none of the tables below says so in its policy.
create table api.lists (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(), name text not null, code text not null unique
);
create table api.items (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(), name text not null,
  list_code text not null references api.lists (code) on update cascade on delete cascade
);
create table api.marks (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(),
  item_id bigint not null references api.items on delete cascade
);
create table api.pins (
  id bigint generated always as identity primary key,
  owner text not null default hidden.me(),
  item_id bigint references api.items on delete set null
);
-- Who sees what never changes: only who is a member does.
create table api.memberships (
  person text not null, team int not null, sponsor text not null default hidden.me(),
  primary key (person, team)
);
create table api.reports (id bigint primary key, team int not null, title text not null);
create table api.lines (id bigint primary key, report_id bigint not null references api.reports);
create table api.remarks (id bigint primary key, team int not null);
create index on api.items (list_code);
create index on api.marks (item_id);
create index on api.pins (item_id);
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

alter table api.lists enable row level security;
create policy own on api.lists using (owner = hidden.me());
alter table api.items enable row level security;
create policy own on api.items using (owner = hidden.me());
alter table api.marks enable row level security;
create policy own on api.marks using (owner = hidden.me());
alter table api.pins enable row level security;
create policy own on api.pins using (owner = hidden.me());
alter table api.memberships enable row level security;
create policy own on api.memberships using (hidden.me() in (person, sponsor));
alter table api.reports enable row level security;
create policy team on api.reports for select
  using (team in (select team from api.memberships where person = hidden.me()));
alter table api.lines enable row level security;
create policy team on api.lines for select
  using (report_id in (select id from api.reports));
create function hidden.my_teams() returns setof int language sql stable security definer
  as $$ select team from api.memberships where person = hidden.me() $$;
comment on function hidden.my_teams() is '@cache reads=api.memberships';
alter table api.remarks enable row level security;
create policy team on api.remarks for select using (team in (select hidden.my_teams()));

-- A trigger that says what it writes, one that does not, one that writes its own row only.
create function hidden.log_note() returns trigger language plpgsql security definer as $$
begin
  insert into api.audit (owner, action, what) values (hidden.me(), tg_op, new.body);
  delete from api.audit where owner = hidden.me() and id < (select max(id) - 40 from api.audit);
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
-- Reads of these wait, with the snapshot they have, while somebody holds the gate.
create function hidden.gate() returns boolean language plpgsql stable as $$
begin
  perform pg_advisory_xact_lock_shared(4711, hashtext(hidden.me()));
  return true;
end $$;
comment on function hidden.gate() is '@cache reads=';
create view api.gated_items {invoker} as
  select id, name, list_code from api.items where (select hidden.gate());
create view api.gated_reports {invoker} as
  select id, title from api.reports where (select hidden.gate());
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

create function api.plant_account(name text) returns void language plpgsql as $$
declare account bigint; document bigint;
begin
  insert into api.accounts (name, code) values (plant_account.name, plant_account.name)
    returning id into account;
  insert into api.documents (account_id, title) values (account, plant_account.name)
    returning id into document;
  insert into api.notes (document_id, account_code, body)
    values (document, plant_account.name, plant_account.name);
end $$;
comment on function api.plant_account(text) is '@cache writes=accounts,documents,notes';
create function api.plant_list(name text) returns void language plpgsql as $$
declare item bigint;
begin
  insert into api.lists (name, code) values (plant_list.name, plant_list.name);
  insert into api.items (name, list_code) values (plant_list.name, plant_list.name)
    returning id into item;
  insert into api.marks (item_id) values (item);
  insert into api.pins (item_id) values (item);
end $$;
comment on function api.plant_list(text) is '@cache writes=lists,items,marks,pins';
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
comment on view api.gated_items is '@cache max-age=600';
comment on view api.gated_reports is '@cache max-age=600';
comment on table api.lists is '@cache max-age=600';
comment on table api.items is '@cache max-age=600';
comment on table api.marks is '@cache max-age=600';
comment on table api.pins is '@cache max-age=600';
comment on table api.memberships is '@cache max-age=600';
comment on table api.reports is '@cache max-age=600';
comment on table api.lines is '@cache max-age=600';
comment on table api.remarks is '@cache max-age=600';
comment on view api.summary is '@cache max-age=600';

grant select, insert, update, delete on all tables in schema api to differential_member;
grant select on api.prices to differential_anon;
insert into api.tags select n, 'tag ' || n from generate_series(1, 5) n;
insert into api.prices select n, 0, now() from generate_series(1, 3) n;
insert into api.reports select n, n, 'report ' || n from generate_series(1, 4) n;
insert into api.lines select n, 1 + n % 4 from generate_series(1, 8) n;
insert into api.remarks select n, 1 + n % 4 from generate_series(1, 8) n;
