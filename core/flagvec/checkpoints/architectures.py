"""Which architecture a checkpoint runs on: transformers' own also where it was published with Python code.

transformers has the architectures of GTE and NomicBERT, and converts the names of their weights. It does not read the
``config.json`` that was written for the authors' code. `native_config` does, in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING

from flagvec.errors import CheckpointError


@dataclass(frozen=True)
class _Architecture:
    """An architecture of transformers.

    Args:
        name: Its ``model_type``.
        first_release: The first transformers release that has it.
        translate: Makes its configuration of a ``config.json``.
    """

    name: str
    first_release: str
    translate: Callable[[Path, Mapping[str, Any]], dict[str, Any]]


def native_config(path: Path, config: Mapping[str, Any], trust_remote_code: bool) -> Any:
    """Return the configuration of transformers' own architecture, for a checkpoint that was published with code.

    Args:
        path: The ``config.json``, for messages.
        config: Its content.
        trust_remote_code: Whether the checkpoint's code may run. That of GTE and NomicBERT runs only with transformers
            4, which lacks the architectures. Otherwise a warning says why it does not.

    Returns:
        A configuration that names no remote code, or None if transformers is to read ``config.json`` itself.

    Raises:
        CheckpointError: This version of transformers lacks the architecture, the architecture does not compute what
            ``config.json`` asks for, or the checkpoint needs code that is not trusted.
    """
    architecture = _ARCHITECTURES.get(str(config.get("model_type")))
    if architecture is None:
        _refuse_untrusted_code(path.parent, config, trust_remote_code)
        return None
    if architecture.name not in CONFIG_MAPPING:
        if trust_remote_code and transformers.__version__.startswith("4."):
            return None
        raise _missing_architecture(path, architecture, trust_remote_code)
    if trust_remote_code and "auto_map" in config:
        warnings.warn(
            f"trust_remote_code=True: the Python code of {path.parent} does not run, because transformers has the "
            f"architecture {architecture.name!r} itself and {_WHY_NOT_REMOTE_CODE}; leave trust_remote_code out",
            stacklevel=8,  # where the user makes the model
        )
    translated = architecture.translate(path, config)
    kept = {key: value for key, value in config.items() if key not in _REPLACED}
    return CONFIG_MAPPING[architecture.name].from_dict(kept | translated)


# Without auto_map transformers does not look for remote code. It reads rope_scaling before rope_parameters.
_REPLACED = frozenset({"model_type", "auto_map", "rope_theta", "rope_scaling", "rope_parameters"})

# huggingface/sentence-transformers#3717: it makes the buffers that no file holds anew, without values.
_WHY_NOT_REMOTE_CODE = "transformers 5 leaves buffers of that code uninitialised"


def _refuse_untrusted_code(directory: Path, config: Mapping[str, Any], trust_remote_code: bool) -> None:
    architecture = config.get("model_type")
    if architecture in CONFIG_MAPPING or (trust_remote_code and "auto_map" in config):
        return
    if "auto_map" in config:
        raise CheckpointError(
            f"{directory}: transformers does not have the architecture {architecture!r}, which comes as Python code "
            "with the checkpoint; pass trust_remote_code=True if you trust its authors"
        )
    raise CheckpointError(
        f"{directory}: this version of transformers has no architecture {architecture!r}; a newer one may have it"
    )


def _missing_architecture(path: Path, architecture: _Architecture, trust_remote_code: bool) -> CheckpointError:
    why = f" ({_WHY_NOT_REMOTE_CODE})" if trust_remote_code else ""
    return CheckpointError(
        f"{path} needs the architecture {architecture.name!r}, which transformers {transformers.__version__} does not "
        f"have{why}; install transformers {architecture.first_release} or newer"
    )


def _translate_gte(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the configuration of ``Alibaba-NLP/new-impl``, or of a copy of its code."""
    expected = {"position_embedding_type": "rope", "layer_norm_type": "layer_norm", "pack_qkv": True}
    _check(path, "gte", config, expected)
    _check(path, "gte", config, {"logn_attention_scale": False})
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    base = config.get("rope_theta", 10_000.0)
    if rope is None:
        return {"rope_parameters": {"rope_type": "default", "rope_theta": float(base)}}
    kind = rope.get("rope_type", rope.get("type"))
    if kind == "ntk" and rope.get("mixed_b") is None:
        width = config["hidden_size"] // config["num_attention_heads"]
        return {"rope_parameters": _ntk(float(rope.get("rope_theta", base)), float(rope["factor"]), width)}
    if "rope_parameters" in config and kind != "ntk":
        return {"rope_parameters": {"rope_theta": float(base), **rope}}  # transformers wrote them
    raise CheckpointError(
        f"{path} has rope_scaling={rope!r}; flagvec reads the type 'ntk' without mixed_b, so use a checkpoint with "
        "such a scaling, or with none"
    )


def _ntk(base: float, factor: float, head_width: int) -> dict[str, Any]:
    """Return the parameters whose frequencies are ``(base * factor)^(-2i/d) / factor^(2/d)``, for head width d.

    The formula is from https://kexue.fm/archives/9706. transformers' linear scaling divides the frequencies.
    """
    return {"rope_type": "linear", "rope_theta": base * factor, "factor": factor ** (2 / head_width)}


# The names of the settings of GPT-2, which NomicBERT's code used.
_NOMIC_NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
}
_NOMIC_EXPECTED = {
    "activation_function": "swiglu",
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "prenorm": False,
    "parallel_block": False,
    "use_rms_norm": False,
    "causal": False,
    "scale_attn_by_inverse_layer_idx": False,
    "num_experts": None,
}


def _translate_nomic_bert(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the configuration of ``nomic-ai/nomic-bert-2048``; keep one that transformers wrote."""
    if "n_embd" not in config:
        return {key: config[key] for key in ("rope_parameters",) if key in config}
    _check(path, "nomic_bert", config, _NOMIC_EXPECTED)
    translated = {name: config[old] for old, name in _NOMIC_NAMES.items()}
    rope = {"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])}
    return {**translated, "hidden_act": "silu", "rope_parameters": rope}


def _check(path: Path, architecture: str, config: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse settings that the architecture ignores. A missing key counts as expected, and None as False."""
    for key, value in expected.items():
        found = config.get(key, value)
        if found != value and (found or value):
            raise CheckpointError(
                f"{path} has {key}={found!r}; transformers' architecture {architecture!r} computes {key}={value!r} "
                "only, so use a checkpoint that was trained so"
            )


_GTE = _Architecture("gte", "5.18", _translate_gte)
_ARCHITECTURES = {
    "new": _GTE,
    # snowflake-arctic-embed-m-v2.0 has a copy of the code under this name.
    "gte": _GTE,
    "nomic_bert": _Architecture("nomic_bert", "5.5", _translate_nomic_bert),
}
