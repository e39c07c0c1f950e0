insert into api.tasks (
    project_id, assignee_id, title, details, status, priority, due_date, metadata, tags,
    created_at, completed_at
)
select
    project_id,
    case when internal.pick(i, 11, 8) > 0 then 1 + internal.pick(i, 12, people.total) end,
    verb || ' the ' || thing || ' ' || circumstance,
    'The ' || thing || ' ' || symptom || ' ' || circumstance || '. ' || wish,
    status,
    1 + internal.pick(i, 13, 5),
    case
        when internal.pick(i, 14, 4) > 0 then created_at::date + 3 + internal.pick(i, 15, 120)
    end,
    jsonb_build_object(
        'estimate_hours', 1 + internal.pick(i, 16, 40),
        'source', internal.pick_word(i, 17, array['email', 'phone', 'review', 'monitoring']),
        'component', thing
    ),
    array[
        internal.pick_word(i, 18, array['backend', 'frontend', 'database', 'design', 'mobile']),
        internal.pick_word(i, 19, array['q1', 'q2', 'q3', 'q4', 'backlog'])
    ],
    created_at,
    case
        when status = 'done' then created_at + interval '1 hour' * (2 + internal.pick(i, 20, 400))
    end
from
    generate_series(1, current_setting('demo.rows')::int) as i,
    (select count(*)::int as total from api.users) as people,
    (select count(*)::int as total from api.projects) as projects,
    lateral (
        select timestamptz '2025-01-06 08:00Z'
            + interval '1 minute' * internal.pick(i, 23, 960000) as created_at
    ) as times,
    lateral (
        select
            -- The first tasks are Ada's own projects', so that examples can name them.
            case
                when i <= 20 then 1
                when i <= 40 then 2
                else 1 + internal.pick(i, 21, projects.total)
            end as project_id,
            case
                when i <= 40 then 'pending'
                when created_at < '2026-05-01' then internal.pick_word(i, 22, array[
                    'done', 'done', 'done', 'done', 'done', 'done', 'done', 'done', 'done',
                    'done', 'cancelled', 'cancelled', 'cancelled', 'pending', 'in_progress'
                ])
                else internal.pick_word(i, 22, array[
                    'pending', 'pending', 'pending', 'pending', 'in_progress', 'in_progress',
                    'review', 'done', 'done', 'cancelled'
                ])
            end::api.task_status as status,
            internal.pick_word(i, 24, array[
                'Fix', 'Review', 'Document', 'Speed up', 'Test', 'Redesign', 'Simplify',
                'Monitor', 'Translate', 'Replace', 'Automate', 'Check', 'Extend', 'Repair',
                'Measure', 'Clean up'
            ]) as verb,
            internal.pick_word(i, 25, array[
                'login form', 'invoice export', 'search index', 'password reset',
                'payment webhook', 'welcome mail', 'image upload', 'price list',
                'delivery map', 'customer import', 'backup job', 'audit log', 'start page',
                'order history', 'address check', 'tax report', 'calendar sync',
                'notification queue', 'access rights page', 'translation memory',
                'stock count', 'refund form', 'session store', 'monthly statement'
            ]) as thing,
            internal.pick_word(i, 26, array[
                'after midnight', 'on small screens', 'for new customers', 'under load',
                'in the German version', 'when the network is slow', 'for large accounts',
                'after a restart', 'on older phones', 'during the sale', 'for guests',
                'in the staging environment', 'for orders from abroad', 'with long names',
                'after the last release', 'when two people edit at once'
            ]) as circumstance,
            internal.pick_word(i, 27, array[
                'fails', 'takes too long', 'shows old data', 'can not be found',
                'sends everything twice', 'looks broken', 'loses the last entry',
                'asks for too much'
            ]) as symptom,
            internal.pick_word(i, 28, array[
                'Two customers have called about it.',
                'A short note in the manual would do.',
                'The team agreed to look at it this sprint.',
                'See the monitoring dashboard for the numbers.',
                'It blocks the release.',
                'Nobody knows who wrote it; ask around first.',
                'There is a workaround, so it can wait.',
                'Keep the old behaviour for existing accounts.'
            ]) as wish
    ) as facts
order by i;
