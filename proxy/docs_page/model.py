"""Where the docs page is and what it shows: a value made of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from proxy.settings import Settings


@dataclass(frozen=True, slots=True)
class DocsPage:
    """`path` begins with a slash and does not end with one; `schemas` are those to choose
    from, the default first. `api_origin` is where the API is reached, if not where the
    page is: `https://example.com:8443`."""

    path: str
    schemas: tuple[str, ...]
    api_origin: str | None = None

    def covers(self, path: str) -> bool:
        """Whether a request for `path` is for the page or one of its files."""
        return path.startswith(self.path) and path[len(self.path) :][:1] in ("", "/")


def docs_page(settings: Settings) -> DocsPage | None:
    """The page that `settings` ask for; None without openapi-docs-path."""
    if settings.openapi_docs_path is None:
        return None
    origin = None
    if settings.openapi_server_proxy_uri is not None:
        uri = urlsplit(settings.openapi_server_proxy_uri)
        origin = f"{uri.scheme}://{uri.netloc}"
    return DocsPage(settings.openapi_docs_path, settings.db_schemas, origin)
