"""Steps that embed along a foreign key, both ways, and two keys deep."""

from __future__ import annotations

from collections.abc import Iterator

from tests.zoo.catalog import Key
from tests.zoo.names import quoted
from tests.zoo.step import CSV, EXACT, Step, path, relation, written


def names_of(key: Key) -> tuple[str, str]:
    """How the other table is embedded, and how the own."""
    if key.is_self:
        # There the table's name means the children, and a column the parent.
        return written(key.own_columns[0]), f"{written(key.own)}!{written(key.own_columns[0])}"
    hint = written(key.name)
    return f"{written(key.other)}!{hint}", f"{written(key.own)}!{hint}"


def of_key(key: Key) -> Iterator[Step]:
    """All that an embed can do along `key`."""
    o, f = relation(key.own, "o"), relation(key.other, "f")
    up, down = path(key.own), path(key.other)
    to, back = names_of(key)
    on = key.on("o", "f")
    first, first_own = quoted(key.other_columns[0]), quoted(key.own_columns[0])
    shown, shown_own = written(key.other_columns[0]), written(key.own_columns[0])
    one = f"(select to_json(f.*) from {f} where {on})"
    many = f"(select coalesce(json_agg(o.*), '[]') from {o} where {on})"
    if key.one:
        many = f"(select to_json(o.*) from {o} where {on})"
    some = f"exists (select from {f} where {on})"
    theirs = f"exists (select from {o} where {on})"
    yield Step(f"{up}?select=*,x:{to}(*)", f"select o.*, {one} as x from {o}")
    yield Step(f"{up}?select=*,{to}(*)", f"select o.*, {one} as {_label(key)} from {o}")
    yield Step(f"{down}?select=*,x:{back}(*)", f"select f.*, {many} as x from {f}")
    yield Step(f"{up}?select=*,x:{to}!inner()", f"select o.* from {o} where {some}")
    yield Step(f"{up}?select=*,x:{to}()&x=not.is.null", f"select o.* from {o} where {some}")
    yield Step(f"{up}?select=*,x:{to}()&x=is.null", f"select o.* from {o} where not {some}")
    yield Step(
        f"{down}?select=*,x:{back}()&x=is.null", f"select f.* from {f} where not {theirs}"
    )
    yield Step(
        f"{down}?select=*,x:{back}!inner()",
        f"select count(*) from {f} where {theirs}",
        "count",
        headers=EXACT,
    )
    yield Step(
        f"{up}?select={shown_own},...{to}(y_:{shown})",
        f"select o.{first_own}, (select f.{first} from {f} where {on}) as y_ from {o}",
    )
    yield Step(
        f"{up}?select={shown_own},...{to}(y_:{shown})",
        f"select format('%s', o.{first_own}),"
        f" format('%s', (select f.{first} from {f} where {on})) from {o}",
        "csv",
        headers=CSV,
    )
    yield Step(
        f"{down}?select={shown},x:{back}({shown_own})&x.order={shown_own}.desc&x.limit=1",
        f"select f.{first}, {_limited(key, o, on, first_own)} as x from {f}",
    )
    yield Step(
        f"{up}?select={shown_own},x:{to}({shown})&order=x({shown}).desc.nullslast,{shown_own}",
        f"select o.{first_own}, (select to_json(q.*) from (select f.{first} from {f}"
        f" where {on}) q) as x from {o} order by (select f.{first} from {f} where {on})"
        f" desc nulls last, o.{first_own}",
    )
    yield Step(
        f"{up}?select=n_:count(),...{to}(y_:{shown})",
        f"select count(*) as n_, (select f.{first} from {f} where {on}) as y_"
        f" from {o} group by 2",
    )
    if not key.one:
        yield Step(
            f"{down}?select={shown},...{back}(y_:{shown_own})&order={shown}",
            f"select f.{first}, (select coalesce(json_agg(o.{first_own}), '[]') from {o}"
            f" where {on}) as y_ from {f} order by f.{first}",
        )
        yield Step(
            f"{down}?select={shown},x:{back}(count())",
            f"select f.{first}, (select json_agg(q.*) from (select count(*) from {o}"
            f" where {on}) q) as x from {f}",
        )


def _limited(key: Key, own: str, on: str, column: str) -> str:
    rows = f"select o.{column} from {own} where {on} order by 1 desc limit 1"
    if key.one:
        return f"(select to_json(q.*) from ({rows}) q)"
    return f"(select coalesce(json_agg(q.*), '[]') from ({rows}) q)"


def _label(key: Key) -> str:
    return quoted(key.own_columns[0] if key.is_self else key.other)


def of_two(first: Key, second: Key) -> Iterator[Step]:
    """From the first key's own table to its other, and on along the second."""
    if first.is_self or second.is_self:
        return
    to, _ = names_of(first)
    a, b = relation(first.own, "a"), relation(first.other, "b")
    c = relation(second.other, "c")
    inner = f"(select to_json(c.*) from {c} where {second.on('b', 'c')})"
    on, _ = names_of(second)
    yield Step(
        f"{path(first.own)}?select=*,x:{to}(*,y:{on}(*))",
        f"select a.*, (select to_json(q.*) from (select b.*, {inner} as y from {b}"
        f" where {first.on('a', 'b')}) q) as x from {a}",
    )
    yield Step(
        f"{path(first.own)}?select=*,x:{to}!inner(*,y:{on}!inner(*))",
        f"select a.*, (select to_json(q.*) from (select b.*, {inner} as y from {b}"
        f" where {first.on('a', 'b')}) q) as x from {a} where exists (select from {b}, {c}"
        f" where {first.on('a', 'b')} and {second.on('b', 'c')})",
    )
    _, back = names_of(first)
    gathered = "to_json(a.*)" if first.one else "coalesce(json_agg(a.*), '[]')"
    many = f"(select {gathered} from {a} where {first.on('a', 'b')})"
    yield Step(
        f"{path(first.other)}?select=*,x:{back}(*),y:{on}(*)",
        f"select b.*, {many} as x, {inner} as y from {b}",
    )
    _, back_second = names_of(second)
    if not (first.one or second.one):
        nested = f"(select coalesce(json_agg(a.*), '[]') from {a} where {first.on('a', 'b')})"
        yield Step(
            f"{path(second.other)}?select=*,x:{back_second}(*,y:{back}(*))",
            f"select c.*, (select coalesce(json_agg(q.*), '[]') from (select b.*, {nested} as y"
            f" from {b} where {second.on('b', 'c')}) q) as x from {c}",
        )
        spread = quoted(first.own_columns[0])
        yield Step(
            f"{path(second.other)}?select=*,x:{back_second}(...{back}"
            f"(y_:{written(first.own_columns[0])}))",
            f"select c.*, (select coalesce(json_agg(q.*), '[]') from (select (select"
            f" coalesce(json_agg(a.{spread}), '[]') from {a} where {first.on('a', 'b')}) as y_"
            f" from {b} where {second.on('b', 'c')}) q) as x from {c}",
        )
