"""The catalogue of known models."""

import re
import warnings
from itertools import product

import pytest

from flagvec import FlagModel, list_models
from flagvec.models import CATALOGUE, Catalogue, ModelCard, find_model, nearest_model_names

SIZES = ("large", "base", "small")
NAMES = {
    *(f"bge-{size}-{language}{version}" for size, language, version in product(SIZES, ("en", "zh"), ("-v1.5", ""))),
    "bge-m3",
    "mini-m3",
    *(f"e5-{size}-v2" for size in SIZES),
    *(f"multilingual-e5-{size}" for size in SIZES),
    *(f"e5-{size}" for size in SIZES),
    "gte-multilingual-base",
    *(f"gte-{size}-en-v1.5" for size in ("large", "base")),
    *(f"gte-{size}" for size in SIZES),
    *(f"gte-{size}-zh" for size in SIZES),
    "gte-modernbert-base",
    *(f"granite-embedding-{kind}-r2" for kind in ("english", "small-english", "97m-multilingual", "311m-multilingual")),
    *(f"snowflake-arctic-embed-{size}-v2.0" for size in ("l", "m")),
    "nomic-embed-text-v1.5",
}

# From the model cards, by family: pooling, query prompt, passage prompt, longest input; then dimensions.
ENGLISH_BGE = "Represent this sentence for searching relevant passages: "
CHINESE_BGE = "为这个句子生成表示以用于检索相关文章："
FAMILIES = {
    r"bge-\w+-en(-v1.5)?": ("cls", ENGLISH_BGE, None, 512),
    r"bge-\w+-zh(-v1.5)?": ("cls", CHINESE_BGE, None, 512),
    r"bge-m3": ("cls", None, None, 8192),
    r"mini-m3": ("mean", None, None, 512),
    r"(multilingual-)?e5-\w+(-v2)?": ("mean", "query: ", "passage: ", 512),
    r"gte-(multilingual-base|modernbert-base|\w+-en-v1.5)": ("cls", None, None, 8192),
    r"gte-(large|base|small)": ("mean", None, None, 512),
    r"gte-\w+-zh": ("cls", None, None, 512),
    r"granite-embedding-(small-)?english-r2": ("cls", None, None, 8192),
    r"granite-embedding-\w+-multilingual-r2": ("cls", None, None, 32768),
    r"snowflake-arctic-embed-[lm]-v2.0": ("cls", "query: ", None, 8192),
    r"nomic-embed-text-v1.5": ("mean", "search_query: ", "search_document: ", 8192),
}
DIMENSIONS = {
    r"bge-m3|.*large.*|.*-embed-l-.*": 1024,
    r".*base.*|.*-embed-(m|text)-.*|granite-embedding-(english|311m-multilingual)-r2": 768,
    r".*small-zh.*": 512,
    r".*small(-en.*|-v2)?|mini-m3|.*-97m-.*": 384,
}


def only_match(table, name):
    """Return the value of the one pattern in `table` that matches `name`."""
    (found,) = (value for pattern, value in table.items() if re.fullmatch(pattern, name))
    return found


def test_every_promised_model_is_known_and_no_other():
    assert {card.name for card in CATALOGUE} == NAMES


@pytest.mark.parametrize("key", ["name", "repository"])
def test_no_two_models_share_a_name_or_repository(key):
    assert len({getattr(card, key) for card in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_entry_says_what_the_model_card_says(name):
    card = find_model(name)
    assert (card.pooling, card.query_prompt, card.passage_prompt, card.max_length) == only_match(FAMILIES, name)
    assert card.dimension == only_match(DIMENSIONS, name)


@pytest.mark.parametrize("card", CATALOGUE, ids=lambda card: card.name)
def test_an_entry_names_the_license_of_the_weights(card):
    organisation = (card.repository or "").split("/")[0]
    assert card.license == ("mit" if organisation in ("BAAI", "intfloat", "thenlper") else "apache-2.0")


def test_a_repository_ends_in_the_short_name():
    assert all(card.repository.split("/")[1:] == [card.name] for card in CATALOGUE if card.repository)


def test_only_mini_m3_is_not_on_the_hub():
    assert [card.name for card in CATALOGUE if card.repository is None] == ["mini-m3"]


def test_only_bge_m3_and_mini_m3_have_three_representations():
    assert [card.name for card in CATALOGUE if card.model_class == "BGEM3FlagModel"] == ["bge-m3", "mini-m3"]


def test_list_models_gives_the_catalogue_as_model_cards():
    assert list_models() == CATALOGUE
    assert all(isinstance(card, ModelCard) for card in list_models())


def test_the_catalogue_is_there_after_importing_flagvec_alone_without_torch(run_python):
    code = "import flagvec, sys; print(flagvec.models.CATALOGUE[0].name, 'torch' in sys.modules)"
    assert run_python(code) == "bge-large-en-v1.5 False\n"


def test_the_catalogue_shows_as_a_table_that_fits_a_screen():
    header, *rows = repr(list_models()).splitlines()
    assert header.split()[:2] == ["name", "model_class"]
    assert [row.split()[0] for row in rows] == [card.name for card in CATALOGUE]
    assert max(map(len, [header, *rows])) <= 120


def test_a_notebook_shows_the_catalogue_as_a_table_with_whole_prompts():
    table = list_models()._repr_html_()
    assert table.count("<tr>") == len(CATALOGUE) + 1
    assert f"<td>{ENGLISH_BGE}</td>" in table


def test_the_notebooks_table_escapes_html():
    card = ModelCard("<b>", None, "FlagModel", "cls", 1, 1)
    assert "<td>&lt;b&gt;</td>" in Catalogue([card])._repr_html_()


@pytest.mark.parametrize("name", ["bge-m3", "BGE-M3", "BAAI/bge-m3", "baai/BGE-M3"])
def test_a_name_or_repository_is_found_in_any_case(name):
    assert find_model(name).repository == "BAAI/bge-m3"


@pytest.mark.parametrize("name", ["", "bge", "BAAI", "bge-m3 ", "someone/bge-m3"])
def test_another_name_is_not_found(name):
    assert find_model(name) is None


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("bge-m33", "bge-m3"),
        ("bge-large-en-v15", "bge-large-en-v1.5"),
        ("BAAI/bge-smal-en", "bge-small-en"),
        ("Multilingual-E5-Lage/", "multilingual-e5-large"),
    ],
)
def test_the_nearest_name_to_a_typo_is_the_one_meant(typo, meant):
    assert nearest_model_names(typo)[0] == meant


def test_pooling_against_the_catalogue_warns_once_and_names_the_right_one(hub_cache):
    with pytest.warns(UserWarning) as caught:
        FlagModel("e5-small-v2", pooling_method="cls", cache_dir=hub_cache)
    assert len(caught) == 1
    assert "pass pooling_method='mean'" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_pooling_as_in_the_catalogue_does_not_warn(hub_cache):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FlagModel("e5-small-v2", pooling_method="mean", cache_dir=hub_cache)
    assert caught == []
