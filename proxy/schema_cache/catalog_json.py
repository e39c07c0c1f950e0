"""JSON that the database makes of its catalogs.

In a database of encoding SQL_ASCII any bytes may stand in a comment or a name, and
PostgreSQL refuses to send a text that is no UTF-8. So texts of the catalogs travel as bytes,
and what is no UTF-8 is shown as U+FFFD: one odd comment must not keep all tables from being
served.
"""

from __future__ import annotations

import json
from typing import Any


def catalog_json_sql(sql: str) -> str:
    """The value of the expression or query `sql`, a text or JSON, as bytes."""
    encoding = (
        "CASE WHEN pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) 'SQL_ASCII'"
        " THEN 'SQL_ASCII' ELSE 'UTF8' END"
    )
    return f"pg_catalog.convert_to(({sql})::pg_catalog.text, {encoding})"


def read_catalog_json(text: bytes | str) -> Any:
    """The value that `text` stands for."""
    return json.loads(text if isinstance(text, str) else text.decode(errors="replace"))
