"""Texts longer than ``max_length`` are cut off and counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from flagvec import BGEM3FlagModel, FlagModel, M3Output
from flagvec.engine.tokens import TextTokenizer

SHORT, LONG = "a short text", "word " * 50
TEXTS = [LONG, SHORT, "", LONG, SHORT]


def test_the_texts_that_were_cut_off_are_named_by_position(tiny_m3):
    assert tiny_m3.encode(TEXTS, max_length=10).truncated == (0, 3)
    assert tiny_m3.encode(TEXTS).truncated == ()


def test_a_text_of_just_the_limit_is_not_cut_off(tiny_m3):
    # The first token has no ColBERT vector.
    tokens = len(tiny_m3.encode(LONG)["colbert_vecs"]) + 1
    assert tiny_m3.encode(LONG, max_length=tokens).truncated == ()
    assert tiny_m3.encode(LONG, max_length=tokens - 1).truncated == (0,)


def test_positions_count_over_all_that_is_tokenised_at_a_time(tiny_m3, monkeypatch):
    monkeypatch.setattr("flagvec.token_windows.WINDOW", 2)
    assert tiny_m3.encode(TEXTS * 2, max_length=10, batch_size=3).truncated == (0, 3, 5, 8)


@pytest.mark.parametrize("options", [{"convert_to_numpy": False}, {"return_dense": False}])
def test_every_output_names_them(tiny_m3, options):
    assert tiny_m3.encode_corpus(TEXTS, max_length=10, **options).truncated == (0, 3)
    assert tiny_m3.encode_queries(TEXTS, max_length=10, **options).truncated == (0, 3)


def test_one_text_is_at_position_zero(tiny_m3):
    output = tiny_m3.encode(LONG, max_length=10)
    assert output.truncated == output.as_batch().truncated == (0,)


def test_an_instruction_counts(tiny_m3):
    assert tiny_m3.encode([SHORT], max_length=10, instruction=LONG).truncated == (0,)


def test_the_output_of_a_corpus_is_the_same_for_both_classes(tiny_m3_directory, tiny_m3, tiny_bert):
    for model in (tiny_m3, tiny_bert):
        output = model.encode_corpus_output(["word " * 600, SHORT], ["dense"], show_progress=False)
        assert type(output) is M3Output
        assert list(output) == ["dense_vecs"]
        assert output["dense_vecs"].shape == (2, 48)
        assert output.truncated == (0,)


def test_the_output_of_a_corpus_has_the_representations_asked_for(tiny_m3):
    output = tiny_m3.encode_corpus_output(TEXTS, ["sparse", "colbert"])
    assert list(output) == ["lexical_weights", "colbert_vecs"]


def test_the_output_of_a_corpus_is_an_array_whatever_the_model_gives(tiny_bert_directory):
    model = FlagModel(tiny_bert_directory, use_fp16=False, convert_to_numpy=False)
    assert isinstance(model.encode_corpus_output(TEXTS, ["dense"])["dense_vecs"], np.ndarray)


def test_the_output_of_a_corpus_is_what_a_subclass_makes_of_it(tiny_bert_directory):
    class Lowercase(FlagModel):
        def encode_corpus(self, corpus, *arguments, **options):
            return super().encode_corpus([text.lower()[:20] for text in corpus], *arguments, **options)

    model = Lowercase(tiny_bert_directory, use_fp16=False, passage_max_length=12)
    output = model.encode_corpus_output(["SOME text", LONG], ["dense"])
    np.testing.assert_array_equal(output["dense_vecs"], model.encode(["some text", LONG[:20]]))
    assert output.truncated == ()


def test_the_output_of_a_corpus_does_not_name_the_texts_of_an_earlier_call(tiny_bert):
    tiny_bert.encode([LONG], max_length=10)
    assert tiny_bert.encode_corpus_output([SHORT], ["dense"]).truncated == ()


# Long texts are not tokenised to their end.

CHINESE = "图书馆有许多书。读者在这里学习、工作和休息,他们很喜欢这个安静的地方。"
THAI = "ห้องสมุดมีหนังสือมากมาย ผู้อ่านเรียนและทำงานที่นี่"
PIECES = [
    "library", "Überraschung", "e\u0301", "\u0301" * 7, "x" * 150, "don't", "3.14", "a,b;c", "ﬁ", "㍿", "ｆｕｌｌ",
    " ", " ", "  ", " " * 9, "\n", "\r\n", "\t", "\u3000", "\u00a0", "\u200b", "\u00ad", "\ufeff", "\0", "\u2581",
    CHINESE, CHINESE[:3], THAI, "한국어 문장", "\u1112\u1161\u11ab", "日本語のテキスト", "שלום", "مرحبا",
    "🎉", "👨‍👩‍👧", "🇩🇪🇫🇷", "\ud800", "\U00020000", "．", "...", "-", "_", "\"",
    "[MASK]", "[CLS]", " [SEP] ", "<pad>", "<mask>", "</s>", "<unk>", "[", "<", "<ma", "sk>",
]  # fmt: skip
CORPUS = ["a library of many books and readers", "don't 3.14", CHINESE, CHINESE[::-1], THAI, "日本語のテキスト"] * 5
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>"]
WORD_START = pre_tokenizers.Metaspace(prepend_scheme="always")
SPACES = normalizers.Replace(Regex(" {2,}"), " ")

UNIGRAMS = {
    "Unigram": (normalizers.NFKC(), WORD_START),
    "Unigram as in XLM-R": (
        normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), SPACES]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), WORD_START]),
    ),
    "Unigram without accents": (
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]),
        pre_tokenizers.Metaspace(prepend_scheme="first"),
    ),
    "Unigram of whole texts": (normalizers.NFKC(), pre_tokenizers.Metaspace(split=False)),
    "Unigram without words": (None, None),
}


def trained(name):
    """Train a small tokenizer, because only the vocabularies of two are among the tests' data."""
    if name == "byte-level BPE":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif name == "BPE by a pattern":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s?\w+\s\w+"), "isolated")
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    else:
        tokenizer = Tokenizer(models.Unigram())
        normalizer, splitter = UNIGRAMS[name]
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        if splitter is not None:
            tokenizer.pre_tokenizer = splitter
        trainer = trainers.UnigramTrainer(
            vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False, max_piece_length=4
        )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return tokenizer


@pytest.fixture(scope="module")
def tokenizers(tiny_m3_directory, tiny_bert_directory):
    named = {
        path.name: Tokenizer.from_file(str(path / "tokenizer.json"))
        for path in (tiny_m3_directory, tiny_bert_directory)
    }
    return named | {name: trained(name) for name in (*UNIGRAMS, "byte-level BPE", "BPE by a pattern")}


KINDS = ["tiny-m3", "tiny-bert", *UNIGRAMS, "byte-level BPE", "BPE by a pattern"]


def of_whole_text(tokenizer, text, max_length):
    """Return the ids of the whole text as tokenizers itself truncates them, and whether there were more."""
    encoding = tokenizer.encode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    is_longer = len(encoding.ids) > max_length
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    ids = tokenizer.encode("").ids if is_longer else encoding.ids
    return (ids[:1] + encoding.ids[1 : max_length - special + 1] + ids[1:] if is_longer else ids), is_longer


@st.composite
def long_texts(draw):
    """Texts of several hundred characters and more, made of few different parts so that some of them repeat."""
    parts = draw(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), min_size=1, max_size=30))
    joint = draw(st.sampled_from(["", " ", "", "\n"]))
    return joint.join(parts) * draw(st.integers(1, 60))


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(long_texts(), min_size=1, max_size=3), max_length=st.integers(3, 40))
def test_a_long_text_gets_the_tokens_of_the_whole_text(tokenizers, kind, texts, max_length):
    found = TextTokenizer(tokenizers[kind])(texts, max_length)
    expected = [of_whole_text(tokenizers[kind], text, max_length) for text in texts]
    assert [ids.tolist() for ids in found.ids] == [ids for ids, _ in expected]
    assert found.truncated == [position for position, (_, is_longer) in enumerate(expected) if is_longer]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", PIECES)
def test_a_long_text_of_one_piece_gets_the_tokens_of_the_whole_text(tokenizers, kind, piece):
    # A tokenizer that is not cut reads a word of 60,000 letters for half a minute.
    times = 100 if kind == "BPE by a pattern" else 400
    for text in (piece * times, f"{piece} " * times, f"start {piece * times} end", "word " * 150 + piece * 150):
        found = TextTokenizer(tokenizers[kind])([text], 32)
        expected, is_longer = of_whole_text(tokenizers[kind], text, 32)
        assert found.ids[0].tolist() == expected
        assert found.truncated == [0] * is_longer


class Counted:
    """A tokenizer that counts the characters it gets."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.characters = 0

    def encode_batch_fast(self, texts):
        self.characters += sum(map(len, texts))
        return self.tokenizer.encode_batch_fast(texts)


def characters_read(backend, texts, max_length=512, side="right"):
    tokenize = TextTokenizer(backend, side)
    tokenize._find_cut  # noqa: B018 (it uses the tokenizer)
    tokenize._tokenizer = Counted(tokenize._tokenizer)
    tokenize(texts, max_length)
    return tokenize._tokenizer.characters


@pytest.mark.parametrize("kind", ["tiny-m3", "tiny-bert", "Unigram as in XLM-R", "byte-level BPE"])
def test_of_eight_megabytes_some_thousand_characters_are_read(tokenizers, kind):
    assert characters_read(tokenizers[kind], ["a library of many books " * 333_333]) < 20_000


@pytest.mark.parametrize("kind", ["tiny-bert", "Unigram as in XLM-R"])
def test_of_a_long_chinese_text_some_thousand_characters_are_read(tokenizers, kind):
    assert characters_read(tokenizers[kind], [CHINESE * 80_000]) < 20_000


def test_a_text_of_few_tokens_is_read_on_until_they_are_enough(tokenizers):
    # Spaces have no tokens here, so that a long beginning has few.
    text = f"{'a library ' + ' ' * 5_000}" * 20 + "word " * 600
    assert characters_read(tokenizers["tiny-bert"], [text]) >= len(text)


def test_a_text_that_keeps_its_end_is_read_whole(tokenizers):
    text = "a library of many books " * 10_000
    assert characters_read(tokenizers["tiny-m3"], [text], side="left") == len(text)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_limit_of_the_special_tokens_leaves_no_token_of_the_text(tokenizers, side):
    # `ColbertFlagModel` takes the place of its marker from the shortest limit.
    tokens = TextTokenizer(tokenizers["tiny-bert"], side)(["a library of many books", "a"], 2)
    assert [len(ids) for ids in tokens.ids] == [2, 2]
    assert tokens.truncated == [0, 1]


def test_short_texts_are_read_once(tokenizers):
    assert characters_read(tokenizers["tiny-m3"], ["a text", "", LONG]) == len("a text" + LONG)


def test_scores_of_pairs_read_the_beginnings_only(tiny_m3_directory):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, return_sparse=True, return_colbert_vecs=True)
    model._tokenize._find_cut  # noqa: B018 (it uses the tokenizer)
    counted = model._tokenize._tokenizer = Counted(model._tokenize._tokenizer)
    model.compute_score([("a query", "a library of many books " * 100_000)])
    assert counted.characters < 20_000
