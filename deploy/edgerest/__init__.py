"""edgerest, installed: its version, and how it starts (`edgerest`, `python -m edgerest`)."""

__version__ = "0.2.0"
