insert into api.comments (task_id, author_id, content, created_at)
select
    task.id,
    1 + internal.pick(i, 31, people.total),
    internal.pick_word(i, 32, array[
        'I had a look at this:', 'Short update:', 'After talking to support:',
        'From yesterday''s review:', 'Tried it on my machine:', 'For the record:',
        'Good news:', 'Not so good:', 'To answer the question above:', 'One more thing:'
    ]) || ' ' || internal.pick_word(i, 33, array[
        'it only happens with a cold cache.',
        'the cause is a missing index.',
        'we can reuse what the mobile team built.',
        'the numbers are back to normal since Monday.',
        'I could not reproduce it any more.',
        'the customer confirmed that it works.',
        'this needs a decision first.',
        'it is the same bug as last month.',
        'the fix is in review.',
        'we should split this into two tasks.',
        'let us postpone it until the release is out.',
        'the documentation was simply wrong.',
        'a retry is enough.',
        'I will take it from here.'
    ]),
    task.created_at + interval '1 minute' * (10 + internal.pick(i, 34, 20000))
from
    (select count(*)::int as total from api.users) as people
    cross join (select count(*)::int as total from api.tasks) as tasks
    cross join generate_series(1, tasks.total * 21 / 10) as i
    join api.tasks as task on task.id = case
        -- Everything has a comment or two; what is left over gathers on some of them.
        when i <= tasks.total * 3 / 2 then 1 + (i - 1) % tasks.total
        else 1 + internal.pick(i, 35, tasks.total)
    end
order by i;

insert into api.task_labels (task_id, label_id)
select distinct task.id, 1 + internal.pick(task.id * 2 + turn, 36, labels.total)
from
    api.tasks as task,
    (select count(*)::int as total from api.labels) as labels,
    generate_series(0, 1) as turn
where internal.pick(task.id * 2 + turn, 37, 3) = 0;
