"""Scenes of the differential test in which a write has other tables written, unseen.

Each hides the code in another place of `differential_effects.sql`. Pure.
"""

from __future__ import annotations

from typing import Final

from tests.faults.differential_scenes import READS, Scene, Write

_TRACES: Final = "/traces?select=id,owner,what&order=id"
_COMMON: Final = "/common_traces?select=id,owner,what&order=id"
_STAMPS: Final = "/stamps?select=id,owner,name&order=id"
_KEPT: Final = "/kept?select=id,owner,name&order=id"

_READS: Final = {
    _TRACES: "select id, owner, what from api.traces order by id",
    _COMMON: "select id, owner, what from api.common_traces order by id",
    _STAMPS: "select id, owner, name from api.stamps order by id",
    _KEPT: "select id, owner, name from api.kept order by id",
}
READS.update(_READS)

_NAMED: Final = '{"name": "$name"}'
_RENAMED: Final = '{"name": "$name."}'
_STAMP: Final = (Write("POST", "/stamps", _NAMED),)
_TREASURE: Final = (Write("POST", "/vault", _NAMED),)
_CRATE: Final = (Write("POST", "/crates", _NAMED),)

EFFECTS: Final[tuple[Scene, ...]] = (
    # A trigger that is said to be STABLE, and calls what is not.
    Scene(_STAMP[0], (_TRACES, _STAMPS)),
    # The condition of a view, a computed filter, a policy for reading.
    Scene(Write("PATCH", "/shelf?name=eq.$name", _RENAMED), (_TRACES, _STAMPS), _STAMP),
    Scene(Write("PATCH", "/stamps?name=eq.$name&trace=eq.1", _RENAMED), (_TRACES,), _STAMP),
    Scene(Write("PATCH", "/vault?name=eq.$name", _RENAMED), (_TRACES,), _TREASURE),
    Scene(Write("DELETE", "/vault?name=eq.$name"), (_TRACES,), _TREASURE),
    # A check, an index, a default, the condition of a trigger, a rule, text that is run.
    Scene(Write("POST", "/checked", _NAMED), (_TRACES,)),
    Scene(Write("POST", "/indexed", _NAMED), (_TRACES,)),
    Scene(Write("POST", "/defaulted", _NAMED), (_TRACES,)),
    Scene(Write("POST", "/watched", _NAMED), (_TRACES,)),
    Scene(Write("POST", "/ruled", _NAMED), (_KEPT,)),
    Scene(Write("POST", "/dynamic", _NAMED), (_TRACES,)),
    Scene(Write("POST", "/rpc/go", "{}"), (_TRACES,)),
    # The default of a domain, an operator.
    Scene(_CRATE[0], (_COMMON,)),
    Scene(Write("DELETE", "/crates?size=lt.(9)"), (_COMMON,), _CRATE),
    # A table elsewhere that is one of ours.
    Scene(Write("POST", "/far", '{"what": "$name"}'), (_TRACES,)),
    # So that there are never many rows.
    Scene(Write("DELETE", "/stamps?id=gt.0"), (_STAMPS,), _STAMP),
    Scene(Write("DELETE", "/kept?id=gt.0"), (_KEPT,), (Write("POST", "/ruled", _NAMED),)),
    *(
        Scene(Write("DELETE", f"/{table}?id=gt.0"), (_STAMPS,))
        for table in ("checked", "indexed", "defaulted", "watched", "dynamic")
    ),
)
