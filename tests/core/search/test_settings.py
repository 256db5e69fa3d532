"""Settings of searches in a file."""

import json

import pytest

from flagvec import Weighted
from flagvec.errors import SourceError
from flagvec.search.settings import load_settings, save_settings


@pytest.mark.parametrize(
    "options",
    [{"fusion": "rrf"}, {"fusion": Weighted(0.3, 0.55, 0.15)}, {"fusion": Weighted(1, 0, 2), "candidates": 50}],
)
def test_what_is_written_is_read(tmp_path, options):
    save_settings(tmp_path / "s.json", options, {"measure": "MRR@10"})
    assert load_settings(tmp_path / "s.json") == options
    assert json.loads((tmp_path / "s.json").read_text())["tuned"] == {"measure": "MRR@10"}


def test_a_weight_that_is_left_out_is_0(tmp_path):
    (tmp_path / "s.json").write_text('{"flagvec_settings": 1, "search": {"fusion": {"dense": 2}}}')
    assert load_settings(tmp_path / "s.json") == {"fusion": Weighted(2, 0, 0)}


def test_options_that_the_file_does_not_hold_are_refused(tmp_path):
    with pytest.raises(TypeError, match="takes no argument 'filter'"):
        save_settings(tmp_path / "s.json", {"filter": {"lang": "en"}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("[]", "it is no file of settings; flagvec tune writes one"),
        ('{"fusion": "rrf"}', "has no 'flagvec_settings'"),
        (
            '{"flagvec_settings": 2, "search": {}}',
            "has settings of version 2, and this flagvec reads 1: update flagvec",
        ),
        ('{"flagvec_settings": 1, "search": {"fusoin": "rrf"}}', "did you mean 'fusion'"),
        ('{"flagvec_settings": 1, "search": {"fusion": "sum"}}', "fusion='sum': choose 'rrf' or weights"),
        ('{"flagvec_settings": 1, "search": {"fusion": {"lexical": 1}}}', "fusion has a weight for 'lexical'"),
        ('{"flagvec_settings": 1, "search": {"fusion": {"dense": "1"}}}', "dense takes a number"),
        ('{"flagvec_settings": 1, "search": {"candidates": 0}}', "candidates=0: at least 1"),
    ],
)
def test_a_file_that_is_not_valid_is_named(tmp_path, content, said):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(SourceError, match=said) as raised:
        load_settings(tmp_path / "s.json")
    assert str(tmp_path / "s.json") in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="there is no such file; flagvec tune writes one"):
        load_settings(tmp_path / "none.json")
