create view api.open_tasks with (security_invoker = true) as
    select id, title, status, priority, due_date as deadline, project_id, assignee_id, tags
    from api.tasks
    where status in ('pending', 'in_progress', 'review');

create view api.project_stats with (security_invoker = true) as
    select
        project.id as project_id,
        project.name as project_name,
        count(task.id) as tasks,
        count(task.id) filter (where task.status = 'done') as done,
        count(task.id) filter (where task.assignee_id is null) as unassigned,
        min(task.due_date) filter (where task.status <> 'done') as next_deadline
    from api.projects as project
    left join api.tasks as task on task.project_id = project.id
    group by project.id;

-- A materialized view knows no row-level security, so it is of public projects only.
create materialized view api.weekly_activity as
    select
        task.project_id,
        date_trunc('week', task.created_at, 'UTC')::date as week,
        count(*) as created,
        count(task.completed_at) as completed
    from api.tasks as task
    join api.projects as project on project.id = task.project_id
    where project.is_public
    group by 1, 2;
create unique index on api.weekly_activity (project_id, week);

comment on view api.open_tasks is 'Tasks that are not finished';
comment on column api.open_tasks.deadline is 'The due date of the task';
comment on view api.project_stats is 'How each project is doing, in numbers';
comment on column api.project_stats.next_deadline is 'The next due date of what is not done';
comment on materialized view api.weekly_activity is
    'Tasks of public projects by week of creation';

create function api.overdue(task api.tasks) returns boolean
language sql stable
return task.due_date < current_date and task.status not in ('done', 'cancelled');

create function api.complete_task(task_id int) returns api.tasks
language sql volatile as $function$
    update api.tasks
    set status = 'done', completed_at = now()
    where id = complete_task.task_id
    returning *;
$function$;

create function api.project_progress(project_id int)
returns table (total bigint, done bigint, percent numeric)
language sql stable as $function$
    select
        count(*),
        count(*) filter (where task.status = 'done'),
        round(100.0 * count(*) filter (where task.status = 'done') / greatest(count(*), 1), 1)
    from api.tasks as task
    where task.project_id = project_progress.project_id;
$function$;

create function api.search_tasks(query text, max_rows int default 20) returns setof api.tasks
language sql stable as $function$
    select task.*
    from api.tasks as task
    where task.search @@ websearch_to_tsquery('english', query)
    order by ts_rank(task.search, websearch_to_tsquery('english', query)) desc, task.id
    limit max_rows;
$function$;

comment on function api.overdue(api.tasks) is 'Whether the task should have been done by now';
comment on function api.complete_task(int) is 'Mark a task as done

Sets the status and the time, and returns the task.';
comment on function api.project_progress(int) is 'How much of a project is done';
comment on function api.search_tasks(text, int) is 'Find tasks by words

Understands "quoted phrases", or, and -exclusions; the best match comes first.';
