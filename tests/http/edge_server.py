"""The real server, which says where it listens.

Run as `python -m tests.http.edge_server CONFIG`; prints its addresses as one line of JSON
once it listens, so that tests can let it choose a free port.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from proxy.engines.runner import Listening
from proxy.server.serve import serve
from proxy.settings import load_settings


def main() -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    config = Path(sys.argv[1])
    loaded = load_settings(config, os.environ)

    def on_ready(listening: Listening) -> None:
        sys.stdout.write(json.dumps({"main": listening.main, "admin": listening.admin}) + "\n")
        sys.stdout.flush()

    return serve(loaded, on_ready=on_ready, reread=lambda: load_settings(config, os.environ))


if __name__ == "__main__":
    sys.exit(main())
