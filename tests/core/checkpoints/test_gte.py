"""GTE as its authors published it, against a forward pass written out in numpy."""

import json
import math
import shutil

import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file, save_file

from flagvec import BGEM3FlagModel, CheckpointError, FlagModel

pytestmark = pytest.mark.skipif(
    not hasattr(transformers, "GteModel"), reason=f"transformers {transformers.__version__} has no GTE architecture"
)

TOLERANCE = 1e-5
WIDTH, HEADS, INNER, LAYERS, VOCABULARY = 32, 4, 64, 2, 3000

# The keys of gte-multilingual-base's config.json.
MULTILINGUAL = {
    "architectures": ["NewModel"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
        "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
        "AutoModelForTokenClassification": "Alibaba-NLP/new-impl--modeling.NewForTokenClassification",
    },
    "classifier_dropout": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": WIDTH,
    "id2label": {"0": "LABEL_0"},
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "label2id": {"LABEL_0": 0},
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "max_position_embeddings": 8192,
    "model_type": "new",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pack_qkv": True,
    "pad_token_id": 1,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 8.0, "type": "ntk"},
    "rope_theta": 20000,
    "torch_dtype": "float32",
    "transformers_version": "4.39.1",
    "type_vocab_size": 1,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
    "vocab_size": VOCABULARY,
}
# What the other checkpoints have instead.
VARIANTS = {
    "gte-multilingual-base": {},
    "gte-base-en-v1.5": {"type_vocab_size": 0, "rope_theta": 500000, "rope_scaling": {"factor": 2.0, "type": "ntk"}},
    "gte-large-en-v1.5": {"type_vocab_size": 2, "rope_theta": 160000, "rope_scaling": {"factor": 2.0, "type": "ntk"}},
    "snowflake-arctic-embed-m-v2.0": {
        "model_type": "gte",
        "rope_theta": 160000,
        "rope_scaling": None,
        "unpad_inputs": "true",
        "use_memory_efficient_attention": "true",
    },
}


def random_weights(config, prefix):
    """Return weights under the names and in the packed layout of the authors' code."""
    random = np.random.default_rng(7)

    def draw(*shape):
        return random.normal(0, 0.3, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": draw(VOCABULARY, WIDTH),
        "embeddings.LayerNorm.weight": 1 + draw(WIDTH),
        "embeddings.LayerNorm.bias": draw(WIDTH),
    }
    if config["type_vocab_size"]:
        weights["embeddings.token_type_embeddings.weight"] = draw(config["type_vocab_size"], WIDTH)
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        weights |= {
            f"{layer}.attention.qkv_proj.weight": draw(3 * WIDTH, WIDTH),
            f"{layer}.attention.qkv_proj.bias": draw(3 * WIDTH),
            f"{layer}.attention.o_proj.weight": draw(WIDTH, WIDTH),
            f"{layer}.attention.o_proj.bias": draw(WIDTH),
            f"{layer}.mlp.up_gate_proj.weight": draw(2 * INNER, WIDTH),
            f"{layer}.mlp.down_proj.weight": draw(WIDTH, INNER),
            f"{layer}.mlp.down_proj.bias": draw(WIDTH),
        }
        for norm in ("attn_ln", "mlp_ln"):
            weights |= {f"{layer}.{norm}.weight": 1 + draw(WIDTH), f"{layer}.{norm}.bias": draw(WIDTH)}
    weights = {f"{prefix}{name}": weight for name, weight in weights.items()}
    if prefix:
        weights |= {"classifier.weight": draw(1, WIDTH), "classifier.bias": draw(1)}
    return weights


def write_checkpoint(directory, tokenizer, changes, prefix=""):
    directory.mkdir()
    config = MULTILINGUAL | changes
    (directory / "config.json").write_text(json.dumps(config))
    save_file(random_weights(config, prefix), directory / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, directory)
    return directory


class NumpyGte:
    """mGTE's encoder (arXiv 2407.19669, section 2.1) for one text: BERT with RoPE and a gated feed-forward network."""

    def __init__(self, directory):
        self.config = json.loads((directory / "config.json").read_text())
        stored = load_file(directory / "model.safetensors")
        self.weights = {name.removeprefix("new."): weight.astype(np.float64) for name, weight in stored.items()}

    def hidden_states(self, ids):
        states = self["embeddings.word_embeddings.weight"][ids]
        if self.config["type_vocab_size"]:
            states = states + self["embeddings.token_type_embeddings.weight"][0]
        states = self.norm(states, "embeddings.LayerNorm")
        for number in range(LAYERS):
            layer = f"encoder.layer.{number}"
            states = self.norm(states + self.attention(states, f"{layer}.attention"), f"{layer}.attn_ln")
            up, gate = np.split(states @ self[f"{layer}.mlp.up_gate_proj.weight"].T, 2, axis=1)
            gelu = gate * 0.5 * (1 + np.vectorize(math.erf)(gate / math.sqrt(2)))
            inner = self.linear(gelu * up, f"{layer}.mlp.down_proj")
            states = self.norm(states + inner, f"{layer}.mlp_ln")
        return states

    def attention(self, states, name):
        packed = self.linear(states, f"{name}.qkv_proj").reshape(len(states), 3, HEADS, -1)
        query, key, value = packed.transpose(1, 2, 0, 3)
        query, key = self.rotated(query), self.rotated(key)
        scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(WIDTH // HEADS))
        attended = scores / scores.sum(axis=2, keepdims=True) @ value
        return self.linear(attended.transpose(1, 0, 2).reshape(len(states), WIDTH), f"{name}.o_proj")

    def rotated(self, states):
        _, tokens, width = states.shape
        base, scaling = self.config["rope_theta"], self.config["rope_scaling"]
        factor = scaling["factor"] if scaling else 1.0
        # Equation 6 of https://kexue.fm/archives/9706.
        frequencies = (base * factor) ** (-np.arange(0, width, 2) / width) / factor ** (2 / width)
        angles = np.arange(tokens)[:, None] * frequencies
        cos, sin = np.cos(angles), np.sin(angles)
        first, second = np.split(states, 2, axis=2)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=2)

    def norm(self, states, name):
        centred = states - states.mean(axis=1, keepdims=True)
        variance = (centred**2).mean(axis=1, keepdims=True)
        return (
            centred / np.sqrt(variance + self.config["layer_norm_eps"]) * self[f"{name}.weight"] + self[f"{name}.bias"]
        )

    def linear(self, states, name):
        return states @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def __getitem__(self, name):
        return self.weights[name]


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture(scope="module")
def token_ids(tiny_m3):
    """Texts of 3 to 600 tokens, with their token ids."""
    words = ["library", "text", "meaning", "ranks", "one", "hybrid", "search", "over", "dense", "sparse", "vectors"]
    random = np.random.default_rng(3)
    texts = [
        "a",
        "the",
        *(" ".join(random.choice(words, count)) for count in (2, 5, 17, 40, 63, 64, 65, 130, 250, 400)),
    ]
    encoded = [(text, tiny_m3.tokenizer(text, truncation=True, max_length=600)["input_ids"]) for text in texts]
    assert (min(len(ids) for _, ids in encoded), max(len(ids) for _, ids in encoded)) == (3, 600)
    return encoded


@pytest.fixture
def checkpoint(tmp_path, tiny_m3_directory):
    def write(changes=None, prefix=""):
        return write_checkpoint(tmp_path / "checkpoint", tiny_m3_directory, changes or {}, prefix)

    return write


@pytest.mark.parametrize("name", VARIANTS)
def test_a_published_checkpoint_gives_the_vectors_of_a_forward_pass_in_numpy(checkpoint, token_ids, name):
    directory = checkpoint(VARIANTS[name], "new." if name == "gte-multilingual-base" else "")
    model, reference = FlagModel(directory, use_fp16=False), NumpyGte(directory)
    found = model.encode([text for text, _ in token_ids], max_length=600)
    expected = [unit(reference.hidden_states(ids)[0]) for _, ids in token_ids]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", VARIANTS)
def test_mean_pooling_reads_every_token_of_a_published_checkpoint(checkpoint, token_ids, name):
    directory = checkpoint(VARIANTS[name])
    model, reference = FlagModel(directory, "mean", use_fp16=False), NumpyGte(directory)
    found = model.encode([text for text, _ in token_ids], max_length=600)
    expected = [unit(reference.hidden_states(ids).mean(axis=0)) for _, ids in token_ids]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_the_scaling_of_the_positions_changes_the_vectors(checkpoint, token_ids):
    reference = NumpyGte(checkpoint())
    _, ids = token_ids[-1]
    scaled = unit(reference.hidden_states(ids)[0])
    reference.config["rope_scaling"] = None
    assert np.abs(scaled - unit(reference.hidden_states(ids)[0])).max() > 100 * TOLERANCE


def test_loading_leaves_the_checkpoints_files_as_they_are(checkpoint):
    directory = checkpoint()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    FlagModel(directory, use_fp16=False)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_remote_code_never_runs_and_a_warning_says_why(checkpoint):
    directory = checkpoint()
    with pytest.warns(
        UserWarning, match="does not run, because .* leaves buffers of that code uninitialised"
    ) as caught:
        trusting = FlagModel(directory, use_fp16=False, trust_remote_code=True)
    assert len(caught) == 1
    np.testing.assert_array_equal(trusting.encode("a text"), FlagModel(directory, use_fp16=False).encode("a text"))


def test_transformers_own_layout_beside_the_old_keys_is_read_from_rope_parameters(checkpoint, token_ids):
    linear = {"rope_type": "linear", "rope_theta": 160000.0, "factor": 8 ** (2 / (WIDTH // HEADS))}
    directory = checkpoint({"model_type": "gte", "rope_parameters": linear})
    text, ids = token_ids[-1]
    found = FlagModel(directory, use_fp16=False).encode(text, max_length=600)
    np.testing.assert_allclose(found, unit(NumpyGte(directory).hidden_states(ids)[0]), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "changes",
    [
        {"logn_attention_scale": True},
        {"position_embedding_type": "absolute"},
        {"layer_norm_type": "rms_norm"},
        {"pack_qkv": False},
    ],
)
def test_a_setting_that_transformers_would_ignore_is_refused_by_name(checkpoint, changes):
    ((key, value),) = changes.items()
    with pytest.raises(CheckpointError, match=rf"config\.json has {key}={value!r}; transformers' architecture 'gte'"):
        FlagModel(checkpoint(changes))


@pytest.mark.parametrize(
    "scaling", [{"type": "dynamic", "factor": 2.0}, {"type": "ntk", "factor": 2.0, "mixed_b": 0.6}]
)
def test_another_scaling_of_the_positions_is_refused(checkpoint, scaling):
    with pytest.raises(CheckpointError, match=r"config\.json has rope_scaling=.*reads the type 'ntk' without mixed_b"):
        FlagModel(checkpoint({"rope_scaling": scaling}))


@pytest.mark.parametrize("changes", [{"rope_theta": "x"}, {"rope_scaling": {"type": "ntk"}}, {"rope_scaling": 5}])
def test_a_damaged_configuration_is_refused(checkpoint, changes):
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        FlagModel(checkpoint(changes))


@pytest.mark.parametrize("trust_remote_code", [False, True])
def test_a_transformers_without_the_architecture_is_refused_with_the_release_that_has_it(
    checkpoint, monkeypatch, trust_remote_code
):
    from flagvec.checkpoints import architectures

    without_gte = {name: config for name, config in architectures.CONFIG_MAPPING.items() if name != "gte"}
    monkeypatch.setattr(architectures, "CONFIG_MAPPING", without_gte)
    monkeypatch.setattr(architectures.transformers, "__version__", "5.17.0")
    with pytest.raises(CheckpointError, match=r"'gte', which transformers 5\.17\.0 does not have.*transformers 5\.18"):
        FlagModel(checkpoint(), trust_remote_code=trust_remote_code)


def test_dense_vectors_and_lexical_weights_come_from_one_pass(checkpoint, token_ids, monkeypatch):
    directory = checkpoint(prefix="new.")
    model, reference = BGEM3FlagModel(directory, use_fp16=False, return_sparse=True), NumpyGte(directory)
    passed, forward = [], model._encoder._forward
    monkeypatch.setattr(model._encoder, "_forward", lambda texts: passed.extend(texts) or forward(texts))
    output = model.encode([text for text, _ in token_ids], max_length=600)
    assert len(passed) == len(token_ids)
    for (_, ids), vector, weights in zip(token_ids, output["dense_vecs"], output["lexical_weights"], strict=True):
        states = reference.hidden_states(ids)
        np.testing.assert_allclose(vector, unit(states[0]), rtol=0, atol=TOLERANCE)
        # These are not normalised.
        assert weights == pytest.approx(
            lexical_weights(states, ids, reference, model.tokenizer), rel=0, abs=10 * TOLERANCE
        )


def lexical_weights(states, ids, reference, tokenizer):
    """Return each token's highest weight, without special tokens, as the model's ``scripts/gte_embedding.py`` does."""
    special = {tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
    strongest = {}
    for token, weight in zip(ids, reference.linear(states, "classifier")[:, 0], strict=True):
        if token not in special and weight > strongest.get(token, 0.0):
            strongest[token] = weight
    return strongest


def test_a_checkpoint_with_a_token_classifier_has_no_colbert_vectors(checkpoint):
    model = BGEM3FlagModel(checkpoint(prefix="new."), use_fp16=False)
    assert model.representations == {"dense", "sparse"}
    with pytest.raises(CheckpointError, match=r"has no colbert_linear\.pt"):
        model.encode("a text", return_colbert_vecs=True)


@pytest.mark.parametrize("also", ["new.pooler.dense.weight", "head.dense.weight", None])
def test_a_head_that_classifies_whole_texts_gives_no_lexical_weights(checkpoint, also):
    directory = checkpoint({} if also else {"architectures": ["NewForSequenceClassification"]}, prefix="new.")
    if also:
        weights = load_file(directory / "model.safetensors") | {also: np.eye(WIDTH, dtype=np.float32)}
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    assert BGEM3FlagModel(directory, use_fp16=False).representations == {"dense"}
    with pytest.raises(CheckpointError, match=r"has no sparse_linear\.pt"):
        BGEM3FlagModel(directory, use_fp16=False, return_sparse=True)


@pytest.mark.parametrize(
    ("weight", "message"), [(np.zeros((1, 8)), r"shape \(1, 8\)"), (np.full((1, WIDTH), np.nan), "NaN or infinite")]
)
def test_a_damaged_token_classifier_is_refused(checkpoint, weight, message):
    directory = checkpoint(prefix="new.")
    weights = load_file(directory / "model.safetensors") | {"classifier.weight": weight.astype(np.float32)}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=message):
        BGEM3FlagModel(directory, use_fp16=False)
    FlagModel(directory, use_fp16=False)


def test_a_classifier_of_several_labels_gives_no_lexical_weights(checkpoint):
    directory = checkpoint(prefix="new.")
    several = {"classifier.weight": np.zeros((5, WIDTH), np.float32), "classifier.bias": np.zeros(5, np.float32)}
    weights = load_file(directory / "model.safetensors") | several
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    assert BGEM3FlagModel(directory, use_fp16=False).representations == {"dense"}
