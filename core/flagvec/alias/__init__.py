"""The alias package ``FlagEmbedding``: its submodules, and the errors for names that flagvec does not have."""

from typing import NoReturn

_RERANKERS = (
    "search with rerank='colbert', score pairs with BGEM3FlagModel.compute_score, or load the reranker with "
    "sentence_transformers.CrossEncoder"
)
_DECODERS = "load the decoder-only model with sentence_transformers.SentenceTransformer"

# The names that FlagEmbedding 1.4 exports and flagvec does not have, with what to do instead.
_NOT_SERVED = {
    **dict.fromkeys(
        (
            "AbsReranker",
            "FlagAutoReranker",
            "FlagLLMReranker",
            "FlagReranker",
            "LayerWiseFlagLLMReranker",
            "LightWeightFlagLLMReranker",
            "RerankerModelClass",
        ),
        _RERANKERS,
    ),
    **dict.fromkeys(("FlagICLModel", "FlagLLMModel", "FlagPseudoMoEModel"), _DECODERS),
}


def refuse(module: str, name: str) -> NoReturn:
    """Raise the error for a name that `module`, a module of the alias, does not have.

    Raises:
        ImportError: FlagEmbedding has the name; the message says what to use instead.
        AttributeError: FlagEmbedding does not have it either.
    """
    if name in _NOT_SERVED:
        # `from FlagEmbedding import ...` would replace the message of an AttributeError.
        raise ImportError(
            f"{module} has no {name}, because flagvec stands in for FlagEmbedding here and does not have it: "
            f"{_NOT_SERVED[name]}, or install FlagEmbedding, which Python then imports instead",
            name=module,
        )
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
