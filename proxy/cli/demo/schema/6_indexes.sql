-- After the rows: made in one go, indexes and foreign keys cost a fraction.
alter table api.users add unique (handle);
alter table api.projects add unique (name);
alter table api.labels add unique (name);
alter table api.members
    add foreign key (project_id) references api.projects on delete cascade,
    add foreign key (user_id) references api.users on delete cascade;
alter table api.tasks
    add foreign key (project_id) references api.projects on delete cascade,
    add foreign key (assignee_id) references api.users on delete set null;
alter table api.comments
    add foreign key (task_id) references api.tasks on delete cascade,
    add foreign key (author_id) references api.users on delete cascade;
alter table api.task_labels
    add foreign key (task_id) references api.tasks on delete cascade,
    add foreign key (label_id) references api.labels on delete cascade;

create index on api.members (user_id);
create index on api.tasks (project_id);
create index on api.tasks (assignee_id);
create index on api.tasks (status, due_date desc nulls last);
create index on api.tasks using gin (search);
create index on api.tasks using gin (tags);
create index on api.comments (task_id);
create index on api.comments (author_id);
create index on api.task_labels (label_id);
