"""What mkdocs.yml can't say: files of the repository as part of the site, and the figures.

In: the pages. Out: the same, where links to files outside docs/ (`../deploy/Dockerfile`) lead
to copies of them under `source/`, and the place for figures in sizing.md holds those of
docs/bench.json, which `python -m tests.bench --json` writes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

_LINK: Final = re.compile(r"\]\(\.\./(?P<path>[^)#]+)\)")
_FIGURES: Final = "<!-- the figures of bench.json -->"


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


def on_page_markdown(markdown: str, *, config: MkDocsConfig, **_: Any) -> str:
    """The page with its links and figures in place."""
    linked = _LINK.sub(lambda match: f"]({_place(match['path'])})", markdown)
    if _FIGURES not in linked:
        return linked
    return linked.replace(_FIGURES, figures(Path(config["docs_dir"]) / "bench.json"))


def _place(path: str) -> str:
    # As text: rendered, their own links would have to lead somewhere too.
    return f"source/{path}.txt" if path.endswith(".md") else f"source/{path}"


def figures(file: Path) -> str:
    """A table of what was measured, or where to get one."""
    if not file.exists():
        return "No figures came with this copy of the documentation; `make bench` prints yours."
    measured = json.loads(file.read_text(encoding="utf-8"))
    conditions = ", ".join(f"{name} {value}" for name, value in measured["conditions"].items())
    lines = [
        "| request | server | a second | p50 ms | p99 ms | of pgbench |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {line['scenario']} | {line['engine']} | {line['rate']:,.0f} | {line['p50']:.1f}"
        f" | {line['p99']:.1f} | {line['ratio']:.0%} |"
        for line in measured["results"]
    ]
    return "\n".join([*lines, "", f"Measured with: {conditions}."])
