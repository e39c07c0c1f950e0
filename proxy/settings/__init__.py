"""The configuration: `Settings`, and how it is loaded."""

from proxy.settings.errors import SettingsError
from proxy.settings.load import Loaded, keep_fixed, load_settings, with_database_settings
from proxy.settings.model import Settings
from proxy.settings.tables import DEFAULT_APP, NamedApp

__all__ = [
    "DEFAULT_APP",
    "Loaded",
    "NamedApp",
    "Settings",
    "SettingsError",
    "keep_fixed",
    "load_settings",
    "with_database_settings",
]
