-- Who is asking, from the token that the proxy has verified.
create function internal.current_user_id() returns int
language sql stable
return (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'user_id')::int;

create function internal.own_projects() returns setof int
language sql stable security definer set search_path = '' as $function$
    select member.project_id
    from api.members as member
    where member.user_id = internal.current_user_id();
$function$;

create function internal.visible_projects() returns setof int
language sql stable security definer set search_path = '' as $function$
    select project.id from api.projects as project where project.is_public
    union
    select internal.own_projects();
$function$;

comment on function internal.current_user_id() is 'The claim user_id of the token, or null';
comment on function internal.own_projects() is 'The projects the user is a member of';
comment on function internal.visible_projects() is 'The projects that this request may see';

grant usage on schema api to web_anon, web_user;
grant usage on schema internal to web_anon, web_user;
grant select on all tables in schema api to web_anon, web_user;
grant insert, update, delete on api.tasks, api.comments, api.task_labels to web_user;
revoke execute on function api.complete_task(int) from public;
grant execute on function api.complete_task(int) to web_user;

alter table api.projects enable row level security;
alter table api.members enable row level security;
alter table api.tasks enable row level security;
alter table api.comments enable row level security;
alter table api.task_labels enable row level security;

create policy see on api.projects for select
    using (id in (select internal.visible_projects()));
create policy see on api.members for select
    using (project_id in (select internal.visible_projects()));

create policy see on api.tasks for select
    using (project_id in (select internal.visible_projects()));
create policy add on api.tasks for insert
    with check (project_id in (select internal.own_projects()));
create policy change on api.tasks for update
    using (project_id in (select internal.own_projects()));
create policy remove on api.tasks for delete
    using (project_id in (select internal.own_projects()));

create policy see on api.comments for select
    using (exists (select from api.tasks where tasks.id = task_id));
create policy add on api.comments for insert
    with check (
        author_id = (select internal.current_user_id())
        and exists (
            select from api.tasks
            where tasks.id = task_id and project_id in (select internal.own_projects())
        )
    );
create policy change on api.comments for update
    using (author_id = (select internal.current_user_id()));
create policy remove on api.comments for delete
    using (author_id = (select internal.current_user_id()));

create policy see on api.task_labels for select
    using (exists (select from api.tasks where tasks.id = task_id));
create policy attach on api.task_labels for insert
    with check (
        exists (
            select from api.tasks
            where tasks.id = task_id and project_id in (select internal.own_projects())
        )
    );
create policy detach on api.task_labels for delete
    using (
        exists (
            select from api.tasks
            where tasks.id = task_id and project_id in (select internal.own_projects())
        )
    );

analyze api.users, api.projects, api.members, api.tasks, api.comments, api.labels,
    api.task_labels, api.weekly_activity;
