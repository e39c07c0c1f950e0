"""What mkdocs.yml can't say: files of the repository as part of the site.

In: the pages. Out: the same, where links to files outside docs/ (`../deploy/Dockerfile`) lead
to copies of them under `source/`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

_LINK: Final = re.compile(r"\]\(\.\./(?P<path>[^)#]+)\)")


def on_files(files: Files, *, config: MkDocsConfig, **_: Any) -> Files:
    """Adds what the pages link to outside docs/. Raises FileNotFoundError for what is not."""
    root = Path(config["config_file_path"]).parent
    for page in list(files.documentation_pages()):
        for match in _LINK.finditer(page.content_string):
            path = match["path"]
            if files.get_file_from_path(_place(path)) is None:
                content = (root / path).read_text(encoding="utf-8")
                place = _place(path)
                files.append(
                    File.generated(
                        config, place, content=content, inclusion=InclusionLevel.NOT_IN_NAV
                    )
                )
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its links in place."""
    return _LINK.sub(lambda match: f"]({_place(match['path'])})", markdown)


def _place(path: str) -> str:
    # As text: rendered, their own links would have to lead somewhere too.
    return f"source/{path}.txt" if path.endswith(".md") else f"source/{path}"
