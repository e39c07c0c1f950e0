"""Steps that the catalogs do not suggest: what is computed, and relations over several."""

from __future__ import annotations

from typing import Final

from tests.zoo.schema import SAMPLES
from tests.zoo.step import CSV, Step

_TYPES: Final = list(SAMPLES)
_CLASS, _BOX, _GRID = (_TYPES.index(kind) for kind in ("regclass", "box", "zoo.grid"))

_NEIGHBOURS: Final = (
    "(select coalesce(json_agg(n.*), '[]') from zoo.animal n"
    " where n.site = z.site and n.id <> z.id)"
)
_FOODS: Final = (
    "(select coalesce(json_agg(f.*), '[]') from zoo.food f"
    " join zoo.eats e on e.food_id = f.id where e.animal_id = z.id)"
)
_THE_ANIMAL: Final = "(select to_json(a.*) from zoo.animal a where a.id = z.animal_id)"

BY_HAND: Final = (
    # What was refused once: names of objects, boxes, domains over arrays, a name of ours.
    *(
        Step(f"/type{_CLASS}?{column}={test}&select=id", f"select {number} as id")
        for column in (f"c{_CLASS}", f"d{_CLASS}")
        for test, number in (
            ("eq.pg_class", 1), ("in.(pg_class,pg_proc)", 1), ("not.isdistinct.pg_class", 1),
            ("isdistinct.pg_class", 2),
        )
    ),
    Step(f'/type{_BOX}?c{_BOX}=in.("(3,4),(1,2)","(0,0),(1,1)")&select=id', "select 1 as id"),
    Step(f'/type{_GRID}?c{_GRID}=in.("{{{{1,2}},{{3,4}}}}")&select=id', "select 1 as id"),
    Step(f'/type{_GRID}?d{_GRID}=in.("{{{{1,2}},{{3,4}}}}")&select=id', "select 1 as id"),
    Step('/sum?select=sum,x:"count"(count)&sum=eq.1',
         "select 1 as sum, json_build_object('count', 1) as x"),
    Step("/animal?select=id,shout", "select id, upper(name) || '!' as shout from zoo.animal"),
    Step("/animal?select=id,shout", "select id::text, upper(name) || '!'"
         " from zoo.animal", "csv", headers=CSV),
    Step("/animal?select=id&shout=like.E*", "select id from zoo.animal where name like 'E%'"),
    Step("/animal?select=id&order=shout.desc", "select id from zoo.animal order by name desc"),
    Step("/animal?select=id,neighbours(*)",
         f"select id, {_NEIGHBOURS} as neighbours from zoo.animal z"),
    Step("/animal?select=id,neighbours()&neighbours=is.null",
         "select id from zoo.animal z where not exists (select from zoo.animal n"
         " where n.site = z.site and n.id <> z.id)"),
    # Named like the table that it leads to: it takes the place of the keys.
    Step("/animal?select=id,food(id)",
         "select id, (select coalesce(json_agg(q.*), '[]') from (select id from zoo.food f"
         " where f.id = z.id) q) as food from zoo.animal z"),
    # Named like a column, like a column of the key's own table, like the table itself.
    Step("/passport?select=animal_id,nr(*)", f"select animal_id, {_THE_ANIMAL} as nr"
         " from zoo.passport z"),
    Step("/passport?select=animal_id,stamp(*)", f"select animal_id, {_THE_ANIMAL} as stamp"
         " from zoo.passport z"),
    Step("/passport?select=stamp,s:stamp(id)&order=animal_id",
         "select stamp, json_build_object('id', animal_id) as s from zoo.passport"
         " order by animal_id"),
    Step("/passport?select=animal_id,passport(*)",
         "select animal_id, (select json_agg(a.*) from zoo.animal a where a.id = z.animal_id)"
         " as passport from zoo.passport z"),
    Step("/chain?select=*,up:chain(id)",
         "select z.*, (select to_json(q.*) from (select id from zoo.chain t"
         " where t.id = z.parent) q) as up from zoo.chain z"),
    Step("/animal?select=id,eats(food(what))",
         "select id, (select coalesce(json_agg(json_build_object('food',"
         " json_build_object('what', f.what))), '[]') from zoo.eats e join zoo.food f"
         " on f.id = e.food_id where e.animal_id = z.id) as eats from zoo.animal z"),
    Step("/food?select=id,animal(name)",
         "select id, (select coalesce(json_agg(json_build_object('name', a.name)), '[]')"
         " from zoo.eats e join zoo.animal a on a.id = e.animal_id where e.food_id = z.id)"
         " as animal from zoo.food z"),
    Step("/food?select=id,animal!inner(name)&animal.name=eq.Emu",
         "select id, '[{\"name\":\"Emu\"}]'::json as animal from zoo.food where id = 1"),
    Step("/light_animal?select=id,keeper!kept_by(name)",
         "select id, (select to_json(q.*) from (select k.name from zoo.keeper k"
         " where (k.site, k.nr) = (z.site, z.nr)) q) as keeper from zoo.light_animal z"),
    Step("/keeper?select=name,light_animal(id)",
         "select name, (select coalesce(json_agg(q.*), '[]') from (select id"
         " from zoo.light_animal l where (l.site, l.nr) = (z.site, z.nr)) q) as light_animal"
         " from zoo.keeper z"),
    Step("/tree?select=id:parent,n:count()",
         "select parent as id, count(*) as n from zoo.tree group by parent"),
    Step("/tree?select=tree:tree_1,tree_1:tree,n:count()",
         "select tree_1 as tree, tree as tree_1, count(*) as n from zoo.tree"
         " group by zoo.tree.tree_1, zoo.tree.tree"),
)  # fmt: skip
