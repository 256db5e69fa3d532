"""Every model of the catalogue loads by its short name from a Hub cache that is laid out as its repository is.

The files have the keys of the published ones. Sizes and weights are small and random.
"""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from flagvec import BGEM3FlagModel, FlagAutoModel
from flagvec.models import CATALOGUE, find_model

TOLERANCE = 1e-5
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
CARDS = [card for card in CATALOGUE if card.repository]

BERT = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "classifier_dropout": None,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "transformers_version": "4.30.0",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": 3000,
    **SIZES,
}
CHINESE_BERT = BERT | {
    "bos_token_id": 0,
    "directionality": "bidi",
    "eos_token_id": 2,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "output_past": True,
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
}
XLM_ROBERTA = BERT | {
    "architectures": ["XLMRobertaModel"],
    "bos_token_id": 0,
    "eos_token_id": 2,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514,
    "model_type": "xlm-roberta",
    "output_past": True,
    "pad_token_id": 1,
    "type_vocab_size": 1,
}
NEW = {
    "architectures": ["NewModel"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
        "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
        "AutoModelForMaskedLM": "Alibaba-NLP/new-impl--modeling.NewForMaskedLM",
        "AutoModelForTokenClassification": "Alibaba-NLP/new-impl--modeling.NewForTokenClassification",
    },
    "classifier_dropout": None,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "max_position_embeddings": 8192,
    "model_type": "new",
    "pack_qkv": True,
    "pad_token_id": 0,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 2.0, "type": "ntk"},
    "rope_theta": 160000,
    "torch_dtype": "float32",
    "transformers_version": "4.39.1",
    "type_vocab_size": 2,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
    "vocab_size": 3000,
    **SIZES,
}
SNOWFLAKE_GTE = NEW | {
    "architectures": ["GteModel"],
    "auto_map": {
        "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
        "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
    },
    "classifier_dropout": 0.1,
    "model_type": "gte",
    "pad_token_id": 1,
    "rope_scaling": None,
    "type_vocab_size": 1,
    "unpad_inputs": "true",
    "use_memory_efficient_attention": "true",
}
MODERNBERT = {
    "architectures": ["ModernBertModel"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "classifier_activation": "gelu",
    "classifier_bias": False,
    "classifier_dropout": 0.0,
    "classifier_pooling": "mean",
    "cls_token_id": 0,
    "decoder_bias": True,
    "deterministic_flash_attn": False,
    "embedding_dropout": 0.0,
    "eos_token_id": 2,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "gradient_checkpointing": False,
    "hidden_activation": "gelu",
    "initializer_cutoff_factor": 2.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "local_attention": 128,
    "local_rope_theta": 10000.0,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "mlp_dropout": 0.0,
    "model_type": "modernbert",
    "norm_bias": False,
    "norm_eps": 1e-05,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "reference_compile": False,
    "sep_token_id": 2,
    "sparse_pred_ignore_index": -100,
    "sparse_prediction": False,
    "torch_dtype": "float32",
    "transformers_version": "4.48.0",
    "vocab_size": 3000,
    **SIZES,
    "num_hidden_layers": 4,
}
MULTILINGUAL_GRANITE = MODERNBERT | {"max_position_embeddings": 32768}
NOMIC = {
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "attn_pdrop": 0.0,
    "auto_map": {
        "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        "AutoModelForMaskedLM": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertForPreTraining",
    },
    "bos_token_id": None,
    "causal": False,
    "dense_seq_output": True,
    "embd_pdrop": 0.0,
    "eos_token_id": None,
    "fused_bias_fc": True,
    "fused_dropout_add_ln": True,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 64,
    "n_layer": 2,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.0,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "summary_activation": None,
    "summary_first_dropout": 0.0,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "torch_dtype": "float32",
    "transformers_version": "4.37.2",
    "type_vocab_size": 2,
    "use_cache": True,
    "use_flash_attn": True,
    "use_rms_norm": False,
    "use_xentropy": True,
    "vocab_size": 3000,
}

# The config.json of each model. The first pattern that matches counts.
CONFIGS = {
    r"bge-m3": XLM_ROBERTA | {"max_position_embeddings": 8194},
    r"bge-\w+-zh.*|gte-\w+-zh": CHINESE_BERT,
    r"multilingual-e5-small": BERT | {"tokenizer_class": "XLMRobertaTokenizer"},
    r"multilingual-e5-.*": XLM_ROBERTA,
    r"gte-multilingual-base": NEW
    | {
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "pad_token_id": 1,
        "rope_scaling": {"factor": 8.0, "type": "ntk"},
        "rope_theta": 20000,
        "type_vocab_size": 1,
    },
    r"gte-base-en-v1.5": NEW | {"rope_theta": 500000, "type_vocab_size": 0},
    r"gte-large-en-v1.5": NEW,
    r".*-97m-multilingual-r2": MULTILINGUAL_GRANITE | {"hidden_activation": "silu"},
    r".*-multilingual-r2": MULTILINGUAL_GRANITE,
    r"gte-modernbert-base|granite-.*": MODERNBERT,
    r"snowflake-arctic-embed-l-v2.0": XLM_ROBERTA | {"max_position_embeddings": 8194},
    r"snowflake-arctic-embed-m-v2.0": SNOWFLAKE_GTE,
    r"nomic-.*": NOMIC,
    r"(bge|e5|gte)-.*": BERT,
}

# What transformers' own configuration needs besides the sizes, where config.json does not say it in its words.
NATIVE = {
    "new": lambda config: {
        "rope_parameters": {
            "rope_type": "linear",
            "rope_theta": config["rope_theta"] * config["rope_scaling"]["factor"],
            "factor": config["rope_scaling"]["factor"] ** (2 / 8),
        },
    },
    "gte": lambda config: {"rope_parameters": {"rope_type": "default", "rope_theta": config["rope_theta"]}},
    "nomic_bert": lambda config: (
        SIZES | {"max_position_embeddings": 8192, "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}
    ),
}


def published_config(name):
    return next(config for pattern, config in CONFIGS.items() if re.fullmatch(pattern, name))


def native_model(config):
    """Return a random model of transformers' own architecture."""
    architecture = config["model_type"].replace("new", "gte")
    if architecture not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no architecture {architecture}")
    settings = NATIVE.get(config["model_type"], lambda config: {})(config)
    left_out = {"model_type", "auto_map", "rope_theta", "rope_scaling", "architectures", *settings}
    kept = {key: value for key, value in config.items() if key not in left_out}
    native = transformers.CONFIG_MAPPING[architecture](**kept | settings | {"initializer_range": 0.3})
    torch.manual_seed(11)
    return transformers.AutoModel.from_config(native).eval()


def write_repository(directory, card, model, tokenizer):
    """Write the files of a repository, with the weights of `model`."""
    config = published_config(card.name)
    model.save_pretrained(directory)  # transformers writes GTE's and NomicBERT's weights under their published names
    (directory / "config.json").write_text(json.dumps(config))
    weights = directory / "model.safetensors"
    if card.name == "gte-multilingual-base":
        renamed = {f"new.{name}": weight for name, weight in load_file(weights).items()}
        head = {"classifier.weight": torch.randn(1, 32), "classifier.bias": torch.randn(1)}
        save_file(renamed | head, weights, metadata={"format": "pt"})
    if card.name == "bge-m3":
        torch.save(load_file(weights), directory / "pytorch_model.bin")
        weights.unlink()
        for file_name, rows in {"sparse_linear.pt": 1, "colbert_linear.pt": 32}.items():
            torch.save(torch.nn.Linear(32, rows).state_dict(), directory / file_name)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, directory)
    for name, content in sentence_transformers_files(card).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(json.dumps(content))


def sentence_transformers_files(card):
    modules = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    prompts = {"query": card.query_prompt, "document": card.passage_prompt}
    return {
        "1_Pooling/config.json": {
            "word_embedding_dimension": 32,
            "pooling_mode_cls_token": card.pooling == "cls",
            "pooling_mode_mean_tokens": card.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "modules.json": [
            {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{name}"}
            for idx, (path, name) in enumerate(modules.items())
        ],
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "3.3.1", "transformers": "4.46.3", "pytorch": "2.5.1"},
            "prompts": {key: prompt for key, prompt in prompts.items() if prompt},
            "default_prompt_name": None,
        },
        "sentence_bert_config.json": {"max_seq_length": card.max_length, "do_lower_case": False},
    }


def reference_vector(model, tokenizer, text, pooling):
    """Return the unit vector of one text: transformers' own forward pass without a batch, then the card's pooling."""
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state[0]
    vector = states[0] if pooling == "cls" else states.mean(dim=0)
    return (vector / vector.norm()).numpy()


@pytest.fixture
def published(tmp_path, add_to_hub, tiny_bert_directory, tiny_m3_directory):
    """Put a model's repository into a Hub cache, and return the cache and the model."""

    def publish(card):
        model = native_model(published_config(card.name))
        is_english = published_config(card.name)["model_type"] == "bert" and "multilingual" not in card.name
        tokenizer = tiny_bert_directory if is_english else tiny_m3_directory
        write_repository(tmp_path / "files", card, model, tokenizer)
        add_to_hub(tmp_path / "hub", card.repository, tmp_path / "files")
        return tmp_path / "hub", model

    return publish


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_short_name_gives_the_vectors_that_the_model_card_describes(published, card):
    hub, reference = published(card)
    model = FlagAutoModel.from_finetuned(card.name, cache_dir=hub, use_fp16=False, trust_remote_code=False)
    assert type(model).__name__ == card.model_class
    assert (model.pooling_method, model.max_length) == (card.pooling, card.max_length)
    for encode, prompt in ((model.encode_queries, card.query_prompt), (model.encode_corpus, card.passage_prompt)):
        output = encode("one hybrid search over dense and sparse vectors")
        found = output["dense_vecs"] if card.model_class == "BGEM3FlagModel" else output
        text = f"{prompt or ''}one hybrid search over dense and sparse vectors"
        expected = reference_vector(reference, model.tokenizer, text, card.pooling)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_gte_multilingual_base_gives_lexical_weights_by_its_short_name(published):
    hub, _ = published(find_model("gte-multilingual-base"))
    model = BGEM3FlagModel("gte-multilingual-base", cache_dir=hub, use_fp16=False, return_sparse=True)
    assert model.representations == {"dense", "sparse"}
    assert set(model.encode("one hybrid search")) == {"dense_vecs", "lexical_weights"}


def test_a_fine_tune_of_bge_m3_loads_by_its_repository(published, add_to_hub, tmp_path):
    published(find_model("bge-m3"))
    add_to_hub(tmp_path / "hub", "someone/bge-m3-korean", tmp_path / "files")
    model = BGEM3FlagModel("someone/bge-m3-korean", cache_dir=tmp_path / "hub", use_fp16=False)
    assert model.representations == {"dense", "sparse", "colbert"}


@pytest.mark.parametrize(
    "changes", [{"qkv_proj_bias": True}, {"rotary_scaling_factor": 2.0}, {"activation_function": "gelu"}]
)
def test_a_nomic_model_of_another_kind_is_refused(published, tmp_path, changes):
    from flagvec import CheckpointError, FlagModel

    published(find_model("nomic-embed-text-v1.5"))
    (tmp_path / "files/config.json").write_text(json.dumps(NOMIC | changes))
    with pytest.raises(CheckpointError, match=rf"config\.json has {next(iter(changes))}="):
        FlagModel(tmp_path / "files", "mean")
