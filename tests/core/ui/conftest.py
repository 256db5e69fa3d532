"""A page over a small store of mini-M3, and a browser to look at it."""

import importlib.util
import os
import shutil
import uuid
from pathlib import Path

import pytest

from flagvec import BGEM3FlagModel, Document

ROOT = Path(__file__).parents[3]

HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'> bicycle מסמך בעברית \u202eright to left"
    "\u202c Z\u0351\u036b\u0343\u036a\u0302\u0348\u034d " + "wheel <b>車輪</b> " * 6_000
)
DOCUMENTS = [
    Document("rice", "Rice is cooked in twice as much water.", {"kind": "food", "year": 2020}),
    Document("bread", "Bread is baked in a hot oven.", {"kind": "food", "year": 2024, "title": "Baking bread"}),
    Document("soup", "Soup is simmered for an hour with vegetables.", {"kind": "food", "year": 2022}),
    Document("oven", "An oven is an insulated chamber that is heated.", {"kind": "thing", "year": 2019}),
    Document("flour", "Flour is ground from wheat, and kneaded with water and yeast.", {"kind": "food", "year": 2021}),
    Document("train", "The train to the coast leaves every hour.", {"kind": "travel", "date": "2024-05-17"}),
    Document("ship", "A ship crosses the sea in six days.", {"kind": "travel", "date": "2023-01-02"}),
    Document("hostile", HOSTILE, {"kind": "<img src=x onerror='window.hacked = 3'>"}),
]


@pytest.fixture(scope="session")
def mini_m3():
    """mini-M3 in float32, so that scores of two passes agree."""
    return BGEM3FlagModel("mini-m3", use_fp16=False)


@pytest.fixture(scope="module")
def store(mini_m3, tmp_path_factory):
    """An edge store of eight documents, one of them hostile."""
    from flagvec_qdrant import QdrantEdgeStore

    with QdrantEdgeStore(mini_m3, tmp_path_factory.mktemp("ui") / "store") as store:
        store.create()
        store.add(DOCUMENTS)
        yield store


@pytest.fixture(scope="module")
def compact(mini_m3, tmp_path_factory):
    """The same store with codes of the ColBERT vectors."""
    from flagvec_qdrant import QdrantEdgeStore

    with QdrantEdgeStore(mini_m3, tmp_path_factory.mktemp("ui") / "compact", colbert="compact") as store:
        store.create()
        store.add(DOCUMENTS)
        yield store


@pytest.fixture(scope="module")
def served(store):
    """The URL of a page over `store`."""
    from flagvec.ui import serve

    with serve(store, name="edge:./recipes") as page:
        yield page.url


@pytest.fixture(scope="session")
def faulty_proxy():
    """The module of the proxy that breaks what it is told to."""
    spec = importlib.util.spec_from_file_location("flagvec_ui_proxy", ROOT / "tests/integrations/faulty_proxy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def distant(mini_m3, faulty_proxy):
    """A store on a server behind a proxy, and the proxy, whose attribute ``choose`` names the fault of a request."""
    from flagvec.cli.stores import opened
    from flagvec.store.address import StoreAddress

    servers = {"elasticsearch": "ELASTICSEARCH_URL", "qdrant": "QDRANT_URL"}
    kind = next((kind for kind, variable in servers.items() if os.environ.get(variable)), None)
    if kind is None:
        pytest.skip("no server to go away: set ELASTICSEARCH_URL or QDRANT_URL")
    name = f"flagvec_test_{uuid.uuid4().hex}"
    with faulty_proxy.FaultyProxy(os.environ[servers[kind]], lambda method, path: None, delay=4.0) as proxy:
        address = StoreAddress.parsed(f"{kind}:{proxy.url.removeprefix('http:')}/{name}")
        with opened(address, mini_m3) as store:
            store.create()
            store.add(DOCUMENTS[:7])
            try:
                yield store, proxy
            finally:
                proxy.choose = lambda method, path: None
                store.drop()


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, or the one that FLAGVEC_CHROMIUM names."""
    program = os.environ.get("FLAGVEC_CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("no browser: install chromium, or name one in FLAGVEC_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api")
    flags = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=[f"--{flag}" for flag in flags.split()])
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser):
    """Open a URL in a window; at the end, no page may have reported an error or asked another server for anything."""
    said, asked, pages = [], [], []

    def open_page(url, width=1280, height=860, theme="light", may_fail=False):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if not may_fail else None)
        page.on("request", lambda request: asked.append(request.url) if not request.url.startswith(url) else None)
        page.goto(url)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []
    assert asked == []
