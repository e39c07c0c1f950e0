"""What PostgreSQL's error codes mean for us: each in one place, by its use.

Five characters are one SQLSTATE, two are a class of them (PostgreSQL docs, appendix A). They
are tuples for `str.startswith`, or the one code that there is. A function may raise any of
them: what only the server can say, such as that it hangs up, shows in the severity, too.
"""

from __future__ import annotations

from typing import Final

QUERY_CANCELED: Final = "57014"
"""Cancelled by us, by an operator or by statement_timeout."""

REFUSES_USER: Final = ("28", "3D")
"""The database answers, but will never let this user in."""
REFUSES_PASSWORD: Final = ("28P01", "28000")
ASKS_NO_OTHER_HOST: Final = (*REFUSES_USER, "42", "53")
"""Refusals after which the next host of a connection string is not asked."""
SERVER_GOES: Final = ("57P01", "57P02", "57P03")
"""The server hangs up, shuts down or is not up yet, if it ends the session with it."""

IN_EACH_OTHERS_WAY: Final = ("40001", "40P01")
"""Serialization failure and deadlock: the transaction can be tried again."""
ON_A_STANDBY: Final = ("25006", "0A000")
"""A write, or BEGIN READ WRITE, on a server in recovery."""
PRIMARY_MAY_DIFFER: Final = (
    "40",  # a conflict with recovery
    *("57P", "53", "58", "XX"),  # shutting down, out of resources, broken
    *("25", "55", "0A"),  # not possible during recovery
    *("3F", "42", "22023"),  # missing, forbidden or unknown: not replayed yet
)
"""What a replica may answer otherwise than its primary."""
