"""Models found by name in a Hugging Face Hub cache, offline; every architecture behind the catalogue."""

import json
import shutil

import numpy as np
import pytest
from huggingface_hub import snapshot_download

from flagvec import BGEM3FlagModel, CheckpointError, FlagModel, ModelNotFoundError, loading

SHORT_NAMES = {
    "bge-small-en-v1.5": ("cls", 384),
    "e5-small-v2": ("mean", 32),
    "multilingual-e5-base": ("mean", 32),
    "gte-multilingual-base": ("cls", 32),
    "bge-m3": ("cls", 1024),
}

# What the issue that started the project documents, as it stands there; then what the lines gave.
DOCUMENTED_LINES = """
from flagvec import BGEM3FlagModel

embedder = BGEM3FlagModel('bge-m3', return_dense=True, return_sparse=True, return_colbert_vecs=True)
query_reps = embedder.encode_queries(["machine learning"])
passage_reps = embedder.encode_corpus(["ML algorithms"])
score = embedder.compute_score(query_reps[0], passage_reps[0])
lexical = embedder.compute_lexical_matching_score(query_reps[0]['lexical_weights'][0], passage_reps[0]['lexical_weights'][0])
colbert = embedder.colbert_score(query_reps[0]['colbert_vecs'][0], passage_reps[0]['colbert_vecs'][0])

import json
dense = float(query_reps.get('dense_vecs')[0] @ passage_reps['dense_vecs'][0])
print(json.dumps({
    "is a dict": isinstance(query_reps, dict), "shape": query_reps.get('dense_vecs').shape,
    "score": score, "mean": (dense + lexical + colbert) / 3,
}))
"""  # noqa: E501

REMOTE_CONFIG = """
from transformers import BertConfig

class OwnConfig(BertConfig):
    model_type = "own"
"""

REMOTE_MODEL = """
from pathlib import Path
from transformers import BertModel
from .configuration import OwnConfig

Path({marker!r}).touch()

class OwnModel(BertModel):
    config_class = OwnConfig
"""


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_a_short_name_finds_its_model_in_the_cache(hub_cache, name):
    pooling, width = SHORT_NAMES[name]
    model = FlagModel(name, pooling_method=pooling, cache_dir=hub_cache, use_fp16=False)
    vectors = model.encode(["machine learning", "ML algorithms"])
    assert vectors.shape == (2, width)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_repository_finds_the_model_of_its_short_name(hub_cache):
    by_name, by_repository = (
        FlagModel(name, cache_dir=hub_cache, use_fp16=False).encode("machine learning")
        for name in ("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5")
    )
    np.testing.assert_array_equal(by_name, by_repository)


def test_a_dense_model_opens_in_the_class_of_three_representations(hub_cache):
    model = BGEM3FlagModel("bge-small-en-v1.5", cache_dir=hub_cache, use_fp16=False)
    assert model.representations == {"dense"}
    with pytest.raises(CheckpointError, match=r"has no sparse_linear\.pt"):
        model.encode("machine learning", return_sparse=True)


def test_weights_in_the_older_format_give_all_representations(hub_cache):
    model = BGEM3FlagModel("bge-m3", cache_dir=hub_cache, use_fp16=False, return_sparse=True, return_colbert_vecs=True)
    assert model.representations == {"dense", "sparse", "colbert"}
    assert set(model.encode(["machine learning"])) == {"dense_vecs", "lexical_weights", "colbert_vecs"}


@pytest.fixture
def asked_for(monkeypatch):
    """Record which files each request to the Hub asks for."""
    patterns = []

    def download(repository, allow_patterns, **options):
        patterns.append(allow_patterns)
        return snapshot_download(repository, allow_patterns=allow_patterns, **options)

    monkeypatch.setattr(loading, "snapshot_download", download)
    return patterns


@pytest.mark.parametrize(
    ("name", "asks"), [("bge-small-en-v1.5", [True, False]), ("bge-m3", [True, False, False, True])]
)
def test_older_weights_are_fetched_only_if_there_are_no_newer_ones(hub_cache, asked_for, name, asks):
    FlagModel(name, cache_dir=hub_cache)
    asked = [weights in patterns for patterns in asked_for for weights in ("*.safetensors", "pytorch_model*.bin")]
    assert asked == asks


def test_the_documented_lines_run_as_they_stand_offline(hub_cache, run_python):
    printed = run_python(DOCUMENTED_LINES, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(hub_cache))
    found = json.loads(printed)
    assert found["is a dict"]
    assert found["shape"] == [1, 1024]
    assert found["score"] == pytest.approx(found["mean"], abs=1e-5)


def test_a_revision_chooses_between_two_snapshots(tmp_path, build_checkpoint, add_to_hub):
    for seed, revision in enumerate(("main", "v2")):
        add_to_hub(tmp_path / "hub", "someone/mine", build_checkpoint(tmp_path / revision, "bert", seed=seed), revision)
    for revision in ("main", "v2"):
        found = FlagModel("someone/mine", revision=revision, cache_dir=tmp_path / "hub", use_fp16=False)
        expected = FlagModel(tmp_path / revision, use_fp16=False)
        np.testing.assert_array_equal(found.encode("some text"), expected.encode("some text"))


def test_local_files_only_finds_what_the_cache_has(hub_cache):
    model = FlagModel("bge-small-en-v1.5", cache_dir=hub_cache, local_files_only=True, use_fp16=False)
    assert model.dimension == 384


def test_a_known_model_that_is_not_cached_says_how_to_get_it(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"'BAAI/bge-m3' is not in the local cache.*go online once"):
        BGEM3FlagModel("bge-m3", cache_dir=tmp_path)


def test_a_snapshot_without_weights_is_refused(tmp_path, hub_cache):
    shutil.copytree(hub_cache, tmp_path / "hub", symlinks=True)
    (weights,) = tmp_path.glob("hub/models--intfloat--e5-small-v2/snapshots/*/model.safetensors")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        FlagModel("e5-small-v2", pooling_method="mean", cache_dir=tmp_path / "hub")


@pytest.fixture
def remote_code(tmp_path, build_checkpoint, add_to_hub):
    """A Hub cache with an architecture that transformers lacks, whose Python code lies in another repository."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "configuration.py").write_text(REMOTE_CONFIG)
    (code / "modeling.py").write_text(REMOTE_MODEL.format(marker=str(tmp_path / "ran")))
    checkpoint = build_checkpoint(tmp_path / "checkpoint", "bert")
    config = json.loads((checkpoint / "config.json").read_text())
    classes = {"AutoConfig": "configuration.OwnConfig", "AutoModel": "modeling.OwnModel"}
    auto_map = {key: f"someone/code--{name}" for key, name in classes.items()}
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": auto_map}))
    add_to_hub(tmp_path / "hub", "someone/code", code)
    add_to_hub(tmp_path / "hub", "someone/encoder", checkpoint)
    return tmp_path


def test_remote_code_is_refused_and_never_runs(remote_code):
    with pytest.raises(CheckpointError, match="pass trust_remote_code=True if you trust its authors"):
        FlagModel("someone/encoder", cache_dir=remote_code / "hub")
    assert not (remote_code / "ran").exists()


def encode_with_trusted_code(remote_code, run_python, options="", **environment):
    printed = run_python(
        "from flagvec import FlagModel\n"
        f"model = FlagModel('someone/encoder', trust_remote_code=True, use_fp16=False, {options})\n"
        "print(model.encode(['machine learning', 'ML algorithms']).shape)",
        HF_HOME=str(remote_code / "home"),
        HF_HUB_OFFLINE="1",
        **environment,
    )
    assert printed.strip() == "(2, 32)"
    assert (remote_code / "ran").exists()


def test_trusted_remote_code_encodes(remote_code, run_python):
    encode_with_trusted_code(remote_code, run_python, HF_HUB_CACHE=str(remote_code / "hub"))


def test_trusted_remote_code_is_found_in_the_cache_given(remote_code, run_python):
    encode_with_trusted_code(remote_code, run_python, options=f"cache_dir={str(remote_code / 'hub')!r}")


def test_trusted_remote_code_is_downloaded_unless_local_files_only(remote_code, monkeypatch):
    asked = []

    def from_pretrained(directory, local_files_only, **options):
        asked.append(local_files_only)
        raise OSError("far enough")

    monkeypatch.setattr(loading.AutoModel, "from_pretrained", from_pretrained)
    for local_files_only in (False, True):
        with pytest.raises(CheckpointError, match="far enough"):
            FlagModel(
                "someone/encoder",
                trust_remote_code=True,
                cache_dir=remote_code / "hub",
                local_files_only=local_files_only,
            )
    assert asked == [False, True]
