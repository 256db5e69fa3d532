"""Make the pictures of `flagvec ui` in docs/images, of a small store of Debian's packages; needs Chromium.

python docs/screenshots.py
"""

from __future__ import annotations

import os
import shutil
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from flagvec import BGEM3FlagModel, Document
from flagvec.ui import serve
from flagvec_qdrant import QdrantEdgeStore

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
QUERY = "synchronise files between computers"
WIDE, NARROW = (1280, 860), (390, 844)
# Every picture: its name, window, theme, and what happens before it is taken.
PICTURES = (
    ("ui-search", WIDE, "light", "hits"),
    ("ui-explain", WIDE, "light", "explained"),
    ("ui-explain-dark", WIDE, "dark", "explained"),
    ("ui-filter", WIDE, "light", "filtered"),
    ("ui-empty", WIDE, "dark", "nothing"),
    ("ui-phone", NARROW, "light", "hits"),
    ("ui-phone-dark", NARROW, "dark", "explained"),
)


def documents() -> list[Document]:
    """Return descriptions of packages, each with a title and a kind."""
    sys.path.insert(0, str(ROOT / "examples"))
    from debian import load_documents  # type: ignore[import-not-found]  # an example, not a package

    return [
        Document(one.id, one.text, {"title": (name := one.metadata["package"]), "kind": _kind(name)})
        for one in load_documents()[:800]
    ]


def _kind(package: str) -> str:
    kinds = {"lib": "library", "python": "python", "fonts": "font"}
    return next((kind for prefix, kind in kinds.items() if package.startswith(prefix)), "program")


def prepare(page: Page, what: str) -> None:
    """Bring the page into the state of a picture."""
    page.fill("#query", QUERY)
    page.press("#query", "Enter")
    page.locator(".why").first.wait_for()
    if what == "explained":
        page.locator(".why").first.click()
        page.locator(".cell").first.wait_for()
        page.locator(".hit.open").evaluate("hit => scrollTo(0, hit.offsetTop - 100)")
    elif what in ("filtered", "nothing"):
        page.get_by_role("button", name="Add a condition").click()
        page.get_by_label("Condition 1: field").fill("kind")
        page.get_by_label("Condition 1: value").fill("program" if what == "filtered" else "game")
        page.get_by_label("Condition 1: value").press("Tab")
        page.wait_for_timeout(600)
    page.wait_for_timeout(600)


def take(browser: Any, url: str) -> None:
    """Take all pictures of the page at a URL."""
    for name, (width, height), theme, what in PICTURES:
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        page.goto(url)
        prepare(page, what)
        # A palette makes the file a third as large.
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(128, dither=Image.Dither.NONE)
        picture.save(IMAGES / f"{name}.png", optimize=True)
        page.close()


def main() -> None:
    """Make the store and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    program = os.environ.get("FLAGVEC_CHROMIUM") or shutil.which("chromium")
    with TemporaryDirectory() as folder, QdrantEdgeStore(BGEM3FlagModel("mini-m3"), Path(folder) / "debian") as store:
        store.create()
        store.add(documents())
        with serve(store, name="edge:./debian") as running, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            take(browser, running.url)
            browser.close()


if __name__ == "__main__":
    main()
