-- The same data on every machine: choices come from hashes of row numbers, not from chance.
create function internal.pick(row_number int, salt int, choices int) returns int
language sql immutable parallel safe
return mod(abs(hashint8(row_number::bigint * 1000 + salt)::bigint), choices)::int;

create function internal.pick_word(row_number int, salt int, words text[]) returns text
language sql immutable parallel safe
return words[1 + mod(abs(hashint8(row_number::bigint * 1000 + salt)::bigint),
                     cardinality(words))::int];

comment on function internal.pick(int, int, int) is 'A number from 0 to choices - 1';
comment on function internal.pick_word(int, int, text[]) is 'One of the words';

insert into api.users (handle, name, joined_on)
select
    lower(first || '.' || last) || case when i > 320 then i::text else '' end,
    first || ' ' || last,
    date '2023-01-02' + internal.pick(i, 3, 900)
from
    generate_series(1, greatest(24, current_setting('demo.rows')::int / 100)) as i,
    lateral (
        select
            (array['Ada', 'Bruno', 'Chidi', 'Dalia', 'Edsger', 'Fatima', 'Grace', 'Hiro',
                   'Ines', 'Jonas', 'Katherine', 'Linus', 'Mei', 'Nadia', 'Omar', 'Priya',
                   'Quentin', 'Rosa', 'Sofia', 'Tomas'])[1 + (i - 1) % 20] as first,
            (array['Lovelace', 'Almeida', 'Okafor', 'Haddad', 'Bakker', 'Nouri', 'Hopper',
                   'Tanaka', 'Costa', 'Weber', 'Johnson', 'Lindqvist', 'Chen', 'Ivanova',
                   'Rahman', 'Sharma'])[1 + (i - 1 + (i - 1) / 80) % 16] as last
    ) as names
order by i;

insert into api.projects (name, description, is_public, created_at)
select
    case
        when i = 1 then 'Website relaunch'
        when i = 2 then 'Payroll migration'
        else area || ' ' || effort || case when i > 144 then ' ' || (i - 1) / 144 + 1 else '' end
    end,
    case
        when i = 1 then 'The public site, faster and easier to read'
        when i = 2 then 'Move payroll to the new provider before the year ends'
        else area || ': the ' || effort || ', planned with the teams that use it'
    end,
    i <> 2 and (i = 1 or internal.pick(i, 5, 5) < 2),
    timestamptz '2024-01-08 09:00Z' + interval '1 hour' * internal.pick(i, 6, 9000)
from
    generate_series(1, greatest(12, current_setting('demo.rows')::int / 250)) as i,
    lateral (
        select
            (array['Billing', 'Search', 'Mobile app', 'Checkout', 'Warehouse', 'Analytics',
                   'Support desk', 'Identity', 'Newsletter', 'Onboarding', 'Maps',
                   'Reporting'])[1 + (i - 1) % 12] as area,
            (array['redesign', 'migration', 'hardening', 'clean-up', 'pilot', 'rollout',
                   'audit', 'speed-up', 'integration', 'rewrite', 'handover',
                   'localisation'])[1 + ((i - 1) / 12 + i - 1) % 12] as effort
    ) as names
order by i;

-- Ada (user 1) owns the first two projects, one public and one private.
insert into api.members (project_id, user_id, role, since)
select distinct on (project_id, user_id)
    project_id,
    user_id,
    case
        when seat = 0 then 'owner'
        when seat = 1 then 'maintainer'
        when seat < 6 then 'contributor'
        else 'guest'
    end::api.member_role,
    date '2024-02-01' + internal.pick(project_id * 16 + seat, 7, 600)
from (
    select
        project.id as project_id,
        seat,
        case
            when project.id <= 2 and seat = 0 then 1
            else 1 + internal.pick(project.id * 16 + seat, 8, people.total)
        end as user_id
    from
        api.projects as project,
        (select count(*)::int as total from api.users) as people,
        generate_series(0, 7) as seat
    where seat <= 2 + internal.pick(project.id, 9, 6)
) as seats
order by project_id, user_id, seat;

insert into api.labels (name, colour) values
    ('bug', '#d73a4a'),
    ('documentation', '#0075ca'),
    ('feature', '#a2eeef'),
    ('good first task', '#7057ff'),
    ('help wanted', '#008672'),
    ('performance', '#e99695'),
    ('question', '#d876e3'),
    ('security', '#b60205'),
    ('waiting', '#fbca04');
