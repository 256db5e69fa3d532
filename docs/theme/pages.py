"""What a page of docs/ needs to become a page of the site, and a code host needs otherwise."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/flagvec/flagvec"
# Also the target of a picture, whose file may lie beside a benchmark.
LINK = re.compile(r"(?<=\]\()((?:\.\./)+[^)\s#]+)")


# Tells the tests not to run a block.
NO_RUN = re.compile(r"^```python no-run", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page's Markdown with links to files outside docs/ made absolute, because the site has no such files.

    Two blocks of code side by side get the place of the table of contents.

    Raises:
        FileNotFoundError: A link leads to a file that does not exist.
    """

    def absolute(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), found[1]))
        if path.startswith("docs/"):
            return found[1]
        target = ROOT / path
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {found[1]}, which does not exist: correct the link")
        return f"{REPOSITORY}/{'tree' if target.is_dir() else 'blob'}/main/{path}"

    if '<div class="grid"' in markdown:
        page.meta["hide"] = ["toc"]
    return NO_RUN.sub("```python", LINK.sub(absolute, markdown))
