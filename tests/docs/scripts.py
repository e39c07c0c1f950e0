"""A page's sh, sql and toml blocks as one script for bash."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.docs.blocks import Block

PRELUDE = r"""
set -eu -o pipefail
shopt -s expand_aliases
curl() { command curl --silent --show-error --fail-with-body "$@" && echo; }
main='import sys; from proxy.cli.main import main; sys.exit(main())'
edgerest() { "$PYTHON" -c "$main" "$@"; }
serve() {
    # Not by the function above, whose process would be a shell's.
    "$PYTHON" -c "$main" serve "$@" >server.log 2>&1 &
    echo $! >server.pid
    for _ in $(seq 200); do
        if command curl --silent --output /dev/null "$URL"; then return; fi
        if ! kill -0 "$(cat server.pid)" 2>/dev/null; then break; fi
        sleep 0.05
    done
    cat server.log >&2
    return 1
}
"""


@dataclass(frozen=True)
class Place:
    """Where a page's blocks run: the server's URL, the database by owner and by server."""

    url: str
    owner_dsn: str
    server_dsn: str

    @property
    def port(self) -> str:
        return str(urlsplit(self.url).port)


def moved(text: str, place: Place) -> str:
    """The text with the addresses of the page replaced by those of the test."""
    text = re.sub(r"(?:http://)?\b(?:localhost|127\.0\.0\.1):3000\b", place.url, text)
    text = re.sub(r"^server-port = 3000$", f"server-port = {place.port}", text, flags=re.M)
    return re.sub(r"postgresql://authenticator[^\"]*", lambda _: place.server_dsn, text)


def script_of(blocks: Iterable[Block], place: Place) -> str:
    """The script; on standard error it says which block it is at."""
    parts = [PRELUDE]
    for block in blocks:
        text = moved(block.text, place)
        if block.language in ("sh", "sql", "toml"):
            parts.append(f"echo 'at {block}' >&2\n")
        if block.language == "sh":
            text = text.replace("venv/bin/edgerest", "edgerest")
            parts.append(re.sub(r"^edgerest serve", "serve", text, flags=re.M))
        elif block.language == "sql":
            parts.append(f'"$PSQL" -qX -v ON_ERROR_STOP=1 "$DSN" <<\'SQL\'\n{text}SQL\n')
        elif block.language == "toml":
            name = re.match(r"# (\S+\.(?:conf|toml))\n", text)
            file = name[1] if name else "edgerest.toml"
            parts.append(f"cat >{file} <<'TOML'\n{text}TOML\n")
    return "\n".join(parts)
