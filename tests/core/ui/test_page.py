"""The page in a real browser."""

import json
import re

import pytest

from flagvec import Document, FlagModel
from flagvec.ui import serve

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=20_000)

QUERY = "how is bread baked?"
SIZES = [(1280, 860), (390, 844)]


@pytest.fixture
def page(served, new_page):
    return new_page(served)


def search(page, query=QUERY):
    page.fill("#query", query)
    page.press("#query", "Enter")
    expect(page.locator("#status")).to_contain_text("ms to search")


def ids(page):
    return page.eval_on_selector_all(".hit", "hits => hits.map(hit => hit.dataset.id)")


def scores(page):
    return page.eval_on_selector_all(".hit", "hits => hits.map(hit => Number(hit.dataset.score))")


def move(page, name, weight):
    page.wait_for_selector(f"#weight-{name}", state="attached")
    page.eval_on_selector(
        f"#weight-{name}",
        "(slider, weight) => { slider.value = weight; slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        weight,
    )


def test_the_first_view_says_what_the_store_holds(page):
    expect(page.locator("#empty")).to_contain_text("Search 8 documents")
    expect(page.locator("#store")).to_contain_text("edge:./recipes")
    expect(page.locator("#query")).to_be_focused()


def test_a_search_shows_hits_best_first_and_how_long_it_took(page, store):
    search(page)
    weights = {"dense": 1, "sparse": 1, "colbert": 1}
    assert ids(page) == [hit.id for hit in store.search(QUERY, fusion=weights)]
    assert re.search(r"8 hits · \d+ ms to encode · \d+ ms to search", page.inner_text("#status"))


def test_words_that_share_tokens_with_the_query_are_marked(page):
    search(page)
    words = page.locator(".hit[data-id=bread] mark").all_inner_texts()
    assert [word.lower() for word in words] == ["bread", "is", "baked"]


@pytest.mark.parametrize("weights", [(0.3, 1.2, 2), (0, 0.5, 1), (0, 0, 1), (1.5, 0.1, 0)])
def test_a_slider_ranks_in_the_page_as_the_store_does(page, store, weights):
    search(page)
    fusion = dict(zip(("dense", "sparse", "colbert"), weights, strict=True))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for name, weight in fusion.items():
        move(page, name, weight)
    expected = store.search(QUERY, fusion={name: weight for name, weight in fusion.items() if weight})
    assert asked == []
    assert ids(page) == [hit.id for hit in expected]
    assert scores(page) == pytest.approx([hit.score for hit in expected], abs=1e-4)
    expect(page.locator("#check")).to_have_text("The store agrees")
    assert float(page.get_attribute("#check", "data-off")) < 1e-4
    assert scores(page) == pytest.approx([hit.score for hit in expected], abs=1e-6)


def test_the_weights_are_shown_as_python(page):
    move(page, "sparse", 0.3)
    move(page, "colbert", 0)
    assert page.inner_text("#line") == 'fusion={"dense": 1, "sparse": 0.3}'


def test_weights_that_are_all_zero_are_refused_in_words(page):
    for name in ("dense", "sparse", "colbert"):
        move(page, name, 0)
    expect(page.locator("#weights-error")).to_have_text("All weights are 0: give at least one a weight above 0.")


@pytest.mark.parametrize(
    ("ranking", "options"),
    [
        ("ranks", {"fusion": "rrf"}),
        ("rerank", {"rerank": "colbert"}),
        ("dense", {"mode": "dense"}),
        ("sparse", {"mode": "sparse"}),
    ],
)
def test_each_ranking_is_the_stores(page, store, ranking, options):
    page.check(f"input[value={ranking}]", force=True)
    search(page)
    assert ids(page) == [hit.id for hit in store.search(QUERY, **options)]


def test_a_condition_filters(page):
    search(page)
    page.click("text=Add a condition")
    page.get_by_label("Condition 1: field").fill("year")
    page.get_by_label("Condition 1: operator").select_option("gte")
    page.get_by_label("Condition 1: value").fill("2022")
    page.get_by_label("Condition 1: value").press("Tab")
    expect(page.locator(".hit")).to_have_count(2)
    assert sorted(ids(page)) == ["bread", "soup"]
    page.get_by_label("Remove condition 1").click()
    expect(page.locator(".hit")).to_have_count(8)


def test_a_range_of_dates_filters(page):
    search(page, "the sea")
    page.click("text=Edit as JSON")
    page.get_by_label("Filter as JSON").fill('{"date": {"lt": "2024-01-01"}}')
    page.get_by_label("Filter as JSON").press("Tab")
    expect(page.locator(".hit")).to_have_count(1)
    assert ids(page) == ["ship"]


def test_a_chip_of_a_hit_filters(page):
    search(page)
    page.locator(".hit[data-id=train]").get_by_label("Filter by kind: travel").click()
    expect(page.locator(".hit")).to_have_count(2)
    page.click("text=Edit as JSON")
    assert json.loads(page.get_by_label("Filter as JSON").input_value()) == {"kind": {"eq": "travel"}}


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ('{"kind": ', "Not JSON:"),
        ("[1]", "the filter is not an object"),
        ('{"kind": {"like": "f"}}', "filter['kind']['like'] is no operator: choose eq, ne, in"),
    ],
)
def test_a_wrong_filter_is_explained_where_it_is(served, new_page, filter, said):
    page = new_page(served, may_fail=True)  # a browser reports the status 400 by itself
    search(page)
    page.click("text=Edit as JSON")
    page.get_by_label("Filter as JSON").fill(filter)
    page.get_by_label("Filter as JSON").press("Tab")
    expect(page.locator("#filter-error")).to_contain_text(said)
    expect(page.get_by_label("Filter as JSON")).to_have_attribute("aria-invalid", "true")


def test_nothing_found_says_what_to_do(page):
    search(page)
    page.click("text=Edit as JSON")
    page.get_by_label("Filter as JSON").fill('{"kind": "none"}')
    page.get_by_label("Filter as JSON").press("Tab")
    expect(page.locator("#empty")).to_contain_text("Nothing found")
    expect(page.locator("#empty")).to_contain_text("Remove a condition")
    expect(page.locator("#status")).to_have_text("No hits")


@pytest.mark.parametrize("kind", ["store", "compact"])
def test_an_explanation_adds_up_to_the_score_by_every_ranking(request, new_page, kind):
    with serve(request.getfixturevalue(kind)) as running:
        for ranking in ("weights", "ranks", "rerank", "dense", "sparse"):
            page = new_page(running.url)
            page.check(f"input[value={ranking}]", force=True)
            search(page)
            assert_adds_up(page)


@pytest.mark.parametrize("kind", ["store", "compact"])
def test_an_explanation_adds_up_after_sliders_moved_before_it_and_under_it(request, new_page, kind):
    with serve(request.getfixturevalue(kind)) as running:
        page = new_page(running.url)
        search(page)
        move(page, "dense", 0)
        move(page, "sparse", 0.3)
        assert_adds_up(page)
        before = total(page)
        for name, weight in (("dense", 1.4), ("colbert", 0.1)):
            move(page, name, weight)
            assert_shares_add_up(page)
        expect(page.locator("#check")).to_have_text("The store agrees")
        assert_shares_add_up(page)
        assert abs(total(page) - before) > 1e-3


def test_a_document_that_changed_since_the_search_is_said_not_to_add_up(mini_m3, tmp_path, new_page):
    from flagvec_qdrant import QdrantEdgeStore

    with QdrantEdgeStore(mini_m3, tmp_path / "store") as store:
        store.create()
        store.add([Document("bread", "Bread is baked."), Document("rice", "Rice is cooked.")])
        with serve(store) as running:
            page = new_page(running.url)
            search(page)
            store.add(Document("bread", "Nothing of that."))
            page.get_by_label("Explain bread").click()
            expect(page.locator(".shares .problem")).to_contain_text("the store has changed since the search")


def test_the_alignment_names_the_word_that_answers(page):
    search(page)
    page.get_by_label("Explain Baking bread").click()
    page.get_by_role("button", name="baked", exact=True).click()
    expect(page.locator(".reader")).to_contain_text("“baked” is answered by “baked”")
    assert page.inner_text(".word.best") == "baked"


def test_the_score_in_an_explanation_follows_the_sliders(page):
    search(page)
    page.get_by_label("Explain Baking bread").click()
    expect(page.locator(".cell").first).to_be_visible()
    move(page, "dense", 0.25)
    shown = float(page.inner_text(".shares tfoot b"))
    assert shown == pytest.approx(float(page.get_attribute(".hit.open", "data-score")), abs=1e-4)


def test_a_hostile_document_is_text(page):
    search(page, "bicycle wheel")
    hit = page.locator(".hit[data-id=hostile]")
    expect(hit.locator(".snippet")).to_contain_text("<script>window.hacked = 1</script><img src=x")
    hit.get_by_role("button", name="Explain hostile").click()
    expect(hit.locator(".cell").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#results img, #results script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    assert len(hit.locator(".whole").inner_text()) < 20_000


def test_the_page_works_from_the_keyboard(page):
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type(QUERY)
    page.keyboard.press("Enter")
    expect(page.locator(".hit .why").first).to_be_visible()
    page.locator("#query").blur()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".hit").nth(1).locator(".why")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".hit").nth(1).locator(".panel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".panel:visible")).to_have_count(0)
    page.keyboard.press("w")
    expect(page.locator("#weight-dense")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#output-dense")).to_have_text("1.05")
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()


def test_focus_stays_on_a_hit_that_moves(page):
    search(page)
    last = ids(page)[-1]
    page.locator(f".hit[data-id={last}] .why").focus()
    move(page, "dense", 0.1)
    assert page.evaluate("document.activeElement.closest('.hit').dataset.id") == last


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_is_wider_than_the_window_and_all_text_can_be_read(served, new_page, width, height, theme):
    page = new_page(served, width, height, theme)
    search(page)
    page.get_by_label("Explain Baking bread").click()
    expect(page.locator(".cell").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    background, ink, soft = page.evaluate(
        """() => {
            const probe = document.body.appendChild(document.createElement("i"));
            const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
            return [colour("page"), colour("ink"), colour("soft")];
        }"""
    )
    assert (luminance(background) < 0.1) == (theme == "dark")
    assert contrast(ink, background) > 7
    assert contrast(soft, background) > 4.5


def test_every_control_has_a_name(page):
    search(page)
    page.click("text=Add a condition")
    page.get_by_label("Explain Baking bread").click()
    expect(page.locator(".cell").first).to_be_visible()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, [role=region], [role=group]")]
            .filter((one) => !(one.ariaLabel || one.getAttribute("aria-labelledby") || one.labels?.length
                || one.textContent.trim()))
            .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    for landmark in ("banner", "search", "complementary", "main"):
        assert page.get_by_role(landmark).count() == 1


def test_a_store_without_lexical_weights_has_one_ranking(tiny_bert, tmp_path, new_page):
    from flagvec_qdrant import QdrantEdgeStore

    assert isinstance(tiny_bert, FlagModel)
    with QdrantEdgeStore(tiny_bert, tmp_path / "store") as store:
        store.create()
        store.add(["Rice is cooked.", "Bread is baked."])
        with serve(store) as running:
            page = new_page(running.url)
            expect(page.locator("#empty")).to_contain_text("dense vectors only")
            assert page.locator("#rankings input:disabled").count() == 4
            search(page)
            page.locator(".why").first.click()
            expect(page.locator(".panel .whole")).to_contain_text("ed.")


def test_an_empty_store_says_how_to_fill_it(mini_m3, tmp_path, new_page):
    from flagvec_qdrant import QdrantEdgeStore

    with QdrantEdgeStore(mini_m3, tmp_path / "store") as store:
        store.create()
        with serve(store) as running:
            page = new_page(running.url)
            expect(page.locator("#empty")).to_contain_text("The store is empty")


def test_a_store_that_goes_away_is_announced_and_found_again(distant, faulty_proxy, new_page):
    store, proxy = distant
    with serve(store) as running:
        page = new_page(running.url, may_fail=True)
        search(page)
        expect(page.locator(".hit")).to_have_count(7)
        proxy.choose = lambda method, path: faulty_proxy.Fault.UNAVAILABLE
        page.press("#query", "Enter")
        expect(page.locator("#banner")).to_contain_text("The store is away")
        expect(page.locator(".hit")).to_have_count(7)
        proxy.choose = lambda method, path: None
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#status")).to_contain_text("ms to search")


def test_a_slow_store_is_said_to_be_slow(distant, faulty_proxy, new_page):
    store, proxy = distant
    with serve(store) as running:
        page = new_page(running.url)
        search(page)
        proxy.choose = lambda method, path: faulty_proxy.Fault.SLOW
        page.fill("#query", "the sea")
        page.press("#query", "Enter")
        expect(page.locator("#status")).to_contain_text("The store is slow")
        page.click("#cancel")
        expect(page.locator("#status")).to_have_text("Cancelled")
        proxy.choose = lambda method, path: None


def test_a_server_that_ended_is_announced(store, new_page):
    running = serve(store)
    page = new_page(running.url, may_fail=True)
    search(page)
    running.stop()
    page.press("#query", "Enter")
    expect(page.locator("#banner")).to_contain_text("flagvec ui has stopped")


def assert_adds_up(page):
    """Open Baking bread; its parts, and the parts of its ColBERT score, must add up."""
    page.get_by_label("Explain Baking bread").click()
    expect(page.locator(".cell.best").first).to_be_visible()
    assert_shares_add_up(page)
    score = float(page.inner_text(".shares tr:has(.colbert) td >> nth=0"))
    # Five digits of each word and four of their sum are shown.
    assert sum(numbers(page, "td.adds")) == pytest.approx(score, abs=1e-4)


def assert_shares_add_up(page):
    expected = float(page.get_attribute(".hit.open", "data-score"))
    assert sum(numbers(page, ".shares tbody td:last-child")) == pytest.approx(expected, abs=1e-4)
    assert total(page) == pytest.approx(expected, abs=1e-4)
    expect(page.locator(".shares .problem")).to_have_count(0)


def numbers(page, selector):
    return [float(text) for text in page.locator(selector).all_inner_texts() if text != "–"]


def total(page):
    return float(page.inner_text(".shares tfoot b"))


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
