create schema api;
create schema hidden;
create schema auth;
create role inval_owner;
create role inval_reader;

create table api.plain (id int primary key, name text, price numeric);
create table api.other (id int primary key, plain_id int references api.plain on delete cascade);
create table api.grand (id int primary key, other_id int references api.other on delete set null,
  renamed_id int);
create table api.code (code text primary key);
create table api.coded (id int primary key, code text references api.code on update cascade);
create table api.strict (id int primary key, plain_id int references api.plain);
create table api.tag (id int primary key);
create table api.plain_tag (
  plain_id int references api.plain on delete cascade, tag_id int references api.tag,
  primary key (plain_id, tag_id)
);

create table api.events (id int, kind text, primary key (id)) partition by range (id);
create table hidden.events_1 partition of api.events for values from (1) to (10);
create table hidden.events_2 partition of api.events for values from (10) to (20)
  partition by range (id);
create table hidden.events_2a partition of hidden.events_2 for values from (10) to (20);
create table api.parent (id int);
create table api.child (extra int) inherits (api.parent);
create table api.note (id int primary key, event_id int references api.events on delete cascade);

create view api.v1 as select id, name from api.plain;
create view api.v2 as select v.id, o.id as other from api.v1 v join api.other o on o.plain_id = v.id;
create view api.counted as select (select count(*) from api.code) as codes, p.* from api.plain p;
create materialized view api.mat as select count(*) from api.plain;
create view api.on_mat as select * from api.mat;
create view api.at_now as select p.*, now() - interval '1 day' as since from api.plain p;
create view api.mine as select * from api.plain where name = current_user;
create view api.claimed as
  select * from api.plain where name = current_setting('request.jwt.claims', true)::json->>'sub';
create view api.unrevoked as select * from api.plain
  where name <> current_setting('request.jwt.claims', true)::json->>'jti';
create view api.anyone as
  select * from api.plain where current_setting('request.jwt.claims', true)::jsonb @> '{"a": 1}';
create view api.pathed as
  select * from api.plain where name = current_setting('request.jwt.claims', true)::json #>> '{sub}';
create view api.sought as select * from api.plain
  where jsonb_path_exists(current_setting('request.jwt.claims', true)::jsonb, '$.sub');
create view api.wholes as select current_setting('request.jwt.claims', true)::json as claims;
create view api.chosen as select *, current_setting('request.jwt.claims', true)::json ->> name as it
  from api.plain;
create view api.nested as select p.*, (select coalesce(nullif(current_setting('request.jwt.claims',
  true), ''), '{}')::jsonb -> 'app' ->> 'team') as team from api.plain p;
create view api.called as select * from api.plain where name =
  json_object_field_text(current_setting('Request.Jwt.Claims'::text)::json, 'sub');
create view api.legacy as
  select * from api.plain where name = current_setting('request.jwt.claim.jti', true);
create function public.setting(text) returns text language sql stable
  begin atomic select current_setting($1, true); end;
create view api.unnamed as select public.setting('request.jwt.claims') from api.plain;
create operator public.!! (function = pg_catalog.current_setting, rightarg = text);
create view api.operated as select operator(public.!!) 'request.jwt.claims' as claims from api.plain;
create function hidden.sub_of(json) returns text language sql stable
  as $$ select $1 ->> 'jti' $$;
create view api.passed as
  select hidden.sub_of(current_setting('request.jwt.claims', true)::json) from api.plain;
create function hidden.claims() returns json language sql stable
  as $$ select current_setting('request.jwt.claims', true)::json $$;
create view api.returned as select hidden.claims() ->> 'sub' as sub from api.plain;
create function hidden.by_plpgsql() returns text language plpgsql stable as $$
  begin return current_setting('request.jwt.claims', true)::json ->> 'sub'; end $$;
create view api.procedural as select hidden.by_plpgsql() from api.plain;
create function hidden.pure(text) returns text language plpgsql immutable as $$
  declare found text; begin select lower($1) into found; return found; end $$;
create view api.purely as select hidden.pure(name) from api.plain;
create function hidden.liar() returns text language plpgsql immutable as $$
  declare found text; begin select current_setting('request.jwt.claims', true)::json ->> 'sub'
  into found; return found; end $$;
create view api.lying as select hidden.liar() from api.plain;
create function hidden.tenant() returns text language plpgsql stable as $$
  declare found text; begin select current_setting('request.headers', true)::json ->> 'tenant'
  into found; return found; end $$;
create function api.headed_declared() returns setof api.plain language plpgsql stable
  as $$ begin return query select * from api.plain where name = hidden.tenant(); end $$;
comment on function api.headed_declared() is '@cache reads=plain';
create schema "a.b";
create table "a.b"."c.d" (id int);
create table api."x.y" (id int) partition by range (id);
create table api."x.y.1" partition of api."x.y" for values from (1) to (2);
create function api.dotted() returns bigint language plpgsql stable
  as $$ begin return (select count(*) from api."x.y"); end $$;
comment on function api.dotted() is '@cache reads=x.y,a.b.c.d';
create extension tablefunc;
create view api.crossed as
  select * from crosstab('select name, id, id from api.plain') as ct(name text, id int);
create view api.headed as
  select * from api.plain where name = current_setting('request.headers', true);
create view api.configured as
  select * from api.plain where name = current_setting('app.settings.x', true);
create view api.chance as select * from api.plain where random() < 0.5;
create view api.sampled as select * from api.plain tablesample bernoulli (50);
create view api.catalog as select relname from pg_class;
create view api.zoned as select id, (now()::date)::text as day, to_char(price, '9') from api.plain;

create function api.undeclared() returns setof api.plain language sql stable
  as 'select * from api.plain';
create function api.declared() returns setof api.plain language sql stable
  as 'select * from api.plain';
comment on function api.declared() is E'All of it.\n@cache reads=plain,prices max-age=5';
create function api.of_view() returns bigint language sql stable as 'select count(*) from api.v2';
comment on function api.of_view() is '@cache reads=api.v2';
create function api.fixed() returns int language sql immutable as 'select 1';
create function api.atomic() returns bigint language sql stable
  begin atomic select count(*) from api.v1; end;
create view api.on_undeclared as select * from api.undeclared();
create view api.on_declared as select * from api.declared();
create view api.on_fixed as select api.fixed(), id from api.plain;

create function api.full_name(api.plain) returns text language sql stable
  as $$ select $1.name || coalesce($1.id::text, '') $$;
create function api.ranked(api.plain) returns bigint language sql stable
  as $$ select count(*) from api.plain p where p.price > $1.price $$;
create function api.codes(api.plain) returns setof api.code language sql stable
  as $$ select * from api.code where code = $1.name $$;
create function api.declared_codes(api.plain) returns setof api.code language sql stable
  as $$ select * from api.code where code = $1.name $$;
comment on function api.declared_codes(api.plain) is '@cache reads=api.code';

-- Row security.
create function auth.uid() returns text language sql
  as $$ select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub' $$;
create function auth.groups() returns setof text language sql stable security definer
  as $$ select code from api.code $$;
create table api.own (id int, owner text);
alter table api.own enable row level security;
create policy p on api.own for select using (owner = auth.uid());
create function hidden.owned() returns bigint language sql stable
  begin atomic select count(*) from api.own; end;
create view api.on_owned as select id, hidden.owned() from api.plain;
create table api.grouped (id int, owner text);
alter table api.grouped enable row level security;
create policy p on api.grouped using (owner in (select code from api.code));
create table api.opaque (id int, owner text);
alter table api.opaque owner to inval_owner;
alter table api.opaque enable row level security;
create policy p on api.opaque using (owner in (select auth.groups()));
create policy w on api.opaque for insert with check (auth.uid() is not null);
create table api.off (id int, owner text);
create policy p on api.off using (owner in (select auth.groups()));
create view api.over_opaque as select * from api.opaque;
alter view api.over_opaque owner to inval_owner;
create view api.by_other as select * from api.opaque;
alter view api.by_other owner to inval_reader;

-- Triggers and rules.
create function hidden.touch() returns trigger language plpgsql
  as $$ begin new.name := upper(new.name); if tg_op = 'UPDATE' then new.at = now(); end if;
  return new; end $$;
create function hidden.log() returns trigger language plpgsql
  as $$ begin execute 'insert into api.code values ($1)' using new.name; return new; end $$;
create function hidden.declared_log() returns trigger language plpgsql
  as $$ begin insert into api.code values (new.name); return new; end $$;
comment on function hidden.declared_log() is '@cache writes=api.code';
create table api.touched (id int, name text, at timestamptz);
create trigger t before insert or update on api.touched for each row execute function hidden.touch();
create trigger u before update on api.touched for each row
  execute function suppress_redundant_updates_trigger();
create table api.logged (id int, name text);
create trigger t after insert on api.logged for each row execute function hidden.log();
create table api.well_logged (id int, name text);
create trigger t after insert on api.well_logged for each row execute function hidden.declared_log();
create table api.silenced (id int, name text);
create trigger t after insert on api.silenced for each row execute function hidden.log();
alter table api.silenced disable trigger t;
create table api.above_logged (id int, parent int);
create table api.below (id int, logged_id int);
create table api.root (id int primary key);
create table api.leaf (id int, name text, root_id int references api.root on delete cascade);
create trigger t after delete on api.leaf for each row execute function hidden.log();
create table api.ruled (id int);
create rule r as on insert to api.ruled do also insert into api.code values ('x');
create function hidden.obscure() returns int language plpgsql stable
  as $$ begin execute 'select 1'; return 1; end $$;
create table api.obscured (id int default hidden.obscure());
create function hidden."next tag"(v int) returns int language sql
  as 'insert into api.tag values (v) returning id';
create function hidden.between(v int) returns int language plpgsql stable
  as $$ begin return (select count(*) from api.strict) + hidden."next tag"(v); end $$;
create function hidden.tangled() returns trigger language plpgsql as $$ begin
  -- Who may CREATE what, or execute it?
  if new.id < 0 then raise exception 'do not drop %', new.id; end if;
  perform hidden.Between(new.id);
  return new; end $$;
create table api.tangled (id int);
create trigger t before insert on api.tangled for each row execute function hidden.tangled();
do $do$ begin
  for n in 1..1500 loop
    execute format('create function hidden.chain_%s() returns void language plpgsql as
      $$ begin perform hidden.chain_%s(); end $$', n, n + 1);
  end loop;
end $do$;
create function hidden.chain_1501() returns int language sql
  as 'insert into api.tag values (1) returning id';
create function api.far_away() returns void language plpgsql
  as 'begin perform hidden.chain_1(); end';
create extension moddatetime;
create extension dblink;
create extension postgres_fdw;
create table api.stamped (id int, at timestamptz);
create trigger t before update on api.stamped for each row execute function moddatetime(at);
create table api.dialled (id int, check (dblink_exec('x', 'x') is null));
create server away foreign data wrapper postgres_fdw;
create foreign table api.far (id int) server away;
create foreign table api.well_far (id int) server away;
comment on foreign table api.well_far is '@cache writes=code';
create sequence hidden.counter;
create view api.counter as select last_value from hidden.counter;
create materialized view api.fresh as select hidden.between(1);
create function hidden.refresh() returns trigger language plpgsql
  as $$ begin refresh materialized view api.fresh; return null; end $$;
create table api.source (id int);
create trigger t after insert on api.source execute function hidden.refresh();
create view api.instead as select * from api.plain;
create trigger t instead of insert on api.instead for each row
  execute function hidden.declared_log();
create function hidden.next_id() returns int language plpgsql volatile
  as $$ begin execute 'insert into api.code values (1)'; return 1; end $$;
create table api.defaulted (id int default hidden.next_id());
create table api.numbered (id serial, token uuid default gen_random_uuid());
create function api.change() returns void language plpgsql as
  $$ begin execute 'delete from api.plain'; end $$;
create function api.plain_change() returns void language sql volatile as 'delete from api.plain';
create function api.declared_change() returns void language sql volatile as 'delete from api.plain';
comment on function api.declared_change() is '@cache writes=api.plain';
create function api.atomic_change() returns void language sql volatile
  begin atomic delete from api.code; end;
create function api.pre() returns void language plpgsql as $$ begin
  execute 'set local role none'; end $$;
create function api.setting_pre() returns void language plpgsql as $$ begin
  perform set_config('response.status', '200', true); end $$;
create function api.calm_pre() returns void language plpgsql as $$ begin
  if current_user = 'x' then raise exception 'no'; end if; end $$;
