"""The places where one app's settings are written, and which of them wins.

In: a setting, and layers in the order in which they are asked. Out: the name that it was
found under and what is written there. A layer is a table of the file with the environment
variables that belong to it, which win over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.settings.kinds import Raw
from proxy.settings.rows import Setting

APP_SETTINGS: Final = "app.settings."
_APP_VARIABLES: Final = "APP_SETTINGS_"


@dataclass(frozen=True, slots=True)
class Layer:
    """What a table says, and the variables with its prefix, by their names without it.

    `blank_is_default`: an empty text there is the default; elsewhere it is as if nothing
    was written, so that the layers below are asked.
    """

    written: Mapping[str, Raw] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    variable_prefix: str = "PGRST_"
    blank_is_default: bool = False

    def find(self, setting: Setting) -> tuple[str, Raw] | None:
        """The name and the value of `setting`; the value is None for the default."""
        for key in setting.keys:
            variable = key.upper().replace("-", "_")
            name: str
            raw: Raw
            if variable in self.variables:
                name, raw = self.variable_prefix + variable, self.variables[variable]
            elif key in self.written:
                name, raw = key, self.written[key]
            else:
                continue
            kind = setting.facts.kind
            if isinstance(raw, bool) and kind.numeric:
                return name, None
            if raw != "" or kind.blank_is_value:
                return name, raw
            if self.blank_is_default:
                return name, None
        return None


def find_value(setting: Setting, layers: Sequence[Layer]) -> tuple[str, Raw] | None:
    """Where `setting` is set and to what; None when it has its default.

    All layers but the first are asked for what is inherited only.
    """
    for layer in layers if setting.facts.inherited else layers[:1]:
        found = layer.find(setting)
        if found is not None:
            return None if found[1] is None else found
    return None


def app_settings(layer: Layer) -> tuple[tuple[str, str], ...]:
    """`app.settings.*`, which nobody inherits: they may hold secrets."""
    found: dict[str, tuple[str, str]] = {}
    sources: list[tuple[str, Raw]] = [
        (key, value) for key, value in layer.written.items() if key.startswith(APP_SETTINGS)
    ]
    sources += [
        (APP_SETTINGS + name.removeprefix(_APP_VARIABLES), value)
        for name, value in layer.variables.items()
        if is_app_setting(name) and name != _APP_VARIABLES
    ]
    for name, value in sources:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        # PostgreSQL's names have no case, so a variable overrides a key in any spelling.
        found[name.lower()] = (name, text)
    return tuple(sorted(found.values()))


def is_app_setting(variable: str) -> bool:
    """Whether a variable (without its layer's prefix) sets one of `app.settings`."""
    return variable.startswith(_APP_VARIABLES)
