"""What the documentation site has beyond ``docs/``: README.md as its first page, and files that pages lead to.

Pages are written to be read in the repository, with links relative to where they lie; here each is led to its place
in the site. Called by MkDocs (see ``mkdocs.yml``).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the first page, the list of decision records and every file that a page leads to outside ``docs/``."""
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    titles = [(path.name, path.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ")) for path in records]
    listed = "".join(f"* [{title}]({name})\n" for name, title in titles)
    files.append(File.generated(config, "decisions/index.md", content=f"# Decisions\n\n{listed}"))
    waiting = ["README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, _in_site(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            linked = {_in_repository(path, link) for link in LINK.findall(text)} - seen
            found = {link for link in linked if (ROOT / link).is_file() and not link.startswith("docs/")}
            waiting += found
            seen |= found
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead every link of a page to where its target lies in the site."""
    here = page.file.src_uri
    if here == "decisions/index.md":
        return markdown
    source = here.removeprefix("repository/") if here.startswith("repository/") else f"docs/{here}"
    if here == "index.md":
        source = "README.md"

    def moved(match: re.Match[str]) -> str:
        return posixpath.relpath(_in_site(_in_repository(source, match[1])), posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)


def _in_repository(page: str, link: str) -> str:
    """Where a link of a page leads, from the repository's root; a folder to the page about it."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    if not (ROOT / path).is_dir():
        return path
    return f"{path}/{'index' if path == 'docs/decisions' else 'README'}.md"


def _in_site(path: str) -> str:
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"
