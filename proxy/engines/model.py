"""What the HTTP engine is given and how it is told to stop. A value, no I/O."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How connections are served; times in seconds, sizes in bytes.

    `idle_timeout`: a connection without a request is closed after it. `drain_timeout`:
    how long requests in flight may take once the engine was told to stop. `farewell`: how
    long it then waits for requests that are on their way on open connections. `max_head`: the
    largest request line plus headers that reach the application, which answers 414 or 431
    from there; beyond it the engine refuses in its own way. `cert` and `key` turn TLS on.
    """

    idle_timeout: float = 60.0
    drain_timeout: float = 10.0
    farewell: float = 1.0
    max_head: int = 144 * 1024
    cert: Path | None = None
    key: Path | None = None
    max_streams: int = 256

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("server-tls-cert and server-tls-key belong together")

    def certificate_fault(self) -> str | None:
        """A sentence on what keeps the pair from being loaded, with the file's name."""
        if self.cert is None or self.key is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for name, path in (("server-tls-cert", self.cert), ("server-tls-key", self.key)):
            try:
                path.read_bytes()
            except OSError as error:
                return f"{name}: {path} can't be read: {error.strerror}"
        try:
            context.load_verify_locations(self.cert)
        except ssl.SSLError:
            return f"server-tls-cert: {self.cert} holds no certificate in PEM form"
        try:
            context.load_cert_chain(self.cert, self.key)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                return f"server-tls-key: {self.key} is not the key of {self.cert}"
            return f"server-tls-key: {self.key} holds no private key in PEM form"
        return None
